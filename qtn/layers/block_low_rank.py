"""A grid of blocks of low rank, Monarch matrices among them, as a linear layer."""

from __future__ import annotations

from math import gcd
from typing import Self, final

import torch
from torch import Tensor, nn

from qtn.decompositions.checks import check_cutoff, working_copy
from qtn.layers.base import dense_parts, own_parameter
from qtn.layers.bonds import bond_limits, nearest_bonds
from qtn.layers.factors import fresh_factors
from qtn.layers.path import Product
from qtn.layers.planned import AbstractPlannedLayer

_DEFAULT_BLOCKS = 4


@final
class BlockLowRankLinear(AbstractPlannedLayer):
    """The weight in a grid of `rows x columns` blocks of equal size, each a product of rank `rank`.

    `right` is a block-diagonal matrix that acts on the pieces of the input, `left` one that makes the pieces of
    the output, and a fixed permutation stands between them. So blocks of one rank and Monarch matrices are the same
    thing but for the order of the outputs: entry p of block row r is output r * height + p here, and output
    p * rows + r, a stride apart, with `strided`. With an n x n grid of n x n blocks of rank 1 the strided weight
    is P L P^T R as published.

    Parameters and multiply-adds per row are both rank * (rows * in_features + columns * out_features), two
    batched matrix products. One block is a low-rank pair.

    Attributes:
        left: Parameter of shape (rows, out_features / rows, columns * rank).
        right: Parameter of shape (columns, rows * rank, in_features / columns).
        strided: Whether the rows of a block lie a stride apart.

    Source: T. Dao et al., Monarch: Expressive Structured Matrices for Efficient and Accurate Training, ICML 2022,
    arXiv:2204.00595, definition 3.1.
    """

    def __init__(
        self,
        left: Tensor,  # shape: (rows, out_features / rows, columns * rank)
        right: Tensor,  # shape: (columns, rows * rank, in_features / columns)
        bias: Tensor | None = None,  # shape: (out_features,)
        *,
        strided: bool = False,
        discarded: float | None = None,
    ) -> None:
        fits = left.ndim == right.ndim == 3 and left.shape[2] * len(left) == right.shape[1] * len(right)
        if not fits or left.shape[2] % len(right):
            raise ValueError(
                "Arguments `left` and `right` must have shapes (rows, height, columns * rank) and "
                f"(columns, rows * rank, width), but have shapes {tuple(left.shape)} and {tuple(right.shape)}."
            )
        (num_rows, height, _), (num_columns, _, width) = left.shape, right.shape
        super().__init__(num_columns * width, num_rows * height, bias, discarded)
        self.strided = strided
        self.left = own_parameter(left)
        self.right = own_parameter(right)
        self.plan()

    @classmethod
    def from_dense(
        cls,
        source: nn.Linear | Tensor,
        *,
        grid: tuple[int, int] | None = None,
        strided: bool = False,
        rank: int | None = None,
        keep: float | None = None,
        cutoff: float = 0.0,
    ) -> Self:
        """The layer of a given grid and rank nearest to a dense one in the Frobenius norm.

        Args:
            source: A linear layer, or a weight (out_features, in_features).
            grid: Numbers of blocks along the outputs and along the inputs, which they must divide. Default: the
                greatest common divisor of each with 4, so that odd sizes have one.
            strided: Whether the rows of a block lie a stride apart, as those of Monarch matrices.
            rank: Largest rank of a block.
            keep: Parameters of the factors as a fraction of those of the weight, instead of a rank: the rank
                with the nearest count is taken.
            cutoff: Largest relative weight that may be discarded; not with `keep`.

        Returns:
            The layer. Without `rank`, `keep` and `cutoff` it has full rank and is equal to the dense one.

        Raises:
            TypeError: See `AbstractTensorLayer.from_dense`.
            ValueError: The same, a bad rank, a grid that does not divide the features, or arguments that exclude
                each other.

        Cost: one batch of thin singular value decompositions, one for each block.

        Source: C. Eckart, G. Young, Psychometrika 1, 211 (1936), doi:10.1007/BF02288367, for each block; so also
        the projection onto Monarch matrices in arXiv:2204.00595, section 3.3.
        """
        weight, bias = dense_parts(source)
        out_features, in_features = weight.shape
        rows, columns = _grid(out_features, in_features, grid)
        blocks = _blocks(working_copy(weight, "source"), rows, columns, strided)
        full = (min(out_features // rows, in_features // columns),)
        check_cutoff(cutoff)
        (limit,) = bond_limits(full, rank, keep, cutoff, name="rank")
        if keep is not None:
            per_rank = rows * in_features + columns * out_features
            (limit,) = nearest_bonds(lambda bonds: bonds[0] * per_rank, full, weight.numel(), keep)

        left, values, right = torch.linalg.svd(blocks, full_matrices=False)
        weights = values.double().square().sum((0, 1))
        # tails[r] is the weight discarded at rank r; summed from the smallest up.
        tails = torch.cat([weights.flip(0).cumsum(0).flip(0), weights.new_zeros(1)])
        bond = int((tails > cutoff * tails[0]).sum()) if cutoff else limit
        bond = max(min(bond, limit), 1)
        total = float(tails[0])
        discarded = float(tails[bond]) / total if total > 0.0 else 0.0

        roots = values[..., :bond].sqrt()
        left = (left[..., :bond] * roots[..., None, :]).transpose(1, 2).flatten(2)
        right = (roots[..., None] * right[..., :bond, :]).transpose(0, 1).flatten(1, 2)
        return cls(left.to(weight.dtype), right.to(weight.dtype), bias, strided=strided, discarded=discarded)

    @classmethod
    def random(
        cls,
        in_features: int,
        out_features: int,
        *,
        rank: int,
        generator: torch.Generator,
        grid: tuple[int, int] | None = None,
        strided: bool = False,
        bias: bool = True,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> Self:
        """A fresh layer whose dense weight and bias have the variance of a new `torch.nn.Linear`.

        The rank is `rank`, or full where that is less; see `fresh_factors` for the variance.

        Raises:
            ValueError: A bad rank, or a grid that does not divide the features.
        """
        rows, columns = _grid(out_features, in_features, grid)
        height, width = out_features // rows, in_features // columns
        (bond,) = bond_limits((min(height, width),), rank, name="rank")
        (left, right), drawn_bias = fresh_factors(
            [(rows, height, columns * bond), (columns, rows * bond, width)],
            (bond,),
            in_features=in_features,
            out_features=out_features,
            bias=bias,
            generator=generator,
            dtype=dtype,
            device=device,
        )
        return cls(left, right, drawn_bias, strided=strided)

    def to_dense(self) -> Tensor:
        rows, columns = self.grid
        left = self.left.unflatten(2, (columns, -1)).transpose(1, 2)
        right = self.right.unflatten(1, (rows, -1)).transpose(0, 1)
        height, width, rank = left.shape[2], right.shape[3], left.shape[3]
        blocks = left.reshape(-1, height, rank) @ right.reshape(-1, rank, width)
        blocks = blocks.reshape(rows, columns, height, width)
        dense = blocks.permute(2, 0, 1, 3) if self.strided else blocks.permute(0, 2, 1, 3)
        return dense.reshape(self.out_features, self.in_features)

    @property
    def grid(self) -> tuple[int, int]:
        """Numbers of blocks along the outputs and along the inputs."""
        return len(self.left), len(self.right)

    @property
    def ranks(self) -> tuple[int, ...]:
        """The rank of the blocks."""
        return (self.left.shape[2] // len(self.right),)

    def _factorised(self, rows: int) -> list[Product]:
        num_rows, num_columns = self.grid
        _, height, inner = self.left.shape
        _, columns, width = self.right.shape
        middle = rows * num_columns * columns
        return [
            Product(rows, width, columns, copied=rows * self.in_features, count=num_columns),
            Product(rows, inner, height, copied=middle + rows * self.out_features, count=num_rows),
        ]

    def _joining(self) -> list[Product]:
        num_rows, num_columns = self.grid
        height, width = self.left.shape[1], self.right.shape[2]
        copied = self.left.numel() + self.right.numel() + self.in_features * self.out_features
        return [Product(height, self.ranks[0], width, copied=copied, count=num_rows * num_columns)]

    def _contract(self, rows: Tensor) -> Tensor:
        num_rows, num_columns = self.grid
        batch, (rank,) = len(rows), self.ranks
        state = rows.reshape(batch, num_columns, self.right.shape[2]).transpose(0, 1)
        state = (state @ self.right.transpose(1, 2)).reshape(num_columns, batch, num_rows, rank)
        state = state.permute(2, 1, 0, 3).reshape(num_rows, batch, num_columns * rank)
        state = state @ self.left.transpose(1, 2)
        state = state.permute(1, 2, 0) if self.strided else state.transpose(0, 1)
        return state.reshape(batch, self.out_features)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, grid={self.grid}, strided={self.strided}"


def _grid(out_features: int, in_features: int, grid: tuple[int, int] | None) -> tuple[int, int]:
    """The grid asked for, or the default one."""
    if grid is None:
        return gcd(out_features, _DEFAULT_BLOCKS), gcd(in_features, _DEFAULT_BLOCKS)
    if len(grid) != 2 or min(grid) < 1 or out_features % grid[0] or in_features % grid[1]:
        raise ValueError(
            f"Argument `grid` must hold divisors of out_features = {out_features} and in_features = {in_features}, "
            f"such as (1, 1), but is {grid}."
        )
    return grid


def _blocks(weight: Tensor, rows: int, columns: int, strided: bool) -> Tensor:
    """The blocks (rows, columns, height, width) of a weight."""
    width = weight.shape[1] // columns
    if strided:
        return weight.reshape(-1, rows, columns, width).permute(1, 2, 0, 3)
    return weight.reshape(rows, -1, columns, width).transpose(1, 2)
