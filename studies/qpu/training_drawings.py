"""Figure of part C of `qpu_gradients`, as a function of its rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter

from studies.engine.figures import Figure, band, canvas
from studies.engine.statistics import Estimate, geometric_mean, mean
from studies.qpu.molecule import CHEMICAL_ACCURACY
from studies.qpu.selection import training
from studies.qpu.training import EXACT, METHODS, MITIGATED, NOISY, READ, SAMPLED

_STYLES: dict[str, dict[str, Any]] = {
    EXACT: {"color": "#777777", "linestyle": "--"},
    SAMPLED: {"color": "#56B4E9", "linestyle": "-"},
    NOISY: {"color": "#0072B2", "linestyle": "-"},
    READ: {"color": "#009E73", "linestyle": "-"},
    MITIGATED: {"color": "#D55E00", "linestyle": "-"},
}
_FLOOR = 1e-5


def figures(rows: pd.DataFrame) -> list[Figure]:
    """The figure, where every method has a row for every start."""
    part = training(rows)
    return [training_figure(part)] if len(part) else []


def training_figure(part: pd.DataFrame) -> Figure:
    """Error of the energy against shots spent, true and as read at the end."""
    figure, (left, right) = canvas(width=11.5, height=4.6, columns=2)
    layout: Any = figure.get_layout_engine()
    layout.set(wspace=0.06)
    points = []
    data = part[part["method"] == NOISY].iloc[0]
    step_shots = int(data["step_shots"])
    for i, method in enumerate(METHODS):
        of_method = part[part["method"] == method]
        # (starts, steps): the exact gradient is drawn at the shots that the others have spent by a step.
        errors = np.array([[error for *_, error in curve] for curve in of_method["curve"]])
        shots = np.arange(errors.shape[1]) * step_shots
        estimates = [geometric_mean(np.maximum(column, _FLOOR / 100)) for column in errors.T]
        values, low, high = _ends(estimates)
        left.plot(shots, values, label=method, **_STYLES[method])
        if method != EXACT:
            band(left, shots, low, high, _STYLES[method]["color"])
        points.append(_table(shots, values, low, high, method, "true energy"))
        for place, column, marker, label in (
            (i - 0.12, "true_error", "o", "true energy of the angles"),
            (i + 0.12, "read_error", "D", "energy as the device reads it"),
        ):
            if method == EXACT:
                continue
            sizes = of_method[column].abs()
            end, below, above = _ends([mean(sizes)])
            right.errorbar(
                [place], end, yerr=[np.maximum(0, end - np.maximum(below, 1e-9)), above - end], linestyle="",
                marker=marker, color=_STYLES[method]["color"], markersize=6,
                label=label if method == SAMPLED else None,
            )  # fmt: skip
            points.append(_table([shots[-1]], end, below, above, method, f"{label}, size at the end"))
    left.set_ylim(bottom=_FLOOR)
    left.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1000:g}"))
    left.set_xlabel("thousand shots so far")
    left.set_ylabel("true energy above the ground state (Ha)")
    names = [name.replace(", ", ",\n") for name in METHODS if name != EXACT]
    right.set_xticks(range(1, len(METHODS)), names, fontsize=9)
    right.set_xlabel("gradients from")
    right.set_xlim(0.5, len(METHODS) - 0.5)
    right.set_ylabel("size of the error at the end (Ha)")
    for ax in (left, right):
        ax.set_yscale("log")
        ax.axhline(CHEMICAL_ACCURACY, color="black", linewidth=1.0, linestyle=":", label="chemical accuracy")
    left.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0.0, -0.14), ncols=3)
    right.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0.0, -0.2), ncols=2)
    return Figure(
        name="training",
        figure=figure,
        points=pd.concat(points),
        caption=(
            f"H2 on 4 qubits, {part['replicate'].nunique()} starts, {int(data['steps'])} steps of {step_shots:,} shots "
            f"and a reading of {int(data['reading_shots']):,}, calibration included. Left: energy of the angles "
            "without noise, geometric means with 95 percent intervals over starts; the exact gradient, without shots, "
            "at the same steps. Right: errors at the end, mean sizes with 95 percent intervals. Noisy is Aer with the "
            "noise, gates and couplings of IBM's fake Manila."
        ),
    )


def _ends(estimates: list[Estimate]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values = np.array([each.value for each in estimates])
    low = np.array([each.value if each.low is None else each.low for each in estimates])
    high = np.array([each.value if each.high is None else each.high for each in estimates])
    return values, low, high


def _table(shots: Any, values: Any, low: Any, high: Any, method: str, quantity: str) -> pd.DataFrame:
    return pd.DataFrame(
        {"shots": shots, "hartree": values, "low": low, "high": high, "method": method, "quantity": quantity}
    )
