"""What noise does to a gradient on a quantum device, what mitigation gives back, and what it costs.

`QTN_IBM_DEVICE=ibm_fez python -m studies run qpu_gradients --spend 150` adds a QPU as a source: ten gradients, one job
each, that may cost 150 dollars together; `plan` says what they would. Without the variable there are no such tasks. A
job that was paid for is collected, not paid again, when the command is repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from classical.cost import Cost
from hybrid.devices.prices import Prices
from studies.engine import Study, Task, main
from studies.qpu import error_rate, sources, training
from studies.qpu.training import Training

if TYPE_CHECKING:
    import pandas as pd

    from studies.engine.figures import Figure


@dataclass(frozen=True, kw_only=True)
class Params:
    sources: sources.Grid
    error_rate: error_rate.Grid
    training: Training


QUICK = Params(
    sources=sources.Grid(repeats=24),
    error_rate=error_rate.Grid(qubits=4, layers=(6,), total_shots=20_000, replicates=12),
    training=Training(steps=40, step_shots=8_000, reading_shots=80_000, calibration_shots=500, replicates=8),
)
FULL = Params(
    sources=sources.Grid(repeats=100),
    error_rate=error_rate.Grid(qubits=4, layers=(3, 6, 12), total_shots=20_000, replicates=40),
    training=Training(
        steps=60, step_shots=16_000, reading_shots=240_000, calibration_shots=1_000, replicates=24
    ),
)
PAPER = Params(
    sources=sources.Grid(repeats=200, total_shots=100_000, calibration_shots=5_000),
    error_rate=error_rate.Grid(
        qubits=6, layers=(4, 8, 16), total_shots=100_000, calibration_shots=5_000, replicates=40
    ),
    training=Training(
        steps=100, step_shots=40_000, reading_shots=1_000_000, calibration_shots=2_000, replicates=50
    ),
)

_PARTS = {part.PART: part for part in (sources, error_rate, training)}


def tasks(params: Params) -> Iterator[dict[str, Any]]:
    yield from training.specs(params.training)
    yield from sources.specs(params.sources)
    yield from error_rate.specs(params.error_rate)


def run(task: Task) -> dict[str, Any]:
    return _PARTS[str(task.spec["part"])].run(task)


def price(task: Task) -> Cost:
    """What a task would cost on a QPU, simulated or not: seconds and dollars are estimated as if on one."""
    return _PARTS[str(task.spec["part"])].price(task)


def bill(task: Task) -> float:
    """What a task really spends."""
    return sources.bill(task) if task.spec["part"] == sources.PART else 0.0


def duration(task: Task) -> float:
    return _PARTS[str(task.spec["part"])].duration(task)


def figures(rows: pd.DataFrame) -> list[Figure]:
    from studies.qpu.drawings import figures as draw

    return draw(rows)


def answer(rows: pd.DataFrame) -> list[str]:
    from studies.qpu.answers import answer as say

    return say(rows)


def tables(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    from studies.qpu.answers import tables as lay_out

    return lay_out(rows)


STUDY = Study(
    name="qpu_gradients",
    version=1,
    question="What are bias, noise and price of a gradient from a quantum device, and at which gate error does its "
    "direction drown?",
    presets={"quick": QUICK, "full": FULL, "paper": PAPER},
    tasks=tasks,
    run=run,
    price=price,
    bill=bill,
    free_seconds=Prices.load().open_seconds,
    duration=duration,
    figures=figures,
    answer=answer,
    tables=tables,
    time_limit_seconds=3600.0,
)

if __name__ == "__main__":
    main(STUDY)
