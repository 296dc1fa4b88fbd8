"""Part B: variance of a derivative against depth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from studies.barren.circuits import FREE_FERMIONS, RANDOM_AXES, RING_CUT, SHARED_ISING
from studies.barren.costs import BONDS, LOCAL, PAIR
from studies.barren.measuring import circuit_of, measured
from studies.barren.qubits import COST_AXES, duration
from studies.engine import Task

PART = "depth"
COSTS = {
    RANDOM_AXES: PAIR,
    COST_AXES: LOCAL,
    FREE_FERMIONS: PAIR,
    SHARED_ISING: BONDS,
    RING_CUT: BONDS,
}
__all__ = ["COSTS", "PART", "Grid", "duration", "run", "specs"]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Sizes of part B."""

    qubits: tuple[int, ...]
    layers: tuple[int, ...]
    samples: int


def specs(grid: Grid) -> Iterator[dict[str, Any]]:
    """Every circuit at every size and depth."""
    for circuit, cost in COSTS.items():
        for qubits in grid.qubits:
            for layers in grid.layers:
                yield {
                    "part": PART,
                    "circuit": circuit,
                    "cost": cost,
                    "qubits": qubits,
                    "layers": layers,
                    "samples": grid.samples,
                }


def run(task: Task) -> dict[str, Any]:
    """Moments of the derivatives at first, middle and last layer."""
    spec: dict[str, Any] = dict(task.spec)
    return measured(task, circuit_of(spec["circuit"], spec["qubits"], spec["layers"]))
