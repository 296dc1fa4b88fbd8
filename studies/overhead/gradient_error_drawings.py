"""Figure of the part on shots for a gradient's error, as a function of its rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from studies.engine.figures import Figure, canvas, estimator_style
from studies.engine.statistics import geometric_mean
from studies.overhead.gradient_error import METHODS
from studies.overhead.slopes import COMPONENT, LENGTH, Growth, growths, part_of
from studies.qpu.shared_drawings import bars, points, space


def figures(rows: pd.DataFrame) -> list[Figure]:
    """The figure, where a rule has all its rows."""
    found = growths(rows)
    return [gradient_error_figure(part_of(rows), found)] if found else []


def gradient_error_figure(part: pd.DataFrame, found: list[Growth]) -> Figure:
    """Shots against parameters for an error of a component and of the whole gradient; error against shots."""
    figure, (first, second, third) = canvas(width=13.5, height=4.4, columns=3)
    space(figure)
    drawn = _against_params(first, found, COMPONENT) + _against_params(second, found, LENGTH)
    first.set_ylabel("shots for one gradient")
    for ax, norm, words in ((first, COMPONENT, "a component"), (second, LENGTH, "the whole gradient (l2)")):
        target = next(each.target for each in found if each.norm == norm)
        ax.set_title(f"error of {words}: {target:.2g}", fontsize=10)
    drawn += _against_shots(third, part, found)
    return Figure(
        name="gradient_error",
        figure=figure,
        points=pd.concat(drawn),
        caption=(
            f"{int(part['qubits'].iloc[0])} qubits, layers of RY, RZ and a ring of CZ, transverse-field Ising chain; "
            f"geometric means over {part['replicate'].nunique()} draws of angles with 95 percent intervals, "
            f"{int(part['repeats'].iloc[0])} sampled gradients each. Left and middle: shots for one error against the "
            "number of parameters, from measured errors at several budgets by a line of the fitted slope; lines: the "
            "exponents that theory gives, through the first point. Right: root mean square error of a component "
            "against shots, at the most parameters. SPSA: more shots are more directions, and a smaller step."
        ),
    )


def _against_params(ax: Axes, found: list[Growth], norm: str) -> list[pd.DataFrame]:
    drawn = []
    for each in (growth for growth in found if growth.norm == norm):
        style = estimator_style(each.method)
        estimates = [geometric_mean(column) for column in each.shots.T]
        exponent = each.params
        label = f"{each.method}: {exponent.value:.2f}"
        if exponent.low is not None and exponent.high is not None:
            label += f" [{exponent.low:.2f}, {exponent.high:.2f}]"
        theory = each.expected()[0]
        span = " to ".join(f"{exponent:.3g}" for exponent in sorted(set(theory)))
        bars(ax, each.sizes, estimates, linestyle="", label=f"{label}, theory {span}", **style)
        for power in set(theory):
            line = estimates[0].value * (each.sizes / each.sizes[0]) ** power
            ax.plot(each.sizes, line, color=style["color"], linewidth=1.0, linestyle="--")
        drawn.append(points(estimates, x=each.sizes, rule=each.method, quantity=f"shots, {norm}"))
    sizes = found[0].sizes
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(sizes, [f"{size:.0f}" for size in sizes])
    ax.minorticks_off()
    ax.set_xlabel("number of parameters d")
    low, high = ax.get_ylim()
    ax.set_ylim(low, high * (high / low) ** 0.35)
    ax.legend(fontsize=8, loc="upper left", title="exponent of d", title_fontsize=8)
    return drawn


def _against_shots(ax: Axes, part: pd.DataFrame, found: list[Growth]) -> list[pd.DataFrame]:
    drawn = []
    exponents = {each.method: each.error.value for each in found if each.norm == COMPONENT}
    largest = part[part["num_params"] == part["num_params"].max()]
    for method in METHODS:
        data = largest[largest["method"] == method]
        if not len(data):
            continue
        groups = data.groupby("total_shots")[COMPONENT]
        shots = np.array(list(groups.groups), dtype=float)
        estimates = [geometric_mean(values.to_numpy()) for _, values in groups]
        label = f"{method}: {exponents[method]:.2f}" if method in exponents else method
        bars(ax, shots, estimates, label=label, **estimator_style(method))
        drawn.append(points(estimates, x=shots, rule=method, quantity="error of a component"))
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("shots for one gradient")
    ax.set_ylabel("error of a component (energy a radian)")
    ax.set_title(f"{int(largest['num_params'].iloc[0])} parameters", fontsize=10)
    ax.legend(fontsize=8, title="exponent of the error in shots", title_fontsize=8)
    return drawn
