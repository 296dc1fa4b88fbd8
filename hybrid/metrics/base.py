"""What a metric estimator is: it says how far the state moves when the parameters do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from classical.cost import Cost
from hybrid.allocation import AbstractAllocation, Uniform
from hybrid.allocation.base import checked_allocation
from hybrid.backends.base import AbstractBackend, Measured
from hybrid.estimating import Theta, WithRespectTo, check_kinds, checked_task
from hybrid.objective import Objective
from hybrid.plan import Part, Plan


@dataclass(frozen=True, kw_only=True, eq=False)
class MetricPlan:
    """What a metric runs.

    Args:
        circuits: parts and budget. The weights of a part say how much its values count when shots are shared.
        details: what the rule needs to make the metric of the values.
    """

    circuits: Plan
    details: Any

    @property
    def cost(self) -> Cost:
        """Circuits and shots, equal to what a backend bills."""
        return self.circuits.cost

    def run(self, backend: AbstractBackend, rng: np.random.Generator | None = None) -> tuple[Measured, ...]:
        """Returns what the circuits gave, part by part, on `backend`."""
        return self.circuits.run(backend, rng)


@dataclass(frozen=True, kw_only=True, eq=False)
class Metric:
    """A Fubini-Study metric with its errors: a quarter of the quantum Fisher information.

    Float64, detached, on the CPU. P counts the parameters that were asked for.

    Args:
        values, std_errors: shape (*batch, P, P), symmetric. The errors hold shot noise and the noise of
            random directions.
        plan: None for a metric that is read off a simulation.
    """

    values: Tensor
    std_errors: Tensor
    cost: Cost
    plan: MetricPlan | None


class AbstractMetricEstimator(ABC):
    """A rule that makes the metric of an objective's states; the observable does not enter."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the rule, as it stands in tables and figures."""

    @abstractmethod
    def metric(
        self,
        objective: Objective,
        theta: Theta,
        *,
        backend: AbstractBackend,
        total_shots: int | None = None,
        rng: np.random.Generator | None = None,
        wrt: WithRespectTo | None = None,
    ) -> Metric:
        """Returns the metric at `theta`, shape (*batch, P, P).

        Args:
            total_shots: shots for one metric, that is for each row of the batch; None for exact values.
            rng: for shots and random directions.
            wrt: the parameters of the metric, or their places in theta; all by default.

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
        """Returns circuits and shots of metrics at `rows` parameter rows, without running any."""


@dataclass(frozen=True, kw_only=True)
class AbstractShotMetric(AbstractMetricEstimator):
    """A metric from expectation values: it runs on every backend, and can be priced before it is run.

    Args:
        allocation: how shots are shared among circuits.
    """

    allocation: AbstractAllocation = field(default_factory=Uniform)

    @abstractmethod
    def parts(
        self,
        objective: Objective,
        rows: Tensor,
        wrt: Tensor,
        *,
        total_shots: int | None,
        rng: np.random.Generator | None,
    ) -> tuple[Sequence[Part], Any]:
        """Returns the circuits to run at parameter rows (B, P), and the details that `join` needs."""

    @abstractmethod
    def join(self, plan: MetricPlan, measured: Sequence[Measured]) -> tuple[Tensor, Tensor]:
        """Returns values and variances, both (B, P, P), of what the circuits gave."""

    def plan(
        self,
        objective: Objective,
        theta: Theta,
        *,
        total_shots: int | None = None,
        rng: np.random.Generator | None = None,
        wrt: WithRespectTo | None = None,
    ) -> MetricPlan:
        """Returns the circuits to run. Pure: nothing is run, and the same arguments give the same plan."""
        allocation = checked_allocation(self.allocation)
        task = checked_task(objective, theta, total_shots=total_shots, wrt=wrt, wanted="metric")
        parts, details = self.parts(objective, task.rows, task.wrt, total_shots=task.usable_shots, rng=rng)
        circuits = task.plan(self.name, parts, allocation, rng)
        return MetricPlan(circuits=circuits, details=details)

    def combine(self, plan: MetricPlan, measured: Sequence[Measured]) -> Metric:
        """Returns the metric from what the plan's circuits gave, part by part; pure."""
        values, variances = self.join(plan, measured)
        shape = (*plan.circuits.batch, *values.shape[1:])
        return Metric(
            values=values.reshape(shape),
            std_errors=variances.clamp_min(0).sqrt().reshape(shape),
            cost=sum((result.cost for result in measured), Cost()),
            plan=plan,
        )

    def metric(
        self,
        objective: Objective,
        theta: Theta,
        *,
        backend: AbstractBackend,
        total_shots: int | None = None,
        rng: np.random.Generator | None = None,
        wrt: WithRespectTo | None = None,
    ) -> Metric:
        check_kinds(objective, backend)
        plan = self.plan(objective, theta, total_shots=total_shots, rng=rng, wrt=wrt)
        backend.check(total_shots, rng)
        return self.combine(plan, plan.run(backend, rng))

    def price(
        self,
        objective: Objective,
        *,
        rows: int = 1,
        total_shots: int | None = None,
        wrt: WithRespectTo | None = None,
    ) -> Cost:
        anywhere = torch.zeros(rows, objective.num_params, dtype=torch.float64)
        return self.plan(
            objective, anywhere, total_shots=total_shots, rng=np.random.default_rng(0), wrt=wrt
        ).cost
