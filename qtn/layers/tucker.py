"""The Tucker format, a small core with a factor matrix on each axis, as a linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Self, final

import torch
from torch import Tensor, nn

from qtn.decompositions.checks import working_copy
from qtn.layers.base import dense_parts, own_parameter
from qtn.layers.bonds import bond_limits, nearest_bonds
from qtn.layers.contraction import axes_path, multiply_axes
from qtn.layers.factors import Truncations, equal_norms, fresh_factors
from qtn.layers.path import Product
from qtn.layers.planned import AbstractPlannedLayer
from qtn.layers.sites import matrix_sites


@final
class TuckerLinear(AbstractPlannedLayer):
    """weight = core with U_1, ..., U_d on its row axes and V_1, ..., V_d on its column axes.

    The weight is a tensor with axes (out_sites, in_sites): entry (j_1 ... j_d, i_1 ... i_d) is the sum over all
    a and b of core[a_1, ..., a_d, b_1, ..., b_d] U_1[j_1, a_1] ... U_d[j_d, a_d] V_1[i_1, b_1] ... V_d[i_d, b_d].

    The input is multiplied by the factors of the columns, the core and the factors of the rows in turn. The core
    grows with the power 2d of its sizes: few sites, and sizes well below those of the weight, are what pays.

    Attributes:
        out_sites: Factors of `out_features`.
        in_sites: Factors of `in_features`.

    Source: L. R. Tucker, Some mathematical notes on three-mode factor analysis, Psychometrika 31, 279 (1966),
    doi:10.1007/BF02289464.
    """

    def __init__(
        self,
        core: Tensor,  # shape: (a_1, ..., a_d, b_1, ..., b_d)
        out_factors: Sequence[Tensor],  # shapes: (out_site, a)
        in_factors: Sequence[Tensor],  # shapes: (in_site, b)
        bias: Tensor | None = None,  # shape: (out_features,)
        *,
        discarded: float | None = None,
    ) -> None:
        factors = [*out_factors, *in_factors]
        shapes = [tuple(factor.shape) for factor in factors]
        if any(len(shape) != 2 for shape in shapes) or tuple(core.shape) != tuple(s[-1] for s in shapes):
            raise ValueError(
                "Arguments `out_factors` and `in_factors` must hold one matrix (site, bond) for each axis of "
                f"`core`, but have shapes {shapes} for a core of shape {tuple(core.shape)}."
            )
        if len(out_factors) != len(in_factors) or not out_factors:
            raise ValueError(
                "Arguments `out_factors` and `in_factors` must be equally many, at least one, "
                f"but are {len(out_factors)} and {len(in_factors)}."
            )
        num = len(out_factors)
        sites = tuple(shape[0] for shape in shapes)
        super().__init__(prod(sites[num:]), prod(sites[:num]), bias, discarded)
        self.out_sites = sites[:num]
        self.in_sites = sites[num:]
        self.core = own_parameter(core)
        self.out_factors = nn.ParameterList([own_parameter(factor) for factor in out_factors])
        self.in_factors = nn.ParameterList([own_parameter(factor) for factor in in_factors])
        self.plan()

    @classmethod
    def from_dense(
        cls,
        source: nn.Linear | Tensor,
        *,
        out_sites: Sequence[int] | None = None,
        in_sites: Sequence[int] | None = None,
        num_sites: int | None = None,
        max_bond: int | Sequence[int] | None = None,
        keep: float | None = None,
        cutoff: float = 0.0,
    ) -> Self:
        """The layer that sequentially truncated higher-order singular value decompositions make of a dense one.

        The squared error is at most 2d times the least possible at these bonds.

        Args:
            source: A linear layer, or a weight (out_features, in_features).
            out_sites: Factors of `out_features`. Default: `balanced_sites`, largest first.
            in_sites: Factors of `in_features`. Default: `balanced_sites`, smallest first.
            num_sites: Number of sites where none are given. Default 2.
            max_bond: Largest size of the core, or one for each axis: those of the rows first.
            keep: Parameters of core and factors as a fraction of those of the weight, instead of `max_bond`; met
                within 2 percent where such bonds can, see `nearest_bonds`.
            cutoff: Largest relative weight that may be discarded; not with `keep`.

        Returns:
            The layer, core and factors scaled to one norm. Without `max_bond`, `keep` and `cutoff` it is equal
            to the dense one.

        Raises:
            TypeError: See `AbstractTensorLayer.from_dense`.
            ValueError: The same, sites that do not multiply to the features, or arguments that exclude each
                other.

        Cost: one thin singular value decomposition for each axis, of what the earlier ones have left.

        Source: N. Vannieuwenhoven, R. Vandebril, K. Meerbergen, A New Truncation Strategy for the Higher-Order
        Singular Value Decomposition, SIAM J. Sci. Comput. 34, A1027 (2012), doi:10.1137/110836067.
        """
        weight, bias = dense_parts(source)
        out_features, in_features = weight.shape
        rows, columns = matrix_sites(out_features, in_features, out_sites, in_sites, num_sites)
        sites = (*rows, *columns)
        full = full_core(sites)
        limits = bond_limits(full, max_bond, keep, cutoff)
        if keep is not None:
            limits = nearest_bonds(partial(tucker_params, sites), full, prod(sites), keep, _reachable)
        truncations = Truncations(cutoff, len(sites))
        core, factors = truncated_axes(working_copy(weight, "source").reshape(sites), limits, truncations)
        core, *factors = (factor.to(weight.dtype) for factor in equal_norms([core, *factors]))
        return cls(core, factors[: len(rows)], factors[len(rows) :], bias, discarded=truncations.discarded)

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
        num_sites: int | None = None,
        bias: bool = True,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> Self:
        """A fresh layer whose dense weight and bias have the variance of a new `torch.nn.Linear`.

        Bonds are `max_bond`, or full where that is less; see `fresh_factors` for the variance.

        Raises:
            ValueError: A bad `max_bond`, or sites that do not multiply to the features.
        """
        rows, columns = matrix_sites(out_features, in_features, out_sites, in_sites, num_sites)
        sites = (*rows, *columns)
        bonds = bond_limits(full_core(sites), max_bond)
        (core, *factors), drawn_bias = fresh_factors(
            [bonds, *zip(sites, bonds, strict=True)],
            bonds,
            in_features=in_features,
            out_features=out_features,
            bias=bias,
            generator=generator,
            dtype=dtype,
            device=device,
        )
        return cls(core, factors[: len(rows)], factors[len(rows) :], drawn_bias)

    def to_dense(self) -> Tensor:
        factors = [factor.T for factor in (*self.out_factors, *self.in_factors)]
        return multiply_axes(self.core.reshape(1, -1), factors).reshape(self.out_features, self.in_features)

    @property
    def ranks(self) -> tuple[int, ...]:
        """Sizes of the core, those of the rows first."""
        return tuple(self.core.shape)

    def _factorised(self, rows: int) -> list[Product]:
        num, bonds = len(self.out_sites), self.ranks
        return [
            *axes_path(self.in_sites, bonds[num:], rows),
            Product(rows, prod(bonds[num:]), prod(bonds[:num])),
            *axes_path(bonds[:num], self.out_sites, rows),
        ]

    def _joining(self) -> list[Product]:
        return axes_path(self.ranks, (*self.out_sites, *self.in_sites), 1)

    def _contract(self, rows: Tensor) -> Tensor:
        state = multiply_axes(rows, list(self.in_factors))
        state = state @ self.core.reshape(-1, state.shape[1]).T
        return multiply_axes(state, [factor.T for factor in self.out_factors])

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, out_sites={self.out_sites}, in_sites={self.in_sites}"


def truncated_axes(
    tensor: Tensor,  # shape: (n_1, ..., n_d)
    limits: Sequence[int],
    truncations: Truncations,
) -> tuple[Tensor, list[Tensor]]:
    """The core (r_1, ..., r_d) and orthonormal columns (n_k, r_k) for each axis, one axis after the other."""
    factors = []
    for limit in limits:
        # The axis at the front comes back at the end: after all steps they stand in order.
        rest = tensor.shape[1:]
        left, values, right = truncations.step(tensor.reshape(tensor.shape[0], -1), limit)
        factors.append(left)
        tensor = (values[:, None] * right).T.reshape(*rest, len(values))
    return tensor, factors


def full_core(sizes: Sequence[int]) -> tuple[int, ...]:
    """The sizes of the core at which every tensor of these sizes is represented exactly."""
    return tuple(min(size, prod(sizes) // size) for size in sizes)


def tucker_params(sizes: Sequence[int], bonds: Sequence[int]) -> int:
    """Number of parameters of a core of sizes `bonds` with a factor (size_k, bond_k) on each axis."""
    return prod(bonds) + sum(size * bond for size, bond in zip(sizes, bonds, strict=True))


def _reachable(bonds: Sequence[int]) -> bool:
    return all(bond * bond <= prod(bonds) for bond in bonds)
