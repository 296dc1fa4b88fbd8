"""Tensor-network layers for torch, and the compression of trained models with them."""

from qtn.decompositions import leading_svd, truncated_svd, tt_svd, whitened_svd
from qtn.layers import AbstractTensorLayer, LowRankLinear, MPOLinear, balanced_sites
from qtn.metric import LayerMetric
from qtn.replace import replace_linears
from qtn.statistics import LayerStatistics, collect

__all__ = [
    "AbstractTensorLayer",
    "LayerMetric",
    "LayerStatistics",
    "LowRankLinear",
    "MPOLinear",
    "balanced_sites",
    "collect",
    "leading_svd",
    "replace_linears",
    "truncated_svd",
    "tt_svd",
    "whitened_svd",
]
