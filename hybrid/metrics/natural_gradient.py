"""The natural gradient: a gradient measured by the metric of the states."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from classical.cost import Cost
from hybrid.backends.base import AbstractBackend
from hybrid.estimating import Theta, WithRespectTo, check_kinds
from hybrid.gradients.base import (
    AbstractGradientEstimator,
    AbstractShotEstimator,
    AbstractSimulatorEstimator,
    Gradient,
)
from hybrid.gradients.parameter_shift import ParameterShift
from hybrid.metrics.base import AbstractMetricEstimator, Metric
from hybrid.metrics.block_diagonal import BlockDiagonalMetric
from hybrid.metrics.exact import ExactMetric
from hybrid.metrics.parameter_noise import parameter_noise
from hybrid.objective import Objective
from hybrid.shots import BudgetTooSmall, whole_shots

# Eigenvalues below this share of the largest count as zero: rounding in double precision is far below.
_ZERO = 1e-10


@dataclass(frozen=True, kw_only=True, eq=False)
class NaturalDirection:
    """A natural gradient with its errors. Float64, detached, on the CPU.

    Args:
        values, std_errors: shape (*batch, P); the errors are those of the gradient, taken through the metric
            as it was measured.
        ridge: shape (*batch), what was added to the metric.
        cost: of the gradient and the metric together.
    """

    values: Tensor
    std_errors: Tensor
    ridge: Tensor
    cost: Cost
    gradient: Gradient
    metric: Metric


@dataclass(frozen=True, kw_only=True)
class NaturalGradient:
    """(|g| + ridge)^-1 times the gradient, g the Fubini-Study metric.

    A step against it moves the state, not the parameters, down the steepest way. Noise can give a metric
    negative eigenvalues: their absolute values are taken, |g| = sqrt(g g), as in Gacon et al. 2021,
    arXiv:2103.09232. What is then, with the ridge, below 1e-10 of the largest is a direction in which the
    state does not move, nor the value: the result has no part along it. Source: Stokes et al. 2020,
    arXiv:1909.02108.

    Cost: that of the gradient and that of the metric, and P^3 operations; SPSA with SPSAMetric takes 2
    circuits, times measurement bases, and 4.

    Args:
        gradient: gradient rule, ParameterShift by default.
        metric: metric rule, BlockDiagonalMetric by default.
        ridge: what is added to all eigenvalues. None: the size of the metric's own noise, the root mean
            square length of its error along a random direction, sqrt(sum of std_errors^2 / P), row by row: an
            eigenvalue below that says nothing, and dividing by it would blow noise up. So it is zero for
            exact metrics, and falls with shots.
        metric_share: share of the shots that the metric gets. With equal shares the variance that both cause
            is at most twice that of the best split, whatever that is: V/f + W/(1 - f) is 2 (V + W) at one
            half, and never below V + W.
    """

    gradient: AbstractGradientEstimator = field(default_factory=ParameterShift)
    metric: AbstractMetricEstimator = field(default_factory=BlockDiagonalMetric)
    ridge: float | None = None
    metric_share: float = 0.5

    def __post_init__(self) -> None:
        for name, kind in (("gradient", AbstractGradientEstimator), ("metric", AbstractMetricEstimator)):
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"Argument `{name}` must be a {name} rule, but is {getattr(self, name)!r}.")
        if self.ridge is not None and not (self.ridge >= 0 and math.isfinite(self.ridge)):
            raise ValueError(f"Argument `ridge` must be finite and not negative, but is {self.ridge}.")
        if not 0 < self.metric_share < 1:
            raise ValueError(
                f"Argument `metric_share` must lie strictly between 0 and 1, but is {self.metric_share}."
            )

    @property
    def name(self) -> str:
        """Name, as it stands in tables and figures."""
        return f"natural gradient, {self.gradient.name}, {self.metric.name}"

    def direction(
        self,
        objective: Objective,
        theta: Theta,
        *,
        backend: AbstractBackend,
        total_shots: int | None = None,
        rng: np.random.Generator | None = None,
        wrt: WithRespectTo | None = None,
    ) -> NaturalDirection:
        """Returns the natural gradient at `theta`, shape (*batch, P); downhill is against it.

        `std_errors` are the gradient's errors, taken to first order through the metric that was measured:
        noise of the metric itself is not in them.

        Args:
            total_shots: for each row of the batch, gradient and metric together; None for exact values.
            rng: for shots and random directions, of the gradient first.
            wrt: the parameters to differentiate, or their places in theta; all by default.

        Raises:
            ValueError: for a wrong theta or a list of observables; `BudgetTooSmall` for too few shots.
            NeedsSimulator: when the backend only measures and a rule needs more.
        """
        check_kinds(objective, backend)
        _check_scalar(objective)
        if isinstance(self.gradient, AbstractSimulatorEstimator):
            self.gradient.require_simulator(backend)
        if isinstance(self.metric, ExactMetric):
            self.metric.require_simulator(backend)
        backend.check(total_shots, rng)
        # A budget that is too small for either is refused before anything is run.
        self.price(objective, total_shots=total_shots, wrt=wrt)
        shots, metric_shots = self._split(total_shots)
        gradient, noise = self._gradient(objective, theta, backend, shots, rng, wrt)
        metric = self.metric.metric(
            objective, theta, backend=backend, total_shots=metric_shots, rng=rng, wrt=wrt
        )
        ridge = self._ridge(metric)
        inverse = _inverse(metric.values, ridge)
        spread = (inverse @ noise * inverse).sum(-1)
        bias = (inverse @ gradient.biases[..., None])[..., 0]
        return NaturalDirection(
            values=(inverse @ gradient.values[..., None])[..., 0],
            std_errors=(spread.clamp_min(0) + bias**2).sqrt(),
            ridge=ridge,
            cost=gradient.cost + metric.cost,
            gradient=gradient,
            metric=metric,
        )

    def price(
        self,
        objective: Objective,
        *,
        rows: int = 1,
        total_shots: int | None = None,
        wrt: WithRespectTo | None = None,
    ) -> Cost:
        """Returns circuits and shots of both at `rows` parameter rows, without running any."""
        _check_scalar(objective)
        shots, metric_shots = self._split(total_shots)
        total = Cost()
        for rule, own in ((self.gradient, shots), (self.metric, metric_shots)):
            try:
                total += rule.price(objective, rows=rows, total_shots=own, wrt=wrt)
            except BudgetTooSmall as error:
                raise BudgetTooSmall(
                    f"Argument `total_shots` is {total_shots:,}, of which {rule.name} gets {own:,}, "
                    f"which is too few. {error}"
                ) from None
        return total

    def _split(self, total_shots: int | None) -> tuple[int | None, int | None]:
        """Shots of the gradient and of the metric."""
        if total_shots is None:
            return None, None
        own = round(self.metric_share * whole_shots(total_shots))
        return total_shots - own, own

    def _gradient(
        self,
        objective: Objective,
        theta: Theta,
        backend: AbstractBackend,
        total_shots: int | None,
        rng: np.random.Generator | None,
        wrt: WithRespectTo | None,
    ) -> tuple[Gradient, Tensor]:
        """The gradient, and the covariances of its noise between parameters, shape (*batch, P, P)."""
        rule = self.gradient
        if not isinstance(rule, AbstractShotEstimator):
            found = rule.gradient(
                objective, theta, backend=backend, total_shots=total_shots, rng=rng, wrt=wrt
            )
            return found, torch.diag_embed(found.covariances)
        plan = rule.plan(objective, theta, total_shots=total_shots, rng=rng, wrt=wrt)
        measured = plan.run(backend, rng)
        found = rule.combine(plan, measured)
        return found, parameter_noise(found, plan, measured)

    def _ridge(self, metric: Metric) -> Tensor:
        if self.ridge is not None:
            return torch.full(metric.values.shape[:-2], self.ridge, dtype=torch.float64)
        return ((metric.std_errors**2).sum((-2, -1)) / metric.values.shape[-1]).sqrt()


def _inverse(metric: Tensor, ridge: Tensor) -> Tensor:
    """(|metric| + ridge)^-1, without the directions in which that is zero, shape (*batch, P, P)."""
    eigenvalues, vectors = torch.linalg.eigh(metric)
    sizes = eigenvalues.abs() + ridge[..., None]
    kept = sizes > _ZERO * sizes.amax(-1, keepdim=True)
    inverses = torch.where(kept, 1 / sizes.clamp_min(torch.finfo(sizes.dtype).tiny), 0.0)
    return (vectors * inverses[..., None, :]) @ vectors.mT


def _check_scalar(objective: Objective) -> None:
    if not objective.is_scalar:
        raise ValueError(
            "A natural gradient is that of one value, but the objective is a list of "
            f"{objective.num_observables}: make an Objective of a single observable, their weighted sum say."
        )
