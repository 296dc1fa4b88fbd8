"""Part C: what the start does to a derivative in the middle of a deep circuit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from studies.barren.circuits import Laid, hardware_efficient, identity_blocks
from studies.barren.costs import PAIR
from studies.barren.draws import IDENTITY, STARTS
from studies.barren.exact import MIDDLE
from studies.barren.measuring import measured
from studies.barren.qubits import COST_AXES, duration
from studies.engine import Task

PART = "starts"
# Layers come in multiples of this, so that a block of four begins in the middle.
_WHOLE = 8
# RY on qubit 0: that of RX has mean zero at every start.
_PARAMETER = 1

__all__ = ["PART", "Grid", "duration", "run", "specs"]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Sizes of part C; `layers` for each qubit, rounded to multiples of eight."""

    qubits: tuple[int, ...]
    layers: int
    samples: int


def specs(grid: Grid) -> Iterator[dict[str, Any]]:
    """Every start at every size."""
    for start in STARTS:
        for qubits in grid.qubits:
            yield {
                "part": PART,
                "circuit": COST_AXES,
                "cost": PAIR,
                "start": start,
                "qubits": qubits,
                "layers": _WHOLE * max(1, round(grid.layers * qubits / _WHOLE)),
                "samples": grid.samples,
            }


def circuit_of(start: str, qubits: int, layers: int) -> Laid:
    """RY(pi/4) on every qubit, then layers of RX, RY and a CZ chain, in blocks that undo themselves or not."""
    if start == IDENTITY:
        return identity_blocks(qubits, layers)
    return hardware_efficient(qubits, layers, axes="RX RY", entangler="cz chain", tilted=True)


def run(task: Task) -> dict[str, Any]:
    """Moments of the derivative by the RY on qubit 0 in the middle layer."""
    spec: dict[str, Any] = dict(task.spec)
    each = circuit_of(spec["start"], spec["qubits"], spec["layers"])
    place = each.layers[len(each.layers) // 2][_PARAMETER]
    return measured(task, each, start=spec["start"], places={MIDDLE: place})
