"""Pauli strings inserted into blocks."""

from __future__ import annotations

from collections.abc import Iterable, Set

import torch
from torch import Tensor

from classical.layers import Layers
from classical.matrices import LayerMatrices, half_angles, layer_matrices
from classical.propagation import apply_block, permute_axes, zero_state
from classical.schedule import Schedule


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
