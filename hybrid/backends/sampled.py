"""Finite shots, drawn from exact distributions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from classical.cost import Cost
from classical.statevector import Statevector
from classical.tangents import TangentChunk, tangent_chunks
from hybrid.backends.base import AbstractBackend, Measured
from hybrid.backends.exact import Exact
from hybrid.backends.sampling import ShotStream, sample_moments
from hybrid.circuits import AbstractCircuits, ShiftedCircuits

if TYPE_CHECKING:
    from hybrid.objective import Objective


@dataclass(frozen=True, kw_only=True)
class Sampled(AbstractBackend):
    """Shots from the exact outcome distribution of every circuit; no other noise.

    Args:
        exact: how the distributions are simulated.
    """

    exact: Exact = field(default_factory=Exact)

    def check(self, total_shots: int | Tensor | None, rng: np.random.Generator | None) -> None:
        if total_shots is None:
            raise ValueError(
                "Argument `total_shots` must be given on the backend Sampled: use the backend Exact for "
                "exact values."
            )
        if not isinstance(rng, np.random.Generator):
            raise ValueError(
                "Argument `rng` must be a numpy Generator on the backend Sampled, as `numpy.random.default_rng(seed)` "
                f"is, but is {rng!r}."
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
        assert shots is not None and rng is not None
        simulator = self.exact.simulator(objective)
        stream = ShotStream(rng)
        shape = (circuits.num_circuits, circuits.num_rows, objective.num_observables)
        values = objective.constants.expand(shape).clone()
        covariances = torch.zeros(*shape, shape[-1], dtype=torch.float64)
        executed = drawn = 0
        with torch.no_grad():
            for piece in _pieces(simulator, objective, circuits):
                group = objective.groups[piece.group]
                for count, members in _by_shots(shots[:, piece.group], piece.circuits).items():
                    index = torch.tensor([piece.circuits[i] for i in members])
                    means, spread = sample_moments(
                        stream, piece.group, index.tolist(), piece.rows, piece.probabilities(members), count,
                        group.eigenvalues,
                    )  # fmt: skip
                    values[index, piece.rows] += means
                    covariances[index, piece.rows] += spread
                    executed += means.shape[0] * means.shape[1]
                    drawn += means.shape[0] * means.shape[1] * count
        return Measured(
            values=values,
            covariances=covariances,
            cost=Cost(circuits=executed, shots=drawn, sources={"circuits": "measured", "shots": "measured"}),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Piece:
    """Distributions in one basis of some circuits at some rows, computed when asked for."""

    group: int
    circuits: list[int]
    rows: slice
    states: Tensor
    """Turned into the basis, shape (b, R, D)."""
    tangents: Tensor | None = None
    """Which of `states` each circuit adds to the first, shape (circuits,); None: states are the circuits'."""
    shifts: Tensor | None = None

    def probabilities(self, members: list[int]) -> Tensor:
        """Shape (members, b, D)."""
        if self.tangents is None or self.shifts is None:
            picked = self.states[:, members]
            return (picked.real**2 + picked.imag**2).transpose(0, 1)
        half = self.shifts[members].to(self.states.device)[:, None, None] / 2
        psi = self.states[:, 0]
        chi = self.states[:, self.tangents[members].to(self.states.device)].transpose(0, 1)
        # |cos psi - i sin chi|^2, in real numbers.
        cos, sin = torch.cos(half), torch.sin(half)
        return (cos * psi.real + sin * chi.imag) ** 2 + (cos * psi.imag - sin * chi.real) ** 2


def _pieces(simulator: Statevector, objective: Objective, circuits: AbstractCircuits) -> Iterator[_Piece]:
    if isinstance(circuits, ShiftedCircuits):
        for chunk in tangent_chunks(simulator, circuits.angles):
            yield from _tangent_pieces(simulator, objective, circuits, chunk)
        return
    angles = circuits.all_angles()
    count, rows = angles.shape[:2]
    for index, row in simulator.pieces(count, rows):
        part = angles[index, row]
        states = simulator.states(part.flatten(0, 1)).reshape(*part.shape[:2], -1).transpose(0, 1)
        for g, group in enumerate(objective.groups):
            members = list(range(index.start, index.stop))
            yield _Piece(group=g, circuits=members, rows=row, states=simulator.turn(states, group))


def _tangent_pieces(
    simulator: Statevector, objective: Objective, circuits: ShiftedCircuits, chunk: TangentChunk
) -> Iterator[_Piece]:
    place = {rotation: 1 + j for j, rotation in enumerate(chunk.rotations)}
    asked = circuits.rotations.tolist()
    members = [s for s, rotation in enumerate(asked) if rotation in place]
    if not members:
        return
    tangents = torch.tensor([place[asked[s]] for s in members])
    for g, group in enumerate(objective.groups):
        yield _Piece(
            group=g,
            circuits=members,
            rows=chunk.rows,
            states=simulator.turn(chunk.both, group),
            tangents=tangents,
            shifts=circuits.shifts[members],
        )


def _by_shots(shots: Tensor, circuits: list[int]) -> dict[int, list[int]]:
    """Positions in `circuits` by the number of shots that they get."""
    by_shots: dict[int, list[int]] = {}
    for position, count in enumerate(shots[circuits].tolist()):
        by_shots.setdefault(count, []).append(position)
    return by_shots
