"""Figures of part A of `gradient_scaling`, as functions of its rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import ScalarFormatter

from studies.engine.figures import Figure, canvas, estimator_style, reference_slope
from studies.engine.statistics import Estimate, geometric_mean
from studies.scaling.selection import (
    CALIBRATED,
    SAMPLED,
    TWO_BASES,
    alone,
    in_order,
    largest_qubits,
    power,
    root_mean_square,
    slope_text,
    sweep,
)

# Draws that coincide by nature, 2P circuits of two methods, are told apart by size.
_MARKER_SIZES = {"parameter-shift": 9.0, "parameter-shift (shots)": 6.5, "finite differences": 4.0}


def figures(rows: pd.DataFrame) -> list[Figure]:
    """The figures that the rows carry; none before every method has a row at every size."""
    drawn: list[Figure] = []
    if len(alone(rows)):
        drawn.append(cost_figure(rows))
    if len(alone(rows)) and len(sweep(rows)):
        drawn += [error_figure(rows), prediction_figure(rows)]
    return drawn


def cost_figure(rows: pd.DataFrame) -> Figure:
    """Circuits, time and operations of one gradient against parameters."""
    part = alone(rows)
    part = part[part["hamiltonian"] == TWO_BASES]
    deep = largest_qubits(part)
    figure, axes = canvas(width=12.5, height=4.8, columns=3)
    panels = (
        (axes[0], part, "cost_circuits", "circuits run for one gradient"),
        (axes[1], deep, "cost_wall_seconds", "wall time of one gradient (s)"),
        (axes[2], deep, "cost_flops", "operations of one gradient (real FLOP)"),
    )
    points: list[pd.DataFrame] = []
    for ax, data, column, label in panels:
        for method in in_order(data["method"].unique().tolist()):
            points.append(_fitted(ax, data[data["method"] == method], "num_params", column, method))
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_xlabel("parameters P")
        ax.set_ylabel(label)
    _theory_of_circuits(axes[0], part)
    _theory_of_work(axes[1], deep, "cost_wall_seconds")
    separate = deep[deep["method"] == "parameter-shift"].groupby("num_params")["separate_flops"].mean()
    axes[2].plot(
        separate.index,
        separate,
        linestyle="--",
        color="#777777",
        linewidth=1.0,
        label="theory: 2P simulations",
    )
    for ax in axes:
        ax.xaxis.set_major_formatter(ScalarFormatter())
        ax.legend(
            fontsize=7.5, loc="upper left", bbox_to_anchor=(0.0, -0.16), title="exponent in P, 95 % interval"
        )
    qubits = int(deep["qubits"].iloc[0])
    return Figure(
        name="cost",
        figure=figure,
        points=pd.concat(points),
        caption=(
            f"Cost of one gradient of the {part['hamiltonian'].iloc[0]} energy (two measurement bases), both "
            "entanglers. Left: all sizes; dashed lines are 2P circuits times bases, and constants. Middle and right: "
            f"{qubits} qubits, P grows with depth; dashed lines in the middle are P^2, for 2P circuits of depth P, and "
            "P, for one pass; on the right the operations of 2P simulations one by one, by formula. Bars and brackets: "
            "95 percent intervals over replicates and entanglers. Times are of warm runs on one thread; all circuits "
            "of a parameter-shift gradient are simulated in one tangent pass."
        ),
    )


def _fitted(
    ax: Axes,
    data: pd.DataFrame,
    x: str,
    y: str,
    method: str,
    average: Callable[[pd.Series], Estimate] = geometric_mean,
    exponent: bool = True,
) -> pd.DataFrame:
    """Draws averages with intervals, and the fitted exponent in the legend; returns the points."""
    rows = []
    for place, group in data.groupby(x):
        estimate = average(group[y])
        rows.append((place, estimate.value, estimate.low, estimate.high, estimate.count))
    points = pd.DataFrame(rows, columns=pd.Index([x, y, "low", "high", "count"]))
    low = (points[y] - points["low"].fillna(points[y])).clip(lower=0)
    high = (points["high"].fillna(points[y]) - points[y]).clip(lower=0)
    ax.errorbar(
        points[x], points[y], yerr=[low, high], linewidth=1.0, markersize=_MARKER_SIZES.get(method, 5.0),
        label=f"{method}: {slope_text(power(data, x, y))}" if exponent else method, **estimator_style(method),
    )  # fmt: skip
    return points.assign(method=method, quantity=y).rename(columns={x: "x", y: "y"})


def _theory_of_circuits(ax: Axes, part: pd.DataFrame) -> None:
    smallest = part[part["num_params"] == part["num_params"].min()].iloc[0]
    params, bases = float(smallest["num_params"]), float(smallest["bases"])
    reference_slope(ax, 1.0, "theory: 2 P times bases", (params, 2 * params * bases))
    reference_slope(ax, 0.0, "theory: 2 times bases", (params, 2 * bases))
    reference_slope(ax, 0.0, "theory: 1", (params, 1.0))


def _theory_of_work(ax: Axes, deep: pd.DataFrame, column: str) -> None:
    last = deep[deep["num_params"] == deep["num_params"].max()]
    for method, exponent, label in (("parameter-shift", 2.0, "theory: P^2"), ("adjoint", 1.0, "theory: P")):
        of_method = last[last["method"] == method]
        if len(of_method):
            anchor = (float(of_method["num_params"].iloc[0]), geometric_mean(of_method[column]).value)
            reference_slope(ax, exponent, label, anchor)


def error_figure(rows: pd.DataFrame) -> Figure:
    """Error of one gradient against shots, and against parameters at equal shots."""
    by_shots, by_params = sweep(rows), alone(rows)
    by_params = by_params[by_params["hamiltonian"] == TWO_BASES]
    figure, axes = canvas(width=10.5, height=4.8, columns=2)
    points: list[pd.DataFrame] = []
    for ax, data, x, label in (
        (axes[0], by_shots, "total_shots", "total shots of one gradient"),
        (axes[1], by_params, "num_params", "parameters P"),
    ):
        for method in SAMPLED:
            of_method = data[data["method"] == method]
            if len(of_method):
                points.append(
                    _fitted(ax, of_method, x, "relative_error", method, root_mean_square, x == "total_shots")
                )
        ax.set_xscale("log", base=10 if x == "total_shots" else 2)
        ax.set_yscale("log")
        ax.set_xlabel(label)
        ax.set_ylabel("relative error of the gradient, |g - exact| / |exact|")
        ax.axhline(1.0, color="#777777", linewidth=0.8, linestyle=":")
    _theory_of_error(axes[0], by_shots)
    for ax, title in zip(axes, ("exponent in shots, 95 % interval", None), strict=True):
        ax.legend(
            fontsize=8,
            loc="upper left",
            bbox_to_anchor=(0.0, -0.14),
            title=title,
        )
    size = by_shots.iloc[0]
    budget = int(by_params["total_shots"].max())
    return Figure(
        name="error",
        figure=figure,
        points=pd.concat(points),
        caption=(
            f"Left: {int(size['qubits'])} qubits, {int(size['layers'])} layers, P = {int(size['num_params'])}, "
            f"{size['hamiltonian']}; dashed lines: N^(-1/2) of an unbiased rule, N^(-1/3) of central differences at "
            "their best step, and sqrt(P - 1), the root mean square error of one SPSA direction without shot "
            f"noise. Right: all sizes and both entanglers at {budget:,} shots a gradient. Above the dotted line an "
            "estimate is worse than zero. Points: root mean squares with 95 percent intervals over replicates; "
            "exponents are fitted to single errors."
        ),
    )


def _theory_of_error(ax: Axes, part: pd.DataFrame) -> None:
    first = part[part["total_shots"] == part["total_shots"].min()]
    for method, exponent, label in (
        ("parameter-shift (shots)", -0.5, "theory: N^(-1/2)"),
        ("finite differences", -1 / 3, "theory: N^(-1/3)"),
    ):
        of_method = first[first["method"] == method]
        if len(of_method):
            anchor = (
                float(of_method["total_shots"].iloc[0]),
                root_mean_square(of_method["relative_error"]).value,
            )
            reference_slope(ax, exponent, label, anchor)
    floor = float(np.sqrt(part["num_params"].iloc[0] - 1))
    reference_slope(ax, 0.0, "theory: sqrt(P - 1)", (float(part["total_shots"].min()), floor))


def prediction_figure(rows: pd.DataFrame) -> Figure:
    """Errors as the estimators report them against errors as they are."""
    part = pd.concat([alone(rows), sweep(rows)])
    figure, (ax,) = canvas(width=5.6, height=5.2)
    keys = ["method", "entangler", "hamiltonian", "qubits", "layers", "total_shots"]
    sampled = part[part["method"].isin(CALIBRATED)]
    points = sampled.groupby(keys, as_index=False)[["predicted_squared_error", "squared_error"]].mean()
    points["predicted"] = np.sqrt(points["predicted_squared_error"])
    points["observed"] = np.sqrt(points["squared_error"])
    for method in CALIBRATED:
        of_method = points[points["method"] == method]
        ax.plot(
            of_method["predicted"], of_method["observed"], linestyle="", alpha=0.7, label=method,
            **estimator_style(method),
        )  # fmt: skip
    low, high = points["predicted"].min() / 1.5, points["predicted"].max() * 1.5
    ax.plot([low, high], [low, high], linestyle="--", color="#777777", linewidth=1.0, label="equal")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("error that the estimator reports, root mean square")
    ax.set_ylabel("error against the exact gradient, root mean square")
    ax.legend()
    return Figure(
        name="prediction",
        figure=figure,
        points=points[[*keys, "predicted", "observed"]],
        caption=(
            "Every size and budget of part A: the norm of the error that an estimator reports, from its own shots, "
            "against the norm of its error. Each point is a root mean square over replicates. SPSA with one direction "
            "is left out: its error and its error bar are both set by one slope, so they agree whatever happens."
        ),
    )
