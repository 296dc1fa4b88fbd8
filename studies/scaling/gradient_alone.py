"""Part A: one gradient by each method, its cost and its error."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from classical.cost import Cost
from classical.flops import value_flops
from classical.meter import Meter
from hybrid import SPSA, Adjoint, Backprop, FiniteDifference, Gradient, Objective, ParameterShift
from hybrid.backends import AbstractBackend, Exact, Sampled
from hybrid.gradients import AbstractGradientEstimator
from hybrid.pricing import device_cost
from studies.circuits import HAMILTONIANS, hardware_efficient
from studies.engine import Task

PART = "gradient alone"
# What a task belongs to: every size at one budget, or every budget at one size.
SIZES, BUDGETS = "size", "budget"


@dataclass(frozen=True, kw_only=True)
class Method:
    """An estimator with the backend that it is measured on."""

    estimator: AbstractGradientEstimator
    backend: AbstractBackend

    @property
    def has_shots(self) -> bool:
        return isinstance(self.backend, Sampled)


METHODS: Mapping[str, Method] = {
    "parameter-shift": Method(estimator=ParameterShift(), backend=Exact()),
    "parameter-shift (shots)": Method(estimator=ParameterShift(), backend=Sampled()),
    "finite differences": Method(estimator=FiniteDifference(), backend=Sampled()),
    "SPSA": Method(estimator=SPSA(), backend=Sampled()),
    "adjoint": Method(estimator=Adjoint(), backend=Exact()),
    "backprop": Method(estimator=Backprop(), backend=Exact()),
}


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Sizes and budgets of part A."""

    qubits: tuple[int, ...]
    layers: tuple[int, ...]
    entanglers: tuple[str, ...] = ("cz ring", "cx chain")
    hamiltonians: tuple[str, ...] = ("neighbour ZZ", "transverse Ising")
    total_shots: int
    """Of one gradient, the same for all sampled methods."""
    sweep_qubits: int
    sweep_layers: int
    sweep_shots: tuple[int, ...]
    """Budgets for the figure of error against shots, at one size."""
    sweep_replicates: int
    replicates: int


def specs(grid: Grid) -> Iterator[dict[str, Any]]:
    """Every size with every method at one budget; then the budgets at one size."""
    for entangler in grid.entanglers:
        for hamiltonian in grid.hamiltonians:
            for qubits in grid.qubits:
                for layers in grid.layers:
                    for method in METHODS:
                        for replicate in range(grid.replicates):
                            shots = grid.total_shots if METHODS[method].has_shots else None
                            yield _spec(
                                SIZES, entangler, hamiltonian, qubits, layers, method, shots, replicate
                            )
    for shots in grid.sweep_shots:
        for method in METHODS:
            if METHODS[method].has_shots:
                for replicate in range(grid.sweep_replicates):
                    yield _spec(
                        BUDGETS, grid.entanglers[0], grid.hamiltonians[-1], grid.sweep_qubits,
                        grid.sweep_layers, method, shots, replicate,
                    )  # fmt: skip


def _spec(
    varied: str,
    entangler: str,
    hamiltonian: str,
    qubits: int,
    layers: int,
    method: str,
    shots: int | None,
    replicate: int,
) -> dict[str, Any]:
    return {
        "part": PART,
        "varied": varied,
        "entangler": entangler,
        "hamiltonian": hamiltonian,
        "qubits": qubits,
        "layers": layers,
        "method": method,
        "total_shots": shots,
        "replicate": replicate,
    }


@lru_cache(maxsize=4)
def _objective(entangler: str, hamiltonian: str, qubits: int, layers: int) -> Objective:
    """The compiled circuit; tasks that follow one another share it."""
    return Objective(hardware_efficient(qubits, layers, entangler), HAMILTONIANS[hamiltonian](qubits))


def _objective_of(task: Task) -> Objective:
    spec = task.spec
    return _objective(spec["entangler"], spec["hamiltonian"], spec["qubits"], spec["layers"])  # pyright: ignore


def parameters(task: Task, objective: Objective) -> np.ndarray:
    """Uniform angles, the same for all methods and budgets of one size and replicate."""
    shared = {name: value for name, value in task.spec.items() if name not in ("method", "total_shots")}
    rng = replace(task, spec=shared).generator("theta")
    return rng.uniform(0, 2 * np.pi, objective.num_params)


def run(task: Task) -> dict[str, Any]:
    """Metrics of one gradient by one method."""
    objective = _objective_of(task)
    theta = parameters(task, objective)
    method = METHODS[str(task.spec["method"])]
    shots: int | None = task.spec["total_shots"]  # pyright: ignore[reportAssignmentType]

    def once() -> Gradient:
        rng = task.generator("shots")
        return method.estimator.gradient(objective, theta, backend=method.backend, total_shots=shots, rng=rng)

    gradient = once()
    # The exact gradient comes from a rule that the method does not share.
    judge = Backprop() if isinstance(method.estimator, Adjoint) else Adjoint()
    exact = judge.gradient(objective, theta, backend=Exact()).values
    error = gradient.values - exact
    norms = float(gradient.values.norm() * exact.norm())
    sizes = task.spec["varied"] == SIZES
    cost, wall = _resources(once) if sizes else (_NOT_MEASURED, [])
    device = None
    if shots is not None:
        device = device_cost(method.estimator, objective, total_shots=shots)
    return {
        "num_params": objective.num_params,
        "bases": len(objective.groups),
        "squared_error": float(error @ error),
        "predicted_squared_error": float((gradient.std_errors**2).sum()),
        "squared_norm": float(exact @ exact),
        "cosine": float(gradient.values @ exact) / norms if norms > 0 else None,
        "separate_flops": _separate_flops(objective) if method.backend == Exact() else None,
        # What it would cost on a device is no cost of this run.
        "device_seconds": None if device is None else device.qpu_seconds,
        "device_dollars": None if device is None else device.dollars,
        "cost": gradient.cost + cost,
        "timing": {"repeats_wall_seconds": wall},
    }


_NOT_MEASURED = Cost(wall_seconds=None, cpu_seconds=None, flops=None, peak_bytes=None, energy_joules=None)


def _separate_flops(objective: Objective) -> int:
    """Operations of the shifted circuits when each is simulated on its own, by formula."""
    simulator = Exact().simulator(objective.target)
    return 2 * objective.program.num_rotations * value_flops(simulator, objective.groups)


# A gradient is timed over and over until this much time is gone, at least three times.
_TIMING_SECONDS = 0.015
_LEAST_REPEATS = 3


def _resources(once: Callable[[], object]) -> tuple[Cost, list[float]]:
    """Median time of a warm run, and memory and operations of one run each, measured apart.

    The cost is that of one gradient, not of all the runs that measuring took.
    """
    walls: list[float] = []
    cpus: list[float] = []
    while len(walls) < _LEAST_REPEATS or sum(walls) < _TIMING_SECONDS:
        with Meter() as meter:
            once()
        walls.append(meter.cost.wall_seconds or 0.0)
        cpus.append(meter.cost.cpu_seconds or 0.0)
    with Meter(memory=True) as memory:
        once()
    with Meter(flops=True) as operations:
        once()
    cost = Cost(
        wall_seconds=statistics.median(walls),
        cpu_seconds=statistics.median(cpus),
        peak_bytes=memory.cost.peak_bytes,
        flops=operations.cost.flops,
        energy_joules=None,
        sources={
            "wall_seconds": "measured",
            "cpu_seconds": "measured",
            "peak_bytes": "measured",
            "flops": "measured",
        },
    )
    return cost, walls


def price(task: Task) -> Cost:
    """Circuits and shots of a task, and an estimate of what they would take and cost on a Heron device."""
    method = METHODS[str(task.spec["method"])]
    shots: int | None = task.spec["total_shots"]  # pyright: ignore[reportAssignmentType]
    if shots is None:
        return method.estimator.price(_objective_of(task))
    return device_cost(method.estimator, _objective_of(task), total_shots=shots)


def duration(task: Task) -> float:
    """Relative time of a task: states of the tangent pass, or nothing worth mentioning."""
    qubits, layers = int(str(task.spec["qubits"])), int(str(task.spec["layers"]))
    return 0.1 + 2.0**qubits * (qubits * layers) ** 2 / 2e7
