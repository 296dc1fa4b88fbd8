"""Methods: what makes a smaller model of a subject's, at a fraction of the parameters of its compressed layers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn

import qtn
from studies.compressing.block_drop import dropped, influences
from studies.compressing.subject import AbstractSubject
from studies.compressing.subjects import subject_of

DENSE = "dense"
SVD, SVD_LLM, TWO_SIDED = "svd", "svd_llm", "two_sided"
MPO, MPO_FITTED = "mpo", "mpo_fitted"
BLOCK_DROP, PRUNED = "block_drop", "pruned"
OURS, OURS_INT8, OURS_INT4 = "ours", "ours_int8", "ours_int4"
INT8, INT4 = "quantized_int8", "quantized_int4"
QUANTIZED = (INT8, INT4)
"""Whole weights in fewer bits; they keep every parameter."""
FACTORISED = (SVD, SVD_LLM, TWO_SIDED, MPO, MPO_FITTED, OURS)
_DAMPING = 1e-2
_BITS = {OURS_INT8: 8, OURS_INT4: 4, INT8: 8, INT4: 4}

TITLES: Mapping[str, str] = {
    DENSE: "dense",
    SVD: "SVD, uniform",
    SVD_LLM: "SVD whitened by inputs, uniform",
    TWO_SIDED: "two-sided SVD, one budget",
    MPO: "MPO of two sites, uniform",
    MPO_FITTED: "MPO fitted in the metric, uniform",
    BLOCK_DROP: "blocks dropped",
    PRUNED: "pruned (Wanda)",
    OURS: "qtn.compress",
    OURS_INT8: "qtn.compress, 8 bits",
    OURS_INT4: "qtn.compress, 4 bits",
    INT8: "8 bits alone",
    INT4: "4 bits alone",
}


@dataclass(frozen=True, kw_only=True)
class Compressed:
    """A smaller model, and what it took."""

    model: nn.Module
    seconds: float
    """Calibration included, where the method needs it."""
    report: qtn.CompressionReport | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """A loaded subject on a device, with what methods share; each part is made once."""

    subject: AbstractSubject
    model: nn.Module

    def statistics(self) -> tuple[Mapping[str, qtn.LayerStatistics], float]:
        """Of the compressed layers, and the seconds they took."""
        return _statistics(self.subject.name, str(self.device))

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def loss(self) -> Callable[..., torch.Tensor]:
        """Of the statistics, with labels from a stream of its own."""
        draws = torch.Generator(self.device).manual_seed(0)
        return self.subject.loss(draws) or qtn.sampled_loss(draws)


@lru_cache(maxsize=1)
def source_of(name: str, device: str = "cpu") -> Source:
    """A subject with its model on a device; the last one is kept."""
    subject = subject_of(name)
    return Source(subject=subject, model=subject.load().to(device))


@lru_cache(maxsize=1)
def _statistics(name: str, device: str) -> tuple[Mapping[str, qtn.LayerStatistics], float]:
    source = source_of(name, device)
    start = time.perf_counter()
    found = qtn.collect(source.model, on_device(source), source.loss(), list(source.subject.names))
    return found, time.perf_counter() - start


def on_device(source: Source) -> list[Any]:
    """The calibration batches of a subject, where its model is."""
    from qtn.calibration.batches import moved

    return [moved(batch, source.device) for batch in source.subject.calibration()]


def compressed(source: Source, method: str, kept: float) -> Compressed:
    """The model of a method.

    Args:
        source: Left as it is.
        method: A name in `TITLES`.
        kept: Parameters of the compressed layers after over before; methods of `QUANTIZED` keep all.

    Raises:
        ValueError: The method is unknown, or the fraction is out of its reach.
    """
    if method == DENSE:
        return Compressed(model=source.model, seconds=0.0)
    if method in (TWO_SIDED, OURS, OURS_INT8, OURS_INT4):
        return _chosen(source.subject.name, str(source.device), method, kept)
    if method in QUANTIZED:
        return _quantized(source, method)
    if method not in TITLES:
        raise ValueError(f"Argument `method` must be one of {list(TITLES)}, but is {method!r}.")
    calibrated = method in (SVD_LLM, MPO_FITTED, PRUNED)
    statistics, before = source.statistics() if calibrated else ({}, 0.0)
    start = time.perf_counter()
    model = _REPLACEMENTS[method](source, kept, statistics)
    return Compressed(model=model, seconds=before + time.perf_counter() - start)


@lru_cache(maxsize=1)
def _chosen(name: str, device: str, method: str, kept: float) -> Compressed:
    """By `qtn.compress`; the last is kept, for healing asks for it again."""
    source = source_of(name, device)
    statistics, before = source.statistics()
    start = time.perf_counter()
    model, report = qtn.compress(
        source.model,
        budget=kept,
        calibration=source.subject.calibration(),
        names=list(source.subject.names),
        structures=("low_rank",) if method == TWO_SIDED else ("pivoted",),
        statistics=statistics,
        refit=method != TWO_SIDED,
        bits=None if method == TWO_SIDED else _BITS.get(method),
    )
    return Compressed(model=model, seconds=before + time.perf_counter() - start, report=report)


def _quantized(source: Source, method: str) -> Compressed:
    """All weights, by GPTQ in the metric of the inputs."""
    statistics, before = source.statistics()
    start = time.perf_counter()
    names = list(source.subject.names)
    model = qtn.quantize(source.model, bits=_BITS[method], names=names, statistics=statistics)
    return Compressed(model=model, seconds=before + time.perf_counter() - start)


Statistics = Mapping[str, qtn.LayerStatistics]


def _each(
    make: Callable[[nn.Linear, float, qtn.LayerStatistics | None], nn.Module],
) -> Callable[[Source, float, Statistics], nn.Module]:
    """The method that makes a layer of each linear one, at the same fraction."""

    def replaced(source: Source, kept: float, statistics: Statistics) -> nn.Module:
        def factory(name: str) -> Callable[[nn.Linear], nn.Module]:
            return lambda linear: make(linear, kept, statistics.get(name))

        return qtn.replace_linears(source.model, {name: factory(name) for name in source.subject.names})

    return replaced


def _svd(linear: nn.Linear, kept: float, _: qtn.LayerStatistics | None) -> nn.Module:
    return qtn.LowRankLinear.from_dense(linear, keep=kept)


def _whitened_by_inputs(linear: nn.Linear, kept: float, known: qtn.LayerStatistics | None) -> nn.Module:
    """The truncation-aware whitening of X. Wang et al., SVD-LLM, ICLR 2025, arXiv:2403.07378, with damping."""
    assert known is not None
    metric = qtn.LayerMetric(known.inputs, None, _DAMPING)
    return qtn.LowRankLinear.from_dense(linear, keep=kept, metric=metric)


def _mpo(linear: nn.Linear, kept: float, _: qtn.LayerStatistics | None) -> nn.Module:
    """A. Tomut et al., CompactifAI, arXiv:2401.14109, as published: successive SVDs of balanced sites."""
    return qtn.MPOLinear.from_dense(linear, keep=kept)


def _fitted_mpo(linear: nn.Linear, kept: float, known: qtn.LayerStatistics | None) -> nn.Module:
    assert known is not None
    metric = known.metric(_DAMPING)
    layer = qtn.whitened_start(qtn.MPOLinear, linear, metric, keep=kept)
    qtn.fit_in_metric(layer, linear.weight.detach(), metric)
    return layer


def _without_blocks(source: Source, kept: float, _: Statistics) -> nn.Module:
    subject = source.subject
    if subject.blocks is None:
        raise ValueError(f"Subject {subject.name} must have a list of blocks to drop some, but has none.")
    # A quarter of the calibration tells blocks apart well enough.
    found = influences(source.model, subject.blocks, on_device(source)[::4])
    return dropped(source.model, subject.blocks, subject.names, kept, found)


def _pruned(source: Source, kept: float, statistics: Statistics) -> nn.Module:
    return qtn.prune(source.model, 1 - kept, list(source.subject.names), statistics, scope="row")


_REPLACEMENTS: Mapping[str, Callable[[Source, float, Statistics], nn.Module]] = {
    SVD: _each(_svd),
    SVD_LLM: _each(_whitened_by_inputs),
    MPO: _each(_mpo),
    MPO_FITTED: _each(_fitted_mpo),
    BLOCK_DROP: _without_blocks,
    PRUNED: _pruned,
}
