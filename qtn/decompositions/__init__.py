"""Decompositions of tensors: pure functions that return factors and what they discarded."""

from qtn.decompositions.svd import leading_svd, truncated_svd
from qtn.decompositions.tensor_train import tt_svd
from qtn.decompositions.whitened import whitened_svd

__all__ = ["leading_svd", "truncated_svd", "tt_svd", "whitened_svd"]
