"""Part B: an encoder, a circuit and a head trained together on digits."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from classical.cost import Cost
from classical.digits import Digits, load_digits
from hybrid import SPSA, Backprop, Objective, ParameterShift, QuantumLayer
from hybrid.backends import Exact, Sampled
from hybrid.gradients import AbstractGradientEstimator
from hybrid.pipeline import HybridModel, Ledger, train_step
from hybrid.pricing import HERON, circuit_seconds
from qtn import LowRankLinear, MPOLinear, replace_linears
from studies.circuits import angle_classifier
from studies.engine import Task

PART = "hybrid step"
NUM_QUBITS = 4
NUM_LAYERS = 3
NUM_CLASSES = 10
CONTROL = "control"

# The encoder's two large layers and how they are replaced.
ENCODERS: Mapping[str, Callable[[nn.Linear, float], nn.Module] | None] = {
    "MPO": lambda linear, keep: MPOLinear.from_dense(linear, keep=keep),
    "low rank": lambda linear, keep: LowRankLinear.from_dense(linear, keep=keep),
    "dense": None,
}
_LARGE = ("0", "2")


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


class ScaledTanh(nn.Module):
    """The control for the circuit: `scale * tanh(W x + b)`, with as many weights as the circuit has."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        super().__init__()
        bound = 1 / math.sqrt(size)
        self.weight = nn.Parameter(torch.from_numpy(rng.uniform(-bound, bound, (size, size))))
        self.bias = nn.Parameter(torch.zeros(size, dtype=torch.float64))
        self.scale = nn.Parameter(torch.ones(size, dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.scale * torch.tanh(inputs @ self.weight.T + self.bias)


class Angles(nn.Module):
    """Turns features into angles in (-pi, pi)."""

    def forward(self, inputs: Tensor) -> Tensor:
        return math.pi * torch.tanh(inputs)


def dense_linear(inputs: int, outputs: int, rng: np.random.Generator) -> nn.Linear:
    """A linear layer with torch's usual initial distribution, drawn from `rng`."""
    layer = nn.Linear(inputs, outputs, dtype=torch.float64, device="meta").to_empty(device="cpu")
    bound = 1 / math.sqrt(inputs)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(rng.uniform(-bound, bound, (outputs, inputs))))
        layer.bias.copy_(torch.from_numpy(rng.uniform(-bound, bound, outputs)))
    return layer


_SHARED = ("replicate", "pretrain_steps", "batch", "num_train", "num_test")


@lru_cache(maxsize=2)
def _pretrained(shared: Task) -> tuple[nn.Module, Digits]:
    """Digits, and the dense encoder trained briefly under a linear head; the same for all methods."""
    task, spec = shared, dict[str, Any](shared.spec)
    digits = load_digits(num_train=spec["num_train"], num_test=spec["num_test"], rng=task.generator("digits"))
    rng = task.generator("encoder")
    encoder = nn.Sequential(
        dense_linear(784, 256, rng), nn.ReLU(), dense_linear(256, 64, rng), nn.ReLU(),
        dense_linear(64, NUM_QUBITS, rng), Angles(),
    )  # fmt: skip
    model = nn.Sequential(encoder, dense_linear(NUM_QUBITS, NUM_CLASSES, rng))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.002)
    for images, labels in batches(
        digits, spec["batch"], spec["pretrain_steps"], task.generator("pretraining batches")
    ):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimiser.step()
    return encoder, digits


def batches(
    digits: Digits, batch: int, steps: int, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """`steps` random batches: images (batch, 784) and labels."""
    flat = digits.train_images.flatten(1)
    for _ in range(steps):
        picked = torch.from_numpy(rng.choice(len(flat), size=batch, replace=False))
        yield flat[picked], digits.train_labels[picked]


def accuracy(model: nn.Module, digits: Digits) -> float:
    """Fraction of held-out digits that the model gets right."""
    with torch.no_grad():
        guessed = model(digits.test_images.flatten(1)).argmax(1)
    return float((guessed == digits.test_labels).double().mean())


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


def _compressed(dense: nn.Module, form: str, keep: float) -> nn.Module:
    """A copy of the encoder with its large layers in another form."""
    make = ENCODERS[form]
    if make is None:
        return copy.deepcopy(dense)

    def replacement(linear: nn.Linear) -> nn.Module:
        return make(linear, keep)

    return replace_linears(dense, dict.fromkeys(_LARGE, replacement))


def run(task: Task) -> dict[str, Any]:
    """Metrics of one training run: accuracies on the way, costs by phase."""
    spec: dict[str, Any] = dict(task.spec)
    dense, digits = _pretrained(replace(task, spec={name: spec[name] for name in _SHARED}))
    encoder = _compressed(dense, spec["encoder"], spec["keep"])
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
