"""Part E: which circuits are barren, which a classical computer simulates, and for which neither was shown.

Barren: over this size and all smaller ones at the same depth, at least three, the variance of the largest derivative
falls by ln 2 / 2 a qubit or more, half of what 2-designs have, and ln Var is straighter against n than against ln n.
Simulable: not barren, and one of the ways of `simulability` is within one percent of the norm at every row of angles.
What is neither is no claim of an advantage: other ways, more terms or larger bonds may do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hybrid import Adjoint, Objective
from hybrid.backends import Exact
from studies.barren.circuits import (
    CONVOLUTION,
    FREE_FERMIONS,
    HEISENBERG,
    PRODUCT,
    REGULAR_CUT,
    RING_CUT,
    SHARED_ISING,
    Laid,
)
from studies.barren.costs import BONDS, GLOBAL, KEPT, LOCAL, PAIR
from studies.barren.draws import UNIFORM, drawn, laws
from studies.barren.exact import exact_moments
from studies.barren.measuring import circuit_of, objective_of
from studies.barren.qubits import COST_AXES
from studies.barren.simulability import WAYS, simulated
from studies.engine import Task

PART = "verdict"
BARREN, SIMULABLE, NEITHER = "barren", "trainable, simulable", "neither was shown"
WITHIN = 0.01
"""Of the observable's norm: what counts as simulated."""
LEAST_RATE = math.log(2) / 2
"""Of ln Var a qubit: what counts as exponential."""
LEAST_SIZES = 3
_NOTHING = 1e-25


@dataclass(frozen=True, kw_only=True)
class Case:
    """A circuit with a cost, at depths that do not grow with its size."""

    circuit: str
    cost: str
    layers: tuple[int, ...] = (1,)


CASES = (
    Case(circuit=COST_AXES, cost=PAIR, layers=(2, 8, 32)),
    Case(circuit=COST_AXES, cost=LOCAL, layers=(2, 32)),
    Case(circuit=COST_AXES, cost=GLOBAL, layers=(2,)),
    Case(circuit=FREE_FERMIONS, cost=PAIR, layers=(2, 8, 32)),
    Case(circuit=SHARED_ISING, cost=BONDS, layers=(2, 8)),
    Case(circuit=HEISENBERG, cost=PAIR, layers=(2, 32)),
    Case(circuit=RING_CUT, cost=BONDS, layers=(2, 8)),
    Case(circuit=REGULAR_CUT, cost=BONDS, layers=(2, 8)),
    Case(circuit=CONVOLUTION, cost=KEPT),
    Case(circuit=PRODUCT, cost=LOCAL),
    Case(circuit=PRODUCT, cost=GLOBAL),
)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Sizes of part E; verdicts are given from the third size on."""

    qubits: tuple[int, ...]
    cases: tuple[Case, ...] = CASES
    samples: int
    """Of derivatives, where the exact walk has none."""
    rows: int = 5
    """Of angles at which losses are simulated."""


def specs(grid: Grid) -> Iterator[dict[str, Any]]:
    """Every case at every depth and size."""
    for case in grid.cases:
        for layers in case.layers:
            for place, qubits in enumerate(sorted(grid.qubits)):
                yield {
                    "part": PART,
                    "circuit": case.circuit,
                    "cost": case.cost,
                    "layers": layers,
                    "qubits": qubits,
                    "samples": grid.samples,
                    "simulated_rows": grid.rows if place >= LEAST_SIZES - 1 else 0,
                }


def run(task: Task) -> dict[str, Any]:
    """Variance of the largest derivative, and what each classical way makes of the loss."""
    spec: dict[str, Any] = dict(task.spec)
    each = circuit_of(spec["circuit"], spec["qubits"], spec["layers"])
    objective = objective_of(each, spec["cost"])
    largest, exact = _largest(objective, each, task)
    found = {
        "largest_variance": largest,
        "is_exact": exact,
        "num_params": len(each.parameters),
        "ways": {},
        "timing": {"way_seconds": {}},
    }
    if spec["simulated_rows"]:
        rows = drawn(UNIFORM, each, spec["simulated_rows"], task.generator("simulated"))
        ways = simulated(objective, rows)
        found["ways"] = {name: {"error": way.error, "size": way.size} for name, way in ways.items()}
        found["timing"] = {"way_seconds": {name: way.seconds for name, way in ways.items()}}
    return found


def _largest(objective: Objective, each: Laid, task: Task) -> tuple[float, bool]:
    """Of all derivatives over uniform angles, by the walk or by sampling; and whether by the walk."""
    spec: dict[str, Any] = dict(task.spec)
    exact = exact_moments(objective, spec["cost"], laws(UNIFORM, each))
    if exact is not None:
        return float(exact.variances.max()), True
    rows = drawn(UNIFORM, each, spec["samples"], task.generator("angles"))
    gradients = Adjoint().gradient(objective, rows, backend=Exact()).values
    return float(gradients.var(0).max()), False


def duration(task: Task) -> float:
    """Seconds, roughly."""
    spec: dict[str, Any] = dict(task.spec)
    gates = 2.0 * spec["layers"] * spec["qubits"]
    return 0.05 + gates * 4.0 ** spec["qubits"] / 3e7 + 2e-3 * gates * bool(spec["simulated_rows"])


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """One circuit with a cost at one depth and size, and what is said of it."""

    circuit: str
    cost: str
    layers: int
    qubits: int
    verdict: str
    rate: float
    """Fall of ln Var a qubit over the sizes up to this one."""
    variance: float
    is_exact: bool
    errors: Mapping[str, float]
    """By way, in units of the norm."""
    sizes: Mapping[str, int]
    seconds: Mapping[str, float]

    @property
    def best(self) -> str | None:
        """The first way within one percent, exact ones first, else the nearest; None where no way takes the circuit."""
        within = [name for name in WAYS if self.errors.get(name, math.inf) <= WITHIN]
        return within[0] if within else min(self.errors, key=lambda name: self.errors[name], default=None)


def cells(rows: pd.DataFrame) -> list[Cell]:
    """Cells with enough smaller sizes beside them, in the order of the rows."""
    own = rows[rows["part"] == PART] if "part" in rows else rows.iloc[:0]
    found: list[Cell] = []
    if not len(own):
        return found
    for _, data in own.groupby(["circuit", "cost", "layers"], sort=False):
        ordered = data.sort_values("qubits")
        sizes = ordered["qubits"].to_numpy(dtype=float)
        variances = ordered["largest_variance"].to_numpy(dtype=float)
        for place in range(LEAST_SIZES - 1, len(ordered)):
            if ordered["simulated_rows"].iloc[place] > 0:
                barren, rate = falls_exponentially(sizes[: place + 1], variances[: place + 1])
                found.append(_cell(ordered.iloc[place], barren, rate))
    return found


def falls_exponentially(sizes: np.ndarray, variances: np.ndarray) -> tuple[bool, float]:
    """Whether by ln 2 / 2 a size or more and straighter than a power, and the rate; (False, 0) where one is zero."""
    if (variances < _NOTHING).any():
        return False, 0.0
    logs = np.log(variances)
    lines = [np.polyfit(axis, logs, 1) for axis in (sizes, np.log(sizes))]
    exponential, power = (
        float(((np.polyval(line, axis) - logs) ** 2).sum())
        for line, axis in zip(lines, (sizes, np.log(sizes)), strict=True)
    )
    rate = -float(lines[0][0])
    return rate >= LEAST_RATE and exponential <= power, rate


def _cell(row: pd.Series, barren: bool, rate: float) -> Cell:
    errors = {name: float(way["error"]) for name, way in row["ways"].items()}
    simulable = row["largest_variance"] >= _NOTHING and any(error <= WITHIN for error in errors.values())
    return Cell(
        circuit=str(row["circuit"]),
        cost=str(row["cost"]),
        layers=int(row["layers"]),
        qubits=int(row["qubits"]),
        verdict=BARREN if barren else SIMULABLE if simulable else NEITHER,
        rate=rate,
        variance=float(row["largest_variance"]),
        is_exact=bool(row["is_exact"]),
        errors=errors,
        sizes={name: int(way["size"]) for name, way in row["ways"].items()},
        seconds={name: float(value) for name, value in row["way_seconds"].items()},
    )
