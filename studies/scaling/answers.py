"""The tables and sentences of `gradient_scaling`, as functions of its rows."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from studies.engine.statistics import Estimate, geometric_mean, mean, ratio
from studies.scaling.hybrid_step import CONTROL, FEW, SHIFT, SIMULTANEOUS
from studies.scaling.selection import (
    CALIBRATED,
    SAMPLED,
    TWO_BASES,
    alone,
    hybrid_steps,
    in_order,
    largest_qubits,
    mean_accuracy,
    power,
    slope_text,
    sweep,
)


def gradient_table(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a method, at the largest size of part A with two measurement bases."""
    part = alone(rows)
    part = part[part["hamiltonian"] == TWO_BASES]
    part = part[part["num_params"] == part["num_params"].max()]
    lines = []
    for method in in_order(part["method"].unique().tolist()):
        data = part[part["method"] == method]
        sampled = method in SAMPLED
        lines.append(
            {
                "method": method,
                "P": int(data["num_params"].iloc[0]),
                "circuits": int(data["cost_circuits"].iloc[0]),
                "bases": "-" if method in ("adjoint", "backprop") else int(data["bases"].iloc[0]),
                "shots": int(data["cost_shots"].iloc[0]),
                "wall ms": _number(geometric_mean(data["cost_wall_seconds"]).value * 1e3),
                "MFLOP": _number(data["cost_flops"].mean() / 1e6),
                "peak MB": _number(data["cost_peak_bytes"].median() / 1e6),
                "Heron s, estimated": _number(data["device_seconds"].mean()) if sampled else "-",
                "Heron $, estimated": _number(data["device_dollars"].mean()) if sampled else "-",
                "squared error": _number(data["squared_error"].mean()),
                "predicted": _number(data["predicted_squared_error"].mean()) if sampled else "-",
                "cosine": f"{data['cosine'].mean():.3f}",
            }
        )
    return pd.DataFrame(lines)


def hybrid_table(rows: pd.DataFrame) -> pd.DataFrame:
    """One line an encoder and method of part B."""
    part = hybrid_steps(rows)
    lines = []
    for encoder in part["encoder"].unique():
        data = part[part["encoder"] == encoder]
        for method in in_order(data["method"].unique().tolist()):
            of_method = data[data["method"] == method]
            step = of_method["phase_wall_seconds"].map(lambda phases: sum(phases.values()))
            has_shots = bool(of_method["cost_shots"].iloc[0])
            lines.append(
                {
                    "encoder": encoder,
                    "parameters": int(of_method["encoder_params"].iloc[0]),
                    "method": method,
                    "step ms": _number(mean(step).value * 1e3),
                    "accuracy, equal steps": _percent(mean_accuracy(of_method["accuracy_equal_steps"])),
                    "accuracy, end": _percent(mean_accuracy(of_method["accuracy_end"])),
                    "steps": int(of_method["steps"].iloc[0]),
                    "circuits": int(of_method["cost_circuits"].iloc[0]),
                    "shots": int(of_method["cost_shots"].iloc[0]),
                    "Heron h, estimated": _number(of_method["device_seconds"].mean() / 3600)
                    if has_shots
                    else "-",
                    "Heron $, estimated": _number(of_method["device_dollars"].mean()) if has_shots else "-",
                }
            )
    return pd.DataFrame(lines)


def tables(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Tables by title, of the parts that have a row for every method."""
    made: dict[str, pd.DataFrame] = {}
    if len(alone(rows)):
        made[
            "One gradient at the largest size, two measurement bases, means over circuits and replicates"
        ] = gradient_table(rows)
    part = hybrid_steps(rows)
    if len(part):
        made[f"Hybrid training, means over {part['replicate'].nunique()} replicates"] = hybrid_table(rows)
    return made


def answer(rows: pd.DataFrame) -> list[str]:
    """What the rows say, in sentences with their conditions."""
    sentences: list[str] = []
    if len(alone(rows)):
        sentences += _cost_sentences(rows)
    if len(alone(rows)) and len(sweep(rows)):
        sentences += _error_sentences(rows)
    if len(hybrid_steps(rows)):
        sentences += _hybrid_sentences(rows)
    if not (len(alone(rows)) and len(sweep(rows)) and len(hybrid_steps(rows))):
        sentences.append(
            f"There are {len(rows)} rows so far. What is missing here follows when every method has a row at every "
            "size, budget and encoder: run the study on."
        )
    return sentences


def _cost_sentences(rows: pd.DataFrame) -> list[str]:
    part = alone(rows)
    part["circuits_a_basis"] = part["cost_circuits"] / part["bases"]
    deep = largest_qubits(part)
    deepest = deep[deep["layers"] == deep["layers"].max()]
    exponents = ", ".join(
        f"{method} {slope_text(power(deep[deep['method'] == method], 'num_params', 'cost_wall_seconds'))}"
        for method in ("parameter-shift", "adjoint", "backprop")
    )
    ratios = _paired_ratio(deepest, "parameter-shift", "adjoint", "cost_wall_seconds")
    circuits = ", ".join(
        f"{method} {slope_text(power(part[part['method'] == method], 'num_params', 'circuits_a_basis'))}"
        for method in SAMPLED
    )
    return [
        f"Circuits for one gradient grow with the parameters P with the exponent: {circuits}; that is 2 P circuits, "
        "2 P circuits and 2 circuits, times the measurement bases.",
        f"Simulated on one thread at {int(deep['qubits'].iloc[0])} qubits, wall time grows with P, by depth, from "
        f"P = {int(deep['num_params'].min())} to {int(deep['num_params'].max())}, with the mean exponent: "
        f"{exponents}; exponents still rise with P, since small circuits cost the same few calls. At the deepest, "
        f"all 2 P shifted circuits in one tangent pass take {ratios} times as long as the adjoint sweep, which gives "
        "the same numbers.",
    ]


def _error_sentences(rows: pd.DataFrame) -> list[str]:
    by_shots, by_params = sweep(rows), alone(rows)
    exponents = ", ".join(
        f"{method} {slope_text(power(by_shots[by_shots['method'] == method], 'total_shots', 'relative_error'))}"
        for method in SAMPLED
    )
    deep = largest_qubits(by_params)
    growth = slope_text(power(deep[deep["method"] == SHIFT], "num_params", "relative_error"))
    quality = "; ".join(
        f"{method} {_observed_over_predicted(pd.concat([by_params, by_shots]), method)}"
        for method in CALIBRATED
    )
    size = by_shots.iloc[0]
    return [
        f"With total shots the relative error changes with the exponent: {exponents} ({int(size['qubits'])} qubits, "
        f"P = {int(size['num_params'])}, {size['hamiltonian']}). SPSA stays at the noise of its one random direction.",
        f"At {int(by_params['total_shots'].max()):,} shots a gradient the relative error of sampled parameter-shift "
        f"grows with P, by depth, with the exponent {growth} at {int(deep['qubits'].iloc[0])} qubits.",
        f"Observed squared error over the error that the estimator predicts from its own shots: {quality}. One is "
        "right; the brackets are 95 percent intervals over gradients. SPSA with one direction is left out: its error "
        "and its error bar are both set by one slope, so their ratio cannot fail.",
    ]


def _hybrid_sentences(rows: pd.DataFrame) -> list[str]:
    part = hybrid_steps(rows)
    few_steps, many_steps = int(part["compare_at"].max()), int(part["steps"].max())
    sentences = []
    for encoder in part["encoder"].unique():
        data = part[part["encoder"] == encoder]
        short = [method for method in in_order(data["method"].unique().tolist()) if method != CONTROL]
        sentences.append(
            f"{encoder[0].upper()}{encoder[1:]} encoder, {int(data['encoder_params'].iloc[0]):,} parameters. After "
            f"{few_steps} steps: {_accuracies(data, short, 'accuracy_equal_steps')}; {FEW} and {SIMULTANEOUS} have "
            f"spent a tenth of the shots of {SHIFT} by then. After the same {int(data['cost_shots'].max()):,} shots: "
            f"{_accuracies(data, [SHIFT, FEW, SIMULTANEOUS], 'accuracy_end')}, the last two in {many_steps} steps."
        )
    ends, starts = (_by_pair(part, column) for column in ("accuracy_end", "accuracy_equal_steps"))
    steps = _mean_difference(ends, FEW, SHIFT)
    rule = _mean_difference(ends, FEW, SIMULTANEOUS)
    seconds = part.groupby("method")["device_seconds"].mean() / 3600
    sentences.append(
        f"At equal shots, many steps with few shots beat few steps with many by {_points(steps)}{_verdict(steps)}; at "
        f"equal shots and steps, parameter-shift is ahead of SPSA by {_points(rule)}{_verdict(rule)}. With two jobs a "
        f"step, a Heron device would take an estimated {_number(seconds[FEW])} h for {many_steps} steps and "
        f"{_number(seconds[SHIFT])} h for {few_steps}."
    )
    early, late = (_mean_difference(table, "backprop", CONTROL) for table in (starts, ends))
    sentences.append(
        f"Control: with exact gradients the circuit is ahead of the classical layer with as many weights by "
        f"{_points(early)} after {few_steps} steps{_verdict(early)} and by {_points(late)} after {many_steps}"
        f"{_verdict(late)}. Differences are averaged over encoders, in {late.count} pairs that share digits, encoders "
        "and heads, for this task, these sizes and learning rates."
    )
    return sentences


def _accuracies(data: pd.DataFrame, methods: Sequence[str], column: str) -> str:
    return ", ".join(
        f"{method} {_percent(mean_accuracy(data[data['method'] == method][column]))}" for method in methods
    )


def _by_pair(part: pd.DataFrame, column: str) -> pd.DataFrame:
    """Accuracies by replicate and method, averaged over encoders, which share digits and starts."""
    return part.pivot_table(index="replicate", columns="method", values=column)


def _mean_difference(table: pd.DataFrame, ahead: str, behind: str) -> Estimate:
    return mean(table[ahead] - table[behind])


def _verdict(difference: Estimate) -> str:
    """Whether the interval of a difference holds zero."""
    if difference.low is None or difference.high is None:
        return " (too few pairs for an interval)"
    if difference.low > 0 or difference.high < 0:
        return ""
    return " (the interval holds zero: no difference is shown)"


def _paired_ratio(part: pd.DataFrame, above: str, below: str, column: str) -> Estimate:
    keys = ["entangler", "hamiltonian", "qubits", "layers", "replicate"]
    wide = part.pivot_table(index=keys, columns="method", values=column)
    both = wide[[above, below]].dropna()
    return geometric_mean(both[above] / both[below])


def _observed_over_predicted(part: pd.DataFrame, method: str) -> Estimate:
    """Squared error over predicted squared error, each in units of the gradient's own square."""
    data = part[(part["method"] == method) & (part["predicted_squared_error"] > 0)]
    unit = data["squared_norm"]
    return ratio(data["squared_error"] / unit, data["predicted_squared_error"] / unit)


def _percent(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.1%}"
    return f"{estimate.value:.1%} [{estimate.low:.1%}, {estimate.high:.1%}]"


def _points(estimate: Estimate) -> str:
    value = f"{100 * estimate.value:+.1f}"
    if estimate.low is None or estimate.high is None:
        return f"{value} points"
    return f"{value} [{100 * estimate.low:+.1f}, {100 * estimate.high:+.1f}] points"


def _number(value: float) -> float:
    """Three significant digits."""
    return float(f"{value:.3g}")
