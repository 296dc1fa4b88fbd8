"""Figure of part B of `qpu_gradients`, as a function of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from studies.engine.figures import Figure, canvas, look
from studies.engine.statistics import mean
from studies.qpu import theory
from studies.qpu.devices import BOTH, MITIGATIONS, PLAIN, READOUT, READOUT_ERROR, ZERO_NOISE
from studies.qpu.error_rate import WITHOUT_SHOTS
from studies.qpu.selection import Curves, curves
from studies.qpu.shared_drawings import GREY, bars, points, space
from studies.qpu.thresholds import threshold
from studies.qpu.words import significant

_MITIGATION_STYLES: dict[str, dict[str, Any]] = {
    PLAIN: {"color": "#0072B2", "marker": "o"},
    READOUT: {"color": "#009E73", "marker": "s"},
    ZERO_NOISE: {"color": "#E69F00", "marker": "^"},
    BOTH: {"color": "#D55E00", "marker": "v"},
}


def figures(rows: pd.DataFrame) -> list[Figure]:
    """The figure, of the depths that have a row for every error, mitigation and replicate."""
    found = curves(rows)
    return [drowning_figure(found)] if found else []


def drowning_figure(found: Sequence[Curves]) -> Figure:
    """Cosine and length against the two-qubit error, one pair of panels a depth."""
    figure, axes = canvas(width=5.6 * 2, height=4.6 * len(found), columns=2)
    if len(found) > 1:
        figure.clear()
        with look():
            axes = list(figure.subplots(len(found), 2).flat)
    space(figure)
    drawn: list[pd.DataFrame] = []
    for i, each in enumerate(found):
        drawn += _cosines(axes[2 * i], each)
        drawn += _lengths(axes[2 * i + 1], each)
    for ax in axes[-2:]:
        ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0.0, -0.14), ncols=2)
    row = found[0].rows[found[0].rows["mitigation"] == PLAIN].iloc[0]
    return Figure(
        name="drowning",
        figure=figure,
        points=pd.concat(drawn),
        caption=(
            f"{int(row['qubits'])} qubits, transverse Ising, {int(row['total_shots']):,} shots a gradient for every "
            f"mitigation, calibration included; Aer with depolarising noise on every CZ, a tenth of it on every "
            f"rotation, and a readout error of {READOUT_ERROR:.0%}. Left: cosine with the exact gradient; dashed lines "
            "in colour: global depolarising with shot noise; dash-dotted: the same with the noisy gradient without "
            f"shots in place of f times the exact one; vertical line and band: where the mean without mitigation falls "
            f"below {theory.DROWNED:g}, with its interval. Right: part of the gradient along the exact one, in units "
            "of it; a line that falls to zero has lost its signal. Bars: 95 percent intervals over "
            f"{len(found[0].cosine[PLAIN])} sets of angles."
        ),
    )


def _cosines(ax: Axes, each: Curves) -> list[pd.DataFrame]:
    drawn = _measured(ax, each, each.cosine, "cosine", (*MITIGATIONS,))
    fine = np.geomspace(each.errors[0], each.errors[-1], 200)
    for mitigation in MITIGATIONS:
        line = each.theory(fine, mitigation)[0]
        style = {"linestyle": "--", "linewidth": 1.0, "color": _MITIGATION_STYLES[mitigation]["color"]}
        ax.plot(fine, line, label="theory, global" if mitigation == PLAIN else None, **style)
        theirs = each.theory(each.errors, mitigation)[0]
        drawn.append(_plain(each.errors, theirs, mitigation, "cosine, theory", each))
    bent = each.bent()
    ax.plot(each.errors, bent, linestyle="-.", linewidth=1.2, color="black", label="theory, noisy gradient")
    drawn.append(_plain(each.errors, bent, PLAIN, "cosine, theory with the noisy gradient", each))
    ax.axhline(theory.DROWNED, color=GREY, linewidth=0.9, linestyle=":")
    found = threshold(each.errors, each.cosine[PLAIN], theory.DROWNED)
    if found is not None:
        ax.axvline(found.value, color=GREY, linewidth=1.0)
        if found.low is not None and found.high is not None:
            ax.axvspan(found.low, found.high, color=GREY, alpha=0.2, linewidth=0)
        text = f"without mitigation below {theory.DROWNED:g}\nat {significant(found)} "
        ax.annotate(text, (found.low or found.value, 0.04), ha="right", fontsize=8, color="#444444")
    ax.set_ylim(0, 1.02)
    ax.set_ylabel(f"cosine with the exact gradient, {_depth(each)}")
    return drawn


def _lengths(ax: Axes, each: Curves) -> list[pd.DataFrame]:
    drawn = _measured(ax, each, each.length, "length", (*MITIGATIONS,))
    exact = each.length[WITHOUT_SHOTS].mean(0)
    ax.plot(each.errors, exact, linestyle="-.", linewidth=1.2, color="black", label="noise without shots")
    drawn.append(_plain(each.errors, exact, WITHOUT_SHOTS, "length", each))
    fine = np.geomspace(each.errors[0], each.errors[-1], 200)
    ax.plot(
        fine, each.theory(fine, PLAIN)[1], linestyle="--", linewidth=1.0,
        color=_MITIGATION_STYLES[PLAIN]["color"], label="theory, global",
    )  # fmt: skip
    drawn.append(_plain(each.errors, each.theory(each.errors, PLAIN)[1], PLAIN, "length, theory", each))
    ax.axhline(1.0, color=GREY, linewidth=0.9, linestyle=":")
    ax.set_ylim(bottom=0)
    ax.set_ylabel(f"length along the exact gradient, {_depth(each)}")
    return drawn


def _depth(each: Curves) -> str:
    return f"{int(each.rows['layers'].iloc[0])} layers"


def _measured(
    ax: Axes, each: Curves, measured: dict[str, np.ndarray], quantity: str, mitigations: Sequence[str]
) -> list[pd.DataFrame]:
    drawn: list[pd.DataFrame] = []
    for i, mitigation in enumerate(mitigations):
        estimates = [mean(column) for column in measured[mitigation].T]
        # Side by side, so that intervals can be told apart.
        x = each.errors * 1.05 ** (i - 1.5)
        bars(
            ax, x, estimates, linewidth=1.0, linestyle="", label=mitigation, **_MITIGATION_STYLES[mitigation]
        )
        drawn.append(
            points(estimates, x=each.errors, layers=_depth(each), mitigation=mitigation, quantity=quantity)
        )
    ax.set_xscale("log")
    ax.set_xlabel("two-qubit depolarising error p")
    return drawn


def _plain(x: Any, values: Any, mitigation: str, quantity: str, each: Curves) -> pd.DataFrame:
    return pd.DataFrame(
        {"x": x, "value": values, "layers": _depth(each), "mitigation": mitigation, "quantity": quantity}
    )
