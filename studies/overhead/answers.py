"""The figures, tables and sentences of `measurement_overhead`, part by part, as functions of its rows."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pandas as pd

from studies.overhead.parts import PARTS

if TYPE_CHECKING:
    from studies.engine.figures import Figure


def figures(rows: pd.DataFrame) -> list[Figure]:
    """The figures that the rows carry."""
    return [figure for name in PARTS for figure in _module(name, "drawings").figures(_of_part(rows, name))]


def tables(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Tables by title, of the parts that have rows."""
    made = {}
    for name in PARTS:
        words = _module(name, "words")
        table = words.table(_of_part(rows, name))
        if len(table):
            made[words.TITLE] = table
    return made


def answer(rows: pd.DataFrame) -> list[str]:
    """What the rows say, in sentences with their conditions."""
    by_part = [_module(name, "words").sentences(_of_part(rows, name)) for name in PARTS]
    said = [sentence for sentences in by_part for sentence in sentences]
    if not all(by_part):
        said.append(
            f"There are {len(rows)} rows so far. What is missing here follows when every part has its rows: run the "
            "study on."
        )
    return said


def _module(name: str, kind: str) -> Any:
    return import_module(f"{PARTS[name].__name__}_{kind}")


def _of_part(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Rows of one part, without the columns that only others have."""
    return rows[rows["part"] == name].dropna(axis="columns", how="all").infer_objects()
