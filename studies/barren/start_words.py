"""What part C says: which starts keep a gradient, in variance and in mean square."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from studies.barren.draws import STARTS, UNIFORM
from studies.barren.measuring import estimate_of
from studies.barren.selection import Curve
from studies.engine.statistics import Estimate

TITLE = "Starts: a derivative in the middle of a deep circuit"


def table(found: Sequence[Curve]) -> pd.DataFrame:
    """One line a start, at the largest size and over sizes."""
    lines = []
    for each in found:
        cell = each.rows.iloc[-1]["derivatives"][each.position]
        lines.append(
            {
                "start": each.name,
                "qubits": int(each.sizes[-1]),
                "layers": int(each.rows.iloc[-1]["layers"]),
                "mean": _text(estimate_of(cell["mean"])),
                "variance": _text(estimate_of(cell["variance"])),
                "mean square": _text(estimate_of(cell["second_moment"])),
                "exact variance": "–" if not each.exact[-1] > 0 else f"{each.exact[-1]:.2e}",
                "law of the variance": "–" if each.growth is None else each.growth.verdict,
                "law of the mean square": "–" if each.second_growth is None else each.second_growth.verdict,
            }
        )
    return pd.DataFrame(lines)


def sentences(found: Sequence[Curve]) -> list[str]:
    """The mean square of each start beside that of uniform angles at the largest size."""
    by_name = {each.name: each for each in found}
    if UNIFORM not in by_name or len(found) < 2:
        return []
    base = by_name[UNIFORM]
    said = []
    for each in found:
        moment, plain = each.second_moments[-1], base.second_moments[-1]
        if moment is None or plain is None or plain.value <= 0:
            continue
        cell = each.rows.iloc[-1]["derivatives"][each.position]
        mean = estimate_of(cell["mean"])
        size = f"{each.sizes[-1]:g} qubits, {int(each.rows.iloc[-1]['layers'])} layers"
        law = "" if each.growth is None else f" Its variance {each.growth.sentence()}."
        if each is base:
            said.append(
                f"Start {each.name} ({STARTS[each.name]}), {each.circuit}, {each.cost}, RY of the middle layer, "
                f"{size}: mean square {_text(moment)}.{law}"
            )
            continue
        shown = mean.low is not None and mean.high is not None and not mean.low <= 0 <= mean.high
        remark = (
            f" Its mean gradient is {_text(mean)}, not zero, so mean square and variance differ."
            if shown
            else ""
        )
        said.append(
            f"Start {each.name} ({STARTS[each.name]}): mean square {_text(moment)} on {size}, "
            f"{moment.value / plain.value:.3g} times that of uniform angles.{remark}{law}"
        )
    return said


def _text(each: Estimate) -> str:
    if each.low is None or each.high is None:
        return f"{each.value:.2e} (no interval: needs {each.needs:,} samples)"
    return f"{each.value:.2e} [{each.low:.2e}, {each.high:.2e}]"
