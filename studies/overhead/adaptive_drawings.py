"""Figure of the part on adaptive optimisers, as a function of its rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from studies.engine.figures import Figure, canvas
from studies.engine.statistics import geometric_mean
from studies.overhead.adaptive import (
    ADAM,
    DESCENT,
    DRAWN,
    FIXED,
    GLOBAL,
    HYDROGEN,
    INDIVIDUAL,
    METHODS,
    PART,
    PROBLEMS,
    RANDOM_DESCENT,
)
from studies.overhead.tuning import most_chosen, tuned

_STYLES: dict[str, dict[str, Any]] = {
    DESCENT: {"color": "#777777", "linestyle": "--"},
    ADAM: {"color": "#000000", "linestyle": ":"},
    RANDOM_DESCENT: {"color": "#CC79A7", "linestyle": "--"},
    INDIVIDUAL: {"color": "#0072B2", "linestyle": "-"},
    GLOBAL: {"color": "#009E73", "linestyle": "-"},
    DRAWN: {"color": "#D55E00", "linestyle": "-"},
}
_FLOOR = 1e-6


def figures(rows: pd.DataFrame) -> list[Figure]:
    """The figure, where there are rows."""
    part = rows[rows["part"] == PART] if len(rows) else rows
    return [adaptive_figure(part)] if len(part) else []


def adaptive_figure(part: pd.DataFrame) -> Figure:
    """Energy error against shots spent, every method at its own learning rate."""
    problems = [name for name in PROBLEMS if name in set(part["problem"])]
    figure, panels = canvas(width=5.6 * len(problems), height=4.4, columns=len(problems))
    layout: Any = figure.get_layout_engine()
    layout.set(wspace=0.06)
    points = []
    for ax, problem in zip(panels, problems, strict=True):
        here = part[part["problem"] == problem]
        for method in METHODS:
            of_method = here[here["method"] == method]
            if not len(of_method):
                continue
            chosen = tuned(of_method)
            curves = np.array(chosen["curve"].tolist())  # (replicates, checkpoints, 2)
            shots = curves[0, :, 0]
            estimates = [geometric_mean(np.maximum(column, _FLOOR)) for column in curves[:, :, 1].T]
            values = np.array([each.value for each in estimates])
            low = np.array([each.value if each.low is None else each.low for each in estimates])
            high = np.array([each.value if each.high is None else each.high for each in estimates])
            label = f"{method}, {_rate(method, most_chosen(chosen))}"
            ax.plot(shots, values, label=label, **_STYLES[method])
            # Intervals at the end only, side by side: bands of so many methods would hide each other.
            place = shots[-1] * 1.06 ** (1 + METHODS.index(method))
            ends = [[values[-1] - low[-1]], [high[-1] - values[-1]]]
            ax.errorbar([place], values[-1:], yerr=ends, marker=".", color=_STYLES[method]["color"])
            points.append(
                pd.DataFrame(
                    {
                        "problem": problem,
                        "method": method,
                        "shots": shots,
                        "error": values,
                        "low": low,
                        "high": high,
                    }
                )
            )
        target = float(here["target"].iloc[0])
        ax.axhline(target, color="black", linewidth=1.0, linestyle="-.", label=f"target, {target:.2g}")
        ax.set_xscale("log")
        ax.set_yscale("log")
        unit = "Ha" if problem == HYDROGEN else "couplings"
        ax.set_title(f"{problem}, {int(here['num_params'].iloc[0])} angles", fontsize=10)
        ax.set_xlabel("shots so far")
        ax.set_ylabel(f"energy above the ground state ({unit})")
        ax.legend(fontsize=8, loc="lower left")
    return Figure(
        name="adaptive_optimisers",
        figure=figure,
        points=pd.concat(points),
        caption=(
            f"True energy of the angles, geometric means, at the end with 95 percent intervals, over "
            f"{part['replicate'].nunique()} starts. Every method spends {int(part['total_shots'].iloc[0]):,} shots in "
            "all, at the learning rate that does best on the other starts; named is the one chosen most often."
        ),
    )


def _rate(method: str, rate: float) -> str:
    return f"rate {rate:g}" if method in FIXED else f"rate {rate:g} of 2/L"
