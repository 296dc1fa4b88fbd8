"""What does one gradient cost, and how good is it, as qubits, layers and parameters grow?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from classical.cost import Cost
from studies.engine import Study, Task, main
from studies.scaling import gradient_alone, hybrid_step
from studies.scaling.gradient_alone import Grid
from studies.scaling.hybrid_step import Training

if TYPE_CHECKING:
    import pandas as pd

    from studies.engine.figures import Figure


@dataclass(frozen=True, kw_only=True)
class Params:
    grid: Grid
    training: Training


QUICK = Params(
    grid=Grid(
        qubits=(2, 4, 6, 8, 10),
        layers=(2, 4, 8, 16),
        total_shots=20_000,
        sweep_qubits=6,
        sweep_layers=4,
        sweep_shots=(2_000, 8_000, 32_000, 128_000, 512_000),
        sweep_replicates=12,
        replicates=3,
    ),
    training=Training(
        encoders=("MPO", "low rank"),
        pretrain_steps=100,
        steps=50,
        batch=32,
        shots_per_circuit=20,
        replicates=4,
    ),
)
FULL = Params(
    grid=Grid(
        qubits=(2, 4, 6, 8, 10, 12, 14, 16),
        layers=(2, 4, 8, 16),
        total_shots=100_000,
        sweep_qubits=8,
        sweep_layers=8,
        sweep_shots=(8_000, 32_000, 128_000, 512_000, 2_048_000),
        sweep_replicates=30,
        replicates=6,
    ),
    training=Training(pretrain_steps=200, steps=300, batch=32, shots_per_circuit=50, replicates=8),
)


def tasks(params: Params) -> Iterator[dict[str, Any]]:
    yield from hybrid_step.specs(params.training)
    yield from gradient_alone.specs(params.grid)


def _part(task: Task) -> Any:
    return hybrid_step if task.spec["part"] == hybrid_step.PART else gradient_alone


def run(task: Task) -> dict[str, Any]:
    return _part(task).run(task)


def price(task: Task) -> Cost:
    return _part(task).price(task)


def duration(task: Task) -> float:
    return _part(task).duration(task)


def figures(rows: pd.DataFrame) -> list[Figure]:
    from studies.scaling import drawings, hybrid_drawings

    return [*drawings.figures(rows), *hybrid_drawings.figures(rows)]


def answer(rows: pd.DataFrame) -> list[str]:
    from studies.scaling.answers import answer as say

    return say(rows)


def tables(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    from studies.scaling.answers import tables as lay_out

    return lay_out(rows)


STUDY = Study(
    name="gradient_scaling",
    version=1,
    question="What does one gradient cost, and how good is it, as qubits, layers and parameters grow?",
    presets={"quick": QUICK, "full": FULL},
    tasks=tasks,
    run=run,
    price=price,
    duration=duration,
    figures=figures,
    answer=answer,
    tables=tables,
    time_limit_seconds=1800.0,
)

if __name__ == "__main__":
    main(STUDY)
