"""How the figures of `barren_plateau` draw a curve: points with intervals, bounds, and what is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from studies.barren.selection import Curve
from studies.engine.growth import Growth
from studies.engine.statistics import Estimate

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#777777"


def draw(
    ax: Axes, curve: Curve, label: str, place: int, *, second: bool = False, fit: bool = True
) -> pd.DataFrame:
    """Measured points, the exact walk as a line, the prediction dashed and the fitted law dotted; gives the points.

    A point without an interval is open; one that is only bounded from above is a triangle at the bound.
    """
    colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
    estimates = curve.second_moments if second else curve.variances
    for x, each in zip(curve.sizes, estimates, strict=True):
        _point(ax, x, each, colour, marker)
    exact = curve.exact_second_moments if second else curve.exact
    known = exact > 0
    if known.any():
        ax.plot(curve.sizes[known], exact[known], color=colour, linewidth=1.2)
    if not second and np.isfinite(curve.predicted).any():
        ax.plot(curve.sizes, curve.predicted, color=colour, linewidth=1.4, linestyle="--")
    growth = curve.second_growth if second else curve.growth
    if fit and growth is not None and growth.law is not None:
        fine = np.linspace(curve.sizes[0], curve.sizes[-1], 60)
        axis = fine if growth.verdict == "exponential" else np.log(fine)
        ax.plot(fine, np.exp(growth.law.at(axis)), color=colour, linewidth=1.0, linestyle=":")
    ax.plot([], [], color=colour, marker=marker, label=label)
    return table(curve, label, "second moment" if second else "variance", estimates, exact)


def _point(ax: Axes, x: float, each: Estimate | None, colour: str, marker: str) -> None:
    if each is None or (each.value <= 0 and each.high is None):
        return
    if each.high is not None and each.low is None:
        ax.plot([x], [each.high], marker="v", color=colour, fillstyle="none", linestyle="")
        return
    if each.low is None or each.high is None:
        ax.plot([x], [each.value], marker=marker, color=colour, fillstyle="none", linestyle="")
        return
    ends = [[each.value - each.low], [each.high - each.value]]
    ax.errorbar([x], [each.value], yerr=ends, color=colour, marker=marker, linestyle="")


def table(
    curve: Curve, label: str, quantity: str, estimates: list[Estimate | None], exact: Any
) -> pd.DataFrame:
    """The points of a curve."""
    return pd.DataFrame(
        {
            "curve": label,
            "circuit": curve.circuit,
            "cost": curve.cost,
            "parameter": curve.position,
            "quantity": quantity,
            "x": curve.sizes,
            "value": [None if each is None else each.value for each in estimates],
            "low": [None if each is None else each.low for each in estimates],
            "high": [None if each is None else each.high for each in estimates],
            "samples": [None if each is None else each.count for each in estimates],
            "needs": [None if each is None else each.needs for each in estimates],
            "exact": exact,
            "predicted": curve.predicted,
        }
    )


def legend(ax: Axes, **where: Any) -> None:
    """The curves, and what the lines mean, below the panel."""
    handles, labels = ax.get_legend_handles_labels()
    given = {"loc": "upper left", "bbox_to_anchor": (0.0, -0.14), "fontsize": 8, "ncols": 1, **where}
    ax.legend(handles, labels, **given)


def key(figure: Any, *, prediction: bool = True, fit: bool = True) -> None:
    """What the lines and markers mean, once for a figure, above it."""
    made = [
        Line2D([], [], color=GREY, marker="o", linestyle="", label="measured, 95 percent interval"),
        Line2D(
            [], [], color=GREY, marker="o", fillstyle="none", linestyle="", label="too few samples for one"
        ),
        Line2D([], [], color=GREY, linewidth=1.2, label="exact walk"),
    ]
    if prediction:
        made.append(
            Line2D([], [], color=GREY, linewidth=1.4, linestyle="--", label="closed form or deep limit")
        )
    if fit:
        made.append(Line2D([], [], color=GREY, linewidth=1.0, linestyle=":", label="fitted law"))
    figure.legend(handles=made, loc="outside upper center", ncols=len(made), fontsize=8)


def law_text(growth: Growth | None, unit: str = "qubit") -> str:
    """The verdict in a few characters, for legends."""
    if growth is None:
        return "no fit"
    if growth.verdict == "exponential":
        slope = growth.exponential.slope
        return f"x{np.exp(slope.value):.2f} {_ends(slope, exponential=True)}a {unit}"
    if growth.verdict == "power law":
        return f"power {growth.power.slope.value:.1f} {_ends(growth.power.slope)}".strip()
    return "no change shown" if growth.flat else "undecided"


def _ends(slope: Estimate, *, exponential: bool = False) -> str:
    if slope.low is None or slope.high is None:
        return ""
    low, high = (np.exp(slope.low), np.exp(slope.high)) if exponential else (slope.low, slope.high)
    return f"[{low:.2f}, {high:.2f}] " if exponential else f"[{low:.1f}, {high:.1f}]"
