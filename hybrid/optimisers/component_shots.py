"""Plans whose components have shots of their own, in one job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hybrid.estimating import Task, Theta, checked_task
from hybrid.gradients.base import AbstractShotEstimator
from hybrid.objective import Objective
from hybrid.plan import Part, Plan


class CannotSplit(ValueError):
    """A circuit serves several components, so that they cannot have shots of their own."""


def plan_by_component(
    rule: AbstractShotEstimator,
    objective: Objective,
    theta: Theta,
    shots: Tensor,
    rng: np.random.Generator,
) -> Plan:
    """Returns the plan of a gradient at `theta` (P,) in which component i has `shots[i]`, int64.

    Inside a component the rule's allocation shares them among circuits and measurement groups.

    Raises:
        CannotSplit: when a circuit serves several components.
        ValueError: for an allocation of two stages; `BudgetTooSmall` for too few shots of a component.
    """
    total = int(shots.sum())
    task = checked_task(objective, theta, total_shots=total, wrt=None, wanted="gradient")
    parts, owners = _owned_parts(rule, task, rng)
    sizes = [part.sizes() for part in parts]
    tables = [torch.zeros_like(each, dtype=torch.int64) for each in sizes]
    for component, count in enumerate(shots.tolist()):
        own = [owner == component for owner in owners]
        given = rule.allocation.first(count, [each[mine] for each, mine in zip(sizes, own, strict=True)], rng)
        for table, mine, each in zip(tables, own, given, strict=True):
            table[mine] = each
    return Plan(
        estimator=rule.name,
        objective=objective,
        wrt=task.wrt,
        parts=tuple(replace(part, shots=table) for part, table in zip(parts, tables, strict=True)),
        total_shots=total,
        allocation=rule.allocation,
        batch=task.batch,
    )


def component_shots(plan: Plan) -> Tensor:
    """Shots that go into each component of a plan's gradient, (P,), int64; those of a shared circuit into all."""
    total = torch.zeros(len(plan.wrt), dtype=torch.int64)
    for part in plan.parts:
        if part.shots is not None:
            total += _serves(part).to(torch.int64) @ part.shots.sum(1)
    return total


def pieces_by_component(
    rule: AbstractShotEstimator, objective: Objective, theta: Theta, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Circuits of each component, and circuits times measurement groups, both (P,); zero where nothing depends on it.

    Raises:
        CannotSplit, ValueError: as `plan_by_component`.
    """
    task = checked_task(objective, theta, total_shots=1, wrt=None, wanted="gradient")
    circuits = torch.zeros(len(task.wrt), dtype=torch.int64)
    pieces = torch.zeros_like(circuits)
    for part, owner in zip(*_owned_parts(rule, task, rng), strict=True):
        own = torch.bincount(owner, minlength=len(circuits))
        circuits += own
        pieces += own * len(part.target.groups)
    return circuits, pieces


def _serves(part: Part) -> Tensor:
    """Which components a circuit serves, (P, S)."""
    return (part.weights != 0).any(-1).any(0)


def _owned_parts(
    rule: AbstractShotEstimator, task: Task, rng: np.random.Generator
) -> tuple[Sequence[Part], list[Tensor]]:
    """The parts of a rule, and the one component of each circuit, (S,)."""
    if rule.allocation.num_stages > 1:
        raise ValueError(
            f"Shots of each component cannot be shared by the allocation {rule.allocation.name}, which has two stages: "
            "take Uniform, Weighted or RandomTerms."
        )
    parts = rule.parts(task.objective, task.rows, task.wrt, total_shots=task.usable_shots, rng=rng)
    return parts, [_owners(part, rule.name) for part in parts]


def _owners(part: Part, rule: str) -> Tensor:
    """The one component of each circuit, (S,)."""
    serves = _serves(part)
    if (serves.sum(0) != 1).any():
        raise CannotSplit(
            f"A circuit of the rule {rule} serves several parameters, so that they cannot have shots of their own: "
            "FixedShots takes it, and ParameterShift splits a circuit in which no angle mixes parameters."
        )
    return serves.to(torch.int64).argmax(0)
