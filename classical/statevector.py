"""Exact simulation of a program: states and values, batched and differentiable."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import psutil
import torch
from torch import Tensor

from classical.insertion import Insertion
from classical.matrices import block_matrices
from classical.measurement import AbstractMeasurementGroup
from classical.program import Program
from classical.propagation import final_states, inverse, permute_axes, run, undo_block
from classical.schedule import Schedule, fuse

# Room for each state that a pass carries: itself and its successor, turned into a measurement basis, squared.
_ROOM = 6
# A pass that carries two states; fewer can run nothing.
_LEAST_STATES = 2 * _ROOM
# Copies of the layers of a block, and of the strings that are inserted into it, while they are made.
_LAYERS = 5
_STRING = 8
# Blocks whose layers take this much memory are made at a time.
_SLAB_BYTES = 8 * 2**20
_INSERTIONS = 8
# The largest piece from whose size glibc learns, less what it adds: it then keeps up to twice as much.
_SEEN_FREED = 31 * 2**20
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
        self.device = _existing(device)
        self.max_bytes = _free_bytes(self.device) // 4 if max_bytes is None else max_bytes
        _keep_freed_memory()
        self._schedules: dict[tuple[Program, int], Schedule] = {}
        self._fixed_programs: dict[Program, tuple[Schedule, Tensor]] = {}
        self._insertions: dict[tuple[Schedule, tuple[int, ...], int], Insertion] = {}
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
        schedule = self.schedule(states=1, rows=len(angles))
        return final_states(schedule, angles.to(self.device), size=self.slab_size(schedule, len(angles)))

    def probabilities(self, states: Tensor, group: AbstractMeasurementGroup) -> Tensor:
        """Outcome probabilities in the group's basis, shape (B, R, D), for states (B, R, D)."""
        turned = self.turn(states, group)
        return turned.real**2 + turned.imag**2

    def turn(self, states: Tensor, group: AbstractMeasurementGroup) -> Tensor:
        """States (B, R, D) after the gates that turn the group's basis to Z."""
        program = group.basis_change
        if program is None:
            return states
        schedule, matrices = self._fixed(program)
        together = permute_axes(states.reshape(1, -1, states.shape[-1]), schedule.first_permutation)
        return run(schedule, matrices, together).view(states.shape)

    def turn_back(self, states: Tensor, group: AbstractMeasurementGroup) -> Tensor:
        """Undoes `turn` on states (B, R, D)."""
        program = group.basis_change
        if program is None:
            return states
        schedule, matrices = self._fixed(program)
        together = states.reshape(1, -1, states.shape[-1])
        together = permute_axes(together, inverse(schedule.final_permutation))
        for block, matrix in zip(reversed(schedule.blocks), reversed(matrices.unbind(0)), strict=True):
            together = permute_axes(undo_block(matrix, together), inverse(block.permutation))
        return permute_axes(together, inverse(schedule.first_permutation)).view(states.shape)

    def values(self, angles: Tensor, groups: Sequence[AbstractMeasurementGroup]) -> Tensor:
        """Expectation values, shape (B, observables); differentiable.

        Rows are taken in pieces that fit into `max_bytes`, unless autograd needs them all.
        """
        if torch.is_grad_enabled() and angles.requires_grad:
            return self._values(self.states(angles), groups)
        pieces = even_pieces(len(angles), self.rows_at_once(states=1))
        return torch.cat([self._values(self.states(part), groups) for part in angles.split(pieces)])

    def _values(self, states: Tensor, groups: Sequence[AbstractMeasurementGroup]) -> Tensor:
        total = states.real.new_zeros(len(states), groups[0].num_observables)
        for group in groups:
            table = group.eigenvalues.to(total)
            total = total + self.probabilities(states[:, None], group)[:, 0] @ table
        return total

    # --- how large the pieces are ---------------------------------------------------------------------

    def schedule(self, *, states: int, rows: int | None = None) -> Schedule:
        """The fused program for `states` states of each of `rows` rows, of many by default.

        Blocks are wide where many amplitudes share a matrix, or where so little is to be done that few steps are quick.
        """
        amplitudes = states * 2**self.program.num_qubits
        if amplitudes >= 2**10 or (rows is not None and rows * amplitudes <= 2**8):
            return self.wide_schedule()
        return self._fused(self.program, 3 if amplitudes >= 2**8 else 2)

    def wide_schedule(self) -> Schedule:
        """The fused program for a tangent pass: up to five qubits are one block."""
        return self._fused(self.program, 5 if self.program.num_qubits == 5 else 4)

    def schedule_of_fixed(self, program: Program) -> Schedule:
        """A program without parameters, fused as widely as pays: its matrices are the same for all states."""
        return self._fused(program, 4)

    def _fused(self, program: Program, width: int) -> Schedule:
        key = (program, min(width, program.num_qubits))
        if key not in self._schedules:
            self._schedules[key] = fuse(program, width, self.dtype, self.device)
        return self._schedules[key]

    @torch.inference_mode(False)
    def _fixed(self, program: Program) -> tuple[Schedule, Tensor]:
        """A program without parameters, and the matrices of its blocks (blocks, 1, d, d); made once."""
        if program not in self._fixed_programs:
            schedule = self.schedule_of_fixed(program)
            none = torch.zeros(1, 0, dtype=torch.float64, device=self.device)
            matrices = block_matrices(schedule, none, size=self.slab_size(schedule, 1))
            self._fixed_programs[program] = schedule, matrices
        return self._fixed_programs[program]

    def pieces(self, circuits: int, rows: int) -> Iterator[tuple[slice, slice]]:
        """Cuts a table of `circuits` times `rows` states into rectangles that fit into memory and cache."""
        at_once = self.rows_at_once(states=1)
        wide = max(1, min(rows, at_once))
        tall = max(1, at_once // wide)
        for i in range(0, circuits, tall):
            for j in range(0, rows, wide):
                yield slice(i, min(i + tall, circuits)), slice(j, min(j + wide, rows))

    def rows_at_once(self, *, states: int) -> int:
        """Parameter rows that are simulated together when a pass carries `states` states for each."""
        return self.rows_that_fit(self.schedule(states=states), states=states)

    def insertion(self, schedule: Schedule, rotations: tuple[int, ...], *, rows: int) -> Insertion:
        """Tables to insert the strings of some rotations, for `rows` parameter rows; the latest are kept."""
        key = (schedule, rotations, self.slab_size(schedule, rows))
        if key not in self._insertions:
            if len(self._insertions) == _INSERTIONS:
                self._insertions.clear()
            self._insertions[key] = Insertion(*key)
        return self._insertions[key]

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
        return self.rows_that_fit(schedule, states=1 + len(schedule.blocks))

    def rows_that_fit(self, schedule: Schedule, *, states: int, strings: int = 0) -> int:
        """Parameter rows for which `states` states, the matrices of all blocks and `strings` inserted strings fit.

        Where it pays into the cache.
        """
        carried = states * self._state_bytes
        matrix = 4**schedule.width * self.dtype.itemsize
        blocks = len(schedule.blocks) * matrix
        tables = _STRING * strings * min(matrix, self._state_bytes)
        # While they are joined, the matrices of all blocks are there twice.
        most = self.max_bytes // (_ROOM * carried + 2 * blocks + tables + self._layer_bytes(schedule))
        in_cache = _CACHE_BYTES // (carried + blocks + tables)
        return max(1, min(most, in_cache))

    def slab_size(self, schedule: Schedule, rows: int) -> int:
        """Blocks whose matrices are made at a time for `rows` rows."""
        fits = _SLAB_BYTES // max(1, rows * self._layer_bytes(schedule))
        return max(1, min(fits, len(schedule.blocks)))

    def _layer_bytes(self, schedule: Schedule) -> int:
        """What making the matrices of one block takes for one row."""
        return _LAYERS * schedule.depth * 4**schedule.width * self.dtype.itemsize


def even_pieces(count: int, most: int) -> list[int]:
    """Sizes, as even as can be, of pieces of at most `most` each; one of zero for nothing."""
    number = max(1, math.ceil(count / most))
    return [count // number + (i < count % number) for i in range(number)]


def _keep_freed_memory() -> None:
    """Makes glibc keep memory that tensors free, for those that follow: passes are up to twice as quick.

    It gives pages back to the system and takes them anew, zeroed, until it has seen a piece of this size freed.
    """
    torch.empty(_SEEN_FREED, dtype=torch.uint8)


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def _existing(device: str | torch.device) -> torch.device:
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        found = None
    if found is None or found.type not in ("cpu", "cuda"):
        raise ValueError(f"Argument `device` must be 'cpu' or 'cuda', but is {device!r}.")
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"Argument `device` is {found}, but no CUDA device is there: use 'cpu'.")
    return found
