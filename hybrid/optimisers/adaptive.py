"""What optimisers share that choose the shots of each component anew at every step."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from hybrid.backends.base import AbstractBackend
from hybrid.estimating import Theta
from hybrid.gradients.base import AbstractShotEstimator
from hybrid.gradients.parameter_shift import ParameterShift
from hybrid.objective import Objective
from hybrid.optimisers.base import (
    AbstractOptimiser,
    Step,
    check_learning_rate,
    check_rule,
    checked_start,
    sum_of_sizes,
    too_few,
)
from hybrid.optimisers.component_shots import pieces_by_component, plan_by_component
from hybrid.shots import LEAST_SHOTS, apportion, whole_shots

_FIRST_SHOTS = 10


@dataclass(frozen=True, kw_only=True)
class AbstractAdaptive(AbstractOptimiser):
    """Gradient descent whose next shots come from moving averages of the slopes and of their noise.

    A component's one-shot variance v_i is the variance of its measured slope times its shots, over all circuits
    and measurement groups: so s_i counts every shot, not pairs of them.

    Args:
        learning_rate: a, below 2 / L.
        lipschitz: L, which bounds second derivatives. None: the sum of the sizes of the coefficients times the square
            of the largest frequency of a parameter, a bound for each parameter alone, as the sources take it; that of
            the whole Hessian is up to P times as large.
        averaging: mu in [0, 1), the weight of the past in the averages.
        regulariser: b, whose product with mu^k is added to squared slopes at step k.
        least_shots: of a component in one step, and its shots in the first one. None: 10 for each piece, that is
            circuit and measurement group, or each circuit where groups are drawn.
        rule: an unbiased gradient rule, each of whose circuits serves one component; its allocation shares the shots
            of a component.
    """

    learning_rate: float
    lipschitz: float | None = None
    averaging: float = 0.99
    regulariser: float = 1e-6
    least_shots: int | None = None
    rule: AbstractShotEstimator = field(default_factory=ParameterShift)

    def __post_init__(self) -> None:
        check_learning_rate(self.learning_rate)
        check_rule(self.rule)
        if self.lipschitz is not None and not (self.lipschitz > 0 and math.isfinite(self.lipschitz)):
            raise ValueError(f"Argument `lipschitz` must be positive and finite, but is {self.lipschitz}.")
        if not 0 <= self.averaging < 1:
            raise ValueError(f"Argument `averaging` must lie in [0, 1), but is {self.averaging}.")
        if not (self.regulariser >= 0 and math.isfinite(self.regulariser)):
            raise ValueError(
                f"Argument `regulariser` must be finite and not negative, but is {self.regulariser}."
            )
        if self.least_shots is not None:
            whole_shots(self.least_shots, "least_shots")

    @abstractmethod
    def wanted_shots(self, slopes: Tensor, variances: Tensor, lipschitz: float, extra: float) -> Tensor:
        """Returns the shots (P,) of the next step, float64 and not rounded.

        Args:
            slopes, variances: averages (P,) of slopes and of their one-shot variances.
            extra: added to squared slopes that stand below a fraction.
        """

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
        lipschitz = self.smoothness(objective)
        if self.learning_rate >= 2 / lipschitz:
            raise ValueError(
                f"Argument `learning_rate` must be below 2 / L = {2 / lipschitz:.4g} for L = {lipschitz:.4g}, beyond "
                f"which no step is sure to gain, but is {self.learning_rate}."
            )
        circuits, pieces = pieces_by_component(self.rule, objective, start, rng)
        served = circuits > 0
        least = self._least(circuits, pieces)
        needed = least * int(served.sum())
        if total < needed:
            raise too_few(total, needed)
        return self._go(objective, start, backend, total, rng, lipschitz, served, least)

    def smoothness(self, objective: Objective) -> float:
        """L, as it was given or bounded."""
        if self.lipschitz is not None:
            return self.lipschitz
        return sum_of_sizes(objective) * float(objective.program.max_frequencies().max()) ** 2

    def _least(self, circuits: Tensor, pieces: Tensor) -> int:
        drawn = self.rule.allocation.rows_share_draws
        most = int((circuits if drawn else pieces).max())
        if self.least_shots is None:
            return _FIRST_SHOTS * most
        if self.least_shots < LEAST_SHOTS * most:
            what = "circuit" if drawn else "circuit and measurement group"
            raise ValueError(
                f"Argument `least_shots` must be at least {LEAST_SHOTS * most}, {LEAST_SHOTS} for each {what} of a "
                f"component, but is {self.least_shots}: with fewer its slope would be biased or without error."
            )
        return self.least_shots

    def _go(
        self,
        objective: Objective,
        theta: Tensor,
        backend: AbstractBackend,
        left: int,
        rng: np.random.Generator,
        lipschitz: float,
        served: Tensor,
        least: int,
    ) -> Iterator[Step]:
        averages = torch.zeros(2, len(theta), dtype=torch.float64)
        wanted = torch.full((int(served.sum()),), least, dtype=torch.int64)
        index = 0
        while left >= least * len(wanted) > 0:
            cut = int(wanted.sum()) > left
            shots = torch.zeros(len(theta), dtype=torch.int64)
            shots[served] = apportion(left, wanted, least) if cut else wanted
            plan = plan_by_component(self.rule, objective, theta, shots, rng)
            gradient = self.rule.combine(plan, plan.run(backend, rng))
            left -= int(shots.sum())
            moved = theta - self.learning_rate * gradient.values
            yield Step(theta=theta, next_theta=moved, gradient=gradient, shots=shots, cut=cut)
            theta = moved
            now = torch.stack([gradient.values, gradient.covariances.clamp_min(0) * shots])
            averages = self.averaging * averages + (1 - self.averaging) * now
            slopes, variances = averages[:, served] / (1 - self.averaging ** (index + 1))
            extra = self.regulariser * self.averaging**index
            asked = self.wanted_shots(slopes, variances, lipschitz, extra)
            # More than is left, or endless, is cut at the next step.
            wanted = asked.nan_to_num(nan=0.0).clamp(least, max(least, 2 * left)).ceil().to(torch.int64)
            index += 1
