"""Part A: shots for a gradient's error, against the number of parameters and the error, by rule."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from classical.cost import Cost
from hybrid import SPSA, Adjoint, FiniteDifference, Objective, ParameterShift
from hybrid.backends import Exact, Sampled
from hybrid.gradients.base import AbstractShotEstimator
from hybrid.pricing import device_cost
from hybrid.shots import balanced_reach
from studies.circuits import hardware_efficient, transverse_ising
from studies.engine import Task

PART = "gradient error"
PARAMETER_SHIFT, FINITE_DIFFERENCES, SIMULTANEOUS = "parameter-shift", "finite differences", "SPSA"
METHODS = (PARAMETER_SHIFT, FINITE_DIFFERENCES, SIMULTANEOUS)
DIRECTION_SHOTS = 128
"""Of each circuit and basis of SPSA: more shots mean more directions."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Sizes and budgets of part A; a budget is shots for each circuit and basis that parameter-shift would have."""

    qubits: int = 4
    layers: tuple[int, ...]
    shots_each: tuple[int, ...] = (64, 256, 1_024, 4_096)
    repeats: int
    """Gradients of one task: the same angles, other shots."""
    replicates: int
    """Draws of the angles."""


def specs(grid: Grid) -> Iterator[dict[str, Any]]:
    for replicate in range(grid.replicates):
        for layers in grid.layers:
            for method in METHODS:
                # Every direction of SPSA is simulated: the largest budget is left out.
                budgets = grid.shots_each[: -1 if method == SIMULTANEOUS else None]
                for shots_each in budgets:
                    yield {
                        "part": PART,
                        "qubits": grid.qubits,
                        "layers": layers,
                        "method": method,
                        "shots_each": shots_each,
                        "repeats": grid.repeats,
                        "replicate": replicate,
                    }


@lru_cache(maxsize=16)
def objective_of(qubits: int, layers: int) -> Objective:
    """Layers of RY, RZ and a ring of CZ, and the transverse-field Ising chain: two bases, the same at every depth."""
    return Objective(hardware_efficient(qubits, layers, "cz ring"), transverse_ising(qubits))


def _objective(task: Task) -> Objective:
    spec: dict[str, Any] = dict(task.spec)
    return objective_of(spec["qubits"], spec["layers"])


def angles(task: Task, objective: Objective) -> np.ndarray:
    """Uniform angles, the same for every rule and budget."""
    shared = {name: task.spec[name] for name in ("part", "qubits", "layers", "replicate")}
    return replace(task, spec=shared).generator("theta").uniform(0, 2 * np.pi, objective.num_params)


def budget(task: Task) -> int:
    """Shots of one gradient."""
    spec: dict[str, Any] = dict(task.spec)
    objective = _objective(task)
    return spec["shots_each"] * 2 * objective.num_params * len(objective.groups)


def estimator(task: Task) -> AbstractShotEstimator:
    """The rule. SPSA's step falls as that of central differences does, by all shots along one direction."""
    method, total = task.spec["method"], budget(task)
    if method == PARAMETER_SHIFT:
        return ParameterShift()
    if method == FINITE_DIFFERENCES:
        return FiniteDifference()
    objective = _objective(task)
    pairs = 2 * len(objective.groups)
    step = balanced_reach(total / pairs) / math.sqrt(objective.num_params)
    return SPSA(directions=max(1, total // (pairs * DIRECTION_SHOTS)), step=step)


def run(task: Task) -> dict[str, Any]:
    """Repeated gradients at one place, and how far they are off the exact one, in three norms."""
    spec: dict[str, Any] = dict(task.spec)
    objective, rule, total = _objective(task), estimator(task), budget(task)
    theta = angles(task, objective)
    exact = Adjoint().gradient(objective, theta, backend=Exact()).values
    repeated = np.tile(theta, (spec["repeats"], 1))
    found = rule.gradient(
        objective, repeated, backend=Sampled(), total_shots=total, rng=task.generator("shots")
    )
    errors = (found.values - exact).numpy()
    device = device_cost(rule, objective, total_shots=total)
    return {
        "num_params": objective.num_params,
        "total_shots": total,
        "component_error": float(np.sqrt((errors**2).mean())),
        "largest_error": float(np.abs(errors).max(1).mean()),
        "length_error": float(np.sqrt((errors**2).sum(1).mean())),
        "squares": (errors**2).mean(1).tolist(),
        "reported_squares": (found.std_errors.numpy() ** 2).mean(1).tolist(),
        "gradient_length": float(exact.norm()),
        "device_seconds": device.qpu_seconds,
        "device_dollars": device.dollars,
        "cost": found.cost,
    }


def price(task: Task) -> Cost:
    """Circuits and shots of all repeats."""
    repeats: Any = task.spec["repeats"]
    return estimator(task).price(_objective(task), rows=repeats, total_shots=budget(task))


def duration(task: Task) -> float:
    """Seconds, roughly."""
    if task.spec["method"] == SIMULTANEOUS:
        repeats: Any = task.spec["repeats"]
        return 1e-7 * repeats * budget(task)
    return 0.1
