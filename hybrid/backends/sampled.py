"""Finite shots, drawn from exact distributions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from classical.cost import Cost
from classical.statevector import Statevector
from classical.tangents import TangentChunk, tangent_chunks
from hybrid.backends.base import AbstractBackend, Measured, require_shots
from hybrid.backends.exact import Exact
from hybrid.backends.sampling import Outcomes, ShotStream, sample_moments
from hybrid.circuits import AbstractCircuits, AncillaCircuits, ShiftedCircuits
from hybrid.target import Target


@dataclass(frozen=True, kw_only=True)
class Sampled(AbstractBackend):
    """Shots from the exact outcome distribution of every circuit; no other noise.

    Args:
        exact: how the distributions are simulated.
    """

    exact: Exact = field(default_factory=Exact)

    def check(self, total_shots: int | Tensor | None, rng: np.random.Generator | None) -> None:
        without = ": use the backend Exact for exact values."
        require_shots(total_shots, rng, where="on the backend Sampled", without=without)

    def run(
        self,
        target: Target,
        circuits: AbstractCircuits,
        *,
        shots: Tensor | None,
        rng: np.random.Generator | None,
    ) -> Measured:
        self.check(shots, rng)
        assert shots is not None and rng is not None
        simulator = self.exact.simulator(target)
        stream = ShotStream(rng)
        shape = (len(target.groups), circuits.num_circuits, circuits.num_rows, target.num_observables)
        values = torch.zeros(shape, dtype=torch.float64)
        covariances = torch.zeros(*shape, shape[-1], dtype=torch.float64)
        executed = drawn = 0
        with torch.no_grad():
            for piece in _pieces(simulator, target, circuits):
                for count, members in _by_shots(shots[:, piece.group], piece.circuits).items():
                    if count == 0:
                        continue
                    index = torch.tensor([piece.circuits[i] for i in members])
                    means, spread = sample_moments(
                        stream, piece.group, index.tolist(), piece.rows, piece.probabilities(members), count,
                        piece.outcomes,
                    )  # fmt: skip
                    values[piece.group, index, piece.rows] = means
                    covariances[piece.group, index, piece.rows] = spread
                    executed += means.shape[0] * means.shape[1]
                    drawn += means.shape[0] * means.shape[1] * count
        ancilla = isinstance(circuits, AncillaCircuits)
        return Measured(
            group_values=values,
            group_covariances=covariances,
            constants=torch.zeros_like(target.constants) if ancilla else target.constants,
            cost=Cost(circuits=executed, shots=drawn, sources={"circuits": "measured", "shots": "measured"}),
        )


class _Piece(ABC):
    """Outcome distributions in one basis of some circuits at some rows."""

    group: int
    circuits: list[int]
    rows: slice
    outcomes: Outcomes

    @abstractmethod
    def probabilities(self, members: list[int]) -> Tensor:
        """Shape (members, b, outcomes), computed when asked for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _FreePiece(_Piece):
    group: int
    circuits: list[int]
    rows: slice
    outcomes: Outcomes
    states: Tensor
    """Of each circuit, turned into the basis, shape (b, circuits, D)."""

    def probabilities(self, members: list[int]) -> Tensor:
        picked = self.states[:, members]
        return (picked.real**2 + picked.imag**2).transpose(0, 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class _TangentPiece(_Piece):
    group: int
    circuits: list[int]
    rows: slice
    outcomes: Outcomes
    both: Tensor
    """State and tangents, turned into the basis, shape (b, 1 + k, D)."""
    tangents: Tensor
    """Which tangent each circuit takes, shape (circuits,)."""
    shifts: Tensor | None
    """None for Hadamard tests: outcome (+, z) then has half the probability of shift pi/2, (-, z) of -pi/2."""

    def probabilities(self, members: list[int]) -> Tensor:
        used, place = self.tangents[members].unique(return_inverse=True)
        device = self.both.device
        place = place.to(device)
        psi = self.both[:, 0]
        chi = self.both[:, used.to(device)].transpose(0, 1)
        # |cos psi - i sin chi|^2 = cos^2 |psi|^2 + sin^2 |chi|^2 + 2 cos sin Im(psi* chi), each made once a tangent.
        plain = psi.real**2 + psi.imag**2
        tangent = (chi.real**2).addcmul_(chi.imag, chi.imag)
        crossed = (psi.real * chi.imag).addcmul_(psi.imag, chi.real, value=-1)
        if self.shifts is None:
            even = (plain + tangent)[place] / 4
            odd = crossed[place] / 2
            return torch.cat([even + odd, even - odd], dim=-1).clamp_min_(0)
        s = self.shifts[members].to(device, plain.dtype)[:, None, None]
        mixed = tangent[place].mul_(torch.sin(s / 2) ** 2).addcmul_(crossed[place], torch.sin(s))
        return mixed.addcmul_(torch.cos(s / 2) ** 2, plain).clamp_min_(0)


def _pieces(simulator: Statevector, target: Target, circuits: AbstractCircuits) -> Iterator[_Piece]:
    if isinstance(circuits, (ShiftedCircuits, AncillaCircuits)):
        wanted = circuits.rotations.unique().tolist()
        for chunk in tangent_chunks(simulator, circuits.angles, wanted):
            yield from _tangent_pieces(simulator, target, circuits, chunk)
        return
    angles = circuits.all_angles()
    count, rows = angles.shape[:2]
    for index, row in simulator.pieces(count, rows):
        part = angles[index, row]
        states = simulator.states(part.flatten(0, 1)).reshape(*part.shape[:2], -1).transpose(0, 1)
        for g, group in enumerate(target.groups):
            yield _FreePiece(
                group=g,
                circuits=list(range(index.start, index.stop)),
                rows=row,
                outcomes=Outcomes.of(group, signed=False),
                states=simulator.turn(states, group),
            )


def _tangent_pieces(
    simulator: Statevector, target: Target, circuits: ShiftedCircuits | AncillaCircuits, chunk: TangentChunk
) -> Iterator[_Piece]:
    place = {rotation: 1 + j for j, rotation in enumerate(chunk.rotations)}
    asked = circuits.rotations.tolist()
    members = [s for s, rotation in enumerate(asked) if rotation in place]
    if not members:
        return
    tangents = torch.tensor([place[asked[s]] for s in members])
    shifts = circuits.shifts[members] if isinstance(circuits, ShiftedCircuits) else None
    for g, group in enumerate(target.groups):
        yield _TangentPiece(
            group=g,
            circuits=members,
            rows=chunk.rows,
            outcomes=Outcomes.of(group, signed=shifts is None),
            both=simulator.turn(chunk.both, group),
            tangents=tangents,
            shifts=shifts,
        )


def _by_shots(shots: Tensor, circuits: list[int]) -> dict[int, list[int]]:
    """Positions in `circuits` by the number of shots that they get."""
    by_shots: dict[int, list[int]] = {}
    for position, count in enumerate(shots[circuits].tolist()):
        by_shots.setdefault(count, []).append(position)
    return by_shots
