"""Exact simulation of a program: values, autograd, the tangent pass and the adjoint sweep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor

from classical.measurement import MeasurementGroup
from classical.program import Program
from classical.propagation import (
    BlockMatrices,
    apply_block,
    block_matrices,
    insert,
    inverse,
    permute_axes,
    run,
    undo_block,
    zero_state,
)
from classical.schedule import Schedule, fuse

# Blocks of states this large stay in the last-level cache of common processors.
_CACHE_BYTES = 4 * 2**20


class MemoryTooSmall(ValueError):
    """The states that a simulation must hold do not fit into `max_bytes`."""


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


class Statevector:
    """Exact state-vector simulation of a `Program`, batched over parameter rows.

    Args:
        program: circuit, compiled.
        dtype: complex128, or complex64 for half the memory and about seven digits.
        device: where states live.
        max_bytes: the most memory that states may take; a quarter of what is free by default.

    Raises:
        MemoryTooSmall: when not even one row fits.
    """

    def __init__(
        self,
        program: Program,
        *,
        dtype: torch.dtype = torch.complex128,
        device: str | torch.device = "cpu",
        max_bytes: int | None = None,
    ) -> None:
        self.program = program
        self.dtype = dtype
        self.device = _existing(torch.device(device))
        self.max_bytes = _free_bytes(self.device) // 4 if max_bytes is None else max_bytes
        self._schedules: dict[tuple[Program, int], Schedule] = {}
        self._state_bytes = 2**program.num_qubits * dtype.itemsize
        # Fewer than four states (two, their successors) can run nothing.
        if 4 * self._state_bytes > self.max_bytes:
            fits = (self.max_bytes // (4 * dtype.itemsize)).bit_length() - 1
            raise MemoryTooSmall(
                f"A simulation of {program.num_qubits} qubits holds at least four states of "
                f"{self._state_bytes:,} bytes, but `max_bytes` is {self.max_bytes:,}: at most {max(fits, 0)} "
                "qubits fit. Use fewer qubits, dtype complex64, or raise `max_bytes`."
            )

    # --- states and values, differentiable ------------------------------------------------------------

    def states(self, angles: Tensor) -> Tensor:
        """Final states, shape (B, D), for rotation angles (B, rotations); differentiable.

        Memory: B states, twice; under autograd one state more for each block.
        """
        angles = angles.to(self.device)
        schedule = self.schedule(states=1)
        unitaries = block_matrices(schedule, angles, self.dtype).unitaries
        start = zero_state(len(angles), self.program.num_qubits, self.dtype, self.device)
        return run(schedule, unitaries, start)[:, 0]

    def probabilities(self, states: Tensor, group: MeasurementGroup) -> Tensor:
        """Outcome probabilities in the group's basis, shape (B, R, D), for states (B, R, D)."""
        turned = self.turn(states, group)
        return turned.real**2 + turned.imag**2

    def turn(self, states: Tensor, group: MeasurementGroup) -> Tensor:
        """States (B, R, D) after the gates that turn the group's basis to Z."""
        program = group.basis_change
        if program is None:
            return states
        schedule, unitaries = self._fixed_unitaries(program)
        return run(schedule, unitaries.expand(len(states), -1, -1, -1), states)

    def values(self, angles: Tensor, groups: Sequence[MeasurementGroup]) -> Tensor:
        """Expectation values, shape (B, observables); differentiable.

        Rows are taken in pieces that fit into `max_bytes`, unless autograd needs them all.
        """
        if torch.is_grad_enabled() and angles.requires_grad:
            return self._values(self.states(angles), groups)
        piece = self.rows_at_once(states=1)
        parts = [self._values(self.states(part), groups) for part in angles.split(piece)]
        return torch.cat(parts)

    def _values(self, states: Tensor, groups: Sequence[MeasurementGroup]) -> Tensor:
        total = states.real.new_zeros(len(states), groups[0].num_observables)
        for group in groups:
            table = group.eigenvalues.to(total)
            total = total + self.probabilities(states[:, None], group)[:, 0] @ table
        return total

    # --- the tangent pass -----------------------------------------------------------------------------

    def tangent_chunks(self, angles: Tensor) -> Iterator[TangentChunk]:
        """Yields all final tangents, in chunks that fit into `max_bytes` and, where it pays, into cache.

        One pass carries the block [state, tangents so far] through the circuit; a tangent enters at its own
        rotation. So the price of all 2K shifted circuits is that of about K/2 simulations in large products.
        """
        angles = angles.to(self.device)
        num_rotations = self.program.num_rotations
        at_once = self.rows_at_once(states=num_rotations + 1)
        for first in range(0, len(angles), at_once):
            part = angles[first : first + at_once]
            rows = slice(first, first + len(part))
            schedule = self.schedule(states=num_rotations + 1)
            matrices = block_matrices(schedule, part, self.dtype, insertions=True)
            state = zero_state(len(part), self.program.num_qubits, self.dtype, self.device)
            chunks = self.chunks(schedule, len(part))
            entering = [tuple(r for b in chunk for r in schedule.blocks[b].rotations) for chunk in chunks]
            size = state.numel() * (1 + max(map(len, entering), default=0))
            buffers = (state.new_empty(size), state.new_empty(size))
            for chunk, rotations in zip(chunks, entering, strict=True):
                carried, state = self._carry(schedule, matrices, state, chunk, buffers)
                if rotations:
                    yield TangentChunk(rows=rows, rotations=rotations, both=carried)

    def chunks(self, schedule: Schedule, rows: int) -> list[range]:
        """Stretches of blocks whose tangents are carried together, for `rows` parameter rows.

        As many as fit into memory and cache, but at least eight states where memory allows, and one block.
        """
        most = self.max_bytes // (4 * rows * self._state_bytes)
        in_cache = _CACHE_BYTES // (rows * self._state_bytes)
        limit = min(most, max(8, in_cache))
        chunks: list[range] = []
        size = 1
        for b, block in enumerate(schedule.blocks):
            size += len(block.rotations)
            if not chunks or size > limit:
                chunks.append(range(b, b + 1))
                size = 1 + len(block.rotations)
            else:
                chunks[-1] = range(chunks[-1].start, b + 1)
        return chunks

    def _carry(
        self,
        schedule: Schedule,
        matrices: BlockMatrices,
        state: Tensor,
        chunk: range,
        buffers: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Final [state, tangents of the chunk's blocks], and the state as it stood behind the chunk."""
        assert matrices.insertions is not None
        batch, _, total = state.shape
        here, there = buffers
        current = _room(here, batch, 1, total).copy_(state)
        following = state
        for b in range(chunk.start, len(schedule.blocks)):
            block = schedule.blocks[b]
            if b == chunk.stop:
                following = current[:, :1].clone()
            rows = current.shape[1]
            if block.permutation is not None:
                current = permute_axes(current, block.permutation, out=_room(there, batch, rows, total))
                here, there = there, here
            new = len(block.rotations) if b in chunk else 0
            target = _room(there, batch, rows + new, total)
            apply_block(matrices.unitaries[:, b], current, out=target[:, :rows])
            if new:
                insert(matrices.insertions[:, b, :new], current[:, 0], out=target[:, rows:])
            current = target
            here, there = there, here
        if schedule.final_permutation is not None:
            room = _room(there, batch, current.shape[1], total)
            current = permute_axes(current, schedule.final_permutation, out=room)
        return current, following

    # --- the adjoint sweep ----------------------------------------------------------------------------

    def adjoint(self, angles: Tensor, groups: Sequence[MeasurementGroup]) -> tuple[Tensor, Tensor]:
        """Values (B, observables) and their derivatives by the angles (B, observables, rotations).

        One pass forward, one back that undoes the blocks on [state, O state]; at each block the derivatives of
        all its rotations come from one d x d matrix of overlaps. Memory: two plus twice `observables` states a
        row, whatever the depth. Source: Jones and Gacon 2020, arXiv:2009.02823, on fused blocks.
        """
        observables = groups[0].num_observables
        piece = self.rows_at_once(states=observables + 1)
        parts = [self._adjoint(part, groups) for part in angles.to(self.device).split(piece)]
        return torch.cat([value for value, _ in parts]), torch.cat([slope for _, slope in parts])

    def _adjoint(self, angles: Tensor, groups: Sequence[MeasurementGroup]) -> tuple[Tensor, Tensor]:
        observables = groups[0].num_observables
        schedule = self.schedule(states=observables + 2)
        dim = 2**schedule.width
        rest = 2**self.program.num_qubits // dim
        matrices = block_matrices(schedule, angles, self.dtype, insertions=True)
        assert matrices.insertions is not None
        start = zero_state(len(angles), self.program.num_qubits, self.dtype, self.device)
        state = run(schedule, matrices.unitaries, start)
        images = self._images(state, groups)
        values = torch.einsum("brd,bmd->bm", state.conj(), images).real
        slopes = angles.new_zeros(len(angles), observables, self.program.num_rotations)
        both = permute_axes(torch.cat([state, images], dim=1), inverse(schedule.final_permutation))
        for b in reversed(range(len(schedule.blocks))):
            block = schedule.blocks[b]
            images = both[:, 1:].reshape(len(angles), observables, rest, dim)
            both = undo_block(matrices.unitaries[:, b], both)
            if block.rotations:
                before = both[:, :1].reshape(len(angles), 1, dim, rest)
                overlaps = torch.matmul(before, images.conj())  # (B, observables, d before, d after)
                inserted = matrices.insertions[:, b, : len(block.rotations)]
                slope = torch.einsum("bkay,bmya->bmk", inserted, overlaps).imag
                slopes[:, :, list(block.rotations)] = slope.to(slopes)
            both = permute_axes(both, inverse(block.permutation))
        return values, slopes

    def _images(self, state: Tensor, groups: Sequence[MeasurementGroup]) -> Tensor:
        """O applied to the states (B, 1, D) for each observable, shape (B, observables, D)."""
        total = torch.zeros_like(state.expand(-1, groups[0].num_observables, -1))
        for group in groups:
            turned = self.turn(state, group) * group.eigenvalues.T.to(self.device, self.dtype)
            if group.basis_change is not None:
                schedule, unitaries = self._fixed_unitaries(group.basis_change)
                turned = permute_axes(turned, inverse(schedule.final_permutation))
                for b in reversed(range(len(schedule.blocks))):
                    turned = undo_block(unitaries[:, b].expand(len(turned), -1, -1), turned)
                    turned = permute_axes(turned, inverse(schedule.blocks[b].permutation))
            total = total + turned
        return total

    # --- how large the pieces are ---------------------------------------------------------------------

    def schedule(self, *, states: int) -> Schedule:
        """The fused program; wide blocks where many amplitudes share a matrix, narrow ones elsewhere."""
        amplitudes = states * 2**self.program.num_qubits
        return self._fused(self.program, 4 if amplitudes >= 2**12 else 3 if amplitudes >= 2**8 else 2)

    def schedule_of_fixed(self, program: Program) -> Schedule:
        """A program without parameters, fused as widely as pays: its matrices are the same for all states."""
        return self._fused(program, 4)

    def _fused(self, program: Program, width: int) -> Schedule:
        key = (program, min(width, program.num_qubits))
        if key not in self._schedules:
            self._schedules[key] = fuse(program, width)
        return self._schedules[key]

    def _fixed_unitaries(self, program: Program) -> tuple[Schedule, Tensor]:
        schedule = self.schedule_of_fixed(program)
        none = torch.zeros(1, 0, dtype=torch.float64, device=self.device)
        return schedule, block_matrices(schedule, none, self.dtype).unitaries

    def pieces(self, circuits: int, rows: int) -> Iterator[tuple[slice, slice]]:
        """Cuts a table of `circuits` times `rows` states into rectangles that fit into memory and cache."""
        at_once = self.rows_at_once(states=1)
        wide = max(1, min(rows, at_once))
        tall = max(1, at_once // wide)
        for i in range(0, circuits, tall):
            for j in range(0, rows, wide):
                yield slice(i, min(i + tall, circuits)), slice(j, min(j + wide, rows))

    def rows_at_once(self, *, states: int) -> int:
        """Parameter rows that are simulated together when each holds `states` states, twice."""
        most = max(1, self.max_bytes // (4 * states * self._state_bytes))
        in_cache = max(1, _CACHE_BYTES // (states * self._state_bytes))
        return min(most, in_cache)


def _room(buffer: Tensor, batch: int, rows: int, total: int) -> Tensor:
    """The first part of a flat buffer as (batch, rows, total)."""
    return buffer[: batch * rows * total].view(batch, rows, total)


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def _existing(device: torch.device) -> torch.device:
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"Argument `device` is {device}, but no CUDA device is there: use 'cpu'.")
    return device
