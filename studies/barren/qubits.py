"""Part A: variance of a derivative against the number of qubits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from studies.barren.circuits import (
    CONVOLUTION,
    FREE_FERMIONS,
    HARDWARE,
    HEISENBERG,
    PRODUCT,
    PRODUCT_TWO,
    RANDOM_AXES,
    REGULAR_CUT,
    RING_CUT,
    SHARED_ISING,
    hardware_name,
)
from studies.barren.costs import BONDS, GLOBAL, KEPT, LOCAL, PAIR
from studies.barren.measuring import circuit_of, measured, single_shots
from studies.engine import Task

PART = "qubits"
COST_AXES = hardware_name("RX RY", "cz chain")
"""The circuit on which costs are compared."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One circuit and cost over several sizes; `layers` are for each qubit, or as they are where `fixed`."""

    circuit: str
    cost: str
    layers: int
    qubits: tuple[int, ...]
    samples: int
    fixed: bool = False

    def depth(self, qubits: int) -> int:
        return self.layers if self.fixed else self.layers * qubits


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Curves of part A."""

    curves: tuple[Curve, ...]


def standard(qubits: tuple[int, ...], samples: int, many: int) -> Grid:
    """Every circuit; `many` samples where tails are heavy and circuits small."""
    more = (*qubits, max(qubits) + 2)
    halved = tuple(n for n in more if n % 2 == 0)
    even = tuple(n for n in halved if n >= 4)

    def curve(circuit: str, cost: str, layers: int, **own: Any) -> Curve:
        given = {"qubits": qubits, "samples": samples, **own}
        return Curve(circuit=circuit, cost=cost, layers=layers, **given)

    curves = [
        curve(RANDOM_AXES, PAIR, 16),
        *(curve(name, PAIR, 4) for name in HARDWARE),
        curve(FREE_FERMIONS, PAIR, 12),
        curve(SHARED_ISING, BONDS, 2),
        curve(HEISENBERG, PAIR, 4),
        curve(RING_CUT, BONDS, 2),
        curve(REGULAR_CUT, BONDS, 2, qubits=even),
        curve(CONVOLUTION, KEPT, 1, fixed=True, qubits=halved, samples=many // 2),
        *(
            curve(name, cost, 1, fixed=True, samples=many)
            for name in (PRODUCT, PRODUCT_TWO)
            for cost in (LOCAL, GLOBAL)
        ),
        *(curve(COST_AXES, cost, 1, fixed=True, samples=many) for cost in (LOCAL, GLOBAL)),
        *(curve(COST_AXES, cost, 4) for cost in (LOCAL, GLOBAL)),
    ]
    return Grid(curves=tuple(curves))


def specs(grid: Grid) -> Iterator[dict[str, Any]]:
    """Every curve at every size."""
    for curve in grid.curves:
        for qubits in curve.qubits:
            yield {
                "part": PART,
                "circuit": curve.circuit,
                "cost": curve.cost,
                "depth": ("1 layer" if curve.layers == 1 else f"{curve.layers} layers")
                if curve.fixed
                else f"{curve.layers} n layers",
                "qubits": qubits,
                "layers": curve.depth(qubits),
                "samples": curve.samples,
            }


def run(task: Task) -> dict[str, Any]:
    """Moments of the derivatives at first, middle and last layer, and what a shot is worth at the first."""
    spec: dict[str, Any] = dict(task.spec)
    each = circuit_of(spec["circuit"], spec["qubits"], spec["layers"])
    return {**measured(task, each), **single_shots(task, each)}


def duration(task: Task) -> float:
    """Seconds, roughly."""
    spec: dict[str, Any] = dict(task.spec)
    sampling = spec["samples"] * spec["layers"] * spec["qubits"] * 2.0 ** spec["qubits"] / 2e7
    walking = spec["layers"] * spec["qubits"] * 4.0 ** spec["qubits"] / 3e7
    return 0.05 + sampling + walking
