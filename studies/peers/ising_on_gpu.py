"""Value and gradient of a deep circuit for the transverse Ising chain in complex64, on a CUDA device.

|+> on every qubit, ten layers of RZZ along the chain and RX, all angles 0.1; H = -sum Z_i Z_{i+1} - sum X_i. The
set-up is that of TensorCircuit-NG's `examples/benchmark_jax_vs_torch_vqe.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector

from hybrid import Adjoint, Objective, ParameterShift
from hybrid.backends import Exact
from hybrid.gradients import AbstractGradientEstimator
from studies.circuits import transverse_ising
from studies.peers.route import OURS, Driver, Route

WORKLOAD = "TFIM on a GPU"
ADJOINT, SHIFT = "adjoint", "parameter-shift"
_ANGLE = 0.1
# The value adds up terms of the size of the number of qubits in single precision.
_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class IsingCase:
    """A size and the device."""

    qubits: int
    layers: int
    device: str = "cuda"

    @property
    def units(self) -> int:
        """Gradients in one run."""
        return 1

    @property
    def num_params(self) -> int:
        return self.layers * (2 * self.qubits - 1)

    @property
    def name(self) -> str:
        return f"{self.qubits} qubits, {self.layers} layers, P = {self.num_params}, {self.device}"


CASES = (IsingCase(qubits=20, layers=10),)
QUICK_CASES = (IsingCase(qubits=4, layers=2),)


def missing_device() -> str | None:
    """A line that says why nothing is run here, or None."""
    if torch.cuda.is_available():
        return None
    return f"{WORKLOAD}: skipped, no CUDA device"


def objective(case: IsingCase) -> Objective:
    """The circuit with H."""
    theta = iter(ParameterVector("theta", case.num_params))
    circuit = QuantumCircuit(case.qubits)
    circuit.h(range(case.qubits))
    for _ in range(case.layers):
        for qubit in range(case.qubits - 1):
            circuit.rzz(next(theta), qubit, qubit + 1)
        for qubit in range(case.qubits):
            circuit.rx(next(theta), qubit)
    return Objective(circuit, transverse_ising(case.qubits))


def ours(case: IsingCase) -> list[Route]:
    """Value and gradient, in one row, by two rules."""
    whole = objective(case)
    theta = np.full(case.num_params, _ANGLE)
    backend = Exact(dtype=torch.complex64, device=case.device)

    def route(estimator: AbstractGradientEstimator, against: str | None) -> Route:
        def run() -> np.ndarray:
            value = whole.value(theta, backend=backend).values
            slopes = estimator.gradient(whole, theta, backend=backend).values
            return torch.cat([value.reshape(1), slopes]).numpy()

        return Route(method=estimator.name, run=run, against=against, tolerance=_TOLERANCE)

    return [route(Adjoint(), None), route(ParameterShift(), ADJOINT)]


DRIVERS: Sequence[Driver[IsingCase]] = (
    Driver(toolkit=OURS, packages=("qtn-hybrid",), modules=(), routes=ours),
)
