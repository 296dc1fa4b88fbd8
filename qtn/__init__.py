"""Tensor-network layers for torch, and the compression of trained models with them."""

from qtn.calibration.losses import sampled_classes, sampled_loss
from qtn.calibration.statistics import LayerStatistics, collect
from qtn.compression.compress import compress
from qtn.compression.fitting import fit_in_metric
from qtn.compression.probe import probe, rank_correlation
from qtn.compression.profile import Profile, profile
from qtn.compression.report import CompressionReport, LayerReport
from qtn.compression.whitened_start import whitened_start
from qtn.decompositions import leading_svd, truncated_svd, tt_svd, whitened_svd
from qtn.healing.adapters import LowRankAdapter, adapter_parameters, add_adapters, merge_adapters
from qtn.healing.heal import HealingReport, heal
from qtn.healing.schedules import CosineSchedule, WarmUpStableDecay
from qtn.healing.teacher_cache import TeacherCache
from qtn.layers import (
    AbstractTensorLayer,
    BlockLowRankLinear,
    LowRankConv2d,
    LowRankEmbedding,
    LowRankLinear,
    Machine,
    MPOEmbedding,
    MPOLinear,
    PivotedLinear,
    TensorRingLinear,
    TreeLinear,
    Tucker2Conv2d,
    TuckerLinear,
    balanced_sites,
)
from qtn.metric import LayerMetric
from qtn.replace import replace_linears
from qtn.storage.checkpoint import load, save
from qtn.storage.pruning import prune, zero_fractions
from qtn.storage.quantization import factor_statistics, quantize
from qtn.storage.quantized_linear import QuantizedLinear
from qtn.storage.sizes import bits_per_parameter, nonzero_parameters, num_stored_parameters, resident_bytes
from qtn.transposed import with_linears

__all__ = [
    "AbstractTensorLayer",
    "BlockLowRankLinear",
    "CompressionReport",
    "CosineSchedule",
    "HealingReport",
    "LayerMetric",
    "LayerReport",
    "LayerStatistics",
    "LowRankAdapter",
    "LowRankConv2d",
    "LowRankEmbedding",
    "LowRankLinear",
    "MPOEmbedding",
    "MPOLinear",
    "Machine",
    "PivotedLinear",
    "Profile",
    "QuantizedLinear",
    "TeacherCache",
    "TensorRingLinear",
    "TreeLinear",
    "Tucker2Conv2d",
    "TuckerLinear",
    "WarmUpStableDecay",
    "adapter_parameters",
    "add_adapters",
    "balanced_sites",
    "bits_per_parameter",
    "collect",
    "compress",
    "factor_statistics",
    "fit_in_metric",
    "heal",
    "leading_svd",
    "load",
    "merge_adapters",
    "nonzero_parameters",
    "num_stored_parameters",
    "probe",
    "profile",
    "prune",
    "quantize",
    "rank_correlation",
    "replace_linears",
    "resident_bytes",
    "sampled_classes",
    "sampled_loss",
    "save",
    "truncated_svd",
    "tt_svd",
    "whitened_start",
    "whitened_svd",
    "with_linears",
    "zero_fractions",
]
