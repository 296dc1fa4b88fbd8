"""What gradient and metric rules have in common: what they are given, checked, and the plan of what they run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from qiskit.circuit import Parameter
from torch import Tensor

from hybrid.allocation import AbstractAllocation
from hybrid.backends.base import AbstractBackend
from hybrid.objective import Objective
from hybrid.plan import Part, Plan, allocated
from hybrid.shots import whole_shots

Theta = Tensor | np.ndarray | Sequence[float]
WithRespectTo = Sequence[Parameter | int]


class NeedsSimulator(TypeError):
    """An estimator that differentiates a simulation was given a backend that only measures."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What a rule from expectation values is to do.

    Args:
        rows: parameter rows (B, P), detached, of batch shape `batch`.
        wrt: places in theta, shape (P',).
        total_shots: for each row; None for exact values.
    """

    objective: Objective
    rows: Tensor
    batch: tuple[int, ...]
    wrt: Tensor
    total_shots: int | None

    @property
    def usable_shots(self) -> int | None:
        """A rule sizes its steps by these; a budget that is too small is refused when it is shared."""
        return self.total_shots if self.total_shots is None else max(self.total_shots, 1)

    def plan(
        self,
        name: str,
        parts: Sequence[Part],
        allocation: AbstractAllocation,
        rng: np.random.Generator | None,
    ) -> Plan:
        """The circuits of the rule `name` with their shots."""
        return Plan(
            estimator=name,
            objective=self.objective,
            wrt=self.wrt,
            parts=allocated(parts, self.total_shots, allocation, rng),
            total_shots=self.total_shots,
            allocation=allocation,
            batch=self.batch,
        )


def checked_task(
    objective: Objective,
    theta: Theta,
    *,
    total_shots: int | None,
    wrt: WithRespectTo | None,
    wanted: str,
) -> Task:
    """The task at checked arguments; `wanted` is what the rule makes, in a word."""
    rows, batch = parameter_rows(objective, theta, wanted)
    return Task(
        objective=objective,
        rows=rows,
        batch=batch,
        wrt=objective.places(wrt),
        total_shots=None if total_shots is None else whole_shots(total_shots),
    )


def parameter_rows(objective: Objective, theta: Theta, wanted: str) -> tuple[Tensor, tuple[int, ...]]:
    """Parameters as rows (B, P), detached, and their batch shape; refuses a circuit without parameters."""
    check_parameters(objective, wanted)
    rows, batch = objective.rows(theta)
    return rows.detach(), batch


def check_parameters(objective: Objective, wanted: str) -> None:
    """Refuses a circuit without parameters, which has no `wanted`."""
    if objective.num_params == 0:
        raise ValueError(
            f"The circuit has no free parameters, so it has no {wanted}: `Objective.value` gives its value."
        )


def check_kinds(objective: object, backend: object) -> None:
    """Names what was given in place of an objective or a backend."""
    if not isinstance(objective, Objective):
        raise TypeError(
            f"Argument `objective` must be an Objective, but is a {type(objective).__name__}: "
            "`Objective(circuit, observable)` makes one."
        )
    if not isinstance(backend, AbstractBackend):
        raise TypeError(f"Argument `backend` must be a backend such as Exact(), but is {backend!r}.")


def check_step(step: float | None) -> None:
    """Refuses a step of a rule that is not positive and finite; None is for one that the rule chooses."""
    if step is not None and not (step > 0 and math.isfinite(step)):
        raise ValueError(f"Argument `step` must be positive and finite, but is {step}.")


def check_directions(directions: int) -> None:
    """Refuses a number of random directions that is not a whole number of at least 1."""
    if type(directions) is not int or directions < 1:
        raise ValueError(f"Argument `directions` must be a whole number of at least 1, but is {directions}.")


def refuse_shots(total_shots: int | None, name: str) -> None:
    """Refuses shots for the rule `name`, which reads a simulation."""
    if total_shots is not None:
        raise ValueError(
            f"Argument `total_shots` has no meaning for the {name}, which is exact: leave it out."
        )


def random_source(rng: np.random.Generator | None, name: str) -> np.random.Generator:
    """The generator; raises ValueError when there is none."""
    if rng is None:
        raise ValueError(
            f"Argument `rng` must be given to {name}, whose choices are random: `numpy.random.default_rng(seed)`."
        )
    return rng
