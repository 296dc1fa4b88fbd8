"""Metrics of states and the natural gradient, one rule a file; `METRICS` lists the rules."""

from collections.abc import Mapping

from hybrid.metrics.base import AbstractMetricEstimator, AbstractShotMetric, Metric, MetricPlan
from hybrid.metrics.block_diagonal import BlockDiagonalMetric
from hybrid.metrics.exact import ExactMetric
from hybrid.metrics.natural_gradient import NaturalDirection, NaturalGradient
from hybrid.metrics.spsa import SPSAMetric

METRICS: Mapping[str, type[AbstractMetricEstimator]] = {
    "exact metric": ExactMetric,
    "block-diagonal metric": BlockDiagonalMetric,
    "SPSA metric": SPSAMetric,
}

__all__ = [
    "METRICS",
    "AbstractMetricEstimator",
    "AbstractShotMetric",
    "BlockDiagonalMetric",
    "ExactMetric",
    "Metric",
    "MetricPlan",
    "NaturalDirection",
    "NaturalGradient",
    "SPSAMetric",
]
