"""Part B: an encoder, a circuit and a head trained together on digits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from classical.cost import Cost
from classical.digits import Digits
from hybrid import SPSA, Backprop, Objective, ParameterShift, QuantumLayer
from hybrid.backends import Exact, Sampled
from hybrid.gradients import AbstractGradientEstimator
from hybrid.pipeline import HybridModel, Ledger, train_step
from hybrid.pricing import HERON, circuit_seconds
from studies.circuits import angle_classifier
from studies.engine import Task
from studies.scaling.models import (
    NUM_CLASSES,
    NUM_FEATURES,
    SHARED,
    ScaledTanh,
    accuracy,
    batches,
    compressed,
    dense_linear,
    pretrained,
)

PART = "hybrid step"
NUM_QUBITS = NUM_FEATURES
NUM_LAYERS = 3
CONTROL = "control"


@dataclass(frozen=True, kw_only=True)
class Training:
    """Sizes and budgets of part B."""

    encoders: tuple[str, ...] = ("MPO", "low rank", "dense")
    keep: float = 0.3
    pretrain_steps: int
    steps: int
    batch: int
    shots_per_circuit: int
    """Of sampled parameter-shift. Two methods spend a tenth of the shots of a step and take ten times the steps."""
    encoder_rate: float = 0.001
    """Learning rate of Adam for the encoder, which is trained already."""
    rate: float = 0.05
    """And for the middle layer and the head, which start at random."""
    num_train: int = 4000
    num_test: int = 1000
    checkpoints: int = 10
    replicates: int


SAVING = 10
SHIFT, FEW, SIMULTANEOUS = "parameter-shift (shots)", "parameter-shift (few shots)", "SPSA"
_ESTIMATORS: Mapping[str, AbstractGradientEstimator] = {
    "backprop": Backprop(),
    "parameter-shift": ParameterShift(),
    SHIFT: ParameterShift(),
    FEW: ParameterShift(),
    SIMULTANEOUS: SPSA(),
}


def methods(training: Training) -> dict[str, dict[str, Any]]:
    """Steps and shots a gradient of each method; the three with shots spend as many in all."""
    rotations = NUM_QUBITS + 2 * NUM_QUBITS * NUM_LAYERS
    each, few = training.shots_per_circuit, training.shots_per_circuit // SAVING
    # A step of SPSA runs three circuits a row, one forward and two back.
    third = (2 * rotations + 1) * few // 3
    exact = {"total_shots": None, "value_shots": None}
    short, long = {"steps": training.steps}, {"steps": training.steps * SAVING}
    return {
        "parameter-shift": {**short, **exact},
        SHIFT: {**short, "total_shots": 2 * rotations * each, "value_shots": each},
        FEW: {**long, "total_shots": 2 * rotations * few, "value_shots": few},
        SIMULTANEOUS: {**long, "total_shots": 2 * third, "value_shots": third},
        "backprop": {**long, **exact},
        CONTROL: {**long, **exact},
    }


def specs(training: Training) -> Iterator[dict[str, Any]]:
    """Every encoder with every method."""
    for replicate in range(training.replicates):
        for encoder in training.encoders:
            for method, budget in methods(training).items():
                yield {
                    "part": PART,
                    "encoder": encoder,
                    "method": method,
                    "replicate": replicate,
                    "keep": training.keep,
                    "pretrain_steps": training.pretrain_steps,
                    "compare_at": training.steps,
                    "batch": training.batch,
                    "encoder_rate": training.encoder_rate,
                    "rate": training.rate,
                    "num_train": training.num_train,
                    "num_test": training.num_test,
                    "checkpoints": training.checkpoints,
                    **budget,
                }


def _classifier() -> tuple[Objective, list[Any]]:
    circuit, inputs, observables = angle_classifier(NUM_QUBITS, NUM_LAYERS)
    return Objective(circuit, observables), list(inputs)


def _middle(start: Task, task: Task) -> nn.Module:
    spec: dict[str, Any] = dict(task.spec)
    method, total_shots = spec["method"], spec["total_shots"]
    if method == CONTROL:
        return ScaledTanh(NUM_QUBITS, start.generator("control"))
    objective, inputs = _classifier()
    layer = QuantumLayer(
        objective,
        inputs=inputs,
        estimator=_ESTIMATORS[method],
        backend=Exact() if total_shots is None else Sampled(),
        total_shots=total_shots,
        value_shots=spec["value_shots"],
        rng=task.generator("shots"),
    )
    first = start.generator("circuit").uniform(0, 2 * math.pi, size=len(layer.weights))
    with torch.no_grad():
        layer.weights.copy_(torch.from_numpy(first))
    return layer


def run(task: Task) -> dict[str, Any]:
    """Metrics of one training run: accuracies on the way, costs by phase."""
    spec: dict[str, Any] = dict(task.spec)
    dense, digits = pretrained(replace(task, spec={name: spec[name] for name in SHARED}))
    encoder = compressed(dense, spec["encoder"], spec["keep"])
    # Methods of one replicate start at the same weights and see the same batches: they are compared in pairs.
    start = replace(task, spec={"replicate": spec["replicate"]})
    head = dense_linear(NUM_QUBITS, NUM_CLASSES, start.generator("head"))
    model = HybridModel(encoder, _middle(start, task), head)
    ledger = Ledger()
    optimiser = torch.optim.Adam(
        [
            {"params": model.encoder.parameters(), "lr": spec["encoder_rate"]},
            {"params": [*model.middle.parameters(), *model.head.parameters()], "lr": spec["rate"]},
        ]
    )
    marks = {round(spec["steps"] * i / spec["checkpoints"]) for i in range(1, spec["checkpoints"] + 1)}
    marks.add(spec["compare_at"])
    curve = [[0, 0, _exact_accuracy(model, digits)]]
    drawn = batches(digits, spec["batch"], spec["steps"], start.generator("batches"))
    for step, (images, labels) in enumerate(drawn, start=1):
        train_step(
            model, images, labels, loss=nn.functional.cross_entropy, optimiser=optimiser, ledger=ledger
        )
        if step in marks:
            curve.append([step, ledger.total().shots, _exact_accuracy(model, digits)])
    at_equal_steps = next(value for step, _, value in curve if step == spec["compare_at"])
    total = ledger.total()
    seconds = _device_seconds(total.shots, spec["steps"]) if total.shots else None
    return {
        "encoder_params": sum(p.numel() for p in encoder.parameters()),
        "middle_params": sum(p.numel() for p in model.middle.parameters()),
        "accuracy_start": curve[0][2],
        "accuracy_equal_steps": at_equal_steps,
        "accuracy_end": curve[-1][2],
        "curve": curve,
        "phase_circuits": {phase: cost.circuits for phase, cost in ledger.by_phase.items()},
        "phase_shots": {phase: cost.shots for phase, cost in ledger.by_phase.items()},
        "device_seconds": seconds,
        "device_dollars": None if seconds is None else seconds * HERON.dollars_per_second,
        "cost": total,
        "timing": {
            "phase_wall_seconds": {
                phase: (cost.wall_seconds or 0.0) / spec["steps"] for phase, cost in ledger.by_phase.items()
            }
        },
    }


def _exact_accuracy(model: HybridModel, digits: Digits) -> float:
    """Accuracy with exact circuit values, so that it judges the weights and not the shots."""
    middle = model.middle
    if not isinstance(middle, QuantumLayer):
        return accuracy(model, digits)
    judge = QuantumLayer(
        middle.objective, inputs=middle.inputs, estimator=Backprop(), rng=np.random.default_rng(0)
    )
    judge.load_state_dict(middle.state_dict())
    return accuracy(HybridModel(model.encoder, judge, model.head), digits)


def _device_seconds(shots: int, steps: int) -> float:
    """Time of the same shots on a Heron device, one job forward and one backward a step; an estimate."""
    objective, _ = _classifier()
    execution = HERON.repetition_seconds + circuit_seconds(objective.circuit)
    return 2 * steps * HERON.job_seconds + shots * execution


def price(task: Task) -> Cost:
    """Circuits and shots of a training run, and an estimate of what they would cost on a Heron device."""
    spec: dict[str, Any] = dict(task.spec)
    if spec["method"] == CONTROL:
        return Cost()
    layer = _middle(task, task)
    assert isinstance(layer, QuantumLayer)
    rows = spec["steps"] * spec["batch"]
    backward = Cost()
    if spec["method"] != "backprop":
        backward = layer.estimator.price(layer.objective, rows=1, total_shots=spec["total_shots"])
    forward_shots = layer.value_shots or 0
    bases = len(layer.objective.groups)
    circuits = Cost(
        circuits=rows * (backward.circuits + (1 if spec["method"] == "backprop" else bases)),
        shots=rows * (backward.shots + forward_shots),
        sources={"circuits": "computed", "shots": "computed"},
    )
    if circuits.shots == 0:
        return circuits
    seconds = _device_seconds(circuits.shots, spec["steps"])
    dollars = seconds * HERON.dollars_per_second
    estimate = Cost(
        jobs=2 * spec["steps"],
        qpu_seconds=seconds,
        dollars=dollars,
        sources={"jobs": "computed", "qpu_seconds": "estimated", "dollars": "estimated"},
    )
    return circuits + estimate


def duration(task: Task) -> float:
    """Relative time of a training run."""
    return 1.0 + int(str(task.spec["steps"])) / 60
