"""Part: derivatives of commuting generators read together, against parameter-shift at equal shots.

Errors of the gradient at random weights, and training of the bars-and-dots classifier; see `bars_and_dots`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from classical.cost import Cost
from studies.engine import Task
from studies.overhead.bars_and_dots import Array, Classifier, pictures

PART = "commuting"
ERROR, TRAINING = "gradient error", "training"
SHIFT, EQUAL, FEW = "parameter-shift", "commuting, equal shots", "commuting, one shot a circuit"
METHODS = (SHIFT, EQUAL, FEW)
SHARPNESS = 6.0
"""Of the logistic loss, log(1 + exp(-6 y <mean Z>)), as in the source's code."""
_HELD_OUT = 200
# Of Adam.
_FIRST, _SECOND, _TINY = 0.9, 0.999, 1e-8


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Sizes and budgets; the source trains 16 qubits on 1,000 pictures for 100 steps of 20 at rate 0.01."""

    error_qubits: tuple[int, ...]
    error_pictures: int = 4
    error_repeats: int
    """Gradients of each picture."""
    error_replicates: int
    """Draws of weights and pictures."""
    qubits: int
    steps: int
    batch: int = 20
    pictures: int = 1_000
    rate: float = 0.01
    circuit_shots: int = 1
    """Of each circuit of parameter-shift; commuting generators get as many in all, or one a circuit."""
    value_shots: int = 20
    """Of each picture's value in a step, for every method."""
    replicates: int


def specs(grid: Grid) -> Iterator[dict[str, Any]]:
    """Errors at every size, then every method's training from every start."""
    for qubits in grid.error_qubits:
        for replicate in range(grid.error_replicates):
            yield {
                "part": PART,
                "quantity": ERROR,
                "qubits": qubits,
                "pictures": grid.error_pictures,
                "repeats": grid.error_repeats,
                "circuit_shots": grid.circuit_shots,
                "replicate": replicate,
            }
    for method in METHODS:
        for replicate in range(grid.replicates):
            yield {
                "part": PART,
                "quantity": TRAINING,
                "qubits": grid.qubits,
                "method": method,
                "steps": grid.steps,
                "batch": grid.batch,
                "pictures": grid.pictures,
                "rate": grid.rate,
                "circuit_shots": grid.circuit_shots,
                "value_shots": grid.value_shots,
                "replicate": replicate,
            }


@lru_cache(maxsize=8)
def classifier_of(qubits: int) -> Classifier:
    return Classifier(qubits=qubits)


def run(task: Task) -> dict[str, Any]:
    return _errors(task) if task.spec["quantity"] == ERROR else _training(task)


def equal_shots(model: Classifier, circuit_shots: int) -> int:
    """Shots of each commuting circuit at which a gradient has as many as by parameter-shift, or just fewer."""
    return max(1, 2 * model.num_strings * circuit_shots // model.qubits)


def _errors(task: Task) -> dict[str, Any]:
    """Mean squared errors of a picture's derivatives, for one shot in all: what counts at equal shots."""
    spec: dict[str, Any] = dict(task.spec)
    model, rng = classifier_of(spec["qubits"]), task.generator("draws")
    weights = rng.uniform(0, 2 * np.pi, model.num_params)
    x, _ = pictures(spec["pictures"], spec["qubits"], rng)
    exact, many = model.gradients(weights, x), np.repeat(x, spec["repeats"], axis=0)
    found: dict[str, Any] = {
        "num_params": model.num_params,
        "strings": model.num_strings,
        "string_weight": float(np.mean([len(each[0]) for each in model.supports for _ in each])),
        "mean_square": float((exact**2).mean()),
    }
    cost = Cost()
    for name, gradients, shots in (
        ("shift", model.shift_gradients, spec["circuit_shots"]),
        ("commuting", model.commuting_gradients, equal_shots(model, spec["circuit_shots"])),
    ):
        values, paid = gradients(weights, many, shots, rng)
        errors = values.reshape(len(x), spec["repeats"], -1) - exact[:, None]
        each = paid.shots / len(many)
        found[f"{name}_error"] = float((errors**2).mean()) * each
        found[f"{name}_bias"] = float(
            np.abs(errors.mean(1)).max() / (errors.std(1).max() / spec["repeats"] ** 0.5)
        )
        found[f"{name}_circuits"] = paid.circuits // len(many)
        cost += paid
    return {**found, "error_ratio": found["shift_error"] / found["commuting_error"], "cost": cost}


def _training(task: Task) -> dict[str, Any]:
    """Loss and accuracy on held-out pictures, exact, on the way."""
    spec: dict[str, Any] = dict(task.spec)
    model, rng = classifier_of(spec["qubits"]), task.generator("shots")
    # Methods of a replicate have the same pictures, batches and first weights.
    shared = {name: spec[name] for name in spec if name != "method"}
    common = replace(task, spec=shared).generator("data")
    x, classes = pictures(spec["pictures"], spec["qubits"], common)
    unseen = pictures(_HELD_OUT, spec["qubits"], common)
    weights = common.uniform(0, 2 * np.pi, model.num_params)
    cost, averages = Cost(), np.zeros((2, model.num_params))
    every = max(1, spec["steps"] // 20)
    curve = [[0, 0, *_judged(model, weights, *unseen)]]
    for step in range(1, spec["steps"] + 1):
        batch = common.choice(len(x), spec["batch"], replace=False)
        slope, paid = _loss_gradient(model, weights, x[batch], classes[batch], spec, rng)
        cost += paid
        kept = np.array([[_FIRST], [_SECOND]])
        averages = kept * averages + (1 - kept) * np.stack([slope, slope**2])
        first, second = averages / (1 - kept**step)
        weights = weights - spec["rate"] * first / (np.sqrt(second) + _TINY)
        if step % every == 0 or step == spec["steps"]:
            curve.append([step, cost.shots, *_judged(model, weights, *unseen)])
    return {
        "num_params": model.num_params,
        "strings": model.num_strings,
        "curve": [[int(step), int(shots), float(loss), float(right)] for step, shots, loss, right in curve],
        "start_loss": float(curve[0][2]),
        "end_loss": float(curve[-1][2]),
        "start_accuracy": float(curve[0][3]),
        "end_accuracy": float(curve[-1][3]),
        "cost": cost,
    }


def _loss_gradient(
    model: Classifier,
    weights: Array,
    x: Array,
    classes: Array,
    spec: dict[str, Any],
    rng: np.random.Generator,
) -> tuple[Array, Cost]:
    """Slope of the batch's mean loss, from measured values and, independent of them, measured derivatives.

    The loss is not linear in the value, so noise of values biases the slope a little, for all methods alike.
    """
    values, paid = model.sampled_values(weights, x, spec["value_shots"], rng)
    if spec["method"] == SHIFT:
        slopes, more = model.shift_gradients(weights, x, spec["circuit_shots"], rng)
    else:
        shots = equal_shots(model, spec["circuit_shots"]) if spec["method"] == EQUAL else 1
        slopes, more = model.commuting_gradients(weights, x, shots, rng)
    pull = -SHARPNESS * classes / (1 + np.exp(SHARPNESS * classes * values))
    return pull @ slopes / len(x), paid + more


def _judged(model: Classifier, weights: Array, x: Array, classes: Array) -> tuple[float, float]:
    """Exact mean loss, and the share of right classes."""
    values = model.values(weights, x)
    return float(np.log1p(np.exp(-SHARPNESS * classes * values)).mean()), float((values * classes > 0).mean())


def price(task: Task) -> Cost:
    """Circuits and shots, as they are run."""
    spec: dict[str, Any] = dict(task.spec)
    model = classifier_of(spec["qubits"])
    shift, together = 2 * model.num_strings, model.qubits
    equal = equal_shots(model, spec["circuit_shots"])
    if spec["quantity"] == ERROR:
        count = spec["pictures"] * spec["repeats"]
        circuits, shots = shift + together, shift * spec["circuit_shots"] + together * equal
    else:
        count = spec["steps"] * spec["batch"]
        circuits = 1 + (shift if spec["method"] == SHIFT else together)
        each = {SHIFT: shift * spec["circuit_shots"], EQUAL: together * equal, FEW: together}
        shots = spec["value_shots"] + each[spec["method"]]
    sources: Any = {"circuits": "computed", "shots": "computed"}
    return Cost(circuits=count * circuits, shots=count * shots, sources=sources)


def duration(task: Task) -> float:
    """Seconds, roughly."""
    states = 1e-7 * 2.0 ** int(str(task.spec["qubits"]))
    return 2e-7 * price(task).shots + states * 20 * float(str(task.spec.get("steps", 1)))
