"""Part B: at which gate error a gradient's direction drowns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from qiskit.quantum_info import SparsePauliOp
from torch import Tensor

from classical.cost import Cost
from classical.program import FixedUnitary
from hybrid import Adjoint, Objective, ParameterShift
from hybrid.backends import Exact
from hybrid.devices.circuits import device_circuit
from studies.circuits import hardware_efficient, transverse_ising
from studies.engine import Task
from studies.qpu.devices import (
    BOTH,
    MITIGATIONS,
    READOUT,
    READOUT_ERROR,
    SIMULATION,
    depolarising_device,
    mitigated,
    noise_model,
    shots_left,
)

PART = "error rate"
WITHOUT_SHOTS = "without shots"
"""In place of a mitigation: the gradient that the noisy device would give for endless shots."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Sizes and budgets of part B."""

    qubits: int
    layers: tuple[int, ...]
    two_qubit_errors: tuple[float, ...] = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1)
    total_shots: int
    """Of one gradient, calibration included."""
    calibration_shots: int = 1_000
    replicates: int


def specs(grid: Grid) -> Iterator[dict[str, Any]]:
    """Every depth and error with every mitigation, and without shots, at several angles."""
    for layers in grid.layers:
        for error in grid.two_qubit_errors:
            for mitigation in (*MITIGATIONS, WITHOUT_SHOTS):
                for replicate in range(grid.replicates):
                    has_shots = mitigation != WITHOUT_SHOTS
                    yield {
                        "part": PART,
                        "qubits": grid.qubits,
                        "layers": layers,
                        "two_qubit_error": error,
                        "mitigation": mitigation,
                        "total_shots": grid.total_shots if has_shots else None,
                        "calibration_shots": grid.calibration_shots if mitigation in (READOUT, BOTH) else 0,
                        "replicate": replicate,
                    }


@lru_cache(maxsize=4)
def objective_of(qubits: int, layers: int) -> Objective:
    return Objective(hardware_efficient(qubits, layers, "cz ring"), transverse_ising(qubits))


def _objective(task: Task) -> Objective:
    return objective_of(task.spec["qubits"], task.spec["layers"])  # pyright: ignore[reportArgumentType]


def parameters(task: Task, objective: Objective) -> np.ndarray:
    """Uniform angles, the same for every error and mitigation of one replicate."""
    shared = {name: task.spec[name] for name in ("part", "qubits", "layers", "replicate")}
    return replace(task, spec=shared).generator("theta").uniform(0, 2 * np.pi, objective.num_params)


def run(task: Task) -> dict[str, Any]:
    """Cosine and length of one gradient beside the exact one, and what the theory needs."""
    spec: dict[str, Any] = dict(task.spec)
    objective = _objective(task)
    theta = parameters(task, objective)
    exact = Adjoint().gradient(objective, theta, backend=Exact()).values
    fixed = [gate for gate in objective.program.gates if isinstance(gate, FixedUnitary)]
    found: dict[str, Any] = {
        "num_params": objective.num_params,
        "pairs": sum(len(gate.qubits) == 2 for gate in fixed),
        "singles": objective.program.num_rotations,
        "norm": float(exact.norm()),
        "readout_length": _readout_length(objective, theta, exact),
    }
    if spec["mitigation"] == WITHOUT_SHOTS:
        return {**found, **_beside(noisy_gradient(objective, theta, spec["two_qubit_error"]), exact)}
    shots = shots_left(spec["total_shots"], spec["mitigation"], spec["calibration_shots"])
    gradient = ParameterShift().gradient(
        objective, theta, backend=_device(task), total_shots=shots, rng=task.generator("shots")
    )
    assert gradient.plan is not None
    device = price(task)
    return {
        **found,
        **_beside(gradient.values, exact),
        # Of the plain circuits at these shots, for values of which nothing is known.
        "shot_noise": gradient.plan.expected_noise() * objective.num_params**0.5,
        "predicted_noise": float(gradient.std_errors.norm()),
        "device_seconds": device.qpu_seconds,
        "device_dollars": device.dollars,
        "cost": gradient.cost,
    }


def _beside(values: Tensor, exact: Tensor) -> dict[str, float]:
    """`length` is that of the part along the exact gradient, in units of it."""
    return {
        "cosine": float(values @ exact / values.norm() / exact.norm()),
        "length": float(values @ exact / (exact @ exact)),
        "relative_error": float((values - exact).norm() / exact.norm()),
    }


def _device(task: Task) -> Any:
    spec: dict[str, Any] = dict(task.spec)
    return mitigated(
        depolarising_device(spec["two_qubit_error"]), spec["mitigation"], spec["calibration_shots"]
    )


def _as_read(objective: Objective) -> SparsePauliOp:
    """The observable as readout errors leave it: symmetric ones shrink a string of weight w by (1 - 2 r)^w."""
    (observable,) = objective.observables
    weights = (observable.paulis.x | observable.paulis.z).sum(1)
    return SparsePauliOp(observable.paulis, observable.coeffs * (1 - 2 * READOUT_ERROR) ** weights)


def _readout_length(objective: Objective, theta: np.ndarray, exact: Tensor) -> float:
    """What readout errors alone leave of the gradient's length."""
    read = Objective(objective.circuit, _as_read(objective))
    values = Adjoint().gradient(read, theta, backend=Exact()).values
    return float(values @ exact / (exact @ exact))


def noisy_gradient(objective: Objective, theta: np.ndarray, two_qubit_error: float) -> Tensor:
    """The parameter-shift gradient of the noisy device for endless shots, by density matrices."""
    from qiskit_aer.primitives import EstimatorV2

    plan = ParameterShift().plan(objective, theta)
    options = {"noise_model": noise_model(two_qubit_error), **SIMULATION}
    estimator = EstimatorV2(options={"backend_options": options})
    total = torch.zeros(objective.num_params, dtype=torch.float64)
    for part in plan.parts:
        ((target, angles),) = part.circuits.realised(part.target)
        pub = (device_circuit(target.program), _as_read(objective), angles[:, 0].numpy())
        ran = estimator.run([pub], precision=0.0)  # pyright: ignore[reportArgumentType]
        values = ran.result()[0].data["evs"]
        total += part.weights[0, :, :, 0] @ torch.from_numpy(np.asarray(values, dtype=np.float64))
    return total


def price(task: Task) -> Cost:
    """Circuits, shots and one job, and what a QPU would take and cost for them: an estimate."""
    spec: dict[str, Any] = dict(task.spec)
    if spec["mitigation"] == WITHOUT_SHOTS:
        return Cost()
    return _priced(_objective(task), spec["mitigation"], spec["calibration_shots"], spec["total_shots"])


@lru_cache(maxsize=64)
def _priced(objective: Objective, mitigation: str, calibration_shots: int, total_shots: int) -> Cost:
    shots = shots_left(total_shots, mitigation, calibration_shots)
    plan = ParameterShift().plan(objective, np.zeros(objective.num_params), total_shots=shots)
    return plan.price(mitigated(depolarising_device(0.0), mitigation, calibration_shots))


def duration(task: Task) -> float:
    """Seconds, roughly."""
    qubits, layers = int(str(task.spec["qubits"])), int(str(task.spec["layers"]))
    scales = {BOTH: 2.0, "zero noise": 2.0}.get(str(task.spec["mitigation"]), 1.0)
    return 0.2 * scales * (qubits * layers / 24) ** 2 * 4.0 ** max(0, qubits - 5)
