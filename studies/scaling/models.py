"""The models of part B: a dense encoder, its compressed forms, and the control for the circuit."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from classical.digits import Digits, load_digits
from qtn import LowRankLinear, MPOLinear, replace_linears
from studies.engine import Task

NUM_FEATURES = 4
NUM_CLASSES = 10

# The encoder's two large layers and how they are replaced.
ENCODERS: Mapping[str, Callable[[nn.Linear, float], nn.Module] | None] = {
    "MPO": lambda linear, keep: MPOLinear.from_dense(linear, keep=keep),
    "low rank": lambda linear, keep: LowRankLinear.from_dense(linear, keep=keep),
    "dense": None,
}
_LARGE = ("0", "2")


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


SHARED = ("replicate", "pretrain_steps", "batch", "num_train", "num_test")


@lru_cache(maxsize=2)
def pretrained(shared: Task) -> tuple[nn.Module, Digits]:
    """Digits, and the dense encoder trained briefly under a linear head; the same for all methods."""
    task, spec = shared, dict[str, Any](shared.spec)
    digits = load_digits(num_train=spec["num_train"], num_test=spec["num_test"], rng=task.generator("digits"))
    rng = task.generator("encoder")
    encoder = nn.Sequential(
        dense_linear(784, 256, rng), nn.ReLU(), dense_linear(256, 64, rng), nn.ReLU(),
        dense_linear(64, NUM_FEATURES, rng), Angles(),
    )  # fmt: skip
    model = nn.Sequential(encoder, dense_linear(NUM_FEATURES, NUM_CLASSES, rng))
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


def compressed(dense: nn.Module, form: str, keep: float) -> nn.Module:
    """A copy of the encoder with its large layers in another form."""
    make = ENCODERS[form]
    if make is None:
        return copy.deepcopy(dense)

    def replacement(linear: nn.Linear) -> nn.Module:
        return make(linear, keep)

    return replace_linears(dense, dict.fromkeys(_LARGE, replacement))
