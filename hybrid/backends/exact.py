"""Exact expectation values by state-vector simulation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from classical.cost import Cost
from classical.statevector import Statevector
from classical.tangents import tangent_chunks
from hybrid.backends.base import AbstractBackend, Measured
from hybrid.circuits import AbstractCircuits, ShiftedCircuits

if TYPE_CHECKING:
    from hybrid.objective import Objective


@dataclass(frozen=True, kw_only=True)
class Exact(AbstractBackend):
    """Exact values, without shots.

    Args:
        dtype: complex128, or complex64.
        device: "cpu" or "cuda".
        max_bytes: memory that states may take; a quarter of what is free by default.
    """

    dtype: torch.dtype = torch.complex128
    device: str = "cpu"
    max_bytes: int | None = None

    def simulator(self, objective: Objective) -> Statevector:
        return objective.simulator(self.dtype, self.device, self.max_bytes)

    def check(self, total_shots: int | Tensor | None, rng: np.random.Generator | None) -> None:
        if total_shots is not None:
            raise ValueError(
                "Argument `total_shots` must be left out on the backend Exact, which has no shots: "
                "use the backend Sampled."
            )

    def run(
        self,
        objective: Objective,
        circuits: AbstractCircuits,
        *,
        shots: Tensor | None,
        rng: np.random.Generator | None,
    ) -> Measured:
        self.check(shots, rng)
        simulator = self.simulator(objective)
        with torch.no_grad():
            if isinstance(circuits, ShiftedCircuits):
                values = _shifted_values(simulator, objective, circuits)
            else:
                angles = circuits.all_angles()
                flat = simulator.values(angles.flatten(0, 1), objective.groups)
                values = flat.reshape(*angles.shape[:2], objective.num_observables)
        values = values.to("cpu", torch.float64) + objective.constants
        size = max(float(group.coefficients.abs().sum()) for group in objective.groups)
        count = values.shape[0] * values.shape[1] * len(objective.groups)
        return Measured(
            values=values,
            covariances=None,
            rounding=torch.finfo(self.dtype).eps * size,
            cost=Cost(circuits=count, sources={"circuits": "measured"}),
        )


def _shifted_values(simulator: Statevector, objective: Objective, circuits: ShiftedCircuits) -> Tensor:
    """E(t + s) = cos^2(s/2) <O> + sin^2(s/2) <O>_chi + sin(s) Im <psi|O|chi>, shape (S, B, M)."""
    rows, rotations = circuits.angles.shape
    shape = (rows, rotations, objective.num_observables)
    plain = torch.zeros(rows, objective.num_observables, dtype=torch.float64)
    tangent, crossed = torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
    for chunk in tangent_chunks(simulator, circuits.angles):
        own = torch.zeros(len(chunk.both), objective.num_observables, dtype=torch.float64)
        at = torch.tensor(chunk.rotations)
        for group in objective.groups:
            turned = simulator.turn(chunk.both, group)
            table = group.eigenvalues.to(turned.real)
            weights = turned.real**2 + turned.imag**2
            moments = (weights @ table).to("cpu", torch.float64)
            own += moments[:, 0]
            tangent[chunk.rows, at] += moments[:, 1:]
            # Im <psi| D |chi> for each observable D: one product of all tangents with D psi.
            bras = (turned[:, :1] * table.T.to(turned.dtype)).conj()
            crossed[chunk.rows, at] += (turned[:, 1:] @ bras.mT).imag.to("cpu", torch.float64)
        plain[chunk.rows] = own
    s = circuits.shifts[:, None, None]
    picked = circuits.rotations
    return (
        torch.cos(s / 2) ** 2 * plain
        + torch.sin(s / 2) ** 2 * tangent[:, picked].transpose(0, 1)
        + torch.sin(s) * crossed[:, picked].transpose(0, 1)
    )
