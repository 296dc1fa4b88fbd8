"""The matrix-product operator, or tensor-train matrix, as a linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Self, final

import torch
from torch import Tensor, nn

from qtn.decompositions import tt_svd
from qtn.layers.base import dense_parts, own_parameter, random_factor
from qtn.layers.bonds import bonds_for_keep, full_bonds
from qtn.layers.contraction import sweep
from qtn.layers.path import Product, joining_path, multiply_adds, sweep_path
from qtn.layers.planned import AbstractPlannedLayer
from qtn.layers.sites import matrix_sites


@final
class MPOLinear(AbstractPlannedLayer):
    """weight[(j_1 ... j_d), (i_1 ... i_d)] = G_1[0, j_1, i_1, :] G_2[:, j_2, i_2, :] ... G_d[:, j_d, i_d, 0].

    Core k has shape (bond_{k-1}, out_sites[k], in_sites[k], bond_k); the first site is the slowest index.
    With out_sites (m, 1) and in_sites (1, n) the layer is a low-rank pair.

    The input is contracted with one core after the other, from the first or from the last, whichever takes
    fewer operations; from a certain number of rows on, forming the dense weight first takes less time. Both are
    decided when the layer is made, see `plan`. Each step is one matrix product. The sites matter: two balanced
    sites of an n x n weight take fewer operations than the dense layer only for bonds below sqrt(n) / 2.

    Attributes:
        out_sites: Factors of `out_features`.
        in_sites: Factors of `in_features`.
        starts_last: Whether contraction starts from the last core.

    Source: A. Novikov, D. Podoprikhin, A. Osokin, D. Vetrov, Tensorizing Neural Networks, NeurIPS 2015,
    arXiv:1509.06569, equation 3.
    """

    def __init__(
        self,
        cores: Sequence[Tensor],  # shapes: (bond_{k-1}, out_site, in_site, bond_k)
        bias: Tensor | None = None,  # shape: (out_features,)
        *,
        discarded: float | None = None,
    ) -> None:
        shapes = [tuple(core.shape) for core in cores]
        if len(cores) < 2 or any(len(shape) != 4 for shape in shapes):
            raise ValueError(
                "Argument `cores` must hold at least two tensors of shape (left, out, in, right), "
                f"but has shapes {shapes}."
            )
        if [1, *(shape[3] for shape in shapes)] != [*(shape[0] for shape in shapes), 1]:
            raise ValueError(
                "Argument `cores` must have equal bonds between neighbours and 1 at both ends, "
                f"but has shapes {shapes}."
            )
        out_sites, in_sites = tuple(shape[1] for shape in shapes), tuple(shape[2] for shape in shapes)
        super().__init__(prod(in_sites), prod(out_sites), bias, discarded)
        self.out_sites = out_sites
        self.in_sites = in_sites
        self.cores = nn.ParameterList([own_parameter(core) for core in cores])
        from_first = sweep_path(out_sites, in_sites, self.ranks, 1)
        from_last = sweep_path(out_sites[::-1], in_sites[::-1], self.ranks[::-1], 1)
        self.starts_last = multiply_adds(from_last) < multiply_adds(from_first)
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
        """The layer that sequential singular value decompositions make of a dense one.

        Args:
            source: A linear layer, or a weight (out_features, in_features).
            out_sites: Factors of `out_features`. Default: `balanced_sites`, largest first.
            in_sites: Factors of `in_features`. Default: `balanced_sites`, smallest first, so that the two
                sequences balance each other: a matrix with prime sizes becomes a low-rank pair.
            num_sites: Number of sites where none are given. Default 2.
            max_bond: Largest bond, or one for each pair of neighbouring sites.
            keep: Parameters of the cores as a fraction of those of the weight, instead of `max_bond`; met
                within 2 percent where bonds of such sites can, see `bonds_for_keep`.
            cutoff: Largest relative weight that may be discarded; not with `keep`.

        Returns:
            The layer, its cores scaled alike. Without `max_bond`, `keep` and `cutoff` it has full bonds and
            is equal to the dense one.

        Raises:
            TypeError: See `AbstractTensorLayer.from_dense`.
            ValueError: The same, sites that do not multiply to the features, or arguments that exclude each
                other.

        Cost: one singular value decomposition for each bond, the first of the regrouped weight.

        Source: see `tt_svd`. For two sites this is the best sum of Kronecker products: C. F. Van Loan,
        N. Pitsianis, Approximation with Kronecker Products, in Linear Algebra for Large Scale and Real-Time
        Applications, 293 (1993), doi:10.1007/978-94-015-8196-7_17.
        """
        weight, bias = dense_parts(source)
        out_features, in_features = weight.shape
        rows, columns = matrix_sites(out_features, in_features, out_sites, in_sites, num_sites)
        num = len(rows)
        sizes = tuple(j * i for j, i in zip(rows, columns, strict=True))
        if keep is not None:
            if max_bond is not None or cutoff:
                raise ValueError(
                    "Argument `keep` must stand without `max_bond` and `cutoff`, but one is given."
                )
            max_bond = bonds_for_keep(sizes, keep)
        pairs = [axis for k in range(num) for axis in (k, num + k)]
        grouped = weight.reshape(*rows, *columns).permute(pairs).reshape(sizes)
        cores, discarded = tt_svd(grouped, max_bond=max_bond, cutoff=cutoff, balanced=True)
        split = [
            core.reshape(core.shape[0], j, i, core.shape[2])
            for core, j, i in zip(cores, rows, columns, strict=True)
        ]
        return cls(split, bias, discarded=discarded)

    @classmethod
    def random(
        cls,
        in_features: int,
        out_features: int,
        *,
        max_bond: int,
        generator: torch.Generator,
        out_sites: Sequence[int] | None = None,
        in_sites: Sequence[int] | None = None,
        num_sites: int | None = None,
        bias: bool = True,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> Self:
        """A fresh layer whose dense weight and bias have the variance of a new `torch.nn.Linear`.

        That is v = 1 / (3 * in_features), for which the entries of d cores have variance
        (v / product of the bonds)^(1/d). Bonds are `max_bond`, or full where that is less.

        Raises:
            ValueError: A bad `max_bond`, or sites that do not multiply to the features.
        """
        if max_bond < 1:
            raise ValueError(f"Argument `max_bond` must be at least 1, but is {max_bond}.")
        rows, columns = matrix_sites(out_features, in_features, out_sites, in_sites, num_sites)
        sizes = [j * i for j, i in zip(rows, columns, strict=True)]
        bonds = [min(bond, max_bond) for bond in full_bonds(sizes)]
        dense_variance = 1.0 / (3 * in_features)
        variance = (dense_variance / prod(bonds)) ** (1.0 / len(sizes))

        def draw(shape: tuple[int, ...], value: float) -> Tensor:
            return random_factor(shape, value, generator=generator, dtype=dtype, device=device)

        shapes = zip((1, *bonds), rows, columns, (*bonds, 1), strict=True)
        cores = [draw(shape, variance) for shape in shapes]
        return cls(cores, draw((out_features,), dense_variance) if bias else None)

    def to_dense(self) -> Tensor:
        dense, rows, columns = self.cores[0], 1, 1
        for k, (j, i) in enumerate(zip(self.out_sites, self.in_sites, strict=True)):
            if k:
                core = self.cores[k]
                dense = dense.reshape(-1, core.shape[0]) @ core.reshape(core.shape[0], -1)
            dense = dense.reshape(rows, columns, j, i, -1).transpose(1, 2)
            rows, columns = rows * j, columns * i
        return dense.reshape(rows, columns)

    @property
    def ranks(self) -> tuple[int, ...]:
        return tuple(core.shape[3] for core in list(self.cores)[:-1])

    def _factorised(self, rows: int) -> list[Product]:
        step = slice(None, None, -1 if self.starts_last else 1)
        products = sweep_path(self.out_sites[step], self.in_sites[step], self.ranks[step], rows)
        if self.starts_last:  # the result is permuted too
            last = products[-1]
            products[-1] = replace(last, copied=last.copied + rows * self.out_features)
        return products

    def _joining(self) -> list[Product]:
        sizes = [j * i for j, i in zip(self.out_sites, self.in_sites, strict=True)]
        return joining_path(sizes, self.ranks)

    def _contract(self, rows: Tensor) -> Tensor:
        num = len(self.in_sites)
        cores, sites = list(self.cores), self.in_sites
        state = rows.reshape(-1, *sites)
        if self.starts_last:
            # The mirror image is the same train read from the other end.
            cores = [core.transpose(0, 3) for core in reversed(cores)]
            sites = sites[::-1]
            state = state.permute(0, *range(num, 0, -1))
        done = sweep(state.reshape(len(rows), *sites), cores)
        if self.starts_last:
            done = done.reshape(-1, *self.out_sites[::-1]).permute(0, *range(num, 0, -1))
        return done.reshape(-1, self.out_features)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, out_sites={self.out_sites}, in_sites={self.in_sites}"
