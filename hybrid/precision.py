"""Shots for a precision: what a state, its measurement groups and an allocation ask for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hybrid.allocation import AbstractAllocation, RandomTerms, TwoStage, Uniform, Weighted
from hybrid.estimating import Theta
from hybrid.grouping import measurement_groups
from hybrid.objective import Objective
from hybrid.target import Target


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupMoments:
    """One shot of each measurement group of one observable, at one state: exact, all terms of a group together.

    Args:
        means, variances: shape (G,), of the sum of the group's terms.
        norms: shape (G,), root of the sum of squares of its coefficients, by which shots are weighted.
    """

    means: Tensor
    variances: Tensor
    norms: Tensor

    def best_shot_constant(self) -> float:
        """K of the best allocation there is, shots in proportion to standard deviations: (sum_g s_g)^2.

        Shots are K / error^2. Source: Neyman 1934, doi:10.2307/2342192.
        """
        return float(self.variances.sqrt().sum() ** 2)

    def shot_constant(self, allocation: AbstractAllocation) -> float:
        """K of an allocation: K / error^2 shots give an error bar of `error`, when they are many.

        Uniform: G sum_g V_g. Weighted, by sizes n_g: (sum n_g) sum V_g / n_g. RandomTerms: sum E[v_g^2] / p_g -
        (sum E[v_g])^2. TwoStage: a uniform first stage of share a, then the best, a K_uniform + (1 - a) K_best.

        Raises:
            TypeError: for an allocation whose K is not known here.
        """
        if isinstance(allocation, Uniform):
            return len(self.variances) * float(self.variances.sum())
        if isinstance(allocation, Weighted):
            return float(self.norms.sum() * (self.variances / self.norms).sum())
        if isinstance(allocation, TwoStage):
            first = self.shot_constant(Uniform())
            return allocation.pilot * first + (1 - allocation.pilot) * self.best_shot_constant()
        if isinstance(allocation, RandomTerms):
            squares = self.variances + self.means**2
            return float(self.norms.sum() * (squares / self.norms).sum() - self.means.sum() ** 2)
        raise TypeError(
            f"Argument `allocation` must be Uniform, Weighted, TwoStage or RandomTerms, but is {allocation!r}."
        )


def group_moments(objective: Objective, theta: Theta) -> GroupMoments:
    """Returns the moments of the objective's groups at `theta`, one row of parameters.

    Cost: one simulation, and one turn of the state for each group; memory: 8 * 2^qubits bytes a group, kept.

    Raises:
        ValueError: for several rows or observables.
    """
    rows, _ = objective.rows(theta)
    if len(rows) != 1 or objective.num_observables != 1:
        raise ValueError(
            "Moments of groups are those of one observable at one row of parameters, but there are "
            f"{objective.num_observables} and {len(rows)}."
        )
    simulator = objective.target.simulator(torch.complex128, "cpu", None)
    state = simulator.states(objective.program.angles(rows.detach()))
    means, variances = [], []
    for group in objective.groups:
        chances = simulator.probabilities(state, group)[0]
        table = group.eigenvalues[:, 0]
        mean = chances @ table
        means.append(mean)
        variances.append(chances @ (table - mean) ** 2)
    return GroupMoments(
        means=torch.stack(means),
        variances=torch.stack(variances),
        norms=torch.cat([group.norms for group in objective.groups]),
    )


def ungrouped(objective: Objective) -> Objective:
    """Returns the same objective with every Pauli term in a measurement group of its own."""
    listed = objective.observables[0] if objective.is_scalar else objective.observables
    made = Objective(objective.circuit, listed, parameters=objective.parameters)
    groups = [
        measurement_groups([label], coefficients[None])[0]
        for label, coefficients in zip(made.labels, made.coefficients, strict=True)
    ]
    made.target = Target(program=objective.program, groups=tuple(groups), constants=objective.constants)
    return made
