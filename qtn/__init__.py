"""Tensor-network layers for torch, and the compression of trained models with them."""

from qtn.decompositions import leading_svd, truncated_svd, tt_svd
from qtn.layers import AbstractTensorLayer, LowRankLinear, MPOLinear, balanced_sites
from qtn.replace import replace_linears

__all__ = [
    "AbstractTensorLayer",
    "LowRankLinear",
    "MPOLinear",
    "balanced_sites",
    "leading_svd",
    "replace_linears",
    "truncated_svd",
    "tt_svd",
]
