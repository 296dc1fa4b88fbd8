"""What a gradient rule is: a plan of circuits to run, and how their values combine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from classical.cost import Cost
from classical.statevector import Statevector
from hybrid.backends.base import AbstractBackend, Measured
from hybrid.backends.exact import Exact
from hybrid.circuits import AbstractCircuits
from hybrid.objective import Objective

Theta = Tensor | np.ndarray | Sequence[float]


class NeedsSimulator(TypeError):
    """An estimator that differentiates a simulation was given a backend that only measures."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """The circuits of a gradient, priced before they are run.

    Args:
        circuits: S circuits for each of B parameter rows.
        weights: shape (B or 1, P, S); the gradient is `weights @ values`.
        shots: shape (S, groups), for each row; None for exact values.
        batch: shape of the batch that the rows came in.
    """

    estimator: str
    objective: Objective
    circuits: AbstractCircuits
    weights: Tensor
    shots: Tensor | None
    batch: tuple[int, ...]

    @property
    def cost(self) -> Cost:
        """Circuits (rows times circuits times measurement bases) and shots, equal to what a backend bills."""
        rows = self.circuits.num_rows
        shots = 0 if self.shots is None else rows * int(self.shots.sum())
        circuits = rows * self.circuits.num_circuits * len(self.objective.groups)
        return Cost(circuits=circuits, shots=shots, sources={"circuits": "computed", "shots": "computed"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Gradient:
    """A gradient with its errors.

    `values`, `std_errors`: shape (*batch, P), or (*batch, M, P) for a list of M observables; float64, detached,
    on the CPU. What the errors hold beside shot noise stands with each rule; SPSA's are right on average over
    components, not for each. `plan` is None for estimators that differentiate a simulation.
    """

    values: Tensor
    std_errors: Tensor
    cost: Cost
    plan: Plan | None


class AbstractGradientEstimator(ABC):
    """A rule that makes a gradient of an objective."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the rule, as it stands in tables and figures."""

    @abstractmethod
    def gradient(
        self,
        objective: Objective,
        theta: Theta,
        *,
        backend: AbstractBackend,
        total_shots: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> Gradient:
        """Returns the gradient at `theta`, shape (*batch, P).

        Args:
            total_shots: shots for one gradient, that is for each row of the batch; None for exact values.
            rng: for shots and random directions.

        Raises:
            ValueError: for a wrong theta; `BudgetTooSmall` for too few shots.
            NeedsSimulator: when the backend only measures and the rule needs more.
        """

    @abstractmethod
    def price(self, objective: Objective, *, rows: int = 1, total_shots: int | None = None) -> Cost:
        """Returns circuits and shots of gradients at `rows` parameter rows, without running any."""


class AbstractShotEstimator(AbstractGradientEstimator):
    """A rule that needs expectation values only: it runs on every backend, and can be priced and journaled."""

    @abstractmethod
    def plan(
        self,
        objective: Objective,
        theta: Theta,
        *,
        total_shots: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> Plan:
        """Returns the circuits to run. Pure: nothing is run, and the same arguments give the same plan."""

    def combine(self, plan: Plan, measured: Measured) -> Gradient:
        """Returns the gradient from what the plan's circuits gave; pure."""
        objective = plan.objective
        values = torch.einsum("bps,sbm->bmp", plan.weights, measured.values)
        variances = self._variances(plan, measured, values)
        return Gradient(
            values=objective.shaped(values, plan.batch),
            std_errors=objective.shaped(variances.clamp_min(0).sqrt(), plan.batch),
            cost=measured.cost,
            plan=plan,
        )

    def _variances(self, plan: Plan, measured: Measured, values: Tensor) -> Tensor:
        """Squared errors (B, M, P) of the gradient `values` (B, M, P): shot noise, and what else the rule has."""
        return shot_variances(plan, measured) + self._own_variances(plan, measured, values)

    @abstractmethod
    def _own_variances(self, plan: Plan, measured: Measured, values: Tensor) -> Tensor:
        """Squared errors beside shot noise, shape (B, M, P): bias, or random directions. Zero for exact rules."""

    def gradient(
        self,
        objective: Objective,
        theta: Theta,
        *,
        backend: AbstractBackend,
        total_shots: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> Gradient:
        _check_kinds(objective, backend)
        plan = self.plan(objective, theta, total_shots=total_shots, rng=rng)
        return self.combine(plan, backend.run(objective, plan.circuits, shots=plan.shots, rng=rng))

    def price(self, objective: Objective, *, rows: int = 1, total_shots: int | None = None) -> Cost:
        anywhere = torch.zeros(rows, objective.num_params, dtype=torch.float64)
        return self.plan(objective, anywhere, total_shots=total_shots, rng=np.random.default_rng(0)).cost


class AbstractSimulatorEstimator(AbstractGradientEstimator):
    """A rule that differentiates a simulation: exact, only on the backend Exact, one circuit a row."""

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
    ) -> Gradient:
        _check_kinds(objective, backend)
        exact = self.require_simulator(backend)
        self._refuse_shots(total_shots)
        rows, batch = gradient_rows(objective, theta)
        slopes = self.jacobian(exact.simulator(objective), objective, rows)
        values = objective.shaped(slopes.to("cpu", torch.float64), batch)
        cost = self.price(objective, rows=len(rows))
        return Gradient(values=values, std_errors=torch.zeros_like(values), cost=cost, plan=None)

    def price(self, objective: Objective, *, rows: int = 1, total_shots: int | None = None) -> Cost:
        self._refuse_shots(total_shots)
        return Cost(circuits=rows, sources={"circuits": "computed"})

    def require_simulator(self, backend: AbstractBackend) -> Exact:
        """The backend, which must be Exact; raises NeedsSimulator otherwise."""
        if isinstance(backend, Exact):
            return backend
        raise NeedsSimulator(
            f"The estimator {self.name} differentiates a simulation and needs the backend Exact, but was given "
            f"{type(backend).__name__}: ParameterShift gives the same gradient from measurements."
        )

    def _refuse_shots(self, total_shots: int | None) -> None:
        if total_shots is not None:
            raise ValueError(
                f"Argument `total_shots` has no meaning for {self.name}, which is exact: leave it out."
            )


def gradient_rows(objective: Objective, theta: Theta) -> tuple[Tensor, tuple[int, ...]]:
    """Parameters as rows (B, P), detached, and their batch shape; refuses a circuit without parameters."""
    if objective.num_params == 0:
        raise ValueError(
            "The circuit has no free parameters, so it has no gradient: `Objective.value` gives its value."
        )
    rows, batch = objective.rows(theta)
    return rows.detach(), batch


def _check_kinds(objective: object, backend: object) -> None:
    """Names what was given in place of an objective or a backend."""
    if not isinstance(objective, Objective):
        raise TypeError(
            f"Argument `objective` must be an Objective, but is a {type(objective).__name__}: "
            "`Objective(circuit, observable)` makes one."
        )
    if not isinstance(backend, AbstractBackend):
        raise TypeError(f"Argument `backend` must be a backend such as Exact(), but is {backend!r}.")


def shot_variances(plan: Plan, measured: Measured) -> Tensor:
    """Shot noise of the gradient, shape (B, M, P): circuits are independent, so squares add."""
    return torch.einsum("bps,sbm->bmp", plan.weights**2, measured.variances())
