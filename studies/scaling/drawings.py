"""The figures of `gradient_scaling`, as functions of its rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, ScalarFormatter

from hybrid.pipeline import PHASES
from studies.engine.figures import ESTIMATOR_STYLES, Figure, band, canvas, estimator_style, reference_slope
from studies.engine.statistics import Estimate, LineFit, fit_power, geometric_mean, mean
from studies.scaling.gradient_alone import BUDGETS, SIZES
from studies.scaling.gradient_alone import PART as ALONE
from studies.scaling.hybrid_step import CONTROL, ENCODERS
from studies.scaling.hybrid_step import PART as HYBRID

SAMPLED = ("parameter-shift (shots)", "finite differences", "SPSA")
# Draws that coincide by nature, 2P circuits of two methods, are told apart by size.
_MARKER_SIZES = {"parameter-shift": 9.0, "parameter-shift (shots)": 6.5, "finite differences": 4.0}


def alone(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of part A at its common budget."""
    part = rows[(rows["part"] == ALONE) & (rows["varied"] == SIZES)].copy()
    part["relative_error"] = np.sqrt(part["squared_error"] / part["squared_norm"])
    return part


def sweep(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of part A in which the budget is varied at one size."""
    part = rows[(rows["part"] == ALONE) & (rows["varied"] == BUDGETS)].copy()
    part["relative_error"] = np.sqrt(part["squared_error"] / part["squared_norm"])
    return part


def hybrid_steps(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of part B."""
    return rows[rows["part"] == HYBRID]


def in_order(methods: Sequence[str]) -> list[str]:
    """Methods in the order of the fixed styles, so that legends agree."""
    present = set(methods)
    return [name for name in ESTIMATOR_STYLES if name in present]


def largest_qubits(part: pd.DataFrame) -> pd.DataFrame:
    """Rows with the most qubits; there parameters grow with layers alone."""
    return part[part["qubits"] == part["qubits"].max()]


def power(part: pd.DataFrame, x: str, y: str) -> LineFit | None:
    """Exponent of y against x, with a factor for each circuit and Hamiltonian; None when there is no fit."""
    if part[x].nunique() < 3 or (part[y] <= 0).any() or part[y].isna().any():
        return None
    return fit_power(part[x], part[y], groups=(part["entangler"] + part["hamiltonian"]).tolist())


def slope_text(fit: LineFit | None) -> str:
    """A fitted exponent with its interval, for a legend."""
    if fit is None:
        return "no fit"
    slope = fit.slope
    if slope.low is None or slope.high is None:
        return _two_digits(slope.value)
    return f"{_two_digits(slope.value)} [{_two_digits(slope.low)}, {_two_digits(slope.high)}]"


def _two_digits(value: float) -> str:
    """Two decimals, and no minus sign before zero."""
    return f"{round(value, 2) + 0.0:.2f}"


def cost_figure(rows: pd.DataFrame) -> Figure:
    """Circuits, time and operations of one gradient against parameters."""
    part = alone(rows)
    part = part[part["hamiltonian"] == part["hamiltonian"].max()]
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


def root_mean_square(values: pd.Series) -> Estimate:
    """Root of the mean square, with the interval of the mean square carried over on the log scale."""
    square = mean(values**2)
    root = math.sqrt(square.value)
    if square.high is None:
        return replace(square, value=root)
    reach = math.exp((square.high - square.value) / square.value / 2)
    return replace(square, value=root, low=root / reach, high=root * reach)


def _fitted(
    ax: Axes,
    data: pd.DataFrame,
    x: str,
    y: str,
    method: str,
    average: Callable[[pd.Series], Estimate] = geometric_mean,
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
        label=f"{method}: {slope_text(power(data, x, y))}", **estimator_style(method),
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
    by_params = by_params[by_params["hamiltonian"] == by_params["hamiltonian"].max()]
    figure, axes = canvas(width=10.5, height=4.8, columns=2)
    points: list[pd.DataFrame] = []
    for ax, data, x, label in (
        (axes[0], by_shots, "total_shots", "total shots of one gradient"),
        (axes[1], by_params, "num_params", "parameters P"),
    ):
        for method in SAMPLED:
            of_method = data[data["method"] == method]
            if len(of_method):
                points.append(_fitted(ax, of_method, x, "relative_error", method, root_mean_square))
        ax.set_xscale("log", base=10 if x == "total_shots" else 2)
        ax.set_yscale("log")
        ax.set_xlabel(label)
        ax.set_ylabel("relative error of the gradient, |g - exact| / |exact|")
        ax.axhline(1.0, color="#777777", linewidth=0.8, linestyle=":")
    _theory_of_error(axes[0], by_shots)
    for ax, variable in zip(axes, ("shots", "P"), strict=True):
        ax.legend(
            fontsize=8,
            loc="upper left",
            bbox_to_anchor=(0.0, -0.14),
            title=f"exponent in {variable}, 95 % interval",
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
    sampled = part[part["method"].isin(SAMPLED)]
    points = sampled.groupby(keys, as_index=False)[["predicted_squared_error", "squared_error"]].mean()
    points["predicted"] = np.sqrt(points["predicted_squared_error"])
    points["observed"] = np.sqrt(points["squared_error"])
    for method in SAMPLED:
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
            "against the norm of its error. Each point is a root mean square over replicates."
        ),
    )


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
    figure, axes = canvas(width=4.2 * len(encoders), height=4.4, columns=len(encoders))
    points: list[pd.DataFrame] = []
    for ax, encoder in zip(axes, encoders, strict=True):
        data = part[part["encoder"] == encoder]
        for method in ("parameter-shift (shots)", "SPSA"):
            of_method = data[data["method"] == method]
            if len(of_method):
                curve = _curve(of_method).assign(encoder=encoder, method=method)
                points.append(curve)
                ax.plot(curve["shots"], curve["accuracy"], label=method, **estimator_style(method))
                band(ax, curve["shots"], curve["low"], curve["high"], estimator_style(method)["color"])
        for method in ("backprop", CONTROL):
            of_method = data[data["method"] == method]
            if len(of_method):
                end = mean_accuracy(of_method["accuracy_equal_steps"])
                points.append(
                    pd.DataFrame(
                        {"accuracy": [end.value], "low": [end.low], "high": [end.high], "encoder": [encoder],
                         "method": [method]}
                    )
                )  # fmt: skip
                label = f"{method}, no shots" if method == CONTROL else "exact gradient, no shots"
                ax.axhline(end.value, color=estimator_style(method)["color"], linestyle="--", label=label)
        ax.set_xlim(left=0)
        ax.set_ylim(0, 1)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda shots, _: f"{shots / 1e6:g}"))
        ax.set_xlabel(f"million shots so far, {encoder} encoder")
        ax.set_ylabel("accuracy on held-out digits")
    axes[0].legend(fontsize=8, loc="lower right")
    return Figure(
        name="accuracy",
        figure=figure,
        points=pd.concat(points),
        caption=(
            "Held-out accuracy, judged with exact circuit values, against all shots spent, forward and backward. "
            "Dashed: after the same number of steps as sampled parameter-shift, with exact gradients, and with the "
            "classical layer of as many weights in the circuit's place. Averages are taken on the log-odds scale; "
            "bands are 95 percent intervals over replicates."
        ),
    )


def mean_accuracy(accuracies: pd.Series) -> Estimate:
    """Mean and interval of accuracies on the log-odds scale, where intervals stay between zero and one."""
    inside = accuracies.clip(1e-3, 1 - 1e-3)
    odds = mean(np.log(inside / (1 - inside)))

    def back(value: float | None) -> float | None:
        return None if value is None else 1 / (1 + math.exp(-value))

    return replace(odds, value=1 / (1 + math.exp(-odds.value)), low=back(odds.low), high=back(odds.high))


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


def figures(rows: pd.DataFrame) -> list[Figure]:
    """All figures of the study."""
    return [
        cost_figure(rows),
        error_figure(rows),
        prediction_figure(rows),
        phases_figure(rows),
        accuracy_figure(rows),
    ]
