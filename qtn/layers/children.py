"""Torch's own modules made from tensors: the factors of a layer as children that every tool for torch knows."""

from __future__ import annotations

from torch import Tensor, nn

from qtn.layers.base import own_parameter


def linear_child(
    weight: Tensor,  # shape: (out_features, in_features)
) -> nn.Linear:
    """A linear layer without bias that holds a copy of a weight; nothing is drawn."""
    child = nn.Linear(1, 1, bias=False, device="meta")  # of any size: torch warns of one without elements
    child.out_features, child.in_features = weight.shape
    child.weight = own_parameter(weight)
    return child


def embedding_child(
    table: Tensor,  # shape: (num_embeddings, embedding_dim)
    padding_idx: int | None = None,
    sparse: bool = False,
) -> nn.Embedding:
    """An embedding that holds a copy of a table; nothing is drawn."""
    child = nn.Embedding(*table.shape, padding_idx=padding_idx, sparse=sparse, device="meta")
    child.weight = own_parameter(table)
    return child
