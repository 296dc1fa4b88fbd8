"""How many shots do gradients and energies take: by precision, parameters, grouping, allocation and optimiser?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from classical.cost import Cost
from studies.engine import Study, Task, main
from studies.overhead import adaptive, commuting, descent, gradient_error, grouping
from studies.overhead.grouping import GROUND, RANDOM, Case
from studies.overhead.parts import PARTS

if TYPE_CHECKING:
    import pandas as pd

    from studies.engine.figures import Figure


@dataclass(frozen=True, kw_only=True)
class Params:
    """The grid of each part, by its name."""

    grids: Mapping[str, Any]


def _cases(repeats: int, large_repeats: int, large_random_repeats: int) -> tuple[Case, ...]:
    """LiH first, which takes longest. MaxCut is diagonal: at its ground state nothing is left to measure."""
    large = [
        Case(hamiltonian="LiH", state=GROUND, repeats=large_repeats),
        Case(hamiltonian="LiH", state=RANDOM, repeats=large_random_repeats),
    ]
    names = ("H2", "transverse Ising", "Heisenberg")
    small = [Case(hamiltonian=n, state=s, repeats=repeats) for n in names for s in (GROUND, RANDOM)]
    return (*large, *small, Case(hamiltonian="MaxCut", state=RANDOM, repeats=repeats))


QUICK = Params(
    grids={
        grouping.PART: grouping.Grid(cases=_cases(60, 12, 0)),
        gradient_error.PART: gradient_error.Grid(layers=(2, 4, 8, 16), repeats=12, replicates=3),
        commuting.PART: commuting.Grid(
            error_qubits=(4, 6, 8, 12, 16),
            error_pictures=1,
            error_repeats=40,
            error_replicates=4,
            qubits=10,
            steps=60,
            rate=0.03,
            replicates=6,
        ),
        adaptive.PART: adaptive.Grid(total_shots=24_000, steps=30, replicates=4),
        descent.PART: descent.Grid(
            layered_qubits=(4, 5, 6), commuting_qubits=(6, 7, 8), repeats=80, replicates=4
        ),
    }
)
FULL = Params(
    grids={
        grouping.PART: grouping.Grid(cases=_cases(200, 24, 24), shadow_shots=500, large_shadow_shots=500),
        gradient_error.PART: gradient_error.Grid(layers=(2, 4, 8, 16, 32), repeats=24, replicates=8),
        commuting.PART: commuting.Grid(
            error_qubits=(4, 6, 8, 12, 16),
            error_repeats=100,
            error_replicates=8,
            qubits=16,
            steps=100,
            replicates=10,
        ),
        adaptive.PART: adaptive.Grid(total_shots=100_000, steps=60, replicates=10),
        descent.PART: descent.Grid(
            layered_qubits=(4, 5, 6, 7, 8), commuting_qubits=(6, 8, 10, 12), repeats=200, replicates=8
        ),
    }
)
PAPER = Params(
    grids={
        grouping.PART: grouping.Grid(
            cases=_cases(400, 100, 100),
            total_shots=4_000_000,
            shadow_shots=2_000,
            large_shadow_shots=4_000,
            shadow_repeats=100,
        ),
        gradient_error.PART: gradient_error.Grid(
            qubits=6, layers=(2, 4, 8, 16, 32), repeats=48, replicates=16
        ),
        commuting.PART: commuting.Grid(
            error_qubits=(4, 6, 8, 12, 16),
            error_repeats=400,
            error_replicates=20,
            qubits=16,
            steps=100,
            replicates=20,
        ),
        adaptive.PART: adaptive.Grid(total_shots=1_000_000, steps=200, replicates=20),
        descent.PART: descent.Grid(
            layered_qubits=(4, 5, 6, 7, 8), commuting_qubits=(6, 8, 10, 12, 16), repeats=400, replicates=16
        ),
    }
)


def tasks(params: Params) -> Iterator[dict[str, Any]]:
    for name, grid in params.grids.items():
        yield from PARTS[name].specs(grid)


def run(task: Task) -> dict[str, Any]:
    return PARTS[str(task.spec["part"])].run(task)


def price(task: Task) -> Cost:
    """Circuits and shots of a task; nothing here is run on a device."""
    return PARTS[str(task.spec["part"])].price(task)


def duration(task: Task) -> float:
    return PARTS[str(task.spec["part"])].duration(task)


def figures(rows: pd.DataFrame) -> list[Figure]:
    from studies.overhead.answers import figures as draw

    return draw(rows)


def answer(rows: pd.DataFrame) -> list[str]:
    from studies.overhead.answers import answer as say

    return say(rows)


def tables(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    from studies.overhead.answers import tables as lay_out

    return lay_out(rows)


STUDY = Study(
    name="measurement_overhead",
    version=1,
    question="How many shots does a gradient or an energy take, and what do grouping, allocation, random bases and "
    "adaptive optimisers save?",
    presets={"quick": QUICK, "full": FULL, "paper": PAPER},
    tasks=tasks,
    run=run,
    price=price,
    duration=duration,
    figures=figures,
    answer=answer,
    tables=tables,
    time_limit_seconds=3600.0,
)

if __name__ == "__main__":
    main(STUDY)
