"""Figure of part A of `qpu_gradients`, as a function of its rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from studies.engine.figures import Figure, canvas
from studies.engine.statistics import Estimate
from studies.qpu.selection import Source, sources
from studies.qpu.shared_drawings import GREY, bars, points, space

_COLOURS = ("#56B4E9", "#0072B2", "#D55E00", "#000000", "#CC79A7", "#009E73")


def figures(rows: pd.DataFrame) -> list[Figure]:
    """The figure, where a source with shots has repeats."""
    noisy = [
        each for each in sources(rows) if each.rows["cost_shots"].iloc[0] > 0 and len(each.gradients) > 2
    ]
    return [source_figure(noisy)] if noisy else []


def source_figure(found: Sequence[Source]) -> Figure:
    """Bias of each component, and the sizes of bias and noise, by source."""
    figure, (left, right) = canvas(width=11.5, height=4.6, columns=2)
    space(figure)
    drawn: list[pd.DataFrame] = []
    count = found[0].exact.size
    for i, each in enumerate(found):
        colour = _COLOURS[i % len(_COLOURS)]
        estimates = each.components()
        x = np.arange(count) + 0.8 * ((i + 0.5) / len(found) - 0.5)
        bars(left, x, estimates, color=colour, marker="o", markersize=3.5, linestyle="", label=each.label)
        drawn.append(points(estimates, x=range(count), source=each.label, quantity="bias of a component"))
        observed, predicted = each.noise()
        for place, estimate, quantity in (
            (i - 0.2, each.bias, "size of the bias"),
            (i, _root(observed), "noise, observed"),
            (i + 0.2, _root(predicted), "noise, predicted"),
        ):
            drawn.append(points([estimate], x=[i], source=each.label, quantity=quantity))
            marker = {"size of the bias": "X", "noise, observed": "o", "noise, predicted": "_"}[quantity]
            label = quantity if i == 0 else None
            bars(
                right, [place], [estimate], color=colour if marker != "_" else GREY, marker=marker,
                markersize=14 if marker == "_" else 6, linestyle="", label=label,
            )  # fmt: skip
    left.axhline(0, color=GREY, linewidth=0.8)
    left.set_xlabel("parameter")
    left.set_ylabel("bias of a component (energy a radian)")
    left.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0.0, -0.14), ncols=2)
    right.set_xticks(range(len(found)), [each.label.replace(", ", ",\n") for each in found], fontsize=9)
    right.set_xlabel("source")
    right.set_ylabel("length over that of the exact gradient")
    right.set_ylim(bottom=-0.02)
    right.axhline(0, color=GREY, linewidth=0.8)
    right.set_xlim(-0.5, len(found) - 0.5)
    right.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0.0, -0.2), ncols=3)
    row = found[0].rows.iloc[0]
    return Figure(
        name="sources",
        figure=figure,
        points=pd.concat(drawn),
        caption=(
            f"One gradient of {count} parameters on {int(row['qubits'])} qubits, {int(row['total_shots']):,} shots, "
            f"repeated {len(found[0].gradients)} times on each source. Left: bias of every component; right: length of "
            "the bias, without what shot noise adds to it, and of the noise, as it is and as the error bars predict "
            "it. Bars: 95 percent intervals over repeats. Fake Manila is IBM's client in local mode, Aer "
            "behind it; mitigated: readout errors undone and two-qubit noise extrapolated to zero, from the same shots."
        ),
    )


def _root(square: Estimate) -> Estimate:
    """Of a squared length."""
    low, high = (None if end is None else max(0.0, end) ** 0.5 for end in (square.low, square.high))
    return Estimate(value=square.value**0.5, low=low, high=high, count=square.count)
