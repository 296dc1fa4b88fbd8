"""Part: one layer at a time at one rank: what is predicted to be lost, and what is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import qtn
from classical.meter import Meter
from studies.compressing.measuring import divergences
from studies.compressing.methods import Source
from studies.compressing.places import depth_of, third_of, type_of
from studies.compressing.sizes import loaded
from studies.engine import Task

PART = "sensitivity"
_DAMPING = 1e-2


@dataclass(frozen=True, kw_only=True)
class Case:
    """Which layers of one subject are looked at."""

    subject: str
    every: int = 1
    """Blocks from one that is looked at to the next."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Cases, and the size of a layer."""

    cases: tuple[Case, ...]
    kept: float = 0.3
    device: str = "cpu"


def specs(grid: Grid) -> Iterator[dict[str, Any]]:
    for case in grid.cases:
        yield {
            "part": PART,
            "subject": case.subject,
            "every": case.every,
            "kept": grid.kept,
            "device": grid.device,
        }


def run(task: Task) -> dict[str, Any]:
    """For each layer: where it stands, and the loss in nats a row predicted and measured on held-out batches."""
    spec: dict[str, Any] = dict(task.spec)
    source = loaded(spec)
    with Meter(device=source.device) as meter:
        found = [_layer(source, name, spec["kept"]) for name in _looked_at(source, spec["every"])]
    return {"layers": found, "cost": meter.cost}


def _looked_at(source: Source, every: int) -> Sequence[str]:
    depths = sorted({depth_of(source.subject, name) for name in source.subject.names})[::every]
    return [name for name in source.subject.names if depth_of(source.subject, name) in depths]


def _layer(source: Source, name: str, kept: float) -> dict[str, Any]:
    """A low-rank layer nearest in the metric of the loss takes the place of this one alone."""
    metric = source.statistics()[0][name].metric(_DAMPING)

    def factory(linear: Any) -> qtn.LowRankLinear:
        return qtn.LowRankLinear.from_dense(linear, keep=kept, metric=metric)

    model = qtn.replace_linears(source.model, {name: factory})
    weight: Any = source.model.get_submodule(name).weight
    layer: Any = model.get_submodule(name)
    missed = metric.whiten((weight - layer.to_dense()).detach().double())
    subject = source.subject
    return {
        "name": name,
        "type": type_of(subject, name),
        "third": third_of(subject, name),
        "depth": depth_of(subject, name),
        "discarded": layer.discarded,
        "predicted": 0.5 * float(missed.square().sum()),
        "measured": float(np.mean(divergences(source.model, model, subject.held_out(), subject.kind))),
    }


def duration(task: Task) -> float:
    """Seconds, roughly."""
    return {"digits": 2.0, "minilm": 60.0, "smollm2_slice": 150.0}.get(str(task.spec["subject"]), 900.0)
