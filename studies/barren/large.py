"""Part F: circuits of many qubits, by the exact walk as a matrix-product state; nothing is sampled."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from classical.walk_network import DoesNotStand, derivative_moment
from classical.walk_observables import ZeroProjector
from studies.barren.costs import GLOBAL, LOCAL, PAIR
from studies.barren.exact import FIRST, terms_of
from studies.barren.measuring import circuit_of, objective_of
from studies.barren.qubits import COST_AXES
from studies.engine import SkipTask, Task

PART = "large"
CONSTANT, LOGARITHMIC, LINEAR, DEEP = "2 layers", "log2 n layers", "n layers", "4 n layers"
_LAYERS: Mapping[str, Callable[[int], int]] = {
    CONSTANT: lambda qubits: 2,
    LOGARITHMIC: lambda qubits: max(1, math.ceil(math.log2(qubits))),
    LINEAR: lambda qubits: qubits,
    DEEP: lambda qubits: 4 * qubits,
}
_CURVES = ((LOCAL, CONSTANT), (LOCAL, LOGARITHMIC), (GLOBAL, CONSTANT), (PAIR, LINEAR), (PAIR, DEEP))
_RELATIVE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Sizes of part F."""

    qubits: tuple[int, ...]


def specs(grid: Grid) -> Iterator[dict[str, Any]]:
    """Both costs at two layers, the local one at log2 n, and one pair at depths that grow with the qubits."""
    for cost, depth in _CURVES:
        for qubits in grid.qubits:
            yield {
                "part": PART,
                "circuit": COST_AXES,
                "cost": cost,
                "depth": depth,
                "qubits": qubits,
                "layers": _LAYERS[depth](qubits),
                "samples": 0,
            }


def run(task: Task) -> dict[str, Any]:
    """Variance of the first derivative; its mean is zero.

    Raises:
        SkipTask: where the value still moves at the largest bond.
    """
    spec: dict[str, Any] = dict(task.spec)
    each = circuit_of(spec["circuit"], spec["qubits"], spec["layers"])
    # The projector's 2^n terms are never written down.
    objective = objective_of(each, PAIR if spec["cost"] == PAIR else LOCAL)
    terms = ZeroProjector() if spec["cost"] == GLOBAL else terms_of(objective)
    try:
        found = derivative_moment(objective.program, terms, 0, relative=_RELATIVE)
    except DoesNotStand as error:
        raise SkipTask(str(error)) from error
    return {
        "derivatives": {FIRST: {"exact_second_moment": found.value, "exact_mean": 0.0}},
        "bond": found.bond,
        "moved": found.moved,
    }


def duration(task: Task) -> float:
    """Seconds, roughly."""
    spec: dict[str, Any] = dict(task.spec)
    return 0.05 + 0.002 * spec["qubits"] * spec["layers"]
