"""Part: optimisers that choose their shots, against fixed shots, at equal budgets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from classical.cost import Cost
from hybrid import Objective, ParameterShift
from hybrid.allocation import RandomTerms, Uniform
from hybrid.backends import Exact, Sampled
from hybrid.optimisers import GCANS, ICANS, AbstractOptimiser, FixedShots, Rosalin
from studies.circuits import hardware_efficient, transverse_ising
from studies.engine import Task
from studies.qpu.molecule import CHEMICAL_ACCURACY, excitations, ground_energy, hydrogen

PART = "adaptive"
HYDROGEN, ISING = "H2", "Ising chain"
PROBLEMS = (HYDROGEN, ISING)
DESCENT, ADAM, RANDOM_DESCENT = "gradient descent", "Adam", "gradient descent, drawn groups"
INDIVIDUAL, GLOBAL, DRAWN = "iCANS", "gCANS", "Rosalin"
FIXED, ADAPTIVE = (DESCENT, ADAM, RANDOM_DESCENT), (INDIVIDUAL, GLOBAL, DRAWN)
"""Drawn groups are what Rosalin does with its shots: its control."""
METHODS = (*FIXED, *ADAPTIVE)
REACH = 0.6
"""Angles of H2 start uniform within it, about the Hartree-Fock state; those of the chain anywhere."""
_ADAPTIVE_TYPES = {INDIVIDUAL: ICANS, GLOBAL: GCANS, DRAWN: Rosalin}
_CHECKPOINTS = 25


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Sizes, budgets and the learning rates that each method may choose from."""

    ising_qubits: int = 3
    ising_layers: int = 3
    total_shots: int
    steps: int
    """Of the methods with fixed shots, in the whole budget."""
    descent_rates: tuple[float, ...] = (0.03, 0.1, 0.3)
    """Relative to 1 hartree, or to the coupling of the chain."""
    adam_rates: tuple[float, ...] = (0.01, 0.03, 0.1)
    adaptive_rates: tuple[float, ...] = (0.2, 0.5, 0.9)
    """In units of 2 / L, above which these methods do not go."""
    hydrogen_target: float = CHEMICAL_ACCURACY
    ising_target: float = 0.7
    """Energy errors to reach, in hartree and in units of the coupling."""
    replicates: int


def specs(grid: Grid) -> Iterator[dict[str, Any]]:
    """Every method at every learning rate from every start."""
    rates = dict.fromkeys(ADAPTIVE, grid.adaptive_rates)
    rates |= {DESCENT: grid.descent_rates, RANDOM_DESCENT: grid.descent_rates, ADAM: grid.adam_rates}
    for problem in PROBLEMS:
        for method in METHODS:
            for rate in rates[method]:
                for replicate in range(grid.replicates):
                    yield {
                        "part": PART,
                        "problem": problem,
                        "qubits": grid.ising_qubits if problem == ISING else 4,
                        "layers": grid.ising_layers if problem == ISING else 1,
                        "method": method,
                        "rate": rate,
                        "total_shots": grid.total_shots,
                        "steps": grid.steps,
                        "target": grid.ising_target if problem == ISING else grid.hydrogen_target,
                        "replicate": replicate,
                    }


@lru_cache(maxsize=8)
def objective_of(problem: str, qubits: int, layers: int) -> tuple[Objective, float]:
    """The energy, and its exact least value."""
    if problem == HYDROGEN:
        return Objective(excitations(), hydrogen()), ground_energy()
    chain = transverse_ising(qubits)
    objective = Objective(hardware_efficient(qubits, layers, "cz ring"), chain)
    return objective, float(np.linalg.eigvalsh(chain.to_matrix())[0])


def optimiser_of(spec: dict[str, Any], objective: Objective) -> AbstractOptimiser:
    """The method at its rate; adaptive ones take rates in units of 2 / L."""
    method, rate = spec["method"], spec["rate"]
    if method in FIXED:
        shots = spec["total_shots"] // spec["steps"]
        return FixedShots(
            learning_rate=rate,
            step_shots=shots,
            update="Adam" if method == ADAM else "gradient descent",
            rule=ParameterShift(allocation=RandomTerms() if method == RANDOM_DESCENT else Uniform()),
        )
    bound = ICANS(learning_rate=1.0).smoothness(objective)
    return _ADAPTIVE_TYPES[method](learning_rate=2 * rate / bound)


def run(task: Task) -> dict[str, Any]:
    """True energy errors on the way, at checkpoints of shots spent, and the ledger."""
    spec: dict[str, Any] = dict(task.spec)
    objective, least = objective_of(spec["problem"], spec["qubits"], spec["layers"])
    optimiser = optimiser_of(spec, objective)
    theta, cost = start(task, objective), Cost()
    thetas, spent, most, planned = [theta], [0], 0, 0
    for step in optimiser.steps(
        objective, theta, backend=Sampled(), total_shots=spec["total_shots"], rng=task.generator("shots")
    ):
        cost += step.cost
        thetas.append(step.next_theta.numpy())
        spent.append(cost.shots)
        planned += int(step.shots.sum())
        most = max(most, int(step.shots.max()))
    errors = objective.value(np.array(thetas), backend=Exact()).values.numpy() - least
    errors = np.maximum(errors, 0.0)
    places = np.geomspace(spec["total_shots"] / 100, spec["total_shots"], _CHECKPOINTS)
    at = np.searchsorted(np.array(spent), places * (1 + 1e-9), side="right") - 1
    good = np.flatnonzero(errors < spec["target"])
    return {
        "num_params": objective.num_params,
        "bases": len(objective.groups),
        "steps_made": len(spent) - 1,
        "most_shots": most,
        "planned_shots": planned,
        "start_error": float(errors[0]),
        "end_error": float(errors[-1]),
        "curve": [[float(place), float(errors[i])] for place, i in zip(places, at, strict=True)],
        "shots_to_target": spent[good[0]] if len(good) else None,
        "cost": cost,
    }


def start(task: Task, objective: Objective) -> np.ndarray:
    """Angles that all methods and rates of a replicate start from."""
    shared = {name: task.spec[name] for name in ("part", "problem", "qubits", "layers", "replicate")}
    rng = replace(task, spec=shared).generator("theta")
    if task.spec["problem"] == HYDROGEN:
        return rng.uniform(-REACH, REACH, objective.num_params)
    return rng.uniform(0, 2 * np.pi, objective.num_params)


def price(task: Task) -> Cost:
    """The budget, which an adaptive method may not quite spend, and the circuits of as many equal steps."""
    spec: dict[str, Any] = dict(task.spec)
    objective, _ = objective_of(spec["problem"], spec["qubits"], spec["layers"])
    circuits = spec["steps"] * ParameterShift().price(objective).circuits
    whole = spec["total_shots"] % spec["steps"] == 0
    sources: Any = {
        "circuits": "computed" if whole and spec["method"] in (DESCENT, ADAM) else "estimated",
        "shots": "computed" if whole and spec["method"] in FIXED else "estimated",
    }
    return Cost(circuits=circuits, shots=spec["total_shots"], sources=sources)


def duration(task: Task) -> float:
    """Seconds, roughly."""
    scale = {HYDROGEN: 1.0, ISING: 2.0}[str(task.spec["problem"])]
    each = {DESCENT: 0.5, ADAM: 0.5, DRAWN: 1.5}.get(str(task.spec["method"]), 1.0)
    return 3e-6 * scale * each * float(str(task.spec["total_shots"]))
