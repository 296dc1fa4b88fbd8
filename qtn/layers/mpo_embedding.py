"""The tensor-train embedding: a table as a train of small ones, one for each digit of the token."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod
from typing import Self, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qtn.decompositions import tt_svd
from qtn.decompositions.checks import working_copy
from qtn.layers.base import own_parameter
from qtn.layers.bonds import bonds_for_keep
from qtn.layers.embedding import AbstractTensorEmbedding, table_parts
from qtn.layers.sites import balanced_sites, matrix_sites

_SLACK = 1.25


@final
class MPOEmbedding(AbstractTensorEmbedding):
    """table[(t_1 ... t_d), (e_1 ... e_d)] = G_1[t_1, 0, e_1, :] G_2[t_2, :, e_2, :] ... G_d[t_d, :, e_d, 0].

    A token is written in mixed radix, first digit slowest, and the slices of its digits are multiplied. Core k
    has shape (row_sites[k], bond_{k-1}, column_sites[k], bond_k). The product of `row_sites` may exceed the number of
    rows: the rows beyond are never looked up.

    One row takes about embedding_dim * bond^2 / column_sites[-1] multiply-adds and as many numbers of memory as the
    slices hold.

    Attributes:
        row_sites: Factors whose product is at least `num_embeddings`.
        column_sites: Factors of `embedding_dim`.

    Source: O. Hrinchuk, V. Khrulkov, L. Mirvakhabova, E. Orlova, I. Oseledets, Tensorized Embedding Layers, Findings
    of EMNLP 2020, arXiv:1901.10787.
    """

    def __init__(
        self,
        cores: Sequence[Tensor],  # shapes: (row_site, bond_{k-1}, column_site, bond_k)
        num_embeddings: int | None = None,
        *,
        padding_idx: int | None = None,
        discarded: float | None = None,
    ) -> None:
        shapes = [tuple(core.shape) for core in cores]
        if len(cores) < 2 or any(len(shape) != 4 for shape in shapes):
            raise ValueError(
                "Argument `cores` must hold at least two tensors of shape (row_site, left, column_site, right), "
                f"but has shapes {shapes}."
            )
        if [1, *(shape[3] for shape in shapes)] != [*(shape[1] for shape in shapes), 1]:
            raise ValueError(
                "Argument `cores` must have equal bonds between neighbours and 1 at both ends, "
                f"but has shapes {shapes}."
            )
        row_sites, column_sites = tuple(shape[0] for shape in shapes), tuple(shape[2] for shape in shapes)
        num = prod(row_sites) if num_embeddings is None else num_embeddings
        if not 1 <= num <= prod(row_sites):
            raise ValueError(
                f"Argument `num_embeddings` must be from 1 to {prod(row_sites)}, the product of the row sites, "
                f"but is {num}."
            )
        super().__init__(num, prod(column_sites), padding_idx, discarded)
        self.row_sites = row_sites
        self.column_sites = column_sites
        self.cores = nn.ParameterList([own_parameter(core) for core in cores])

    @classmethod
    def from_dense(
        cls,
        source: nn.Embedding | Tensor,
        *,
        num_sites: int = 3,
        max_bond: int | Sequence[int] | None = None,
        keep: float | None = None,
        cutoff: float = 0.0,
    ) -> Self:
        """The layer that sequential singular value decompositions make of a dense one.

        Args:
            source: An embedding, or a table (num_embeddings, embedding_dim); its order of rows is part of the fit.
            num_sites: Number of sites. Rows are padded with zeros as `padded_sites` says.
            max_bond: Largest bond, or one for each pair of neighbouring sites.
            keep: Parameters of the cores as a fraction of those of the table, instead of `max_bond`; met
                within 2 percent where bonds of such sites can, see `bonds_for_keep`.
            cutoff: Largest relative weight that may be discarded; not with `keep`.

        Returns:
            The layer, its cores scaled alike. Without `max_bond`, `keep` and `cutoff` it is equal to the dense one.

        Raises:
            TypeError: See `AbstractTensorEmbedding.from_dense`.
            ValueError: The same, a sparse source, or fewer than two sites.

        Cost: one singular value decomposition for each bond, the first of the regrouped table.
        """
        table, padding_idx, sparse = table_parts(source)
        if sparse:
            raise ValueError(
                "Argument `source` must not be sparse, for cores have dense gradients; leave it dense, or make a "
                "LowRankEmbedding."
            )
        num, dim = table.shape
        rows = padded_sites(num, num_sites)
        rows, columns = matrix_sites(prod(rows), dim, rows, None, num_sites)
        sizes = tuple(t * e for t, e in zip(rows, columns, strict=True))
        if keep is not None:
            if max_bond is not None or cutoff:
                raise ValueError(
                    "Argument `keep` must stand without `max_bond` and `cutoff`, but one is given."
                )
            max_bond = bonds_for_keep(sizes, keep * num / prod(rows))
        working = working_copy(table, "source")
        padded = F.pad(working, (0, 0, 0, prod(rows) - num))
        pairs = [axis for k in range(num_sites) for axis in (k, num_sites + k)]
        grouped = padded.reshape(*rows, *columns).permute(pairs).reshape(sizes)
        cores, discarded = tt_svd(grouped, max_bond=max_bond, cutoff=cutoff, balanced=True)
        split = [
            core.reshape(len(core), t, e, -1).transpose(0, 1)
            for core, t, e in zip(cores, rows, columns, strict=True)
        ]
        if discarded and (prod(rows) > num or padding_idx is not None):
            # What the train has in rows that are never looked up is no error.
            fitted = cls(split, num, padding_idx=padding_idx).to_dense().detach()
            discarded = float((working - fitted).double().square().sum() / working.double().square().sum())
        cast = [core.to(table.dtype) for core in split]
        return cls(cast, num, padding_idx=padding_idx, discarded=discarded)

    def forward(self, tokens: Tensor) -> Tensor:
        flat = tokens.reshape(-1)
        state = self._slices(flat)
        if self.padding_idx is not None:
            state = state.masked_fill((flat == self.padding_idx)[:, None], 0.0)
        return state.reshape(*tokens.shape, self.embedding_dim)

    def to_dense(self) -> Tensor:
        table = self.cores[0][:, 0]
        for core in list(self.cores)[1:]:
            site, bond, column, right = core.shape
            matrix = core.transpose(0, 1).reshape(bond, -1)
            table = (table.reshape(-1, bond) @ matrix).reshape(*table.shape[:2], site, column, right)
            table = table.transpose(1, 2).flatten(2, 3).flatten(0, 1)
        table = table.reshape(-1, self.embedding_dim)[: self.num_embeddings]
        if self.padding_idx is None:
            return table
        is_padding = torch.arange(len(table), device=table.device) == self.padding_idx
        return table.masked_fill(is_padding[:, None], 0.0)

    @property
    def ranks(self) -> tuple[int, ...]:
        return tuple(core.shape[3] for core in list(self.cores)[:-1])

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, row_sites={self.row_sites}, column_sites={self.column_sites}"

    def _slices(self, tokens: Tensor) -> Tensor:  # shapes: (num,) -> (num, embedding_dim)
        """The products of the slices of the digits."""
        num, width = len(tokens), self.column_sites[0]
        rest = prod(self.row_sites[1:])
        # A first digit that no core has makes the look-up raise, as that of a dense table does.
        is_bad = (tokens < 0) | (tokens >= self.num_embeddings)
        first = (tokens // rest).masked_fill(is_bad, self.row_sites[0])
        state = F.embedding(first, self.cores[0].flatten(1))
        for core in list(self.cores)[1:]:
            size, left, column, right = core.shape
            rest //= size
            slices = F.embedding(tokens // rest % size, core.flatten(1)).reshape(num, left, column * right)
            state = state.reshape(num, width, left) @ slices
            width *= column
        return state.reshape(num, width)


def padded_sites(num_rows: int, num_sites: int) -> tuple[int, ...]:
    """Nearly equal factors of the least number from `num_rows` on that has some.

    Nearly equal: the largest is at most 1.25 times the root of order `num_sites`, rounded up. The padding is at
    most what rounding this root up adds.

    Args:
        num_rows: At least 1.
        num_sites: Number of factors, at least 2.

    Returns:
        `num_sites` factors in falling order.

    Raises:
        ValueError: An argument is too small.
    """
    if num_rows < 1 or num_sites < 2:
        raise ValueError(
            "Arguments `num_rows` and `num_sites` must be at least 1 and 2, "
            f"but are {num_rows} and {num_sites}."
        )
    limit = ceil(_SLACK * num_rows ** (1.0 / num_sites))
    padded = num_rows
    while (sites := balanced_sites(padded, num_sites))[0] > limit:
        padded += 1
    return sites
