"""The tables and sentences of `gradient_scaling`, as functions of its rows."""

from __future__ import annotations

import pandas as pd

from studies.engine.statistics import Estimate, geometric_mean, mean, ratio
from studies.scaling.drawings import (
    SAMPLED,
    alone,
    hybrid_steps,
    in_order,
    largest_qubits,
    mean_accuracy,
    power,
    slope_text,
    sweep,
)
from studies.scaling.hybrid_step import CONTROL


def gradient_table(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a method, at the largest size of part A with two measurement bases."""
    part = alone(rows)
    part = part[part["bases"] == part["bases"].max()]
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
    """All tables of the study by title."""
    return {
        "One gradient at the largest size, two measurement bases, means over circuits and replicates": gradient_table(
            rows
        ),
        f"Hybrid training, means over {hybrid_steps(rows)['replicate'].nunique()} replicates": hybrid_table(
            rows
        ),
    }


def answer(rows: pd.DataFrame) -> list[str]:
    """What the rows say, in sentences with their conditions."""
    return [*_cost_sentences(rows), *_error_sentences(rows), *_hybrid_sentences(rows)]


def _cost_sentences(rows: pd.DataFrame) -> list[str]:
    part = alone(rows)
    part["circuits_a_basis"] = part["cost_circuits"] / part["bases"]
    deep = largest_qubits(part)
    qubits = int(deep["qubits"].iloc[0])
    exponents = [
        f"{method} {slope_text(power(deep[deep['method'] == method], 'num_params', 'cost_wall_seconds'))}"
        for method in ("parameter-shift", "adjoint", "backprop")
    ]
    ratios = _paired_ratio(deep, "parameter-shift", "adjoint", "cost_wall_seconds")
    circuits = ", ".join(
        f"{method} {slope_text(power(part[part['method'] == method], 'num_params', 'circuits_a_basis'))}"
        for method in ("parameter-shift (shots)", "finite differences", "SPSA")
    )
    return [
        f"Circuits for one gradient grow with the parameters P with the exponent: {circuits}; that is 2 P circuits, "
        "2 P circuits and 2 circuits, times the measurement bases.",
        f"Simulated on one thread at {qubits} qubits, wall time grows with P (by depth) with the exponent: "
        f"{', '.join(exponents)}. All 2 P shifted circuits in one tangent pass take {ratios} times as long as the "
        "adjoint sweep, which gives the same numbers.",
    ]


def _error_sentences(rows: pd.DataFrame) -> list[str]:
    by_shots, by_params = sweep(rows), alone(rows)
    exponents = ", ".join(
        f"{method} {slope_text(power(by_shots[by_shots['method'] == method], 'total_shots', 'relative_error'))}"
        for method in SAMPLED
    )
    growth = slope_text(power(by_params[by_params["method"] == SAMPLED[0]], "num_params", "relative_error"))
    quality = "; ".join(
        f"{method} {_observed_over_predicted(pd.concat([by_params, by_shots]), method)}" for method in SAMPLED
    )
    size = by_shots.iloc[0]
    budget = int(by_params["total_shots"].max())
    return [
        f"At equal total shots the relative error falls with the exponent: {exponents} "
        f"({int(size['qubits'])} qubits, P = {int(size['num_params'])}, {size['hamiltonian']}).",
        f"At {budget:,} shots a gradient the relative error of sampled parameter-shift grows with P with the "
        f"exponent {growth} over all sizes.",
        f"Observed squared error over the error that the estimator predicts from its own shots: {quality}. One is "
        "right; the brackets are 95 percent intervals over gradients.",
    ]


def _hybrid_sentences(rows: pd.DataFrame) -> list[str]:
    part = hybrid_steps(rows)
    sentences = []
    for encoder in part["encoder"].unique():
        data = part[part["encoder"] == encoder]
        at_steps = ", ".join(
            f"{method} {_percent(mean_accuracy(data[data['method'] == method]['accuracy_equal_steps']))}"
            for method in in_order(data["method"].unique().tolist())
        )
        spsa = _percent(mean_accuracy(data[data["method"] == "SPSA"]["accuracy_end"]))
        shift = data[data["method"] == SAMPLED[0]]
        seconds = data.groupby("method")["device_seconds"].mean()

        def hours(method: str, seconds: pd.Series = seconds) -> float:
            return _number(seconds[method] / 3600)

        sentences.append(
            f"{encoder[0].upper()}{encoder[1:]} encoder, {int(data['encoder_params'].iloc[0]):,} parameters, after "
            f"{int(data['compare_at'].iloc[0])} steps: {at_steps}. With all shots of that sampled parameter-shift run "
            f"({_percent(mean_accuracy(shift['accuracy_end']))}), spent on ten times as many steps, SPSA reaches "
            f"{spsa}; with two jobs a step a Heron device would take an estimated {hours('SPSA')} h instead of "
            f"{hours(SAMPLED[0])} h."
        )
    both = part.pivot_table(index=["encoder", "replicate"], columns="method", values="accuracy_equal_steps")
    # Encoders of one replicate share digits and starts: the replicate is the independent unit.
    gap = mean((both["backprop"] - both[CONTROL]).groupby("replicate").mean())
    sentences.append(
        f"Control: with exact gradients the circuit is {_points(gap)} of accuracy ahead of the classical layer with "
        "as many weights, averaged over encoders, in "
        f"{gap.count} pairs that share digits, encoders and heads; "
        + (
            "the interval does not hold zero, for this task, these sizes and these learning rates."
            if gap.low is not None and gap.high is not None and (gap.low > 0 or gap.high < 0)
            else "the interval holds zero, so no advantage of either is shown."
        )
    )
    return sentences


def _paired_ratio(part: pd.DataFrame, above: str, below: str, column: str) -> Estimate:
    keys = ["entangler", "hamiltonian", "qubits", "layers", "replicate"]
    wide = part.pivot_table(index=keys, columns="method", values=column)
    return geometric_mean(wide[above] / wide[below])


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
