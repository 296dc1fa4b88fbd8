"""Where the gradient of a circuit vanishes as qubits and layers are added, where it does not, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studies.barren import depth, large, noise, qubits, starts, verdict
from studies.engine import Study, Task, main

if TYPE_CHECKING:
    import pandas as pd

    from studies.engine.figures import Figure


@dataclass(frozen=True, kw_only=True)
class Params:
    qubits: qubits.Grid
    depth: depth.Grid
    starts: starts.Grid
    noise: noise.Grid
    large: large.Grid
    verdict: verdict.Grid


_LAYERS = (1, 2, 4, 8, 16, 32, 64)
QUICK = Params(
    qubits=qubits.standard((2, 3, 4, 6, 8), samples=400, many=3000),
    depth=depth.Grid(qubits=(4, 6), layers=_LAYERS, samples=250),
    starts=starts.Grid(qubits=(2, 3, 4, 6, 8), layers=4, samples=400),
    noise=noise.Grid(
        qubits=(4,), layers=(2, 5, 10, 20, 40, 80), factors=(1.0, 0.999, 0.99), most_measured=20, samples=250
    ),
    large=large.Grid(qubits=(2, 4, 8, 16, 32)),
    verdict=verdict.Grid(qubits=(4, 6, 8), samples=100),
)
FULL = Params(
    qubits=qubits.standard((2, 3, 4, 5, 6, 8, 10, 12), samples=2000, many=20_000),
    depth=depth.Grid(qubits=(4, 6, 8), layers=(*_LAYERS, 128), samples=1000),
    starts=starts.Grid(qubits=(2, 3, 4, 5, 6, 8, 10, 12), layers=4, samples=2000),
    noise=noise.Grid(
        qubits=(3, 4, 5),
        layers=(2, 5, 10, 20, 40, 80),
        factors=(1.0, 0.999, 0.99, 0.9),
        most_measured=40,
        samples=1000,
    ),
    large=large.Grid(qubits=(2, 4, 8, 16, 32, 64)),
    verdict=verdict.Grid(qubits=(4, 6, 8, 10), samples=400),
)
PAPER = Params(
    qubits=qubits.standard((2, 3, 4, 5, 6, 8, 10, 12, 14), samples=10_000, many=100_000),
    depth=depth.Grid(qubits=(4, 6, 8, 10), layers=(*_LAYERS, 128, 256), samples=5000),
    starts=starts.Grid(qubits=(2, 3, 4, 5, 6, 8, 10, 12, 14), layers=4, samples=10_000),
    noise=noise.Grid(
        qubits=(3, 4, 5),
        layers=(2, 5, 10, 20, 40, 80),
        factors=(1.0, 0.999, 0.99, 0.9),
        most_measured=80,
        samples=5000,
    ),
    large=large.Grid(qubits=(2, 4, 8, 16, 32, 64, 100)),
    verdict=verdict.Grid(qubits=(4, 6, 8, 10, 12), samples=1000),
)

_PARTS = {part.PART: part for part in (qubits, depth, starts, noise, large, verdict)}


def tasks(params: Params) -> Iterator[dict[str, Any]]:
    yield from qubits.specs(params.qubits)
    yield from depth.specs(params.depth)
    yield from starts.specs(params.starts)
    yield from noise.specs(params.noise)
    yield from large.specs(params.large)
    yield from verdict.specs(params.verdict)


def run(task: Task) -> dict[str, Any]:
    return _PARTS[str(task.spec["part"])].run(task)


def duration(task: Task) -> float:
    return _PARTS[str(task.spec["part"])].duration(task)


def figures(rows: pd.DataFrame) -> list[Figure]:
    from studies.barren.drawings import figures as draw

    return draw(rows)


def answer(rows: pd.DataFrame) -> list[str]:
    from studies.barren.answers import answer as say

    return say(rows)


def tables(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    from studies.barren.answers import tables as lay_out

    return lay_out(rows)


STUDY = Study(
    name="barren_plateau",
    version=1,
    question="For which circuits, costs, starts and noise does the gradient fall exponentially with qubits or layers, "
    "for which as a power, and how many shots and dollars does its sign then take?",
    presets={"quick": QUICK, "full": FULL, "paper": PAPER},
    tasks=tasks,
    run=run,
    duration=duration,
    figures=figures,
    answer=answer,
    tables=tables,
    time_limit_seconds=3600.0,
)

if __name__ == "__main__":
    main(STUDY)
