"""An embedding of low rank: short rows, and one matrix that makes them long."""

from __future__ import annotations

from typing import Self, final

import torch
from torch import Tensor, nn

from qtn.decompositions import whitened_svd
from qtn.decompositions.checks import working_copy
from qtn.layers.bonds import bonds_for_keep
from qtn.layers.children import embedding_child, linear_child
from qtn.layers.embedding import AbstractTensorEmbedding, table_parts
from qtn.metric import LayerMetric


@final
class LowRankEmbedding(AbstractTensorEmbedding):
    """table = rows.weight @ left.weight.T: an embedding of `rank` columns, then a linear layer without bias.

    Parameters: rank * (num_embeddings + embedding_dim). The factors are of torch's own types, so
    that what quantises, adapts or shards those works on them.

    Attributes:
        rows: The short rows (num_embeddings, rank).
        left: From the rank to embedding_dim.

    Source: Z. Lan et al., ALBERT, ICLR 2020, arXiv:1909.11942, section 3.1 (factorized embedding parameterization).
    """

    def __init__(
        self,
        rows: Tensor,  # shape: (num_embeddings, rank)
        left: Tensor,  # shape: (embedding_dim, rank)
        *,
        padding_idx: int | None = None,
        sparse: bool = False,
        discarded: float | None = None,
    ) -> None:
        if rows.ndim != 2 or left.ndim != 2 or rows.shape[1] != left.shape[1]:
            raise ValueError(
                "Arguments `rows` and `left` must have shapes (num_embeddings, rank) and (embedding_dim, rank), "
                f"but have shapes {tuple(rows.shape)} and {tuple(left.shape)}."
            )
        super().__init__(len(rows), len(left), padding_idx, discarded)
        self.rows = embedding_child(rows, self.padding_idx, sparse)
        self.left = linear_child(left)
        self.sparse = sparse
        if padding_idx is not None:
            with torch.no_grad():
                self.rows.weight[padding_idx] = 0.0

    @classmethod
    def from_dense(
        cls,
        source: nn.Embedding | Tensor,
        *,
        rank: int | None = None,
        keep: float | None = None,
        cutoff: float = 0.0,
        frequencies: Tensor | None = None,  # shape: (num_embeddings,)
        damping: float = 1e-2,
        metric: LayerMetric | None = None,
    ) -> Self:
        """The layer of a given rank nearest to a dense one, with rows weighted by how often they are used.

        It minimises sum_t (f_t + damping * mean f) (table - rank r)_t G (table - rank r)_t^T over all tables of the
        rank, in closed form.

        Args:
            source: An embedding, or a table (num_embeddings, embedding_dim).
            rank: Largest rank, at most min(num_embeddings, embedding_dim).
            keep: Parameters of the factors as a fraction of those of the table, instead of a rank: the rank
                with the nearest count is taken.
            cutoff: Largest relative weight that may be discarded, weighted as the fit is; not with `keep`.
            frequencies: Counts f_t, or anything proportional to them. None weights all rows alike.
            damping: Added to the frequencies, in units of their mean, for the sake of rows not seen in calibration.
            metric: Its `outputs` are the G of the embedded rows; None is the identity. It has no inputs.

        Returns:
            The layer. Without `rank`, `keep` and `cutoff` it has full rank and is equal to the dense one.

        Raises:
            TypeError: See `AbstractTensorEmbedding.from_dense`.
            ValueError: The same, a bad rank, frequencies that are no weights, or a metric that does not fit.

        Cost: one thin singular value decomposition of the table.

        Source: the theorem of Eckart and Young (see `leading_svd`) in transformed coordinates.
        """
        table, padding_idx, sparse = table_parts(source)
        if keep is not None:
            if rank is not None or cutoff:
                raise ValueError("Argument `keep` must stand without `rank` and `cutoff`, but one is given.")
            (rank,) = bonds_for_keep(tuple(table.shape), keep)
        if rank is not None and not 1 <= rank <= min(table.shape):
            raise ValueError(
                f"Argument `rank` must be between 1 and {min(table.shape)} for a table of shape "
                f"{tuple(table.shape)}, but is {rank}."
            )
        if metric is not None and metric.inputs is not None:
            raise ValueError(
                "Argument `metric` must have no inputs, but has some; those of an embedding are `frequencies`."
            )
        working = working_copy(table, "source")
        weights = _row_weights(frequencies, len(table), damping).to(working)[:, None]
        left, right, discarded, _ = whitened_svd(
            (weights * working).T, metric or LayerMetric(None, None), max_bond=rank, cutoff=cutoff
        )
        rows = right.T / weights
        return cls(
            rows.to(table.dtype),
            left.to(table.dtype),
            padding_idx=padding_idx,
            sparse=sparse,
            discarded=discarded,
        )

    def forward(self, tokens: Tensor) -> Tensor:
        return self.left(self.rows(tokens))

    def to_dense(self) -> Tensor:
        return self.rows.weight @ self.left.weight.T

    @property
    def ranks(self) -> tuple[int, ...]:
        return (self.left.in_features,)


def _row_weights(frequencies: Tensor | None, num_rows: int, damping: float) -> Tensor:
    """Square roots of the damped frequencies, of mean square one plus the damping."""
    if frequencies is None:
        return torch.ones(num_rows, dtype=torch.float64)
    given = frequencies.detach().double()
    if given.shape != (num_rows,) or not torch.isfinite(given).all() or given.min() < 0 or given.sum() <= 0:
        raise ValueError(
            f"Argument `frequencies` must be {num_rows} finite numbers of at least 0 and not all 0, but has shape "
            f"{tuple(given.shape)} and values from {float(given.min()):.3g} to {float(given.max()):.3g}."
        )
    damped = given / given.mean() + damping
    if not (damping >= 0.0 and 0.0 < float(damped.min()) < float("inf")):
        raise ValueError(
            "Argument `damping` must be positive and finite where a frequency is 0, and never negative, "
            f"but is {damping}."
        )
    return damped.sqrt()
