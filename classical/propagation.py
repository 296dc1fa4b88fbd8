"""Applying a schedule to blocks of states: the inner loop of every simulation.

Shapes: B parameter rows, R states per row, D = 2^qubits amplitudes, d = 2^width, N = D / d. Matrices act on rows of
amplitudes, from the right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate

import torch
from torch import Tensor

from classical.schedule import Layers, Schedule


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerMatrices:
    """The matrices of the layers of some blocks at given angles, transposed: they act on rows of amplitudes.

    `layers`: (depth, blocks, B, d, d). `runs`: for each gate of the runs all gates up to it,
    (2, 2, w * depth * blocks, B).
    """

    layers: Tensor
    runs: Sequence[Tensor]

    def blocks(self) -> Tensor:
        """Matrices of the blocks, (blocks, B, d, d); differentiable. Cost: depth - 1 products of all of them."""
        return reduce(torch.matmul, self.layers.unbind(0))

    def tails(self) -> Tensor:
        """For each layer the product of all from it on, (depth, blocks, B, d, d): the first are the blocks."""
        made = torch.empty_like(self.layers)
        made[-1] = self.layers[-1]
        for layer in reversed(range(len(made) - 1)):
            torch.matmul(self.layers[layer], made[layer + 1], out=made[layer])
        return made


def half_angles(angles: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Halves of rotation angles (B, rotations) after a zero, shape (1 + rotations, B), their cosines and sines."""
    # Rows come last: what is done with 2 x 2 matrices runs along them.
    half = torch.cat([angles.new_zeros(len(angles), 1), angles], dim=1).T / 2
    return half, half.cos().to(dtype), half.sin().to(dtype)


def layer_matrices(layers: Layers, halves: tuple[Tensor, Tensor, Tensor]) -> LayerMatrices:
    """Returns the matrices of all layers for `half_angles`, built at once; differentiable.

    Cost: element-wise, a few passes over the result; one matrix product where a layer has a fixed matrix that is
    more than a permutation and phases.
    """
    half, cos, sin = halves
    dim, blocks, rows = len(layers.letters), layers.num_blocks, half.shape[1]
    width, cells = dim.bit_length() - 1, layers.depth * blocks
    gates = layers.cosine * _picked(cos, layers.gate_angles) + layers.sine * _picked(sin, layers.gate_angles)
    runs = list(accumulate(gates.unbind(2), lambda before, gate: (before[:, :, None] * gate).sum(1)))
    axes = runs[-1].view(2, 2, width, cells, rows).unbind(2)
    right = _spread(axes[width // 2 :], layers.columns[1], dim)
    if layers.phases is not None:
        right = right * layers.phases
    matrices = right.permute(2, 3, 0, 1).contiguous()
    if width > 1:
        left = _spread(axes[: width // 2], layers.columns[0], dim).permute(2, 3, 0, 1).contiguous()
        matrices = left[:, :, :, None] * matrices[:, :, None]
    matrices = matrices.view(layers.depth, blocks, rows, dim, dim)
    if layers.mixing:
        mixed = list(matrices)
        for layer, fixed in layers.mixing.items():
            mixed[layer] = torch.matmul(mixed[layer].reshape(blocks, rows * dim, dim), fixed)
        matrices = torch.stack([matrix.view(matrices.shape[1:]) for matrix in mixed])
        del mixed
    if len(layers.string_angles):
        phase = (_picked(half, layers.string_angles)[:, None] * layers.strings).sum(0)
        factors = torch.complex(phase.cos(), -phase.sin()).to(cos.dtype).permute(1, 2, 0)
        matrices = matrices * factors.reshape(layers.depth, blocks, rows, 1, dim)
    return LayerMatrices(layers=matrices, runs=runs)


def _picked(table: Tensor, index: Tensor) -> Tensor:
    """Rows of a table (entries, B) by an index of any shape; unlike `table[index]`, quick to differentiate."""
    return table.index_select(0, index.flatten()).view(*index.shape, table.shape[1])


def _spread(axes: Sequence[Tensor], columns: Tensor, dim: int) -> Tensor:
    """Kronecker product of matrices (2, 2, cells, B) with its columns repeated: shape (n, d, cells, B)."""
    product = reduce(_kronecker, axes)
    n, _, cells, rows = product.shape
    return product.reshape(n, n * cells, rows).index_select(1, columns).view(n, dim, cells, rows)


def _kronecker(a: Tensor, b: Tensor) -> Tensor:
    n, m = len(a), len(b)
    return (a[:, None, :, None] * b[None, :, None]).view(n * m, n * m, *a.shape[2:])


def block_matrices(schedule: Schedule, angles: Tensor, *, size: int) -> Tensor:
    """The matrices of all blocks for rotation angles (B, rotations), shape (blocks, B, d, d); differentiable.

    Made for `size` blocks at a time.
    """
    halves = half_angles(angles, schedule.dtype)
    return torch.cat([layer_matrices(layers, halves).blocks() for layers in schedule.slabs(size)])


# --- Pauli strings inserted into blocks -------------------------------------------------------------------


class Insertion:
    """The Pauli strings of some rotations, inserted into the blocks of a schedule, all of them at once.

    A string inserted behind its rotation is one inserted in front of its layer, turned by the gates of its run up to
    there: a real combination of X, Y and Z on its axis. So a table of strings takes three products: with letters, with
    combinations of these, and with the layers behind.

    Args:
        schedule: the blocks.
        rotations: whose strings are inserted.
        size: how many blocks are made at a time; each such slab has a table of its own.
    """

    def __init__(self, schedule: Schedule, rotations: Iterable[int], size: int) -> None:
        wanted = frozenset(rotations)
        self.schedule = schedule
        self.slabs = tuple(Slab(layers, wanted) for layers in schedule.slabs(size))
        self.rotations = tuple(rotation for slab in self.slabs for rotation in slab.spots)
        """In the order of blocks, as the tables have them."""
        self.blocks = tuple(block for slab in self.slabs for block, _, _ in slab.spots.values())
        """The block of each of these."""

    @property
    def into_states(self) -> bool:
        """Whether a state is smaller than a matrix, so that strings are better inserted into states."""
        return 2**self.schedule.num_qubits < 4**self.schedule.width

    def spans(self, first: int, last: int) -> dict[int, list[tuple[int, int, slice]]]:
        """Where `rotations[first:last]` are, by block: tables, cells in them and slots."""
        spots = [(b, t, x, j) for t, slab in enumerate(self.slabs) for b, x, j in slab.spots.values()]
        spans: dict[int, list[tuple[int, int, slice]]] = {}
        for block, table, cell, slot in spots[first:last]:
            before = spans.setdefault(block, [])
            if before and before[-1][:2] == (table, cell) and before[-1][2].stop == slot:
                before[-1] = (table, cell, slice(before[-1][2].start, slot + 1))
            else:
                before.append((table, cell, slice(slot, slot + 1)))
        return spans

    def made(self, angles: Tensor, *, into_states: bool) -> tuple[Tensor, list[Tensor]]:
        """Matrices of all blocks, (blocks, B, d, d), and a table of strings (cells, B, slots, m, d) for each slab.

        Into matrices, m = d: an entry is the block with the string inserted. Into states, m = 2^qubits / d: it is the
        circuit's state behind the block with the string inserted, the axes of the window last.
        """
        halves = half_angles(angles, self.schedule.dtype)
        front = zero_state(len(angles), self.schedule.num_qubits, self.schedule.dtype, angles.device)
        made: list[Tensor] = []
        tables: list[Tensor] = []
        for slab in self.slabs:
            matrices = layer_matrices(slab.layers, halves)
            tails = matrices.tails()
            if into_states:
                heads, front = self._fronts(tails[0], slab.layers.first, front)
            else:
                identity = torch.eye(2**self.schedule.width, dtype=tails.dtype, device=tails.device)
                heads = identity.expand_as(tails[0])
            tables.append(slab.table(matrices, heads, tails))
            # A copy where that frees the other tails.
            made.append(tails[0] if len(tails) == 1 else tails[0].clone())
        return (made[0] if len(made) == 1 else torch.cat(made)), tables

    def _fronts(self, matrices: Tensor, first: int, state: Tensor) -> tuple[Tensor, Tensor]:
        """States in front of blocks from `first` on as rows (blocks, B, 2^qubits / d, d), and that behind them."""
        rows, dim = matrices.shape[1:3]
        fronts: list[Tensor] = []
        for b, matrix in enumerate(matrices, start=first):
            state = permute_axes(state, self.schedule.blocks[b].permutation)
            fronts.append(state.view(rows, dim, -1).transpose(1, 2))
            state = apply_block(matrix, state)
        return torch.stack(fronts), state


class Slab:
    """Strings to insert into the blocks of one slab: `spots` says of each rotation block, cell and slot.

    Cells are those pairs (boundary between layers, block) where strings are inserted, boundary by boundary. Slots of a
    cell are strings of one letter, `turned` of them, then strings of Z, `signed` of them.
    """

    def __init__(self, layers: Layers, wanted: Set[int]) -> None:
        self.layers = layers
        dim, blocks = len(layers.letters), layers.num_blocks
        by_cell: dict[int, tuple[list[int], list[int]]] = {}
        for rotation, place in layers.places.items():
            if rotation in wanted:
                lists = by_cell.setdefault(place.layer * blocks + place.block, ([], []))
                lists[place.gate is None].append(rotation)
        self.cells = sorted(by_cell)
        self.turned, self.signed = (
            max((len(lists[i]) for lists in by_cell.values()), default=0) for i in (0, 1)
        )
        gates = torch.zeros(len(by_cell), self.turned, dtype=torch.int64)
        axes = torch.zeros(len(by_cell), self.turned, dim.bit_length() - 1, dtype=torch.float64)
        signs = torch.zeros(len(by_cell), self.signed, dim, dtype=torch.float64)
        spots: dict[int, tuple[int, int, int]] = {}
        for x, cell in enumerate(self.cells):
            turned, signed = by_cell[cell]
            for slot, rotation in [*enumerate(turned), *enumerate(signed, start=self.turned)]:
                place = layers.places[rotation]
                spots[rotation] = (layers.first + place.block, x, slot)
                if place.gate is None:
                    signs[x, slot - self.turned] = layers.strings[place.axis, :, cell - blocks, 0]
                else:
                    gates[x, slot], axes[x, slot, place.axis] = place.gate, 1
        self.spots = dict(sorted(spots.items(), key=lambda item: item[1]))
        self.last = max((layers.places[rotation].layer for rotation in spots), default=0)
        device, real = layers.letters.device, layers.letters.dtype.to_real()
        self._gates = gates.flatten().to(device)
        self._eigenvectors = layers.eigenvectors.index_select(1, self._gates)
        self._axes = axes[:, None, :, None].to(device, real)
        self._signs = signs[:, None, :, None].to(device, real)

    def table(self, matrices: LayerMatrices, heads: Tensor, tails: Tensor) -> Tensor:
        """Strings (cells, B, slots, m, d) between heads (blocks, B, m, d) of the blocks and tails of their layers."""
        _, rows, m, dim = heads.shape
        shape = (len(self.cells), rows, self.turned + self.signed, m, dim)
        if not self.cells or not rows:
            return heads.new_empty(shape)
        fronts = heads.new_empty(self.last + 1, *heads.shape)
        fronts[0] = heads
        for layer in range(self.last):
            torch.matmul(fronts[layer], matrices.layers[layer], out=fronts[layer + 1])
        front = self._of_cells(fronts)
        # Behind the last layer nothing is left to pass.
        identity = torch.eye(dim, dtype=tails.dtype, device=tails.device)
        tail = self._of_cells(tails)
        if len(tail) < len(front):
            tail = torch.cat([tail, identity.expand(len(front) - len(tail), rows, dim, dim)])
        strings: list[Tensor] = []
        if self.turned:
            letters = torch.matmul(front, self.layers.letters).view(*front.shape[:3], -1, dim)
            letters = letters.transpose(2, 3).reshape(*front.shape[:2], -1, m * dim)
            combined = torch.matmul(self._combinations(matrices), torch.view_as_real(letters).flatten(3))
            strings.append(torch.view_as_complex(combined.unflatten(3, (m * dim, 2))))
        if self.signed:
            strings.append((self._signs * front[:, :, None]).flatten(3))
        together = strings[0] if len(strings) == 1 else torch.cat(strings, dim=2)
        return torch.matmul(together.view(*front.shape[:2], -1, dim), tail).view(shape)

    def _of_cells(self, table: Tensor) -> Tensor:
        """Entries of a table (boundaries, blocks, ...) for those cells that it has."""
        entries = table.flatten(0, 1)
        inside = [cell for cell in self.cells if cell < len(entries)]
        return entries[: len(inside)] if inside == list(range(len(inside))) else entries[inside]

    def _combinations(self, matrices: LayerMatrices) -> Tensor:
        """Of X, -Y, Z on all axes: shape (cells, B, turned, 3 * w).

        A turned letter is 2 |v><v| - 1, where the gates up to it take v to the letter's eigenvector to +1.
        """
        gates = torch.stack(list(matrices.runs), dim=2).flatten(2, 3).index_select(2, self._gates)
        vectors = (gates * self._eigenvectors).sum(1)
        products = vectors * (2 * vectors[1]).conj()
        letters = torch.stack([products[0].real, products[0].imag, 1 - products[1].real], dim=-1)
        letters = letters.view(len(self.cells), self.turned, -1, 3).transpose(1, 2).contiguous()
        return (letters[..., None] * self._axes).flatten(3)


# --- applying them ----------------------------------------------------------------------------------------


def zero_state(batch: int, num_qubits: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """|0...0> for every row, shape (B, 1, D)."""
    state = torch.zeros(batch, 1, 2**num_qubits, dtype=dtype, device=device)
    state[..., 0] = 1
    return state


def permute_axes(
    states: Tensor,  # shape: (B, R, D)
    permutation: tuple[int, ...] | None,
    out: Tensor | None = None,  # shape: (B, R, D), contiguous
) -> Tensor:  # shape: (B, R, D), qubit axes in another order
    if permutation is None:
        return states
    batch, rows, _ = states.shape
    shape, axes = _merged(permutation)
    turned = states.reshape(batch, rows, *shape).permute(0, 1, *(axis + 2 for axis in axes))
    if out is None:
        return turned.reshape(states.shape)
    out.view(turned.shape).copy_(turned)
    return out


def _merged(permutation: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """The same permutation on as few axes as it can be written with: runs that stay together are one axis."""
    runs: list[list[int]] = []
    for axis in permutation:
        if runs and runs[-1][-1] + 1 == axis:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    by_position = sorted(range(len(runs)), key=lambda i: runs[i][0])
    shape = [2 ** len(runs[i]) for i in by_position]
    return shape, [by_position.index(i) for i in range(len(runs))]


def apply_block(
    matrices: Tensor,  # shape: (B, d, d)
    states: Tensor,  # shape: (B, R, D), window in front
    out: Tensor | None = None,  # shape: (B, R, D), each row contiguous
) -> Tensor:  # shape: (B, R, D), window at the back
    batch, rows, total = states.shape
    dim = matrices.shape[-1]
    if total == dim:
        return _product(states, matrices, out)
    left = states.reshape(batch, rows, dim, total // dim).transpose(2, 3)
    if batch == 1:
        # One matrix for all states: told to the library as such, it is not copied for each.
        view = None if out is None else out.view(rows, total // dim, dim)
        return _product(left[0], matrices.expand(rows, dim, dim), view).view(1, rows, total)
    view = None if out is None else out.view(batch, rows, total // dim, dim)
    return _product(left, matrices[:, None], view).view(batch, rows, total)


def insert(
    insertions: Tensor,  # shape: (B, steps, d, d)
    state: Tensor,  # shape: (B, D), window in front
    out: Tensor,  # shape: (B, steps, D), each row contiguous
) -> None:  # writes states with their window at the back
    batch, total = state.shape
    steps, dim = insertions.shape[1:3]
    left = state.reshape(batch, dim, total // dim).transpose(1, 2)
    if batch == 1:
        _product(left.expand(steps, -1, -1), insertions[0], out.view(steps, total // dim, dim))
    else:
        _product(left[:, None], insertions, out.view(batch, steps, total // dim, dim))


def _product(left: Tensor, right: Tensor, out: Tensor | None) -> Tensor:
    if out is None:
        return torch.matmul(left, right)
    if out.is_contiguous():
        return torch.matmul(left, right, out=out)
    return out.copy_(torch.matmul(left, right))


def undo_block(
    matrices: Tensor,  # shape: (B, d, d)
    states: Tensor,  # shape: (B, R, D), window at the back
) -> Tensor:  # shape: (B, R, D), window in front
    batch, rows, total = states.shape
    dim = matrices.shape[-1]
    right = states.reshape(batch, rows, total // dim, dim).transpose(2, 3)
    return torch.matmul(matrices.conj()[:, None], right).reshape(batch, rows, total)


def inverse(permutation: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The permutation that undoes `permutation`."""
    if permutation is None:
        return None
    return tuple(sorted(range(len(permutation)), key=permutation.__getitem__))


def run(schedule: Schedule, unitaries: Tensor, states: Tensor) -> Tensor:
    """States (B, R, D), their axes as the first block wants them, after all blocks in qubit order; differentiable."""
    for block, unitary in zip(schedule.blocks, unitaries, strict=True):
        states = apply_block(unitary, permute_axes(states, block.permutation))
    return permute_axes(states, schedule.final_permutation)


def final_states(schedule: Schedule, angles: Tensor, *, size: int) -> Tensor:
    """Final states (B, D) from |0...0>, for rotation angles (B, rotations); differentiable.

    Matrices are made for `size` blocks at a time.
    """
    if schedule.blocks and schedule.width == schedule.num_qubits:
        # One block: its layers are applied one by one, from the first row on, which is the image of |0...0>.
        (layers,) = schedule.slabs(1)
        first, *others = layer_matrices(layers, half_angles(angles, schedule.dtype)).layers[:, 0].unbind(0)
        return reduce(torch.matmul, others, first[:, :1])[:, 0]
    start = zero_state(len(angles), schedule.num_qubits, schedule.dtype, angles.device)
    return run(schedule, block_matrices(schedule, angles, size=size), start)[:, 0]
