"""Part: the same training for every method, towards what the dense model says."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn

import qtn
from classical.meter import Meter
from qtn.calibration.batches import moved
from studies.compressing.intervals import stored
from studies.compressing.measuring import divergences, layers_inside, weights_of
from studies.compressing.methods import Source, compressed, source_of
from studies.compressing.sizes import loaded
from studies.engine import Task
from studies.engine.statistics import median

PART = "healing"
FACTORS, ADAPTERS = "factors", "adapters"
_TIMED_STEPS = 6


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is healed of one subject, and how long."""

    subject: str
    methods: tuple[str, ...]
    sizes: tuple[float, ...]
    steps: int
    """Of each learning rate."""
    rates: tuple[float, ...] = (5e-4, 3e-3, 2e-2)
    """In units of the root mean square of each parameter; the best by the held-out distance is taken."""
    adapted: tuple[str, ...] = ()
    """Methods that are healed by adapters too."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Cases, and what all of them share."""

    cases: tuple[Case, ...]
    adapter_rank: int = 8
    device: str = "cpu"


def specs(grid: Grid) -> Iterator[dict[str, Any]]:
    for case in grid.cases:
        for kept in case.sizes:
            for method in case.methods:
                for way in (FACTORS, *((ADAPTERS,) if method in case.adapted else ())):
                    yield {
                        "part": PART,
                        "subject": case.subject,
                        "method": method,
                        "kept": kept,
                        "way": way,
                        "adapter_rank": grid.adapter_rank if way == ADAPTERS else None,
                        "steps": case.steps,
                        "rates": case.rates,
                        "device": grid.device,
                    }


def run(task: Task) -> dict[str, Any]:
    """Qualities before and after, with the rate that was best, and the seconds of a step beside the dense model's."""
    spec: dict[str, Any] = dict(task.spec)
    source = loaded(spec)
    with Meter(device=source.device) as meter:
        made = compressed(source, spec["method"], spec["kept"])
        before = source.subject.measure(made.model)
        tries = [_healed(source, made.model, spec, rate) for rate in spec["rates"]]
        kept = [each for each in tries if each is not None]
        best = min(kept, key=lambda each: each.divergence) if kept else None
        healed = made.model if best is None else best.model
        after = source.subject.measure(healed)
    return {
        "before": {name: stored(each) for name, each in before.items()},
        "after": {name: stored(each) for name, each in after.items()},
        "best_rate": None if best is None else best.rate,
        "divergences": [None if each is None else each.divergence for each in tries],
        "tokens": 0 if best is None else best.report.tokens,
        "num_trained": 0 if best is None else best.report.num_trained,
        **weights_of(source.model, healed, source.subject.names),
        "timing": {
            "compress_seconds": made.seconds,
            "heal_seconds": None if best is None else best.report.seconds,
            **_step_times(source, made.model),
        },
        "cost": meter.cost,
    }


@dataclass(frozen=True, kw_only=True)
class _Try:
    model: nn.Module
    rate: float
    divergence: float
    report: qtn.HealingReport


def _healed(source: Source, start: nn.Module, spec: Mapping[str, Any], rate: float) -> _Try | None:
    """A trained copy; None where training broke down."""
    subject, adapters = source.subject, spec["way"] == ADAPTERS
    if adapters:
        draws = torch.Generator(source.device).manual_seed(0)
        names = list(layers_inside(start, subject.names))
        student = qtn.add_adapters(start, spec["adapter_rank"], names, generator=draws)
        trained = qtn.adapter_parameters(student)
    else:
        student = copy.deepcopy(start)
        trained = trained_names(student, subject.names)
    cache = _cache(subject.name, str(source.device))
    try:
        report = qtn.heal(
            student,
            cache,
            cache.batches,
            steps=spec["steps"],
            learning_rate=rate,
            relative=True,
            trainable=trained,
        )
    except FloatingPointError:
        return None
    if adapters:
        student = qtn.merge_adapters(student)
    distances = divergences(source.model, student, subject.held_out(), subject.kind)
    found = float(np.mean(distances))
    return _Try(model=student, rate=rate, divergence=found, report=report) if np.isfinite(found) else None


def trained_names(model: nn.Module, names: Any) -> list[str]:
    """Parameters of the compressed layers, also of those that stayed dense, and of norms: one rule for all methods."""
    norms = {name for name, module in model.named_modules() if "norm" in type(module).__name__.lower()}
    prefixes = tuple(f"{name}." for name in (*names, *norms))
    return [name for name, _ in model.named_parameters() if name.startswith(prefixes)]


@lru_cache(maxsize=1)
def _cache(name: str, device: str) -> qtn.TeacherCache:
    """What the dense model says, kept for all methods of a subject."""
    source = source_of(name, device)
    batches = source.subject.healing()
    return qtn.TeacherCache(source.model, batches, kind=source.subject.kind)


def _step_times(source: Source, model: nn.Module) -> dict[str, Any]:
    """Seconds of a training step of the dense and of the compressed model, by steps that take turns."""
    batch = moved(source.subject.healing()[0], source.device)
    cache = qtn.TeacherCache(source.model, [batch], kind=source.subject.kind).fill()
    students = [copy.deepcopy(each) for each in (source.model, model)]
    pairs = []
    for _ in range(_TIMED_STEPS + 1):
        pair = []
        for student in students:
            trained = trained_names(student, source.subject.names)
            report = qtn.heal(student, cache, [batch], steps=1, learning_rate=1e-6, trainable=trained)
            pair.append(report.seconds)  # without the hashes and copies that a training makes once
        pairs.append(pair)
    values = np.array(pairs[1:], dtype=float)
    ratio = median(values[:, 1] / values[:, 0])
    return {
        "step_seconds": float(np.median(values[:, 1])),
        "dense_step_seconds": float(np.median(values[:, 0])),
        "step_ratio": ratio.value,
        "step_ratio_low": ratio.low,
        "step_ratio_high": ratio.high,
    }


def duration(task: Task) -> float:
    """Seconds, roughly."""
    each = {"digits": 0.03, "minilm": 1.5, "smollm2_slice": 4.0}.get(str(task.spec["subject"]), 4.0)
    rates: Any = task.spec["rates"]
    return 10.0 + each * float(str(task.spec["steps"])) * len(rates)
