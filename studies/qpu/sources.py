"""Part A: one gradient, repeated, from every source of expectation values."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from classical.cost import Cost
from hybrid import Adjoint, Objective, ParameterShift
from hybrid.backends import AbstractBackend, Exact, Sampled, open_backend
from hybrid.backends.device import AbstractDeviceBackend
from studies.circuits import hardware_efficient, transverse_ising
from studies.engine import Task
from studies.engine.verbs import SPEND_VARIABLE
from studies.qpu.devices import BOTH, PLAIN, mitigated, named_device, shots_left

PART = "sources"
EXACT, SAMPLED, FAKE = "exact", "sampled", "fake:manila"
DEVICE_VARIABLE = "QTN_IBM_DEVICE"
# Between the estimate before a device is known and its own quote.
_MARGIN = 1.25


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Size and budget of part A."""

    qubits: int = 4
    layers: int = 2
    total_shots: int = 20_000
    """Of one gradient, calibration included; the client's equal shots a circuit move it by up to three percent."""
    calibration_shots: int = 1_000
    """Of each of the two circuits of a readout calibration."""
    repeats: int
    qpu_repeats: int = 10
    """On a QPU, where one is named."""


def specs(grid: Grid) -> Iterator[dict[str, Any]]:
    """Every source with its repeats; a QPU only where the environment names one."""
    common = {"part": PART, "qubits": grid.qubits, "layers": grid.layers}
    yield {**common, "source": EXACT, "mitigation": PLAIN, "replicate": 0}
    sampled = {**common, "total_shots": grid.total_shots}
    for source, mitigation in ((SAMPLED, PLAIN), (FAKE, PLAIN), (FAKE, BOTH)):
        calibration = grid.calibration_shots if mitigation == BOTH else 0
        for replicate in range(grid.repeats):
            yield {
                **sampled,
                "source": source,
                "mitigation": mitigation,
                "calibration_shots": calibration,
                "replicate": replicate,
            }
    device = os.environ.get(DEVICE_VARIABLE)
    if device:
        for replicate in range(grid.qpu_repeats):
            yield {
                **sampled,
                "source": f"ibm:{device}",
                "mitigation": PLAIN,
                "calibration_shots": 0,
                "replicate": replicate,
                "repeats": grid.qpu_repeats,
            }


def bill(task: Task) -> float:
    """Dollars that a task really spends, at most about; none but on a QPU."""
    is_paid = str(task.spec["source"]).startswith("ibm:")
    return _MARGIN * (price(task).dollars or 0.0) if is_paid else 0.0


def spend_of(task: Task) -> float | None:
    """Dollars that a paid task may spend: its bill or its share of what the run may, whichever is more.

    The engine lets only tasks begin whose bills are within what the run may spend, and says what that is in the
    environment; None where nothing is allowed.
    """
    allowed = os.environ.get(SPEND_VARIABLE)
    return None if allowed is None else max(bill(task), float(allowed) / int(str(task.spec["repeats"])))


@lru_cache(maxsize=2)
def objective_of(qubits: int, layers: int) -> Objective:
    """The circuit of part A: on a line of qubits it needs no routing."""
    return Objective(hardware_efficient(qubits, layers, "cx chain"), transverse_ising(qubits))


def _objective(task: Task) -> Objective:
    return objective_of(task.spec["qubits"], task.spec["layers"])  # pyright: ignore[reportArgumentType]


def parameters(task: Task, objective: Objective) -> np.ndarray:
    """Uniform angles, the same for every source and repeat."""
    shared = {name: task.spec[name] for name in ("part", "qubits", "layers")}
    return replace(task, spec=shared).generator("theta").uniform(0, 2 * np.pi, objective.num_params)


def _backend(task: Task) -> AbstractBackend:
    spec: dict[str, Any] = dict(task.spec)
    source = spec["source"]
    if source == EXACT:
        return Exact()
    if source == SAMPLED:
        return Sampled()
    if source.startswith("ibm:"):
        return open_backend(source, spend=spend_of(task), task=f"qpu_gradients {task.id[:16]}")
    return mitigated(named_device(source), spec["mitigation"], spec["calibration_shots"])


def _twin(source: str, mitigation: str, calibration_shots: int) -> AbstractDeviceBackend:
    """A device that is priced in the source's place, without any network: noise-free Aer, but for fake devices."""
    device = named_device(source if source.startswith("fake:") else "aer")
    if source.startswith("ibm:"):
        # IBM's client wants equal shots for all circuits of a job.
        device = replace(device, runner=replace(device.runner, equal_shots=True))  # pyright: ignore
    return mitigated(device, mitigation, calibration_shots)


def run(task: Task) -> dict[str, Any]:
    """One gradient, and its distance from the exact one."""
    spec: dict[str, Any] = dict(task.spec)
    objective = _objective(task)
    theta = parameters(task, objective)
    shots = _shots(spec)
    gradient = ParameterShift().gradient(
        objective, theta, backend=_backend(task), total_shots=shots, rng=task.generator("shots")
    )
    exact = Adjoint().gradient(objective, theta, backend=Exact()).values
    device = price(task)
    return {
        "num_params": objective.num_params,
        "bases": len(objective.groups),
        "gradient": gradient.values.tolist(),
        "exact": exact.tolist(),
        "std_errors": gradient.std_errors.tolist(),
        "cosine": float(gradient.values @ exact / gradient.values.norm() / exact.norm()),
        "relative_error": float((gradient.values - exact).norm() / exact.norm()),
        # What it would cost on a QPU is no cost of this run.
        "device_jobs": device.jobs,
        "device_seconds": device.qpu_seconds,
        "device_dollars": device.dollars,
        "cost": gradient.cost,
    }


def _shots(spec: dict[str, Any]) -> int | None:
    if spec["source"] == EXACT:
        return None
    return shots_left(spec["total_shots"], spec["mitigation"], spec["calibration_shots"])


def price(task: Task) -> Cost:
    """Circuits, shots and jobs, and what a QPU would take and cost for them: an estimate."""
    spec: dict[str, Any] = dict(task.spec)
    objective = _objective(task)
    if spec["source"] == EXACT:
        return ParameterShift().price(objective)
    return _priced(
        objective, spec["source"], spec["mitigation"], spec["calibration_shots"], _shots(spec) or 0
    )


@lru_cache(maxsize=64)
def _priced(objective: Objective, source: str, mitigation: str, calibration_shots: int, shots: int) -> Cost:
    plan = ParameterShift().plan(objective, np.zeros(objective.num_params), total_shots=shots)
    return plan.price(_twin(source, mitigation, calibration_shots))


def duration(task: Task) -> float:
    """Seconds, roughly."""
    if task.spec["source"] in (EXACT, SAMPLED):
        return 0.05
    return 3.0 if task.spec["mitigation"] == BOTH else 1.0
