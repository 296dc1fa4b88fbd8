"""What an optimiser is: steps downhill, paid from a budget of shots."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from classical.cost import Cost
from hybrid.backends.base import AbstractBackend
from hybrid.estimating import Theta, check_kinds, check_parameters
from hybrid.gradients.base import AbstractShotEstimator, Gradient
from hybrid.objective import Objective
from hybrid.shots import BudgetTooSmall, whole_shots


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One step of an optimiser. Tensors of shape (P,), detached, on the CPU.

    Args:
        theta: where the gradient was measured.
        next_theta: where the step leads.
        gradient: with its errors, plan and cost.
        shots: int64, those that went into each component.
        cut: whether the step got fewer shots than it asked for, since the budget held no more.
    """

    theta: Tensor
    next_theta: Tensor
    gradient: Gradient
    shots: Tensor
    cut: bool

    @property
    def cost(self) -> Cost:
        """What the step took: circuits, shots, on a device one job."""
        return self.gradient.cost


class AbstractOptimiser(ABC):
    """Steps downhill until a budget of shots is spent."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name, as it stands in tables and figures."""

    @abstractmethod
    def steps(
        self,
        objective: Objective,
        theta: Theta,
        *,
        backend: AbstractBackend,
        total_shots: int,
        rng: np.random.Generator,
    ) -> Iterator[Step]:
        """Returns steps from `theta` (P,), one run of the backend each.

        The last step gets what is left, or is left out where that is less than its rule needs: the budget is never
        exceeded. The steps' costs sum to what was run.

        Args:
            total_shots: of all steps together.
            rng: for shots and random choices.

        Raises:
            ValueError: for a wrong theta, a list of observables, or a backend without shots; `BudgetTooSmall` when
                there are too few for one step.
        """


def checked_start(
    objective: Objective, theta: Theta, backend: AbstractBackend, total_shots: int, rng: np.random.Generator
) -> tuple[Tensor, int]:
    """The first theta (P,) and the budget, once all arguments of `steps` are right."""
    check_kinds(objective, backend)
    check_parameters(objective, "gradient")
    if not objective.is_scalar:
        raise ValueError(
            f"An optimiser goes down one value, but the objective is a list of {objective.num_observables}: make an "
            "Objective of a single observable, their weighted sum say."
        )
    rows, batch = objective.rows(theta)
    if batch:
        raise ValueError(
            f"Argument `theta` must have shape ({objective.num_params},), but has shape "
            f"{(*batch, objective.num_params)}: an optimiser goes from one point."
        )
    total = whole_shots(total_shots)
    backend.check(total, rng)
    return rows[0].detach().clone(), total


def check_learning_rate(learning_rate: float) -> None:
    """Refuses a rate that is not positive and finite."""
    if not (learning_rate > 0 and math.isfinite(learning_rate)):
        raise ValueError(f"Argument `learning_rate` must be positive and finite, but is {learning_rate}.")


def check_rule(rule: object) -> None:
    """Refuses what is not a gradient rule from shots."""
    if not isinstance(rule, AbstractShotEstimator):
        raise TypeError(
            f"Argument `rule` must be a gradient rule from shots such as ParameterShift(), but is {rule!r}."
        )


def too_few(total_shots: int, needed: int) -> BudgetTooSmall:
    """The error of a budget that does not hold one step."""
    return BudgetTooSmall(
        f"Argument `total_shots` must be at least {needed:,}, the shots of one step at the least, but is "
        f"{total_shots:,}."
    )


def sum_of_sizes(objective: Objective) -> float:
    """Sum of the sizes of the observable's coefficients, without the identity: no value is further from it."""
    return float(torch.as_tensor(objective.coefficients).abs().sum())
