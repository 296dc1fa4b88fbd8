"""Figure of the part on descent, as a function of its rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from studies.engine.figures import Figure, canvas
from studies.overhead.descent_cases import COMMUTING, LAYERED, SHIFT, SIMULTANEOUS, TOGETHER
from studies.overhead.descent_selection import by_size, crossings
from studies.overhead.descent_theory import CONFIDENCE
from studies.overhead.success import share
from studies.qpu.shared_drawings import GREY, bars
from studies.qpu.shared_drawings import points as tabled

_STYLES: dict[str, dict[str, Any]] = {
    SHIFT: {"color": "#0072B2", "marker": "o"},
    SIMULTANEOUS: {"color": "#D55E00", "marker": "^"},
    TOGETHER: {"color": "#009E73", "marker": "D"},
}


def figures(rows: pd.DataFrame) -> list[Figure]:
    """The figure, where there are rows."""
    part = crossings(rows)
    return [descent_figure(part)] if len(part) else []


def descent_figure(part: pd.DataFrame) -> Figure:
    """Share of steps that lower the loss against shots, and the shots for 95 percent against size."""
    figure, panels = canvas(width=14.5, height=4.4, columns=3)
    layout: Any = figure.get_layout_engine()
    layout.set(wspace=0.05)
    points = [_shares(panels[0], part)]
    for ax, circuit, label in (
        (panels[1], LAYERED, "qubits, as many layers (angles)"),
        (panels[2], COMMUTING, "qubits (angles)"),
    ):
        here = part[part["circuit"] == circuit]
        ticks: dict[int, str] = {}
        for place, method in enumerate(_STYLES):
            data = here[here["method"] == method]
            measured, theory = by_size(data), by_size(data, "predicted_shots")
            if not measured:
                continue
            ticks |= {each.qubits: f"{each.qubits} ({each.num_params})" for each in measured}
            x = np.array([each.qubits for each in measured]) + 0.06 * (place - 1)
            estimates = [each.shots for each in measured]
            bars(ax, x, estimates, linestyle="", label=method, **_STYLES[method])
            line = [each.shots.value for each in theory]
            ax.plot([each.qubits for each in theory], line, color=_STYLES[method]["color"], linestyle=":")
            points.append(
                tabled(estimates, circuit=circuit, method=method, qubits=[each.qubits for each in measured])
            )
        ax.plot([], [], color=GREY, linestyle=":", label="normal theory")
        ax.set_yscale("log")
        # Room for the legend.
        low, high = ax.get_ylim()
        ax.set_ylim(low, high * (high / low) ** 0.3)
        ax.set_xticks(list(ticks), list(ticks.values()))
        ax.set_xlabel(label)
        ax.set_ylabel("shots for 95 percent")
        ax.set_title(f"circuit of {circuit}", fontsize=10)
        ax.legend(fontsize=8, loc="upper left", ncols=2)
    return Figure(
        name="descent_steps",
        figure=figure,
        points=pd.concat(points),
        caption=(
            "One step against a measured gradient, from random angles. Left: share of steps that lower the exact loss, "
            "tries at about the same multiple of the theory's shots taken together, with 95 percent binomial "
            "intervals. Middle and right: shots at which the share is 95 percent, geometric means with 95 percent "
            f"intervals over {part['replicate'].nunique()} draws of angles; dotted: normal noise on the loss's "
            "quadratic form. Rates are 1 over the largest curvature, or less where that overshoots, for SPSA over the "
            "number of angles too."
        ),
    )


def _shares(ax: Any, part: pd.DataFrame) -> pd.DataFrame:
    tables = []
    for place, method in enumerate(_STYLES):
        tries: dict[int, list[tuple[int, int, float]]] = {}
        for row in part[part["method"] == method].to_dict("records"):
            for shots, count, chance in zip(
                row["tried_shots"], row["successes"], row["predicted"], strict=True
            ):
                step = round(float(np.log2(shots / row["predicted_shots"])))
                tries.setdefault(step, []).append((count, row["repeats"], chance))
        steps = sorted(step for step in tries if -4 <= step <= 4)
        if not steps:
            continue
        estimates = [
            share(sum(each[0] for each in tries[step]), sum(each[1] for each in tries[step]))
            for step in steps
        ]
        theory = [float(np.mean([each[2] for each in tries[step]])) for step in steps]
        x = 2.0 ** (np.array(steps) + 0.06 * (place - 1))
        bars(ax, x, estimates, linestyle="", label=method, **_STYLES[method])
        ax.plot(2.0 ** np.array(steps), theory, color=_STYLES[method]["color"], linestyle=":")
        tables.append(tabled(estimates, multiple=2.0 ** np.array(steps), method=method, theory=theory))
    ax.axhline(CONFIDENCE, color=GREY, linewidth=1.0, label="95 percent")
    ax.set_xscale("log", base=2)
    ax.set_xticks([1 / 16, 1 / 4, 1, 4, 16], ["1/16", "1/4", "1", "4", "16"])
    ax.set_xlabel("shots, in units of the theory's for 95 percent")
    ax.set_ylabel("share of steps that lower the loss")
    ax.legend(fontsize=8, loc="lower right")
    return pd.concat(tables)
