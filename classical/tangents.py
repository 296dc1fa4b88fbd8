"""The tangent pass: all shifted circuits of a program for about the price of a few simulations.

For a rotation R(a) = exp(-i a P / 2) let chi be the final state with P inserted after it. The circuit with that angle
moved by s ends in cos(s/2) psi - i sin(s/2) chi, so the block [psi, chi_1 ... chi_K] holds every shifted circuit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from classical.propagation import (
    BlockMatrices,
    apply_block,
    block_matrices,
    insert,
    permute_axes,
    zero_state,
)
from classical.schedule import Schedule
from classical.statevector import Statevector


@dataclass(frozen=True, kw_only=True, eq=False)
class TangentChunk:
    """Final states of a stretch of parameter rows and rotations, in qubit order.

    State 0 of `both` is the circuit's; state 1 + j has the Pauli string of rotation `rotations[j]` inserted after
    that rotation. The circuit with that rotation's angle moved by s ends in
    `cos(s/2) both[:, 0] - i sin(s/2) both[:, 1 + j]`.
    """

    rows: slice
    rotations: tuple[int, ...]
    both: Tensor
    """[state, tangents] as one block, shape (b, 1 + k, D); overwritten when the next chunk is asked for."""


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Rotations whose tangents are carried together: for each block the steps that enter there."""

    entering: dict[int, list[int]]
    start: int
    """The block at which the pass starts, before that of the first tangent where fixed blocks come first."""
    resume: int
    """The block at which the next stretch starts."""

    @property
    def num_tangents(self) -> int:
        return sum(map(len, self.entering.values()))

    def rotations(self, schedule: Schedule) -> tuple[int, ...]:
        """Indices of the rotations, in the order in which they enter."""
        return tuple(schedule.blocks[b].rotations[j] for b, steps in self.entering.items() for j in steps)


def tangent_chunks(
    simulator: Statevector, angles: Tensor, rotations: Sequence[int] | None = None
) -> Iterator[TangentChunk]:
    """Yields final tangents at angles (B, rotations), in chunks that fit into memory and, where it pays, cache.

    Those of the given `rotations`, of all by default, each in one chunk; each is carried from its own place only.

    One pass carries the block [state, tangents so far] through the circuit; a tangent enters at its own
    rotation. So the price of all 2K shifted circuits is that of about K/2 simulations in large products.
    """
    angles = angles.to(simulator.device)
    wanted = _checked(rotations, simulator.program.num_rotations)
    schedule = simulator.schedule(states=len(wanted) + 1)
    at_once = simulator.rows_at_once(states=len(wanted) + 1)
    for first in range(0, len(angles), at_once):
        part = angles[first : first + at_once]
        rows = slice(first, first + len(part))
        matrices = block_matrices(schedule, part, simulator.dtype, insertions=True)
        state = zero_state(len(part), simulator.program.num_qubits, simulator.dtype, simulator.device)
        carried_together = stretches(simulator, schedule, len(part), wanted)
        size = state.numel() * (1 + max((stretch.num_tangents for stretch in carried_together), default=0))
        buffers = (state.new_empty(size), state.new_empty(size))
        for stretch in carried_together:
            carried, state = _carry(schedule, matrices, state, stretch, buffers)
            yield TangentChunk(rows=rows, rotations=stretch.rotations(schedule), both=carried)


def _checked(rotations: Sequence[int] | None, num_rotations: int) -> frozenset[int]:
    if rotations is None:
        return frozenset(range(num_rotations))
    wanted = frozenset(rotations)
    if len(wanted) < len(rotations) or not wanted <= set(range(num_rotations)):
        raise ValueError(
            f"Argument `rotations` must hold different numbers from 0 to {num_rotations - 1}, but is {rotations}."
        )
    return wanted


def stretches(simulator: Statevector, schedule: Schedule, rows: int, wanted: frozenset[int]) -> list[Stretch]:
    """Stretches of rotations whose tangents are carried together, for `rows` parameter rows, of even length."""
    steps = [
        (b, j)
        for b, block in enumerate(schedule.blocks)
        for j, rotation in enumerate(block.rotations)
        if rotation in wanted
    ]
    most = max(1, simulator.states_at_once(rows) - 1)
    length = math.ceil(len(steps) / max(1, math.ceil(len(steps) / most)))
    pieces = [steps[first : first + length] for first in range(0, len(steps), max(1, length))]
    starts = [0, *(piece[0][0] for piece in pieces[1:]), len(schedule.blocks)]
    return [
        Stretch(entering=_by_block(piece), start=start, resume=resume)
        for piece, start, resume in zip(pieces, starts, starts[1:], strict=False)
    ]


def _carry(
    schedule: Schedule,
    matrices: BlockMatrices,
    state: Tensor,
    stretch: Stretch,
    buffers: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """Final [state, tangents of the stretch], and the state before the block at which the next resumes."""
    assert matrices.insertions is not None
    batch, _, total = state.shape
    here, there = buffers
    current = _room(here, batch, 1, total).copy_(state)
    following = state
    for b in range(stretch.start, len(schedule.blocks)):
        block = schedule.blocks[b]
        if b == stretch.resume:
            following = current[:, :1].clone()
        rows = current.shape[1]
        if block.permutation is not None:
            current = permute_axes(current, block.permutation, out=_room(there, batch, rows, total))
            here, there = there, here
        new = stretch.entering.get(b, [])
        target = _room(there, batch, rows + len(new), total)
        apply_block(matrices.unitaries[:, b], current, out=target[:, :rows])
        if new:
            insertions = matrices.insertions[:, b, new]
            insert(insertions, current[:, 0], out=target[:, rows:])
        current = target
        here, there = there, here
    if schedule.final_permutation is not None:
        room = _room(there, batch, current.shape[1], total)
        current = permute_axes(current, schedule.final_permutation, out=room)
    return current, following


def _by_block(steps: list[tuple[int, int]]) -> dict[int, list[int]]:
    entering: dict[int, list[int]] = {}
    for b, j in steps:
        entering.setdefault(b, []).append(j)
    return entering


def _room(buffer: Tensor, batch: int, rows: int, total: int) -> Tensor:
    """The first part of a flat buffer as (batch, rows, total)."""
    return buffer[: batch * rows * total].view(batch, rows, total)
