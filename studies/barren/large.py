"""Part F: shallow circuits of many qubits, by the exact walk as a matrix-product state; nothing is sampled."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from classical.walk_network import DoesNotStand, network_moments
from classical.walk_observables import ZeroProjector
from studies.barren.costs import GLOBAL, LOCAL
from studies.barren.exact import FIRST, terms_of
from studies.barren.measuring import circuit_of, objective_of
from studies.barren.qubits import COST_AXES
from studies.engine import SkipTask, Task

PART = "large"
CONSTANT, LOGARITHMIC = "2 layers", "log2 n layers"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Sizes of part F."""

    qubits: tuple[int, ...]


def specs(grid: Grid) -> Iterator[dict[str, Any]]:
    """Both costs at two layers, and the local one at log2 n."""
    for cost, depth in ((LOCAL, CONSTANT), (LOCAL, LOGARITHMIC), (GLOBAL, CONSTANT)):
        for qubits in grid.qubits:
            yield {
                "part": PART,
                "circuit": COST_AXES,
                "cost": cost,
                "depth": depth,
                "qubits": qubits,
                "layers": 2 if depth == CONSTANT else max(1, math.ceil(math.log2(qubits))),
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
    objective = objective_of(each, LOCAL)
    terms = ZeroProjector() if spec["cost"] == GLOBAL else terms_of(objective)
    try:
        found = network_moments(objective.program, terms)
    except DoesNotStand as error:
        raise SkipTask(str(error)) from error
    return {
        "derivatives": {FIRST: {"exact_second_moment": float(found.derivatives[0]), "exact_mean": 0.0}},
        "bond": found.bond,
        "moved": found.moved,
    }


def duration(task: Task) -> float:
    """Seconds, roughly."""
    spec: dict[str, Any] = dict(task.spec)
    return 0.05 + 0.005 * spec["qubits"] * spec["layers"] ** 2
