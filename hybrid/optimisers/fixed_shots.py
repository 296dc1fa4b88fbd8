"""The control: the same shots at every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from hybrid.backends.base import AbstractBackend
from hybrid.estimating import Theta
from hybrid.gradients.base import AbstractShotEstimator
from hybrid.gradients.parameter_shift import ParameterShift
from hybrid.objective import Objective
from hybrid.optimisers.base import AbstractOptimiser, Step, check_learning_rate, check_rule, checked_start
from hybrid.optimisers.component_shots import component_shots
from hybrid.plan import Plan
from hybrid.shots import BudgetTooSmall, whole_shots

Update = Literal["gradient descent", "Adam"]

# Of Adam: weights of the past in the averages of slopes and of their squares, and what keeps a fraction finite.
_FIRST, _SECOND, _TINY = 0.9, 0.999, 1e-8


@dataclass(frozen=True, kw_only=True)
class FixedShots(AbstractOptimiser):
    """Gradient descent or Adam with the same shots at every step; any gradient rule from shots.

    Source of Adam: Kingma and Ba 2015, arXiv:1412.6980, algorithm 1, with its constants 0.9, 0.999 and 1e-8.

    Args:
        step_shots: of one gradient, which the rule's allocation shares.
        update: "gradient descent", theta - a g, or "Adam".
    """

    learning_rate: float
    step_shots: int
    update: Update = "gradient descent"
    rule: AbstractShotEstimator = field(default_factory=ParameterShift)

    def __post_init__(self) -> None:
        check_learning_rate(self.learning_rate)
        check_rule(self.rule)
        if whole_shots(self.step_shots, "step_shots") < 1:
            raise ValueError(f"Argument `step_shots` must be at least 1, but is {self.step_shots}.")
        if self.update not in get_args(Update):
            raise ValueError(
                f"Argument `update` must be one of {list(get_args(Update))}, but is {self.update!r}."
            )

    @property
    def name(self) -> str:
        return f"fixed shots, {self.update}"

    def steps(
        self,
        objective: Objective,
        theta: Theta,
        *,
        backend: AbstractBackend,
        total_shots: int,
        rng: np.random.Generator,
    ) -> Iterator[Step]:
        start, total = checked_start(objective, theta, backend, total_shots, rng)
        first = self.rule.plan(objective, start, total_shots=min(total, self.step_shots), rng=rng)
        return self._go(first, start, backend, total, rng)

    def _go(
        self, plan: Plan, theta: Tensor, backend: AbstractBackend, left: int, rng: np.random.Generator
    ) -> Iterator[Step]:
        move = _mover(self.update)
        while True:
            gradient = self.rule.combine(plan, plan.run(backend, rng))
            moved = theta - self.learning_rate * move(gradient.values)
            spent = plan.total_shots or 0
            yield Step(
                theta=theta,
                next_theta=moved,
                gradient=gradient,
                shots=component_shots(plan),
                cut=spent < self.step_shots,
            )
            theta, left = moved, left - spent
            try:
                plan = self.rule.plan(plan.objective, theta, total_shots=min(left, self.step_shots), rng=rng)
            except BudgetTooSmall:
                return


def _mover(update: Update) -> Callable[[Tensor], Tensor]:
    """What turns a gradient into a direction of one learning rate; it remembers the ones before."""
    if update == "gradient descent":
        return lambda slopes: slopes
    averages = torch.zeros(2, 1, dtype=torch.float64)
    count = 0

    def move(slopes: Tensor) -> Tensor:
        nonlocal averages, count
        count += 1
        kept = torch.tensor([[_FIRST], [_SECOND]], dtype=torch.float64)
        averages = kept * averages + (1 - kept) * torch.stack([slopes, slopes**2])
        first, second = averages / (1 - kept**count)
        return first / (second.sqrt() + _TINY)

    return move
