"""Figures of the part on grouping, as functions of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from studies.engine.figures import Figure, canvas
from studies.engine.statistics import Estimate
from studies.molecules import MOLECULES
from studies.overhead.grouping import BEST, PRECISION, SHADOWS
from studies.overhead.grouping_selection import Grouped, grouped, observed_over_expected
from studies.qpu.shared_drawings import GREY, bars, points, space

_STYLES: dict[str, dict[str, Any]] = {
    BEST: {"color": "#000000", "marker": "_", "markersize": 14, "markeredgewidth": 2},
    "uniform": {"color": "#56B4E9", "marker": "s"},
    "weighted": {"color": "#0072B2", "marker": "o"},
    "two-stage": {"color": "#009E73", "marker": "D"},
    "random terms": {"color": "#E69F00", "marker": "v"},
    SHADOWS: {"color": "#D55E00", "marker": "X"},
}


def figures(rows: pd.DataFrame) -> list[Figure]:
    """One figure of molecules and one of spins and graphs, where there are whole cases."""
    cases = grouped(rows)
    molecules = [case for case in cases if case[0].place[0] in MOLECULES]
    others = [case for case in cases if case[0].place[0] not in MOLECULES]
    return [
        grouping_figure(name, some)
        for name, some in (("grouping_molecules", molecules), ("grouping_spins", others))
        if some
    ]


def grouping_figure(name: str, cases: Sequence[Sequence[Grouped]]) -> Figure:
    """Shots for an error by grouping, allocations side by side; measured squared errors beside the exact ones."""
    figure, panels = canvas(width=1.2 + 3.3 * len(cases), height=5.2, columns=len(cases))
    space(figure)
    drawn = [_panel(ax, case) for ax, case in zip(panels, cases, strict=True)]
    panels[0].set_ylabel(f"shots for an error of {PRECISION:g} {_unit(cases[0][0])}")
    handles: dict[str, Any] = {}
    for ax in panels:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    order = [label for label in _STYLES if label in handles]
    if any(
        each.ratio(name, "observed") is not None
        for case in cases
        for each in case
        for name in each.allocations
    ):
        order.append("measured")
        handles["measured"] = Line2D(
            [], [], color=GREY, marker="o", mfc="white", linestyle="-", linewidth=0.8
        )
    figure.legend([handles[label] for label in order], order, loc="outside lower center", ncols=len(order))
    return Figure(
        name=name,
        figure=figure,
        points=pd.concat(drawn),
        caption=(
            "Shots for one error, K / error^2, by grouping (number of circuits in brackets; of shadows all bases there "
            f"are) and allocation. Filled: exact, at the state named; {BEST}: the least that any allocation takes. "
            "Hollow, to the right: from the squared errors of repeated sampled values, with 95 percent intervals, "
            "but for shadows, whose errors are not normal. "
            f"Random circuit: three layers of RY, RZ and a ring of CZ. The unit of the error is {_units(cases)}."
        ),
    )


def _panel(ax: Axes, case: Sequence[Grouped]) -> pd.DataFrame:
    drawn = []
    scale = PRECISION**-2
    for place, each in enumerate(case):
        names = each.allocations
        for i, name in enumerate(names):
            x = place + (0.0 if name in (BEST, SHADOWS) else 0.17 * (i - 2.5))
            style = _STYLES[name]
            size: dict[str, Any] = {"markersize": 4.5} | style
            label = name if place == 0 or name == SHADOWS else None
            ax.plot([x], [each.constant(name) * scale], linestyle="", label=label, **size)
            exact = Estimate(value=each.constant(name) * scale, low=None, high=None, count=1)
            columns = {"hamiltonian": each.place[0], "state": each.place[1], "allocation": name}
            drawn.append(points([exact], grouping=each.label, kind="exact", **columns))
            ratio = observed_over_expected(each, name)
            if ratio is not None:
                found = _scaled(ratio, each.constant(name) * scale)
                hollow = {"marker": style["marker"], "color": style["color"], "markersize": 3.5}
                measured = "measured" if place == 0 and i == 1 else None
                bars(
                    ax,
                    [x + 0.08],
                    [found],
                    linestyle="",
                    mfc="white",
                    linewidth=0.8,
                    label=measured,
                    **hollow,
                )
                drawn.append(points([found], grouping=each.label, kind="measured", **columns))
    labels = [f"{each.label}\n({each.circuits:,})" for each in case]
    ax.set_xticks(range(len(case)), labels, rotation=55, ha="right", rotation_mode="anchor", fontsize=8)
    ax.set_yscale("log")
    ax.tick_params(axis="y", which="both", labelsize=8)
    ax.set_xlim(-0.6, len(case) - 0.4)
    ax.set_title(f"{case[0].place[0]}, {case[0].place[1]}", fontsize=10)
    return pd.concat(drawn)


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    low, high = (None if end is None else end * factor for end in (estimate.low, estimate.high))
    return Estimate(value=estimate.value * factor, low=low, high=high, count=estimate.count)


def _unit(each: Grouped) -> str:
    return "Ha" if each.place[0] in MOLECULES else "couplings"


def _units(cases: Sequence[Sequence[Grouped]]) -> str:
    return "hartree, so that it is chemical accuracy" if _unit(cases[0][0]) == "Ha" else "the coupling"
