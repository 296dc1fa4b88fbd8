"""Figures on where a model can be compressed: kept parameters by place, and predicted against measured losses."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from studies.compressing import sizes
from studies.compressing.intervals import rank_correlation
from studies.compressing.methods import OURS
from studies.compressing.places import THIRDS
from studies.compressing.selection import part_of, sensitivities, subjects_of
from studies.compressing.subjects import subject_of
from studies.engine.figures import Figure, canvas
from studies.qpu.shared_drawings import space
from studies.qpu.words import decimal

_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")


def figures(rows: pd.DataFrame) -> list[Figure]:
    """Those that the rows carry."""
    drawn = []
    placed = [subject for subject in subjects_of(rows) if len(_chosen(rows, subject))]
    if placed:
        drawn.append(place_figure(rows, placed))
    seen = [subject for subject in subjects_of(rows) if len(sensitivities(rows, subject))]
    if seen:
        drawn.append(sensitivity_figure(rows, seen))
    return drawn


def _chosen(rows: pd.DataFrame, subject: str) -> pd.DataFrame:
    part = part_of(rows, sizes.PART, subject)
    return part[part["method"] == OURS].sort_values("kept", ascending=False) if len(part) else part


def place_figure(rows: pd.DataFrame, subjects: list[str]) -> Figure:
    """What one budget over all layers leaves to each third of the depth and to each type."""
    figure, panels = canvas(width=8.0 * len(subjects), height=4.6, columns=2 * len(subjects))
    space(figure)
    drawn = []
    for place, subject in enumerate(subjects):
        data = _chosen(rows, subject)
        for ax, column in zip(panels[2 * place :], ("kept_by_third", "kept_by_type"), strict=False):
            drawn.append(_grouped_bars(ax, data, column).assign(subject=subject))
            ax.set_title(f"{subject_of(subject).title}, by {column.split('_')[-1]}", fontsize=9)
    return Figure(
        name="kept_by_place",
        figure=figure,
        points=pd.concat(drawn),
        caption="Fraction of parameters that qtn.compress keeps, by depth and by type of layer, at several budgets "
        "for the whole. More kept means harder to compress, in predicted loss for each parameter.",
    )


def _grouped_bars(ax: Axes, data: pd.DataFrame, column: str) -> pd.DataFrame:
    groups = list(data[column].iloc[0])
    width = 0.8 / len(data)
    lines = []
    for number, (kept, shares) in enumerate(zip(data["kept"], data[column], strict=True)):
        values = [shares[group] for group in groups]
        places = np.arange(len(groups)) + (number - (len(data) - 1) / 2) * width
        ax.bar(places, values, width, label=f"budget {kept:g}", color=_COLOURS[number % len(_COLOURS)])
        lines += [
            {"group": group, "budget": kept, "kept": value}
            for group, value in zip(groups, values, strict=True)
        ]
    turned = any(len(str(group)) > 8 for group in groups)
    ax.set_xticks(
        np.arange(len(groups)), groups, rotation=45 if turned else 0, ha="right" if turned else "center"
    )
    ax.set_ylabel("parameters kept")
    ax.legend(fontsize=7)
    return pd.DataFrame(lines)


def sensitivity_figure(rows: pd.DataFrame, subjects: list[str]) -> Figure:
    """Predicted against measured loss of one compressed layer at a time."""
    figure, panels = canvas(width=5.2 * len(subjects), height=4.8, columns=len(subjects))
    space(figure)
    drawn = []
    for ax, subject in zip(panels, subjects, strict=True):
        data = sensitivities(rows, subject)
        for third, colour in zip(THIRDS, _COLOURS, strict=False):
            some = data[data["third"] == third]
            ax.plot(some["predicted"], some["measured"], "o", color=colour, label=third)
        ends = [data[["predicted", "measured"]].min().min(), data[["predicted", "measured"]].max().max()]
        ax.plot(ends, ends, "--", color="#777777", linewidth=1.0, label="equal")
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("predicted loss (nats a row)")
        ax.set_ylabel("distance to the dense model, held out (nats a row)")
        words = f"{len(data)} layers"
        if len(data) > 1:
            words += f", rank correlation {decimal(rank_correlation(data['predicted'], data['measured']), 2)}"
        ax.set_title(f"{subject_of(subject).title}\n{words}", fontsize=9)
        ax.legend(fontsize=8)
        drawn.append(data.assign(subject=subject))
    return Figure(
        name="sensitivity",
        figure=figure,
        points=pd.concat(drawn),
        caption="One layer at a time, of low rank at one fraction of its parameters, the nearest in the metric of the "
        "loss. Predicted: half the squared distance in that metric, from calibration data. Measured: divergence "
        "from the dense model on held-out data.",
    )
