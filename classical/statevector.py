"""Exact simulation of a program: states and values, batched and differentiable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psutil
import torch
from torch import Tensor

from classical.measurement import MeasurementGroup
from classical.program import Program
from classical.propagation import (
    block_matrices,
    inverse,
    permute_axes,
    run,
    undo_block,
    zero_state,
)
from classical.schedule import Schedule, fuse

# Room for each state that a pass carries: itself and its successor, turned into a measurement basis, squared.
_ROOM = 6
# A pass that carries two states; fewer can run nothing.
_LEAST_STATES = 2 * _ROOM
# Copies of the block matrices while they are made: the steps, sines, prefixes, with insertions twice as many.
_TABLES = 8
# Blocks of states this large stay in the last-level cache of common processors.
_CACHE_BYTES = 8 * 2**20


class MemoryTooSmall(ValueError):
    """The states that a simulation must hold do not fit into `max_bytes`."""


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
        if _LEAST_STATES * self._state_bytes > self.max_bytes:
            fits = (self.max_bytes // (_LEAST_STATES * dtype.itemsize)).bit_length() - 1
            raise MemoryTooSmall(
                f"A simulation of {program.num_qubits} qubits needs room for {_LEAST_STATES} states of "
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

    def turn_back(self, states: Tensor, group: MeasurementGroup) -> Tensor:
        """Undoes `turn` on states (B, R, D)."""
        program = group.basis_change
        if program is None:
            return states
        schedule, unitaries = self._fixed_unitaries(program)
        states = permute_axes(states, inverse(schedule.final_permutation))
        for b in reversed(range(len(schedule.blocks))):
            states = undo_block(unitaries[:, b].expand(len(states), -1, -1), states)
            states = permute_axes(states, inverse(schedule.blocks[b].permutation))
        return states

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
        """Parameter rows that are simulated together when a pass carries `states` states for each.

        Their block matrices take memory too: most of it for few qubits and many gates.
        """
        return self._rows_that_fit(self.schedule(states=states), states)

    def states_at_once(self, rows: int) -> int:
        """States that a pass carries together for each of `rows` rows: what fits, and where it pays into cache.

        Eight are carried where memory allows, even when they are larger than the cache.
        """
        most = self.max_bytes // (_ROOM * rows * self._state_bytes)
        in_cache = _CACHE_BYTES // (rows * self._state_bytes)
        return min(most, max(8, in_cache))

    def rows_under_autograd(self) -> int:
        """Parameter rows whose values autograd can differentiate at once: it keeps one state a block."""
        schedule = self.schedule(states=1)
        return self._rows_that_fit(schedule, 1 + len(schedule.blocks))

    def _rows_that_fit(self, schedule: Schedule, states: int) -> int:
        tables = _TABLES * schedule.cosine.numel() * self.dtype.itemsize
        carried = states * self._state_bytes
        most = self.max_bytes // (_ROOM * carried + tables)
        in_cache = _CACHE_BYTES // (carried + tables // _TABLES)
        return max(1, min(most, in_cache))


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def _existing(device: torch.device) -> torch.device:
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"Argument `device` is {device}, but no CUDA device is there: use 'cpu'.")
    return device
