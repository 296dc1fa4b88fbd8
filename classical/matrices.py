"""The matrices of blocks at given angles, made of the tables of their layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate

import torch
from torch import Tensor

from classical.layers import Layers
from classical.schedule import Schedule


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
