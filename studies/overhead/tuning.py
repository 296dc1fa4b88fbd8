"""Learning rates that are chosen without a look at the run that is judged by them."""

from __future__ import annotations

import math

import pandas as pd


def tuned(rows: pd.DataFrame, measure: str = "end_error") -> pd.DataFrame:
    """Returns one row a replicate: at the rate with the least geometric mean of `measure` in all other replicates.

    So no run chooses its own rate. With one replicate it has to.

    Args:
        rows: of one method, with the columns `rate`, `replicate` and `measure`, every pair once.
    """
    table = (
        rows.pivot_table(index="replicate", columns="rate", values=measure).clip(lower=1e-12).map(math.log)
    )
    kept = []
    for replicate in table.index:
        others = table.drop(index=replicate) if len(table) > 1 else table
        rate = others.mean().idxmin()
        kept.append(rows[(rows["replicate"] == replicate) & (rows["rate"] == rate)])
    return pd.concat(kept)


def most_chosen(chosen: pd.DataFrame) -> float:
    """The rate that most replicates have."""
    return float(chosen["rate"].mode().iloc[0])
