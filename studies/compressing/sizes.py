"""Part: every method at every size, before any training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

import qtn
from classical.meter import Meter
from studies.compressing.intervals import stored
from studies.compressing.measuring import divergences, latencies, weights_of
from studies.compressing.methods import DENSE, QUANTIZED, Source, compressed, source_of
from studies.compressing.places import depth_of, third_of, type_of
from studies.compressing.subjects import subject_of, why_not
from studies.engine import SkipTask, Task

PART = "sizes"
SIZES = (0.8, 0.6, 0.4, 0.3)


@dataclass(frozen=True, kw_only=True)
class Case:
    """The methods and sizes that one subject is compressed by."""

    subject: str
    methods: tuple[str, ...]
    sizes: tuple[float, ...] = SIZES


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Cases, and how they are timed and where."""

    cases: tuple[Case, ...]
    repeats: int = 7
    """Of each timing."""
    device: str = "cpu"


def specs(grid: Grid) -> Iterator[dict[str, Any]]:
    """For each case the dense model first, then sizes from large to small, so that neighbours share their calibration.

    A subject may stand in several cases; what it has in common with one before is not asked for again.
    """
    seen: set[tuple[str, str, float]] = set()
    for case in grid.cases:
        whole = [DENSE, *(method for method in case.methods if method in QUANTIZED)]
        smaller = [method for method in case.methods if method not in QUANTIZED]
        for kept, methods in ((1.0, whole), *((kept, smaller) for kept in case.sizes)):
            for method in methods:
                if (key := (case.subject, method, kept)) not in seen:
                    seen.add(key)
                    yield {
                        "part": PART,
                        "subject": case.subject,
                        "repeats": grid.repeats,
                        "device": grid.device,
                        "method": method,
                        "kept": kept,
                    }


def run(task: Task) -> dict[str, Any]:
    """Qualities, weights, multiply-adds, the distance to the dense model, and times."""
    spec: dict[str, Any] = dict(task.spec)
    source = loaded(spec)
    with Meter(device=source.device) as meter:
        made = compressed(source, spec["method"], spec["kept"])
        qualities = source.subject.measure(made.model)
    distances = divergences(source.model, made.model, source.subject.held_out(), source.subject.kind)
    return {
        "qualities": {name: stored(each) for name, each in qualities.items()},
        "divergence": sum(distances) / len(distances),
        **weights_of(source.model, made.model, source.subject.names),
        "kept_by_third": None if made.report is None else _shares(source, made.report, third_of),
        "kept_by_type": None if made.report is None else _shares(source, made.report, type_of),
        "predicted_loss": None if made.report is None else made.report.predicted_loss,
        "timing": {
            "compress_seconds": made.seconds,
            **latencies(source.model, made.model, source.subject.rows(), spec["repeats"]),
        },
        "cost": meter.cost,
    }


def loaded(spec: Mapping[str, Any]) -> Source:
    """The subject of a spec on its device.

    Raises:
        SkipTask: Packages or the accelerator are not there; the sentence says what helps.
    """
    lacking = why_not(subject_of(spec["subject"]))
    if lacking is not None:
        raise SkipTask(lacking)
    if spec["device"] == "cuda" and not torch.cuda.is_available():
        raise SkipTask(
            "This preset needs a CUDA device, and there is none here: run the preset `full` instead."
        )
    return source_of(spec["subject"], spec["device"])


def _shares(source: Source, report: qtn.CompressionReport, group: Any) -> dict[str, float]:
    """Parameters after over before, by groups of layers."""
    names: Sequence[str] = source.subject.names
    sums: dict[str, list[int]] = {}
    for layer in report.layers:
        entry = sums.setdefault(group(source.subject, layer.name), [0, 0])
        entry[0] += layer.parameters
        entry[1] += layer.parameters_before
    first = {group(source.subject, name): depth_of(source.subject, name) for name in reversed(names)}
    return {key: sums[key][0] / sums[key][1] for key in sorted(sums, key=lambda key: first[key])}


def duration(task: Task) -> float:
    """Seconds, roughly."""
    each = {"digits": 3.0, "minilm": 25.0, "smollm2_slice": 40.0}.get(str(task.spec["subject"]), 100.0)
    return each * (4.0 if "ours" in str(task.spec["method"]) else 1.0)
