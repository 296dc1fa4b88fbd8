"""Linear layers, convolutions and embeddings whose weight is a tensor network."""

from qtn.layers.base import AbstractTensorLayer
from qtn.layers.block_low_rank import BlockLowRankLinear
from qtn.layers.bonds import bonds_for_keep, full_bonds, nearest_bonds, train_params
from qtn.layers.convolution import LowRankConv2d
from qtn.layers.convolution_base import AbstractTensorConv2d, Window
from qtn.layers.embedding import AbstractTensorEmbedding
from qtn.layers.low_rank import LowRankLinear
from qtn.layers.low_rank_embedding import LowRankEmbedding
from qtn.layers.machine import Machine
from qtn.layers.mpo import MPOLinear
from qtn.layers.mpo_embedding import MPOEmbedding
from qtn.layers.pivoted import PivotedLinear, pivoted_params
from qtn.layers.planned import AbstractPlannedLayer
from qtn.layers.sites import balanced_sites
from qtn.layers.tensor_ring import TensorRingLinear, ring_params
from qtn.layers.tree import TreeLinear, tree_params
from qtn.layers.tucker import TuckerLinear, tucker_params
from qtn.layers.tucker_convolution import Tucker2Conv2d

__all__ = [
    "AbstractPlannedLayer",
    "AbstractTensorConv2d",
    "AbstractTensorEmbedding",
    "AbstractTensorLayer",
    "BlockLowRankLinear",
    "LowRankConv2d",
    "LowRankEmbedding",
    "LowRankLinear",
    "MPOEmbedding",
    "MPOLinear",
    "Machine",
    "PivotedLinear",
    "TensorRingLinear",
    "TreeLinear",
    "Tucker2Conv2d",
    "TuckerLinear",
    "Window",
    "balanced_sites",
    "bonds_for_keep",
    "full_bonds",
    "nearest_bonds",
    "pivoted_params",
    "ring_params",
    "train_params",
    "tree_params",
    "tucker_params",
]
