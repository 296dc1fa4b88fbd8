"""Linear layers whose weight is a tensor network."""

from qtn.layers.base import AbstractTensorLayer
from qtn.layers.bonds import bonds_for_keep, full_bonds, train_params
from qtn.layers.low_rank import LowRankLinear
from qtn.layers.mpo import MPOLinear
from qtn.layers.sites import balanced_sites

__all__ = [
    "AbstractTensorLayer",
    "LowRankLinear",
    "MPOLinear",
    "balanced_sites",
    "bonds_for_keep",
    "full_bonds",
    "train_params",
]
