"""Fusing a program's gates into blocks on a few qubits, each applied as one matrix product.

A block of width w gathers all gates that can be reached on w qubits, in the order of the circuit up to
commuting diagonal gates. Applied to a state, a block turns the tensor axes: the window's axes come first,
the product writes them last. So sweeping windows over the qubits needs no copy, and other windows need one.

Source of the idea of fusing: Haener and Steiger 2017, arXiv:1704.01127, section 3; of inserting generators
into the fused blocks: docs/concepts.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from classical.cutting import cut_steps, narrow_steps, parted
from classical.layers import Layers, Layout, layer_tables
from classical.program import FixedUnitary, Program


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """One fused block: `permutation` brings its window to the front axes (None: it is there already)."""

    permutation: tuple[int, ...] | None
    rotations: tuple[int, ...]
    """Indices of the rotations inside, layer by layer."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Schedule:
    """A program as fused blocks of one width."""

    num_qubits: int
    width: int
    blocks: tuple[Block, ...]
    first_permutation: tuple[int, ...] | None
    """Brings the axes from qubit order to that of the first block; |0...0> needs none."""
    final_permutation: tuple[int, ...] | None
    """Brings the axes back to qubit order after the last block (None: they are)."""
    layouts: tuple[Layout, ...]
    dtype: torch.dtype
    device: torch.device
    _slabs: dict[int, tuple[Layers, ...]] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        """Most layers of a block."""
        return max((layout.depth for layout in self.layouts), default=1)

    @torch.inference_mode(False)
    def slabs(self, size: int) -> tuple[Layers, ...]:
        """Tables of `size` blocks each, in order; made once."""
        if size not in self._slabs:
            firsts = range(0, max(1, len(self.blocks)), size)
            self._slabs[size] = tuple(
                layer_tables(self.layouts[first : first + size], first, self.width, self.dtype, self.device)
                for first in firsts
            )
        return self._slabs[size]


def fuse(
    program: Program,
    width: int,
    dtype: torch.dtype = torch.complex128,
    device: torch.device | str = "cpu",
) -> Schedule:
    """Returns the program fused into blocks on `width` qubits (more where a fixed unitary needs more).

    Cost: blocks times qubits times the gates within reach, in Python; done once for a program.
    """
    num_qubits = program.num_qubits
    widest = max((len(g.qubits) for g in program.gates if isinstance(g, FixedUnitary)), default=1)
    width = min(max(width, widest, 2), num_qubits)
    order = natural = tuple(range(num_qubits))
    layouts: list[Layout] = []
    moves: list[tuple[int, ...] | None] = []
    for window, steps in cut_steps(narrow_steps(program, width), num_qubits, width):
        # `order` is that in which the block behind wants its axes.
        front, rest = parted(order, window)
        layouts.append(Layout(steps, front))
        moves.append(_move(rest + front, order))
        order = front + rest
    return Schedule(
        num_qubits=num_qubits,
        width=width,
        blocks=tuple(
            Block(permutation=permutation, rotations=layout.rotations)
            for permutation, layout in zip([None, *moves[:0:-1]], layouts[::-1], strict=False)
        ),
        first_permutation=_move(natural, order),
        final_permutation=moves[0] if moves else None,
        layouts=tuple(layouts[::-1]),
        dtype=dtype,
        device=torch.device(device),
    )


def _move(order: tuple[int, ...], to: tuple[int, ...]) -> tuple[int, ...] | None:
    return None if order == to else tuple(order.index(q) for q in to)
