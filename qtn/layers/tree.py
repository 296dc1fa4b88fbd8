"""A binary tree of small tensors, the hierarchical Tucker format, as a linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Self, TypeVar, final

import torch
from torch import Tensor, nn

from qtn.decompositions.checks import working_copy
from qtn.layers.base import dense_parts, own_parameter
from qtn.layers.bonds import bond_limits, nearest_bonds
from qtn.layers.factors import Truncations, equal_norms, fresh_factors
from qtn.layers.path import Product, multiply_adds
from qtn.layers.planned import AbstractPlannedLayer
from qtn.layers.sites import matrix_sites, paired, unpaired
from qtn.layers.tucker import truncated_axes

Entry = TypeVar("Entry")

_NUM_SITES = 4


@final
class TreeLinear(AbstractPlannedLayer):
    """A weight of four sites: leaves 1 and 2 joined by one transfer tensor, 3 and 4 by another, both by a root.

    weight[(j_1 ... j_4), (i_1 ... i_4)] is the sum over all bonds of leaf_k[j_k, i_k, r_k] for k = 1 to 4,
    transfer_1[r_1, r_2, s], transfer_2[r_3, r_4, t] and root[s, t]; the first site is the slowest index.

    The input is contracted with one half of the tree up to the root and then down the other, from the first or
    the last half, whichever takes fewer operations.

    Attributes:
        out_sites: Factors of `out_features`, four.
        in_sites: Factors of `in_features`, four.
        starts_last: Whether contraction starts from the last two leaves.

    Source: W. Hackbusch, S. Kuehn, A New Scheme for the Tensor Representation, J. Fourier Anal. Appl. 15, 706
    (2009), doi:10.1007/s00041-009-9094-9.
    """

    def __init__(
        self,
        leaves: Sequence[Tensor],  # shapes: (out_site, in_site, leaf_bond)
        transfers: Sequence[Tensor],  # shapes: (leaf_bond, next_leaf_bond, root_bond)
        root: Tensor,  # shape: (root_bond, other_root_bond)
        bias: Tensor | None = None,  # shape: (out_features,)
        *,
        discarded: float | None = None,
    ) -> None:
        shapes = [tuple(factor.shape) for factor in (*leaves, *transfers, root)]
        if (len(leaves), len(transfers)) != (4, 2) or [len(shape) for shape in shapes] != [3] * 6 + [2]:
            raise ValueError(
                "Arguments `leaves` and `transfers` must hold four and two tensors with three axes and `root` must "
                f"be a matrix, but the shapes are {shapes}."
            )
        bonds = tuple(shape[2] for shape in shapes[:6])
        if (*shapes[4][:2], *shapes[5][:2], *shapes[6]) != bonds:
            raise ValueError(
                "Arguments `leaves`, `transfers` and `root` must have equal bonds where they join, "
                f"but the shapes are {shapes}."
            )
        out_sites, in_sites = tuple(shape[0] for shape in shapes[:4]), tuple(shape[1] for shape in shapes[:4])
        super().__init__(prod(in_sites), prod(out_sites), bias, discarded)
        self.out_sites = out_sites
        self.in_sites = in_sites
        self.leaves = nn.ParameterList([own_parameter(leaf) for leaf in leaves])
        self.transfers = nn.ParameterList([own_parameter(transfer) for transfer in transfers])
        self.root = own_parameter(root)
        from_first, from_last = (
            multiply_adds(self._products(1, starts_last)) for starts_last in (False, True)
        )
        self.starts_last = from_last < from_first
        self.plan()

    @classmethod
    def from_dense(
        cls,
        source: nn.Linear | Tensor,
        *,
        out_sites: Sequence[int] | None = None,
        in_sites: Sequence[int] | None = None,
        max_bond: int | Sequence[int] | None = None,
        keep: float | None = None,
        cutoff: float = 0.0,
    ) -> Self:
        """The layer that a hierarchical singular value decomposition makes of a dense one, from leaves to root.

        The squared error is at most 5 times the least possible at these bonds.

        Args:
            source: A linear layer, or a weight (out_features, in_features).
            out_sites: Four factors of `out_features`. Default: `balanced_sites`, largest first.
            in_sites: Four factors of `in_features`. Default: `balanced_sites`, smallest first.
            max_bond: Largest bond, or one for each in the order of `ranks`; the smaller of the last two counts.
            keep: Parameters of the factors as a fraction of those of the weight, instead of `max_bond`; met
                within 2 percent where such bonds can, see `nearest_bonds`.
            cutoff: Largest relative weight that may be discarded; not with `keep`.

        Returns:
            The layer, its factors scaled to one norm. Without `max_bond`, `keep` and `cutoff` it is equal to the
            dense one.

        Raises:
            TypeError: See `AbstractTensorLayer.from_dense`.
            ValueError: The same, sites that are not four or do not multiply to the features, or arguments that
                exclude each other.

        Cost: five thin singular value decompositions, the first of the regrouped weight.

        Source: L. Grasedyck, Hierarchical Singular Value Decomposition of Tensors, SIAM J. Matrix Anal. Appl. 31,
        2029 (2010), doi:10.1137/090764189.
        """
        weight, bias = dense_parts(source)
        out_features, in_features = weight.shape
        rows, columns = matrix_sites(out_features, in_features, out_sites, in_sites, _NUM_SITES)
        sizes = tuple(j * i for j, i in zip(rows, columns, strict=True))
        full = full_tree(sizes)
        limits = bond_limits(full, max_bond, keep, cutoff)
        if keep is not None:
            limits = _bonds_for_keep(sizes, full, keep)
        truncations = Truncations(cutoff, 5)
        tensor = paired(working_copy(weight, "source"), rows, columns)
        core, leaves = truncated_axes(tensor, limits[:4], truncations)
        # The two nodes below the root see one matrix from either side: one decomposition serves both.
        first, second, third, fourth = core.shape
        left, values, right = truncations.step(core.reshape(first * second, -1), min(limits[4:]))
        factors = equal_norms([*leaves, left, right, values.diag()])
        shapes = [
            *((j, i, leaf.shape[1]) for j, i, leaf in zip(rows, columns, leaves, strict=True)),
            (first, second, len(values)),
            (len(values), third, fourth),
            (len(values), len(values)),
        ]
        shaped = [
            factor.reshape(shape).to(weight.dtype) for factor, shape in zip(factors, shapes, strict=True)
        ]
        transfers = [shaped[4], shaped[5].permute(1, 2, 0)]
        return cls(shaped[:4], transfers, shaped[6], bias, discarded=truncations.discarded)

    @classmethod
    def random(
        cls,
        in_features: int,
        out_features: int,
        *,
        max_bond: int | Sequence[int],
        generator: torch.Generator,
        out_sites: Sequence[int] | None = None,
        in_sites: Sequence[int] | None = None,
        bias: bool = True,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> Self:
        """A fresh layer whose dense weight and bias have the variance of a new `torch.nn.Linear`.

        Bonds are `max_bond`, or full where that is less; see `fresh_factors` for the variance.

        Raises:
            ValueError: A bad `max_bond`, or sites that are not four or do not multiply to the features.
        """
        rows, columns = matrix_sites(out_features, in_features, out_sites, in_sites, _NUM_SITES)
        bonds = bond_limits(full_tree([j * i for j, i in zip(rows, columns, strict=True)]), max_bond)
        factors, drawn_bias = fresh_factors(
            [
                *zip(rows, columns, bonds[:4], strict=True),
                (*bonds[:2], bonds[4]),
                bonds[2:4] + bonds[5:],
                bonds[4:],
            ],
            bonds,
            in_features=in_features,
            out_features=out_features,
            bias=bias,
            generator=generator,
            dtype=dtype,
            device=device,
        )
        return cls(factors[:4], factors[4:6], factors[6], drawn_bias)

    def to_dense(self) -> Tensor:
        halves = []
        for k, transfer in enumerate(self.transfers):
            first, second = (leaf.reshape(-1, leaf.shape[2]) for leaf in list(self.leaves)[2 * k : 2 * k + 2])
            left, right, top = transfer.shape
            half = (first @ transfer.reshape(left, right * top)).reshape(-1, right, top).transpose(1, 2)
            halves.append((half.reshape(-1, right) @ second.T).reshape(len(first), top, len(second)))
        upper, lower = (half.transpose(1, 2).reshape(-1, half.shape[1]) for half in halves)
        return unpaired(upper @ self.root @ lower.T, self.out_sites, self.in_sites)

    @property
    def ranks(self) -> tuple[int, ...]:
        """Bonds (r_1, r_2, r_3, r_4) of the leaves and (s, t) of the root."""
        return tuple(factor.shape[2] for factor in (*self.leaves, *self.transfers))

    def _factorised(self, rows: int) -> list[Product]:
        return self._products(rows, self.starts_last)

    def _products(self, rows: int, starts_last: bool) -> list[Product]:
        out_sites, in_sites, (*leaf_bonds, s, t) = self.out_sites, self.in_sites, self.ranks
        if starts_last:
            out_sites, in_sites, leaf_bonds = (_swapped(each) for each in (out_sites, in_sites, leaf_bonds))
            s, t = t, s
        (j1, j2, j3, j4), (i1, i2, i3, i4), (r1, r2, r3, r4) = out_sites, in_sites, leaf_bonds
        rest, ups = rows * i3 * i4, rows * j1 * j2
        ends = rows * (self.in_features + self.out_features) if starts_last else 0
        # Every state but the two at the root is permuted.
        return [
            Product(rest * i2, i1, j1 * r1, copied=rest * i1 * i2 + ends),
            Product(rest * j1 * r1, i2, j2 * r2, copied=rest * j1 * r1 * i2),
            Product(rest * j1 * j2, r1 * r2, s, copied=rest * j1 * j2 * r1 * r2),
            Product(rest * j1 * j2, s, t),
            Product(rest * j1 * j2, t, r3 * r4),
            Product(ups * i4 * r4, i3 * r3, j3, copied=ups * i3 * i4 * r3 * r4),
            Product(ups * j3, i4 * r4, j4, copied=ups * j3 * i4 * r4),
        ]

    def _joining(self) -> list[Product]:
        (n1, n2, n3, n4), (r1, r2, r3, r4, s, t) = (
            [j * i for j, i in zip(self.out_sites, self.in_sites, strict=True)],
            self.ranks,
        )
        return [
            Product(n1, r1, r2 * s),
            Product(n1 * s, r2, n2, copied=n1 * s * (r2 + n2)),
            Product(n3, r3, r4 * t),
            Product(n3 * t, r4, n4, copied=n3 * t * (r4 + n4)),
            Product(n1 * n2, s, t),
            Product(n1 * n2, t, n3 * n4, copied=n1 * n2 * n3 * n4),
        ]

    def _contract(self, rows: Tensor) -> Tensor:
        leaves, transfers, root = list(self.leaves), list(self.transfers), self.root
        batch, half = len(rows), self.in_sites[0] * self.in_sites[1]
        state = rows.reshape(batch, half, self.in_features // half)
        if self.starts_last:
            leaves, transfers, root, state = _swapped(leaves), transfers[::-1], root.T, state.transpose(1, 2)
        (j1, i1, r1), (j2, i2, r2), (j3, i3, r3), (j4, i4, r4) = (leaf.shape for leaf in leaves)
        ups, downs, rest = j1 * j2, j3 * j4, i3 * i4

        state = state.reshape(batch, i1, i2 * rest).transpose(1, 2).reshape(-1, i1)
        state = state @ leaves[0].transpose(0, 1).reshape(i1, j1 * r1)
        state = state.reshape(batch, i2, rest, j1, r1).permute(0, 2, 3, 4, 1).reshape(-1, i2)
        state = state @ leaves[1].transpose(0, 1).reshape(i2, j2 * r2)
        state = state.reshape(batch, rest, j1, r1, j2, r2).permute(0, 1, 2, 4, 3, 5).reshape(-1, r1 * r2)
        state = state @ transfers[0].reshape(r1 * r2, -1) @ root @ transfers[1].reshape(r3 * r4, -1).T
        state = state.reshape(batch, i3, i4, ups, r3, r4).permute(0, 3, 2, 5, 1, 4).reshape(-1, i3 * r3)
        state = state @ leaves[2].permute(1, 2, 0).reshape(i3 * r3, j3)
        state = state.reshape(batch, ups, i4, r4, j3).permute(0, 1, 4, 2, 3).reshape(-1, i4 * r4)
        state = state @ leaves[3].permute(1, 2, 0).reshape(i4 * r4, j4)
        state = state.reshape(batch, ups, downs)
        if self.starts_last:
            state = state.transpose(1, 2)
        return state.reshape(batch, self.out_features)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, out_sites={self.out_sites}, in_sites={self.in_sites}"


def full_tree(sizes: Sequence[int]) -> tuple[int, ...]:
    """The bonds, in the order of `TreeLinear.ranks`, at which every tensor of four sizes is represented exactly."""
    leaves = tuple(min(size, prod(sizes) // size) for size in sizes)
    top = min(leaves[0] * leaves[1], leaves[2] * leaves[3])
    return *leaves, top, top


def tree_params(sizes: Sequence[int], bonds: Sequence[int]) -> int:
    """Number of parameters of leaves, transfer tensors and root at bonds in the order of `TreeLinear.ranks`."""
    first, second, third, fourth, upper, lower = bonds
    leaves = sum(size * bond for size, bond in zip(sizes, bonds[:4], strict=True))
    return leaves + first * second * upper + third * fourth * lower + upper * lower


def _bonds_for_keep(sizes: Sequence[int], full: Sequence[int], keep: float) -> tuple[int, ...]:
    """The bonds of a tree, equal ones at the root, nearest to `keep` times the parameters of the tensor."""

    def params(bonds: Sequence[int]) -> int:
        return tree_params(sizes, (*bonds, bonds[4]))

    def reachable(bonds: Sequence[int]) -> bool:
        top = bonds[4]
        pairs = (bonds[:2], bonds[2:4])
        return all(
            top <= first * second and first <= second * top and second <= first * top
            for first, second in pairs
        )

    bonds = nearest_bonds(params, full[:5], prod(sizes), keep, reachable)
    return *bonds, bonds[4]


def _swapped(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The last two of four first."""
    return (*entries[2:], *entries[:2])
