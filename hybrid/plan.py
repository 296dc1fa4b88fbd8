"""Circuits, priced before they are run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from classical.cost import Cost
from hybrid.allocation import AbstractAllocation
from hybrid.backends.base import AbstractBackend, Measured, Request
from hybrid.circuits import AbstractCircuits
from hybrid.target import Target

if TYPE_CHECKING:
    from hybrid.objective import Objective


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Circuits of one target, and how their values enter the gradient.

    The target measures J quantities for each of the M observables of the objective, observable by observable; J is 1
    unless a rule reads several derivatives off one circuit.

    Args:
        circuits: S circuits for each of B parameter rows.
        weights: shape (B or 1, P, S, J); the gradient of an observable is the sum over S and J of weights times values.
        shots: shape (S, groups), for each row, of the first stage; None for exact values.
    """

    target: Target
    circuits: AbstractCircuits
    weights: Tensor
    shots: Tensor | None = None

    def split(self, table: Tensor) -> Tensor:
        """Observables of the target, in the last axis, as (..., M, J)."""
        slots = self.weights.shape[-1]
        return table.unflatten(-1, (table.shape[-1] // slots, slots))

    def noise(self, variances: Tensor) -> Tensor:
        """Noise of each piece in the gradient, shape (S, groups), for variances (groups, S or 1, M * J) of one shot."""
        squares = (self.weights**2).sum((0, 1)) / max(1, len(self.weights))  # (S, J), mean over rows
        return torch.einsum(
            "sj,gsj->sg", squares, self.split(variances).sum(-2).expand(-1, len(squares), -1)
        ).sqrt()

    def sizes(self) -> Tensor:
        """Noise of each piece as far as coefficients tell, shape (S, groups)."""
        return self.noise(torch.stack([group.norms**2 for group in self.target.groups])[:, None])


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What a gradient runs: parts, and the budget.

    Args:
        wrt: places in theta of the parameters to differentiate.
        total_shots: for each parameter row; None for exact values.
        batch: shape of the batch that the rows came in.
    """

    estimator: str
    objective: Objective
    wrt: Tensor
    parts: tuple[Part, ...]
    total_shots: int | None
    allocation: AbstractAllocation
    batch: tuple[int, ...]

    @property
    def num_rows(self) -> int:
        """B, parameter rows."""
        return math.prod(self.batch)

    @property
    def cost(self) -> Cost:
        """Circuits (rows times circuits times measurement bases) and shots, equal to what a backend bills."""
        circuits = 0
        for part in self.parts:
            tables = part.circuits.num_circuits * len(part.target.groups)
            circuits += tables if part.shots is None else int((part.shots > 0).sum())
        if self.total_shots is not None:
            circuits *= self.allocation.num_stages
        # Without a piece to spend them on there are no shots.
        shots = self.total_shots if self.total_shots is not None and circuits else 0
        rows = self.num_rows
        return Cost(
            circuits=rows * circuits,
            shots=rows * shots,
            sources={"circuits": "computed", "shots": "computed"},
        )

    def expected_noise(self) -> float:
        """Root mean square shot noise of a component, if every Pauli term had variance 1 and none were correlated."""
        squares = 0.0
        for part in self.parts:
            if part.shots is None or self.total_shots is None:
                raise ValueError("A plan without shots has no shot noise: give it `total_shots`.")
            share = (
                sum(int(each.shots.sum()) for each in self.parts if each.shots is not None) / self.total_shots
            )
            shots = torch.where(part.shots > 0, part.shots, 1) / share
            squares += float((part.sizes() ** 2 / shots).sum())
        return math.sqrt(squares / (len(self.wrt) * self.objective.num_observables))

    def price(self, backend: AbstractBackend) -> Cost:
        """What it will cost on `backend`: on a device jobs, seconds and dollars too, and circuits that it adds.

        Of two stages, the second is priced as if it went as evenly as the first.
        """
        if not isinstance(backend, AbstractBackend):
            raise TypeError(f"Argument `backend` must be a backend such as Exact(), but is {backend!r}.")
        backend.check(self.total_shots, np.random.default_rng(0))
        if self.total_shots is None:
            return self.cost
        first = sum(int(part.shots.sum()) for part in self.parts if part.shots is not None)
        left = [(self.total_shots - first) / max(1, first)] if self.allocation.num_stages > 1 else []
        total = Cost()
        for factor in [1.0, *left]:
            tables = [(part.shots * factor).round() for part in self.parts if part.shots is not None]
            total += backend.price(self.requests([table.to(torch.int64) for table in tables]))
        return total

    def requests(self, tables: Sequence[Tensor] | None = None) -> list[Request]:
        """What a backend is asked for, part by part, with the shots of the first stage or others."""
        if tables is None:
            tables = [part.shots for part in self.parts if part.shots is not None]
        pairs = zip(self.parts, tables, strict=True)
        return [Request(target=part.target, circuits=part.circuits, shots=table) for part, table in pairs]

    def run(self, backend: AbstractBackend, rng: np.random.Generator | None = None) -> tuple[Measured, ...]:
        """Returns what the circuits gave, part by part, on `backend`."""
        if self.total_shots is None:
            return tuple(backend.run(part.target, part.circuits, shots=None, rng=rng) for part in self.parts)
        shots = [part.shots for part in self.parts if part.shots is not None]
        first = backend.run_together(self.requests(shots), rng=rng)
        stages = [[measured] for measured in first]
        if self.allocation.num_stages > 1:
            pairs = zip(self.parts, first, strict=True)
            scales = [part.noise(_one_shot_variances(part, measured)) for part, measured in pairs]
            tables = self.allocation.second(self.total_shots, shots, scales)
            second = backend.run_together(self.requests(tables), rng=rng)
            for results, measured in zip(stages, second, strict=True):
                results.append(measured)
        share = sum(int(table.sum()) for table in shots) / max(1, self.total_shots)
        return tuple(
            self.allocation.settle(part.sizes(), table, results, share)
            for part, table, results in zip(self.parts, shots, stages, strict=True)
        )


def allocated(
    parts: Sequence[Part],
    total_shots: int | None,
    allocation: AbstractAllocation,
    rng: np.random.Generator | None,
) -> tuple[Part, ...]:
    """The parts with their shots; raises BudgetTooSmall when there are too few."""
    if total_shots is None:
        return tuple(parts)
    tables = allocation.first(total_shots, [part.sizes() for part in parts], rng)
    return tuple(replace(part, shots=table) for part, table in zip(parts, tables, strict=True))


def _one_shot_variances(part: Part, measured: Measured) -> Tensor:
    """Measured variance of one shot of each piece, mean over rows, shape (groups, S, M * J)."""
    assert measured.group_covariances is not None and part.shots is not None
    spread = measured.group_covariances.diagonal(dim1=-2, dim2=-1)  # (G, S, B, M J)
    if spread.shape[0] != part.shots.shape[1] or not spread.shape[2]:
        return torch.zeros(part.shots.shape[1], *spread.shape[1:2], spread.shape[3], dtype=spread.dtype)
    return spread.mean(2) * part.shots.T[..., None]
