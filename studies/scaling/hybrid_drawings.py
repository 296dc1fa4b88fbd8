"""Figures of part B of `gradient_scaling`, as functions of its rows."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from hybrid.pipeline import PHASES
from studies.engine.figures import Figure, band, canvas, estimator_style
from studies.engine.statistics import mean
from studies.scaling.hybrid_step import CONTROL, FEW, SHIFT, SIMULTANEOUS
from studies.scaling.models import ENCODERS
from studies.scaling.selection import hybrid_steps, in_order, mean_accuracy


def figures(rows: pd.DataFrame) -> list[Figure]:
    """The figures that the rows carry; none before every method has a row for every encoder and replicate."""
    return [phases_figure(rows), accuracy_figure(rows)] if len(hybrid_steps(rows)) else []


def phases_figure(rows: pd.DataFrame) -> Figure:
    """Where the time of a hybrid step goes."""
    part = hybrid_steps(rows)
    encoders = [name for name in ENCODERS if name in set(part["encoder"])]
    figure, axes = canvas(width=4.0 * len(encoders), height=4.6, columns=len(encoders))
    table = pd.DataFrame(part["phase_wall_seconds"].tolist(), index=part.index)
    data = pd.concat([part[["encoder", "method"]], table], axis=1)
    means = data.groupby(["encoder", "method"])[list(PHASES)].mean() * 1e3
    totals = data.assign(total=table.sum(axis=1) * 1e3)
    shades = ("#0072B2", "#E69F00", "#D55E00", "#56B4E9", "#999999")
    top = 0.0
    for ax, encoder in zip(axes, encoders, strict=True):
        methods = in_order(part[part["encoder"] == encoder]["method"].tolist())
        for i, method in enumerate(methods):
            bottom = 0.0
            for phase, shade in zip(PHASES, shades, strict=True):
                height = float(means.loc[(encoder, method), phase])  # pyright: ignore
                ax.bar(i, height, bottom=bottom, color=shade, label=phase if i == 0 else None)
                bottom += height
            of_method = totals[(totals["encoder"] == encoder) & (totals["method"] == method)]["total"]
            estimate = mean(of_method)
            if estimate.low is not None and estimate.high is not None:
                errors = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
                ax.errorbar(i, estimate.value, yerr=errors, color="black", linewidth=1.0)
                top = max(top, estimate.high)
            top = max(top, bottom)
        ax.set_xticks(range(len(methods)), methods, rotation=35, ha="right", fontsize=8)
        ax.set_xlabel(f"{encoder} encoder")
        ax.set_ylabel("wall time of one step (ms)")
    for ax in axes:
        ax.set_ylim(0, top * 1.08)
    figure.legend(
        *axes[0].get_legend_handles_labels(), fontsize=9, loc="outside upper center", ncols=len(PHASES)
    )
    return Figure(
        name="phases",
        figure=figure,
        points=means.reset_index(),
        caption=(
            "Where the time of one hybrid training step goes, by gradient rule of the circuit, on one thread; the head "
            "counts with the circuits. Bars: 95 percent intervals of the total over replicates."
        ),
    )


def accuracy_figure(rows: pd.DataFrame) -> Figure:
    """Held-out accuracy against cumulative shots."""
    part = hybrid_steps(rows)
    encoders = [name for name in ENCODERS if name in set(part["encoder"])]
    figure, axes = canvas(width=5.2 * len(encoders), height=4.6, columns=len(encoders))
    points: list[pd.DataFrame] = []
    for ax, encoder in zip(axes, encoders, strict=True):
        data = part[part["encoder"] == encoder]
        for method in (SHIFT, FEW, SIMULTANEOUS):
            curve = _curve(data[data["method"] == method]).assign(encoder=encoder, method=method)
            points.append(curve)
            ax.plot(curve["shots"], curve["accuracy"], label=method, **estimator_style(method))
            band(ax, curve["shots"], curve["low"], curve["high"], estimator_style(method)["color"])
        for method in ("backprop", CONTROL):
            points += _levels(ax, data[data["method"] == method], encoder, method)
        ax.set_xlim(left=0)
        ax.set_ylim(0, 1)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda shots, _: f"{shots / 1e6:g}"))
        ax.set_xlabel(f"million shots so far, {encoder} encoder")
        ax.set_ylabel("accuracy on held-out digits")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, loc="outside upper center", ncols=4)
    return Figure(
        name="accuracy",
        figure=figure,
        points=pd.concat(points),
        caption=(
            "Held-out accuracy, judged with exact circuit values, against all shots spent, forward and backward. Few "
            "shots: a tenth of the shots a step, ten times the steps; SPSA likewise. Lines across: without shots, by "
            "exact gradients and with a classical layer of as many weights in the circuit's place, after as many "
            "steps as parameter-shift (dotted) and as the others (dashed). Averages are taken on the log-odds "
            "scale; bands are 95 percent intervals over replicates."
        ),
    )


def _levels(ax: Axes, of_method: pd.DataFrame, encoder: str, method: str) -> list[pd.DataFrame]:
    """Draws a method without shots as lines across, after few and after many steps; returns the points."""
    points = []
    name = "exact gradient" if method == "backprop" else method
    for column, steps, style in (
        ("accuracy_equal_steps", "compare_at", ":"),
        ("accuracy_end", "steps", "--"),
    ):
        level = mean_accuracy(of_method[column])
        count = int(of_method[steps].iloc[0])
        points.append(
            pd.DataFrame(
                {"accuracy": [level.value], "low": [level.low], "high": [level.high], "step": [count],
                 "encoder": [encoder], "method": [method]}
            )
        )  # fmt: skip
        color = estimator_style(method)["color"]
        ax.axhline(level.value, color=color, linestyle=style, label=f"{name}, {count} steps")
    return points


def _curve(of_method: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy with its interval at each checkpoint that all replicates have."""
    curves = [
        pd.DataFrame(curve, columns=pd.Index(["step", "shots", "accuracy"])) for curve in of_method["curve"]
    ]
    rows = []
    for (step, shots), group in pd.concat(curves).groupby(["step", "shots"]):  # pyright: ignore
        estimate = mean_accuracy(group["accuracy"])
        rows.append((step, shots, estimate.value, estimate.low, estimate.high))
    table = pd.DataFrame(rows, columns=pd.Index(["step", "shots", "accuracy", "low", "high"]))
    return table[table["shots"] > 0]
