"""Exact expectation values by state-vector simulation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from classical.cost import Cost
from classical.statevector import Statevector
from classical.tangents import tangent_chunks
from hybrid.backends.base import AbstractBackend, Measured
from hybrid.circuits import AbstractCircuits, AncillaCircuits, ShiftedCircuits
from hybrid.target import Target


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

    def simulator(self, target: Target) -> Statevector:
        return target.simulator(self.dtype, self.device, self.max_bytes)

    def check(self, total_shots: int | Tensor | None, rng: np.random.Generator | None) -> None:
        if total_shots is not None:
            raise ValueError(
                "Argument `total_shots` must be left out on the backend Exact, which has no shots: "
                "use the backend Sampled."
            )

    def run(
        self,
        target: Target,
        circuits: AbstractCircuits,
        *,
        shots: Tensor | None,
        rng: np.random.Generator | None,
    ) -> Measured:
        self.check(shots, rng)
        simulator = self.simulator(target)
        constants = target.constants
        with torch.no_grad():
            if isinstance(circuits, ShiftedCircuits):
                values = _shifted_values(_moments(simulator, target, circuits), circuits)
            elif isinstance(circuits, AncillaCircuits):
                values = _moments(simulator, target, circuits).crossed
                constants = torch.zeros_like(constants)
            else:
                angles = circuits.all_angles()
                flat = simulator.values(angles.flatten(0, 1), target.groups)
                values = flat.reshape(*angles.shape[:2], target.num_observables)
        count = values.shape[0] * values.shape[1] * len(target.groups)
        return Measured(
            group_values=values.to("cpu", torch.float64)[None],
            group_covariances=None,
            constants=constants,
            rounding=torch.finfo(self.dtype).eps * max(group.scale for group in target.groups),
            cost=Cost(circuits=count, sources={"circuits": "measured"}),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Moments:
    """<O> (B, M), and for each circuit's rotation <O>_chi and Im <psi|O|chi>, both (S, B, M)."""

    plain: Tensor
    tangent: Tensor
    crossed: Tensor


def _moments(simulator: Statevector, target: Target, circuits: ShiftedCircuits | AncillaCircuits) -> _Moments:
    wanted, picked = circuits.rotations.unique(return_inverse=True)
    place = {rotation: i for i, rotation in enumerate(wanted.tolist())}
    shape = (circuits.num_rows, len(place), target.num_observables)
    plain = torch.zeros(circuits.num_rows, target.num_observables, dtype=torch.float64)
    tangent, crossed = torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
    for chunk in tangent_chunks(simulator, circuits.angles, wanted.tolist()):
        own = torch.zeros(len(chunk.both), target.num_observables, dtype=torch.float64)
        at = torch.tensor([place[rotation] for rotation in chunk.rotations], dtype=torch.int64)
        for group in target.groups:
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
    return _Moments(
        plain=plain, tangent=tangent[:, picked].transpose(0, 1), crossed=crossed[:, picked].transpose(0, 1)
    )


def _shifted_values(moments: _Moments, circuits: ShiftedCircuits) -> Tensor:
    """E(t + s) = cos^2(s/2) <O> + sin^2(s/2) <O>_chi + sin(s) Im <psi|O|chi>, shape (S, B, M)."""
    s = circuits.shifts[:, None, None]
    return (
        torch.cos(s / 2) ** 2 * moments.plain
        + torch.sin(s / 2) ** 2 * moments.tangent
        + torch.sin(s) * moments.crossed
    )
