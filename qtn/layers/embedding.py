"""What every tensor embedding promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import Tensor, nn


class AbstractTensorEmbedding(nn.Module, ABC):
    """A table of vectors whose rows are made from small tensors when they are looked up; the table is never formed.

    `layer(tokens)` equals `to_dense()[tokens]` up to rounding, and so do the gradients. A constructor takes the
    factors and copies them; `from_dense` fits them.

    Attributes:
        num_embeddings: Number of rows.
        embedding_dim: Length of a row.
        padding_idx: Row that is zero and stays so, or None.
        discarded: ||table - to_dense()||^2 / ||table||^2 of the fit that made the layer, in the Frobenius norm or
            the weighted norm of the fit, before casting to half precision; None if it was not fitted. Not part of
            the state dict.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None, discarded: float | None
    ) -> None:
        super().__init__()
        if padding_idx is not None and not 0 <= padding_idx < num_embeddings:
            raise ValueError(
                f"Argument `padding_idx` must be from 0 to {num_embeddings - 1}, but is {padding_idx}."
            )
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx
        self.discarded = discarded

    @classmethod
    @abstractmethod
    def from_dense(
        cls, source: nn.Embedding | Tensor, *, keep: float | None = None, cutoff: float = 0.0
    ) -> Self:
        """The layer that approximates a dense one; without options, one that is equal to it.

        Args:
            source: An embedding, or a table (num_embeddings, embedding_dim). Left as it is.
            keep: Parameters of the factors, as a fraction of those of the table.
            cutoff: Largest relative weight that may be discarded.

        Returns:
            A layer of the dtype and device of the source, with `discarded` set.

        Raises:
            TypeError: The source is neither an embedding nor a tensor, or of integer dtype.
            ValueError: The table is not a finite matrix, the source has options that factors cannot follow or a
                padding row other than zero, or `keep` is out of reach or stands with other options.
        """

    @abstractmethod
    def forward(
        self,
        tokens: Tensor,  # shape: (*batch), integer
    ) -> Tensor:  # shape: (*batch, embedding_dim)
        """The rows of the table at these indices.

        Raises:
            IndexError: An index is out of range, on the CPU.
        """

    @abstractmethod
    def to_dense(self) -> Tensor:  # shape: (num_embeddings, embedding_dim)
        """The table that the factors mean, differentiable with respect to them."""

    @property
    @abstractmethod
    def ranks(self) -> tuple[int, ...]:
        """Size of every bond between two factors."""

    @property
    def num_params(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def kept(self) -> float:
        """Parameters of the factors over those of the table."""
        return self.num_params / (self.num_embeddings * self.embedding_dim)

    def extra_repr(self) -> str:
        """Sizes, ranks and what they save, for printing."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        sizes = f"{self.num_embeddings}, {self.embedding_dim}{padding}"
        return f"{sizes}, ranks={self.ranks}, kept={self.kept:.4g}"


def table_parts(source: nn.Embedding | Tensor) -> tuple[Tensor, int | None, bool]:
    """Table, padding row and `sparse` of what `from_dense` was given, detached.

    Raises:
        TypeError: Neither an embedding nor a tensor.
        ValueError: The table is not a matrix, has a padding row other than zero, or options that factors cannot follow.
    """
    if isinstance(source, Tensor):
        if source.ndim != 2:
            raise ValueError(
                "Argument `source` must have shape (num_embeddings, embedding_dim), "
                f"but has shape {tuple(source.shape)}."
            )
        return source.detach(), None, False
    if not isinstance(source, nn.Embedding):
        raise TypeError(
            f"Argument `source` must be a torch.nn.Embedding or a tensor, but is a {type(source).__name__}."
        )
    if source.max_norm is not None or source.scale_grad_by_freq:
        raise ValueError(
            "Argument `source` must have neither `max_norm` nor `scale_grad_by_freq`, which act on rows of the "
            f"table, but has {source.max_norm} and {source.scale_grad_by_freq}; leave it dense."
        )
    table = source.weight.detach()
    if source.padding_idx is not None and torch.any(table[source.padding_idx] != 0):
        raise ValueError(
            f"Argument `source` must be zero in its padding row {source.padding_idx}, for factors are shared "
            "between rows and would change another; set the row to zero, or `padding_idx` to None."
        )
    return table, source.padding_idx, source.sparse
