"""The tangent pass: all shifted circuits of a program for about the price of a few simulations.

For a rotation R(a) = exp(-i a P / 2) let chi be the final state with P inserted after it. The circuit with that angle
moved by s ends in cos(s/2) psi - i sin(s/2) chi, so the block [psi, chi_1 ... chi_K] holds every shifted circuit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from classical.insertion import Insertion
from classical.propagation import apply_block, insert, permute_axes, zero_state
from classical.statevector import Statevector, even_pieces


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
    """Rotations whose tangents are carried together."""

    rotations: tuple[int, ...]
    entering: Mapping[int, Sequence[tuple[int, int, slice]]]
    """By block: table, cell and slots where the tangents are that enter there."""
    start: int
    """The block at which the pass starts, before that of the first tangent where fixed blocks come first."""
    resume: int
    """The block at which the next stretch starts."""


@torch.no_grad()
def tangent_chunks(
    simulator: Statevector, angles: Tensor, rotations: Sequence[int] | None = None
) -> Iterator[TangentChunk]:
    """Yields final tangents at angles (B, rotations), in chunks that fit into memory and, where it pays, cache.

    Those of the given `rotations`, of all by default, each in one chunk. One pass carries the block [state,
    tangents so far] through the circuit; a tangent enters at its own rotation. So the price of all 2K shifted
    circuits is that of about K/2 simulations in large products.
    """
    angles = angles.to(simulator.device)
    wanted = checked_rotations(rotations, simulator.program.num_rotations)
    if not wanted or not len(angles):
        return
    first = 0
    for part in angles.split(row_pieces(simulator, len(angles), len(wanted))):
        yield from _chunks(simulator, part, wanted, slice(first, first + len(part)))
        first += len(part)


def _chunks(
    simulator: Statevector, angles: Tensor, wanted: tuple[int, ...], rows: slice
) -> Iterator[TangentChunk]:
    """The chunks of parameter rows that are simulated together."""
    schedule = simulator.wide_schedule()
    insertion = simulator.insertion(schedule, wanted, rows=len(angles))
    matrices, tables = insertion.made(angles, into_states=insertion.into_states)
    state = zero_state(len(angles), schedule.num_qubits, simulator.dtype, simulator.device)
    carried_together = stretches(simulator, insertion, len(angles))
    size = state.numel() * (1 + max(len(stretch.rotations) for stretch in carried_together))
    buffers = (state.new_empty(size), state.new_empty(size))
    for stretch in carried_together:
        carried, state = _carry(insertion, matrices, tables, state, stretch, buffers)
        yield TangentChunk(rows=rows, rotations=stretch.rotations, both=carried)


def row_pieces(simulator: Statevector, rows: int, rotations: int) -> list[int]:
    """Numbers of parameter rows that are simulated together."""
    most = simulator.rows_that_fit(simulator.wide_schedule(), states=1 + rotations, strings=rotations)
    return even_pieces(rows, most)


def checked_rotations(rotations: Sequence[int] | None, num_rotations: int) -> tuple[int, ...]:
    """Rotation indices in order, all of them for None; refuses unknown and repeated ones."""
    if rotations is None:
        return tuple(range(num_rotations))
    wanted = tuple(sorted(set(rotations)))
    if len(wanted) < len(rotations) or not set(wanted) <= set(range(num_rotations)):
        raise ValueError(
            f"Argument `rotations` must hold different numbers from 0 to {num_rotations - 1}, but is {rotations}."
        )
    return wanted


def stretches(simulator: Statevector, insertion: Insertion, rows: int) -> list[Stretch]:
    """Stretches of rotations whose tangents are carried together, for `rows` parameter rows, of even length."""
    most = max(1, simulator.states_at_once(rows) - 1)
    ends = list(accumulate(even_pieces(len(insertion.rotations), most)))
    firsts = [0, *ends[:-1]]
    starts = [0, *(insertion.blocks[first] for first in firsts[1:]), len(insertion.schedule.blocks)]
    return [
        Stretch(
            rotations=insertion.rotations[first:end],
            entering=insertion.spans(first, end),
            start=start,
            resume=resume,
        )
        for first, end, start, resume in zip(firsts, ends, starts, starts[1:], strict=False)
    ]


def _carry(
    insertion: Insertion,
    matrices: Tensor,
    tables: list[Tensor],
    state: Tensor,
    stretch: Stretch,
    buffers: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """Final [state, tangents of the stretch], and the state before the block at which the next resumes."""
    batch, _, total = state.shape
    here, there = buffers
    current = _room(here, batch, 1, total).copy_(state)
    following = state
    for b in range(stretch.start, len(matrices)):
        permutation = insertion.schedule.blocks[b].permutation
        if b == stretch.resume:
            following = current[:, :1].clone()
        rows = current.shape[1]
        if permutation is not None:
            current = permute_axes(current, permutation, out=_room(there, batch, rows, total))
            here, there = there, here
        spans = stretch.entering.get(b, ())
        new = sum(slots.stop - slots.start for _, _, slots in spans)
        target = _room(there, batch, rows + new, total)
        apply_block(matrices[b], current, out=target[:, :rows])
        for table, cell, slots in spans:
            strings = tables[table][cell, :, slots]
            room = target[:, rows : rows + strings.shape[1]]
            if insertion.into_states:
                room.copy_(strings.flatten(2))
            else:
                insert(strings, current[:, 0], out=room)
            rows += strings.shape[1]
        current = target
        here, there = there, here
    final = insertion.schedule.final_permutation
    if final is not None:
        current = permute_axes(current, final, out=_room(there, batch, current.shape[1], total))
    return current, following


def _room(buffer: Tensor, batch: int, rows: int, total: int) -> Tensor:
    """The first part of a flat buffer as (batch, rows, total)."""
    return buffer[: batch * rows * total].view(batch, rows, total)
