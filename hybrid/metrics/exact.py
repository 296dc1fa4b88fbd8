"""The whole metric from a simulation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from classical.cost import Cost
from classical.metric import fubini_study
from hybrid.backends.base import AbstractBackend
from hybrid.backends.exact import Exact
from hybrid.estimating import (
    NeedsSimulator,
    Theta,
    WithRespectTo,
    check_kinds,
    check_parameters,
    parameter_rows,
    refuse_shots,
)
from hybrid.metrics.base import AbstractMetricEstimator, Metric
from hybrid.objective import Objective


@dataclass(frozen=True, kw_only=True)
class ExactMetric(AbstractMetricEstimator):
    """All entries, from the tangent pass; only on the backend Exact. `std_errors` are zero.

    Cost: one circuit a row, as every rule that reads a simulation counts; about the time of a parameter-shift
    gradient from the same pass, and P^2 products of states; a third of the backend's `max_bytes` for
    tangents. From circuits the same entries would take P (P + 1) / 2 overlaps. Source: Stokes et al. 2020,
    arXiv:1909.02108; see `classical.metric`.
    """

    @property
    def name(self) -> str:
        return "exact metric"

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
        exact = self.require_simulator(backend)
        refuse_shots(total_shots, self.name)
        rows, batch = parameter_rows(objective, theta, "metric")
        chain = objective.program.coefficients[:, objective.places(wrt)]
        found = fubini_study(exact.simulator(objective.target), objective.program.angles(rows), chain)
        values = found.reshape(*batch, *found.shape[1:])
        return Metric(
            values=values,
            std_errors=torch.zeros_like(values),
            cost=Cost(circuits=len(rows), sources={"circuits": "measured"}),
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
        refuse_shots(total_shots, self.name)
        check_parameters(objective, "metric")
        return Cost(circuits=rows, sources={"circuits": "computed"})

    def require_simulator(self, backend: AbstractBackend) -> Exact:
        """The backend, which must be Exact; raises NeedsSimulator otherwise."""
        if isinstance(backend, Exact):
            return backend
        raise NeedsSimulator(
            f"The {self.name} is read off a simulation and needs the backend Exact, but was given "
            f"{type(backend).__name__}: BlockDiagonalMetric measures its blocks, "
            "SPSAMetric estimates all of it."
        )
