"""Part C: the ground state of H2, trained to the end of a shot budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from classical.cost import Cost
from hybrid import Objective, ParameterShift
from hybrid.allocation import Uniform
from hybrid.backends import AbstractBackend, Exact, Sampled
from hybrid.circuits import FreeCircuits
from hybrid.plan import Part, Plan, allocated
from studies.engine import Task
from studies.qpu.devices import (
    BOTH,
    PLAIN,
    READOUT,
    manila_on_aer,
    mitigated,
    named_device,
    shots_left,
)
from studies.qpu.molecule import excitations, ground_energy, hydrogen

PART = "training"
EXACT, SAMPLED, NOISY, READ, MITIGATED = (
    "exact gradient",
    "sampled",
    "noisy",
    "noisy, readout mitigated",
    "noisy, both mitigations",
)
_MITIGATION = {NOISY: PLAIN, READ: READOUT, MITIGATED: BOTH}
METHODS = (EXACT, SAMPLED, NOISY, READ, MITIGATED)


@dataclass(frozen=True, kw_only=True)
class Training:
    """Budget and schedule of part C, the same for every method."""

    steps: int
    step_shots: int
    """Of each gradient, calibration included."""
    reading_shots: int
    """Of the energy that is read at the end, calibration included."""
    calibration_shots: int
    rate: float = 0.8
    """Of gradient descent, in radians a hartree: rate / (1 + step / slowing) at a step."""
    slowing: int = 10
    reach: float = 0.6
    """Angles start uniform within it, about the Hartree-Fock state."""
    replicates: int


def specs(training: Training) -> Iterator[dict[str, Any]]:
    """Every method from every start."""
    for replicate in range(training.replicates):
        for method in METHODS:
            has_shots = method != EXACT
            yield {
                "part": PART,
                "method": method,
                "replicate": replicate,
                "steps": training.steps,
                "step_shots": training.step_shots if has_shots else None,
                "reading_shots": training.reading_shots if has_shots else None,
                "calibration_shots": training.calibration_shots if method in (READ, MITIGATED) else 0,
                "rate": training.rate,
                "slowing": training.slowing,
                "reach": training.reach,
            }


@lru_cache(maxsize=1)
def objective_of_hydrogen() -> Objective:
    return Objective(excitations(), hydrogen())


def backend_of(method: str, calibration_shots: int) -> AbstractBackend:
    """Where a method's circuits run."""
    if method == EXACT:
        return Exact()
    if method == SAMPLED:
        return Sampled()
    return mitigated(manila_on_aer(), _MITIGATION[method], calibration_shots)


def run(task: Task) -> dict[str, Any]:
    """One training run: true energies of the angles on the way, and the energy as the device reads it at the end."""
    spec: dict[str, Any] = dict(task.spec)
    objective = objective_of_hydrogen()
    method = spec["method"]
    backend = backend_of(method, spec["calibration_shots"])
    # Methods of one replicate start at the same angles: they are compared in pairs.
    start = replace(task, spec={"part": PART, "replicate": spec["replicate"], "reach": spec["reach"]})
    theta = start.generator("theta").uniform(-spec["reach"], spec["reach"], objective.num_params)
    rng = task.generator("shots")
    step_shots, reading_shots = _shots(spec)
    cost = Cost()
    curve = [[0, 0, true_error(theta)]]
    for step in range(spec["steps"]):
        gradient = ParameterShift().gradient(
            objective, theta, backend=backend, total_shots=step_shots, rng=rng
        )
        theta = theta - spec["rate"] / (1 + step / spec["slowing"]) * gradient.values.numpy()
        cost += gradient.cost
        curve.append([step + 1, cost.shots, true_error(theta)])
    reading = objective.value(theta, backend=backend, total_shots=reading_shots, rng=rng)
    device = price(task)
    return {
        "num_params": objective.num_params,
        "bases": len(objective.groups),
        "curve": curve,
        "true_error": curve[-1][2],
        "read_error": float(reading.values) - ground_energy(),
        "read_std_error": float(reading.std_errors),
        "device_jobs": device.jobs,
        "device_seconds": device.qpu_seconds,
        "device_dollars": device.dollars,
        "cost": cost + reading.cost,
    }


def true_error(theta: np.ndarray) -> float:
    """Energy of the angles without noise or shots above the exact ground energy, hartree."""
    value = objective_of_hydrogen().value(theta, backend=Exact()).values
    return max(0.0, float(value) - ground_energy())


def _shots(spec: dict[str, Any]) -> tuple[int | None, int | None]:
    """For the circuits of a gradient and of the reading."""
    if spec["step_shots"] is None:
        return None, None
    mitigation = _MITIGATION.get(spec["method"], PLAIN)
    step, reading = (
        shots_left(spec[name], mitigation, spec["calibration_shots"])
        for name in ("step_shots", "reading_shots")
    )
    return step, reading


def price(task: Task) -> Cost:
    """Circuits, shots and jobs, one a step, and what a QPU would take and cost for them: an estimate."""
    spec: dict[str, Any] = dict(task.spec)
    step_shots, reading_shots = _shots(spec)
    return _priced(spec["method"], spec["steps"], spec["calibration_shots"], step_shots, reading_shots)


@lru_cache(maxsize=32)
def _priced(
    method: str, steps: int, calibration_shots: int, step_shots: int | None, reading_shots: int | None
) -> Cost:
    objective = objective_of_hydrogen()
    anywhere = np.zeros(objective.num_params)
    gradient = ParameterShift().plan(objective, anywhere, total_shots=step_shots)
    reading = _reading(objective, anywhere, reading_shots)
    if method == EXACT:
        return sum([gradient.cost] * steps, reading.cost)
    device = named_device("aer") if method == SAMPLED else manila_on_aer()
    backend = mitigated(device, _MITIGATION.get(method, PLAIN), calibration_shots)
    return sum([gradient.price(backend)] * steps, reading.price(backend))


def _reading(objective: Objective, theta: np.ndarray, total_shots: int | None) -> Plan:
    """What `Objective.value` runs."""
    rows, batch = objective.rows(theta)
    part = Part(
        target=objective.target,
        circuits=FreeCircuits(angles=objective.program.angles(rows)[None]),
        weights=torch.ones(1, 1, 1, 1, dtype=torch.float64),
    )
    return Plan(
        estimator="value",
        objective=objective,
        wrt=torch.zeros(0, dtype=torch.int64),
        parts=allocated([part], total_shots, Uniform(), None),
        total_shots=total_shots,
        allocation=Uniform(),
        batch=batch,
    )


def duration(task: Task) -> float:
    """Seconds, roughly."""
    scales = {EXACT: 0.01, SAMPLED: 0.02, NOISY: 0.12, READ: 0.2, MITIGATED: 0.5}
    return scales[str(task.spec["method"])] * int(str(task.spec["steps"]))
