"""Figure of the part on commuting generators, as a function of its rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from studies.engine.figures import Figure, band, canvas
from studies.engine.statistics import Estimate, geometric_mean, mean
from studies.overhead.commuting import EQUAL, ERROR, FEW, METHODS, PART, SHIFT, TRAINING
from studies.qpu.shared_drawings import GREY, bars
from studies.qpu.shared_drawings import points as tabled

_STYLES: dict[str, dict[str, Any]] = {
    SHIFT: {"color": "#0072B2", "linestyle": "-"},
    EQUAL: {"color": "#D55E00", "linestyle": "--"},
    FEW: {"color": "#D55E00", "linestyle": "-"},
}


def figures(rows: pd.DataFrame) -> list[Figure]:
    """The figure, where there are rows of errors and of training."""
    part = rows[rows["part"] == PART] if len(rows) else rows
    whole = len(part) and {ERROR, TRAINING} <= set(part["quantity"])
    return [commuting_figure(part)] if whole else []


def commuting_figure(part: pd.DataFrame) -> Figure:
    """Ratio of squared errors at equal shots, and training against shots."""
    figure, (left, right) = canvas(width=11.2, height=4.4, columns=2)
    layout: Any = figure.get_layout_engine()
    layout.set(wspace=0.06)
    points = [_ratios(left, part[part["quantity"] == ERROR])]
    training = part[part["quantity"] == TRAINING]
    for method in METHODS:
        of_method = training[training["method"] == method]
        if not len(of_method):
            continue
        curves = np.array(of_method["curve"].tolist())[:, 1:]  # (replicates, checkpoints, 4)
        shots = curves[0, :, 1]
        losses = [mean(column) for column in curves[:, :, 2].T]
        values, low, high = _ends(losses)
        right.plot(shots, values, label=method, **_STYLES[method])
        band(right, shots, low, high, _STYLES[method]["color"])
        points.append(tabled(losses, shots=shots, method=method, quantity="held-out loss"))
    start = mean(training.groupby("replicate")["start_loss"].first())
    right.axhline(start.value, color=GREY, linewidth=1.0, linestyle=":", label="before training")
    right.set_xscale("log")
    right.set_xlabel("shots so far")
    right.set_ylabel("loss on held-out pictures")
    right.set_title(_setting(training), fontsize=10)
    right.legend(fontsize=8)
    return Figure(
        name="commuting_generators",
        figure=figure,
        points=pd.concat(points),
        caption=(
            "Left: mean squared error of a picture's derivatives by parameter-shift over that of commuting generators, "
            "at equal shots; geometric means with 95 percent intervals over draws of weights and pictures. Right: "
            f"exact loss on held-out pictures while training, means with 95 percent intervals over "
            f"{training['replicate'].nunique()} starts; the loss before is that of the random weights."
        ),
    )


def _ratios(ax: Any, errors: pd.DataFrame) -> pd.DataFrame:
    strings, estimates, weights = [], [], []
    for count, data in errors.groupby("strings"):
        strings.append(round(float(str(count))))
        estimates.append(geometric_mean(data["error_ratio"]))
        weights.append(float(data["string_weight"].iloc[0]))
    bars(ax, strings, estimates, color="#0072B2", marker="o", linestyle="", label="measured")
    ax.plot(strings, strings, color=GREY, linestyle="--", label="rotations, d")
    ax.plot(
        strings,
        np.array(strings) / weights,
        color=GREY,
        linestyle=":",
        label="d over the strings' mean length",
    )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(strings, [str(count) for count in strings])
    ax.minorticks_off()
    ax.set_xlabel("rotations of the circuit, d")
    ax.set_ylabel("squared error, shift over commuting")
    ax.set_title(f"{errors['qubits'].min():.0f} to {errors['qubits'].max():.0f} qubits", fontsize=10)
    ax.legend(fontsize=8)
    return tabled(estimates, strings=strings, quantity="squared error ratio")


def _setting(training: pd.DataFrame) -> str:
    data = training.iloc[0]
    return f"bars and dots on {int(data['qubits'])} qubits, {int(data['steps'])} steps of {int(data['batch'])} pictures"


def _ends(estimates: list[Estimate]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values = np.array([each.value for each in estimates])
    low = np.array([each.value if each.low is None else each.low for each in estimates])
    high = np.array([each.value if each.high is None else each.high for each in estimates])
    return values, low, high
