"""What a gradient rule is: parts to run, and how their values combine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from classical.cost import Cost
from classical.statevector import Statevector
from hybrid.allocation import AbstractAllocation, Uniform
from hybrid.allocation.base import checked_allocation
from hybrid.backends.base import AbstractBackend, Measured
from hybrid.backends.exact import Exact
from hybrid.estimating import (
    NeedsSimulator,
    Theta,
    WithRespectTo,
    check_kinds,
    check_parameters,
    checked_task,
    parameter_rows,
    refuse_shots,
)
from hybrid.objective import Objective
from hybrid.plan import Part, Plan
from hybrid.shots import whole_shots


@dataclass(frozen=True, kw_only=True, eq=False)
class Gradient:
    """A gradient with its errors.

    Float64, detached, on the CPU. P counts the parameters that were differentiated.

    Args:
        values, std_errors: shape (*batch, P), or (*batch, M, P) for a list of M observables. The errors hold shot
            noise, the noise of random directions, and `biases`.
        biases: same shape; estimated mean error of a rule that is not exact, zero for the others.
        covariances: noise without biases, between observables: (*batch, P), or (*batch, M, M, P) for a list.
        plan: None for estimators that differentiate a simulation.
    """

    values: Tensor
    std_errors: Tensor
    biases: Tensor
    covariances: Tensor
    cost: Cost
    plan: Plan | None


class AbstractGradientEstimator(ABC):
    """A rule that makes a gradient of an objective."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the rule, as it stands in tables and figures."""

    @property
    def remark(self) -> str:
        """What to know of its errors or its needs, in a few words."""
        return "exact rule: shot noise only"

    @abstractmethod
    def gradient(
        self,
        objective: Objective,
        theta: Theta,
        *,
        backend: AbstractBackend,
        total_shots: int | None = None,
        rng: np.random.Generator | None = None,
        wrt: WithRespectTo | None = None,
    ) -> Gradient:
        """Returns the gradient at `theta`, shape (*batch, P).

        Args:
            total_shots: shots for one gradient, that is for each row of the batch; None for exact values.
            rng: for shots and random directions.
            wrt: the parameters to differentiate, or their places in theta; all by default.

        Raises:
            ValueError: for a wrong theta; `BudgetTooSmall` for too few shots.
            NeedsSimulator: when the backend only measures and the rule needs more.
        """

    @abstractmethod
    def price(
        self,
        objective: Objective,
        *,
        rows: int = 1,
        total_shots: int | None = None,
        wrt: WithRespectTo | None = None,
    ) -> Cost:
        """Returns circuits and shots of gradients at `rows` parameter rows, without running any."""


@dataclass(frozen=True, kw_only=True)
class AbstractShotEstimator(AbstractGradientEstimator):
    """A rule that needs expectation values only: it runs on every backend, and can be priced and journaled.

    Args:
        allocation: how shots are shared among circuits and measurement groups.
    """

    allocation: AbstractAllocation = field(default_factory=Uniform)

    @property
    def rows_share_draws(self) -> bool:
        """Whether something is drawn for all rows of a call at once, so that their errors are not independent."""
        return self.allocation.rows_share_draws

    @abstractmethod
    def parts(
        self,
        objective: Objective,
        rows: Tensor,
        wrt: Tensor,
        *,
        total_shots: int | None,
        rng: np.random.Generator | None,
    ) -> Sequence[Part]:
        """Returns the circuits to run and their weights, at parameter rows (B, P), for derivatives by `wrt` (P',)."""

    def extra_noise(self, plan: Plan, measured: Sequence[Measured], values: Tensor) -> tuple[Tensor, Tensor]:
        """What the rule adds to shot noise: covariances (B, M, M, P) and biases (B, M, P). Zero for exact rules."""
        del plan, measured
        return _no_noise(values), torch.zeros_like(values)

    def plan(
        self,
        objective: Objective,
        theta: Theta,
        *,
        total_shots: int | None = None,
        rng: np.random.Generator | None = None,
        wrt: WithRespectTo | None = None,
    ) -> Plan:
        """Returns the circuits to run. Pure: nothing is run, and the same arguments give the same plan."""
        allocation = checked_allocation(self.allocation)
        task = checked_task(objective, theta, total_shots=total_shots, wrt=wrt, wanted="gradient")
        parts = self.parts(objective, task.rows, task.wrt, total_shots=task.usable_shots, rng=rng)
        return task.plan(self.name, parts, allocation, rng)

    def combine(self, plan: Plan, measured: Sequence[Measured]) -> Gradient:
        """Returns the gradient from what the plan's circuits gave, part by part; pure."""
        objective = plan.objective
        shape = (plan.num_rows, objective.num_observables, len(plan.wrt))
        values = torch.zeros(shape, dtype=torch.float64)
        for part, result in zip(plan.parts, measured, strict=True):
            values += torch.einsum("bpsj,sbmj->bmp", part.weights, part.split(result.values))
        covariances = shot_covariances(plan, measured)
        extra, biases = self.extra_noise(plan, measured, values)
        if extra.stride() != covariances.stride() or any(extra.stride()):
            covariances = covariances + extra
        variances = covariances.diagonal(dim1=1, dim2=2).transpose(1, 2).clamp_min(0)
        return Gradient(
            values=objective.shaped(values, plan.batch),
            std_errors=objective.shaped((variances + biases**2).sqrt(), plan.batch),
            biases=objective.shaped(biases, plan.batch),
            covariances=objective.shaped(
                covariances[:, 0] if objective.is_scalar else covariances, plan.batch
            ),
            cost=sum((result.cost for result in measured), Cost()),
            plan=plan,
        )

    def gradient(
        self,
        objective: Objective,
        theta: Theta,
        *,
        backend: AbstractBackend,
        total_shots: int | None = None,
        rng: np.random.Generator | None = None,
        wrt: WithRespectTo | None = None,
    ) -> Gradient:
        check_kinds(objective, backend)
        if total_shots is not None:
            whole_shots(total_shots)
        backend.check(total_shots, rng)
        plan = self.plan(objective, theta, total_shots=total_shots, rng=rng, wrt=wrt)
        return self.combine(plan, plan.run(backend, rng))

    def price(
        self,
        objective: Objective,
        *,
        rows: int = 1,
        total_shots: int | None = None,
        wrt: WithRespectTo | None = None,
    ) -> Cost:
        anywhere = torch.zeros(1, objective.num_params, dtype=torch.float64)
        rng = np.random.default_rng(0)
        one = self.plan(objective, anywhere, total_shots=total_shots, rng=rng, wrt=wrt).cost
        # Which groups random terms are drawn from, a price cannot know.
        known = "estimated" if self.allocation.rows_share_draws and total_shots is not None else "computed"
        return Cost(
            circuits=rows * (one.circuits or 0),
            shots=rows * (one.shots or 0),
            sources={"circuits": known, "shots": "computed"},
        )


class AbstractSimulatorEstimator(AbstractGradientEstimator):
    """A rule that differentiates a simulation: exact, only on the backend Exact, one circuit a row."""

    @property
    def remark(self) -> str:
        return "exact, by differentiating a simulation"

    @abstractmethod
    def jacobian(self, simulator: Statevector, objective: Objective, theta: Tensor) -> Tensor:
        """Derivatives (B, M, P) at theta (B, P)."""

    def gradient(
        self,
        objective: Objective,
        theta: Theta,
        *,
        backend: AbstractBackend,
        total_shots: int | None = None,
        rng: np.random.Generator | None = None,
        wrt: WithRespectTo | None = None,
    ) -> Gradient:
        check_kinds(objective, backend)
        exact = self.require_simulator(backend)
        refuse_shots(total_shots, f"estimator {self.name}")
        rows, batch = parameter_rows(objective, theta, "gradient")
        slopes = self.jacobian(exact.simulator(objective.target), objective, rows)
        slopes = slopes.to("cpu", torch.float64)[..., objective.places(wrt)]
        values = objective.shaped(slopes, batch)
        noise = _no_noise(slopes)
        return Gradient(
            values=values,
            std_errors=torch.zeros_like(values),
            biases=torch.zeros_like(values),
            covariances=objective.shaped(noise[:, 0] if objective.is_scalar else noise, batch),
            cost=self.price(objective, rows=len(rows)),
            plan=None,
        )

    def price(
        self,
        objective: Objective,
        *,
        rows: int = 1,
        total_shots: int | None = None,
        wrt: WithRespectTo | None = None,
    ) -> Cost:
        refuse_shots(total_shots, f"estimator {self.name}")
        check_parameters(objective, "gradient")
        return Cost(circuits=rows, sources={"circuits": "computed"})

    def require_simulator(self, backend: AbstractBackend) -> Exact:
        """The backend, which must be Exact; raises NeedsSimulator otherwise."""
        if isinstance(backend, Exact):
            return backend
        raise NeedsSimulator(
            f"The estimator {self.name} differentiates a simulation and needs the backend Exact, but was given "
            f"{type(backend).__name__}: ParameterShift gives the same gradient from measurements."
        )


def shot_covariances(plan: Plan, measured: Sequence[Measured]) -> Tensor:
    """Shot noise of the gradient, shape (B, M, M, P): circuits are independent, so squares add."""
    observables = plan.objective.num_observables
    shape = (plan.num_rows, observables, observables, len(plan.wrt))
    if all(result.group_covariances is None for result in measured):
        return _no_noise(torch.zeros((), dtype=torch.float64).expand(shape[0], *shape[2:]))
    total = torch.zeros(shape, dtype=torch.float64)
    for part, result in zip(plan.parts, measured, strict=True):
        covariances = result.covariances
        if covariances is None:
            continue
        slots = part.weights.shape[-1]
        if slots == 1:
            total += torch.einsum("bps,sbmn->bmnp", part.weights[..., 0] ** 2, covariances)
        else:
            both = covariances.unflatten(-1, (observables, slots)).unflatten(-3, (observables, slots))
            total += torch.einsum("bpsj,bpsk,sbmjnk->bmnp", part.weights, part.weights, both)
    return total


def _no_noise(values: Tensor) -> Tensor:
    """Zero covariances (B, M, M, P) for values (B, M, P), in the memory of one number."""
    return values.new_zeros(()).expand(*values.shape[:2], *values.shape[1:])
