"""The tensor ring, a train closed by a trace, as a linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Self, final

import torch
from torch import Tensor, nn

from qtn.decompositions import tt_svd
from qtn.decompositions.checks import working_copy
from qtn.layers.base import dense_parts, own_parameter
from qtn.layers.bonds import bond_limits, bonds_for_keep, full_bonds, nearest_bonds, reachable_bonds
from qtn.layers.contraction import sweep
from qtn.layers.factors import Truncations, equal_norms, fresh_factors
from qtn.layers.path import Product, multiply_adds, sweep_path
from qtn.layers.planned import AbstractPlannedLayer
from qtn.layers.sites import matrix_sites, paired, unpaired


@final
class TensorRingLinear(AbstractPlannedLayer):
    """weight[(j_1 ... j_d), (i_1 ... i_d)] = trace(G_1[:, j_1, i_1, :] ... G_d[:, j_d, i_d, :]).

    Core k has shape (bond_{k-1}, out_sites[k], in_sites[k], bond_k), and bond_d is bond_0; the first site is
    the slowest index. With bond_0 = 1 the ring is the train of `MPOLinear`. A ring of two sites has the weight and
    the number of parameters of the train with bond bond_0 * bond_1.

    The input is contracted with one core after the other, from the first or from the last, whichever takes
    fewer operations; bond_0 stays open until the end.

    Attributes:
        out_sites: Factors of `out_features`.
        in_sites: Factors of `in_features`.
        starts_last: Whether contraction starts from the last core.

    Source: Q. Zhao, G. Zhou, S. Xie, L. Zhang, A. Cichocki, Tensor Ring Decomposition, arXiv:1606.05535 (2016),
    equation 1; as a layer W. Wang, Y. Sun, B. Eriksson, W. Wang, V. Aggarwal, Wide Compression: Tensor Ring Nets,
    CVPR 2018, arXiv:1802.09052.
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
        if [shape[3] for shape in shapes] != [shape[0] for shape in (*shapes[1:], shapes[0])]:
            raise ValueError(
                "Argument `cores` must have equal bonds between neighbours, the last and the first too, "
                f"but has shapes {shapes}."
            )
        out_sites, in_sites = tuple(shape[1] for shape in shapes), tuple(shape[2] for shape in shapes)
        super().__init__(prod(in_sites), prod(out_sites), bias, discarded)
        self.out_sites = out_sites
        self.in_sites = in_sites
        self.cores = nn.ParameterList([own_parameter(core) for core in cores])
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
        num_sites: int | None = None,
        max_bond: int | Sequence[int] | None = None,
        keep: float | None = None,
        cutoff: float = 0.0,
    ) -> Self:
        """The layer that sequential singular value decompositions make of a dense one.

        The rank of the first decomposition is split into the bonds on either side of the first core, as equal as
        can be: bond_0 * bond_1 is at most the size of the first site, and a prime rank gives bond_0 = 1, a train.
        The rest is a train whose last site carries bond_0. A ring can have other bonds, and lower errors at the
        same count, but not by this method.

        Args:
            source: A linear layer, or a weight (out_features, in_features).
            out_sites: Factors of `out_features`. Default: `balanced_sites`, largest first.
            in_sites: Factors of `in_features`. Default: `balanced_sites`, smallest first.
            num_sites: Number of sites where none are given. Default 2.
            max_bond: Largest bond, or one for each in the order of `ranks`.
            keep: Parameters of the cores as a fraction of those of the weight, instead of `max_bond`; met
                within 2 percent where such bonds can, see `nearest_bonds`.
            cutoff: Largest relative weight that may be discarded; not with `keep`.

        Returns:
            The layer, its cores scaled alike. Without `max_bond`, `keep` and `cutoff` it is equal to the dense one.

        Raises:
            TypeError: See `AbstractTensorLayer.from_dense`.
            ValueError: The same, sites that do not multiply to the features, or arguments that exclude each
                other.

        Cost: d - 1 singular value decompositions, the first of the regrouped weight.

        Source: TR-SVD, arXiv:1606.05535, Algorithm 1.
        """
        weight, bias = dense_parts(source)
        out_features, in_features = weight.shape
        rows, columns = matrix_sites(out_features, in_features, out_sites, in_sites, num_sites)
        sizes = tuple(j * i for j, i in zip(rows, columns, strict=True))
        num = len(sizes)
        limits = bond_limits([prod(sizes)] * num, max_bond, keep, cutoff)
        if keep is not None:
            limits = _bonds_for_keep(sizes, keep)

        truncations = Truncations(cutoff, num - 1)
        tensor = paired(working_copy(weight, "source"), rows, columns)
        closing, first, *_ = _ring_bonds(sizes, limits)
        left, values, right = truncations.step(tensor.reshape(sizes[0], -1), closing * first)
        closing, first = _split(len(values), limits[0], limits[1])
        bond = closing * first
        weights = values.double().square()
        if bond < len(values):
            truncations.count(float(weights[bond:].sum() / weights.sum()))
        # The rank index of the rest is split: bond_1 stays in front, bond_0 goes to the end.
        rest = (values[:bond, None] * right[:bond]).reshape(closing, first, -1).permute(1, 2, 0)
        train, lost = tt_svd(
            rest.reshape(_train_sizes(sizes, closing, first)),
            max_bond=limits[2:],
            cutoff=truncations.allowed,
            balanced=True,
        )
        truncations.count(lost)

        cores = equal_norms([left[:, :bond].reshape(sizes[0], closing, first).transpose(0, 1), *train])
        bonds = [closing, first, *(core.shape[2] for core in train[:-1]), closing]
        shaped = [
            core.reshape(bonds[k], rows[k], columns[k], bonds[k + 1]).to(weight.dtype)
            for k, core in enumerate(cores)
        ]
        return cls(shaped, bias, discarded=truncations.discarded)

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

        The bonds are those that `from_dense` takes at this `max_bond`; see `fresh_factors` for the variance.

        Raises:
            ValueError: A bad `max_bond`, or sites that do not multiply to the features.
        """
        rows, columns = matrix_sites(out_features, in_features, out_sites, in_sites, num_sites)
        sizes = [j * i for j, i in zip(rows, columns, strict=True)]
        bonds = _ring_bonds(sizes, bond_limits([prod(sizes)] * len(sizes), max_bond))
        cores, drawn_bias = fresh_factors(
            list(zip(bonds, rows, columns, (*bonds[1:], bonds[0]), strict=True)),
            bonds,
            in_features=in_features,
            out_features=out_features,
            bias=bias,
            generator=generator,
            dtype=dtype,
            device=device,
        )
        return cls(cores, drawn_bias)

    def to_dense(self) -> Tensor:
        closing = self.ranks[0]
        dense = self.cores[0].reshape(-1, self.cores[0].shape[3])
        for core in list(self.cores)[1:-1]:
            dense = (dense @ core.reshape(core.shape[0], -1)).reshape(-1, core.shape[3])
        last = self.cores[-1].permute(0, 3, 1, 2).reshape(dense.shape[1] * closing, -1)
        dense = dense.reshape(closing, -1, dense.shape[1]).permute(1, 2, 0).reshape(-1, len(last)) @ last
        return unpaired(dense, self.out_sites, self.in_sites)

    @property
    def ranks(self) -> tuple[int, ...]:
        """Bonds (bond_0, ..., bond_{d-1}), the one that closes the ring first."""
        return tuple(core.shape[0] for core in self.cores)

    def _factorised(self, rows: int) -> list[Product]:
        return self._products(rows, self.starts_last)

    def _products(self, rows: int, starts_last: bool) -> list[Product]:
        closing, *bonds = self.ranks
        step = slice(None, None, -1 if starts_last else 1)
        out_sites, in_sites = self.out_sites[step], self.in_sites[step]
        # The open bond goes along with the row index of the core that comes first, and is summed with the last.
        opened = (closing * out_sites[0], *out_sites[1:])
        *products, last = sweep_path(opened, in_sites, bonds[step], rows)
        copied = last.copied + (rows * self.out_features if starts_last else 0)
        return [*products, Product(last.rows // closing, last.inner * closing, last.columns, copied)]

    def _joining(self) -> list[Product]:
        closing, *bonds = self.ranks
        sizes = [j * i for j, i in zip(self.out_sites, self.in_sites, strict=True)]
        products, joined = [], closing * sizes[0]
        for size, left, right in zip(sizes[1:], bonds, bonds[1:], strict=False):
            products.append(Product(joined, left, size * right))
            joined *= size
        copied = joined * bonds[-1] + prod(sizes)
        return [*products, Product(joined // closing, closing * bonds[-1], sizes[-1], copied)]

    def _contract(self, rows: Tensor) -> Tensor:
        num, batch, closing = len(self.in_sites), len(rows), self.ranks[0]
        cores, in_sites, out_sites = list(self.cores), self.in_sites, self.out_sites
        state = rows.reshape(batch, *in_sites)
        if self.starts_last:
            # The mirror image is the same ring read from the other end.
            cores = [core.transpose(0, 3) for core in reversed(cores)]
            in_sites, out_sites = in_sites[::-1], out_sites[::-1]
            state = state.permute(0, *range(num, 0, -1))
        opened = cores[0].reshape(1, closing * out_sites[0], in_sites[0], cores[0].shape[3])
        state = sweep(state, [opened, *cores[1:-1]])
        bond, j, i, _ = cores[-1].shape
        done = self.out_features // j
        state = state.reshape(batch, closing, done, bond * i).transpose(1, 2)
        last = cores[-1].permute(3, 0, 2, 1).reshape(closing * bond * i, j)
        state = state.reshape(batch * done, closing * bond * i) @ last
        if self.starts_last:
            state = state.reshape(batch, *out_sites).permute(0, *range(num, 0, -1))
        return state.reshape(batch, self.out_features)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, out_sites={self.out_sites}, in_sites={self.in_sites}"


def ring_params(sizes: Sequence[int], bonds: Sequence[int]) -> int:
    """Number of parameters of a ring with cores (bond_{k-1}, size_k, bond_k)."""
    return sum(
        left * size * right for left, size, right in zip(bonds, sizes, (*bonds[1:], bonds[0]), strict=True)
    )


def _split(rank: int, first_limit: int, second_limit: int) -> tuple[int, int]:
    """Two bonds within their limits with the largest product up to `rank`; of equals the nearest to each other."""
    pairs = ((bond, min(rank // bond, second_limit)) for bond in range(1, min(rank, first_limit) + 1))
    return max(pairs, key=lambda pair: (pair[0] * pair[1], -abs(pair[0] - pair[1])))


def _train_sizes(sizes: Sequence[int], closing: int, first: int) -> tuple[int, ...]:
    """Sizes of the train that is left of a ring without its first core, whose bonds the ends carry."""
    rest = list(sizes[1:])
    rest[0] *= first
    rest[-1] *= closing
    return tuple(rest)


def _ring_bonds(sizes: Sequence[int], limits: Sequence[int]) -> tuple[int, ...]:
    """The bonds of a ring made by singular value decompositions under these limits."""
    closing, first = _split(min(sizes[0], prod(sizes[1:])), limits[0], limits[1])
    train = full_bonds(_train_sizes(sizes, closing, first))
    return closing, first, *(min(bond, limit) for bond, limit in zip(train, limits[2:], strict=True))


def _bonds_for_keep(sizes: Sequence[int], keep: float) -> tuple[int, ...]:
    """The bonds of a ring nearest to `keep` times the parameters of the dense tensor."""
    if len(sizes) == 2:  # only the product of the bonds enters
        (rank,) = bonds_for_keep(sizes, keep)
        return _split(rank, rank, rank)
    largest = min(sizes[0], prod(sizes[1:]))

    def reachable(bonds: Sequence[int]) -> bool:
        closing, first, *rest = bonds
        return closing * first <= largest and reachable_bonds(_train_sizes(sizes, closing, first), rest)

    full = _ring_bonds(sizes, [prod(sizes)] * len(sizes))
    return nearest_bonds(partial(ring_params, sizes), full, prod(sizes), keep, reachable)
