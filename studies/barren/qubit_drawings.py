"""Figures of part A of `barren_plateau`: variance against qubits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from studies.barren.circuits import (
    CONVOLUTION,
    FREE_FERMIONS,
    HARDWARE,
    HEISENBERG,
    PRODUCT,
    RANDOM_AXES,
    REGULAR_CUT,
    RING_CUT,
    SHARED_ISING,
)
from studies.barren.costs import GLOBAL, LOCAL
from studies.barren.curve_drawings import COLOURS, GREY, MARKERS, draw, key, law_text, legend
from studies.barren.qubits import COST_AXES
from studies.barren.selection import FIRST, MIDDLE, POSITIONS, Curve, of_qubits, picked
from studies.engine.figures import Figure, canvas, look

STRUCTURED = (FREE_FERMIONS, HEISENBERG, SHARED_ISING, RING_CUT, REGULAR_CUT)
LN2 = np.log(2)


def figures(rows: pd.DataFrame) -> list[Figure]:
    """The figures of curves with two sizes or more."""
    found = [each for each in of_qubits(rows) if len(each.sizes) > 1]
    return [*_scaling(found), *_hardware(found)]


def _scaling(found: Sequence[Curve]) -> list[Figure]:
    random = picked(found, circuit=RANDOM_AXES)
    structured = [
        each
        for each in found
        if (each.circuit in STRUCTURED and each.position == MIDDLE)
        or (each.circuit == CONVOLUTION and each.position == FIRST)
    ]
    costs = [
        each
        for each in found
        if each.position == FIRST and each.cost in (LOCAL, GLOBAL) and each.circuit in (PRODUCT, COST_AXES)
    ]
    if not (random or structured or costs):
        return []
    figure, axes = canvas(width=14.5, height=6.4, columns=3)
    drawn = [
        *_panel(axes[0], random, lambda each: f"{each.position} layer", "Random circuits, Z0 Z1"),
        *_panel(axes[1], structured, lambda each: each.circuit, "Circuits with structure"),
        *_panel(axes[2], costs, _cost_label, "Local against global cost, first parameter"),
    ]
    key(figure)
    sizes = sorted({int(each.samples) for each in (*random, *structured)})
    return [
        Figure(
            name="qubits",
            figure=figure,
            points=pd.concat(drawn),
            caption=(
                "Variance of one derivative over random angles against qubits, uniform angles. Left: McClean's random "
                f"circuits, {random[0].name if random else '–'}, parameters on qubit 0. Middle: a parameter of the "
                "middle layer (of the first for the convolution), "
                f"{', '.join(sorted({each.name for each in structured}))}. Right: costs 1 - p(0...0) and 1 - mean "
                f"p(0) with a single or many layers. {' and '.join(map(str, sizes))} samples a point on the left and "
                "in the middle. In the legend the fitted law with its 95 percent interval; dashed lines are limits of "
                "many layers except for product circuits."
            ),
        )
    ]


def _cost_label(each: Curve) -> str:
    return f"{each.circuit}, {each.name}: {each.cost}"


def _panel(ax: Axes, curves: Sequence[Curve], name: object, title: str) -> list[pd.DataFrame]:
    drawn = []
    for place, each in enumerate(curves):
        words = name(each)  # pyright: ignore[reportCallIssue]
        label = "zero at all angles" if each.vanishes else law_text(each.growth)
        drawn.append(draw(ax, each, f"{words}: {label}", place))
    ax.set_yscale("log")
    ax.set_title(title, fontsize=10)
    ax.set_xlabel("qubits")
    ax.set_ylabel("variance of the derivative (1 / radian²)")
    if curves:
        ax.set_xticks(sorted({int(x) for each in curves for x in each.sizes}))
        legend(ax)
    return drawn


def _hardware(found: Sequence[Curve]) -> list[Figure]:
    curves = [each for each in found if each.circuit in HARDWARE and each.cost == "Z0 Z1"]
    curves = [each for each in curves if each.growth is not None]
    if not curves:
        return []
    names = [name for name in HARDWARE if any(each.circuit == name for each in curves)]
    figure, axes = canvas(width=10.5, height=0.42 * len(names) + 1.8)
    ax = axes[0]
    points = []
    for place, position in enumerate(POSITIONS):
        for each in picked(curves, position=position):
            growth = each.growth
            assert growth is not None
            y = names.index(each.circuit) + 0.22 * (place - 1)
            slope = growth.exponential.slope
            low, high = (slope.value if end is None else end for end in (slope.low, slope.high))
            decided = growth.verdict == "exponential"
            ax.errorbar(
                [slope.value], [y], xerr=[[slope.value - low], [high - slope.value]], color=COLOURS[place],
                marker=MARKERS[place], linestyle="", fillstyle="full" if decided else "none",
            )  # fmt: skip
            if each.exact_growth is not None:
                exact = each.exact_growth.exponential.slope.value
                ax.plot([exact], [y], marker="|", markersize=11, color="black", linestyle="")
            points.append(
                {
                    "circuit": each.circuit,
                    "parameter": position,
                    "ln-slope": slope.value,
                    "low": slope.low,
                    "high": slope.high,
                    "exact": None if each.exact_growth is None else each.exact_growth.exponential.slope.value,
                    "verdict": growth.verdict,
                }
            )
        ax.plot([], [], color=COLOURS[place], marker=MARKERS[place], linestyle="", label=f"{position} layer")
    ax.plot([], [], color="black", marker="|", linestyle="", markersize=11, label="slope of the exact values")
    ax.plot(
        [], [], color=GREY, marker="o", fillstyle="none", linestyle="", label="not shown to be exponential"
    )
    ax.axvline(-LN2, color=GREY, linestyle="--", linewidth=1.0, label="-ln 2")
    ax.axvline(0, color=GREY, linewidth=0.8)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set_xlabel("change of ln variance with every qubit")
    with look():
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=8)
    return [
        Figure(
            name="hardware_efficient",
            figure=figure,
            points=pd.DataFrame(points),
            caption=(
                f"Hardware-efficient circuits, {curves[0].name}, Z0 Z1, uniform angles: how fast the variance of a "
                "derivative falls with qubits, by rotation axes, entangler and layer, with 95 percent intervals. Full "
                "markers: the points show an exponential; open ones: a power fits as well or better."
            ),
        )
    ]
