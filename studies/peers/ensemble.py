"""One derivative in each of many random circuits, as studies of barren plateaus take it.

RY(pi/4) on every qubit, then layers of a rotation about a random axis on every qubit and an open ladder of CZ; the
observable is Z_0 Z_1, the derivative is by the first layer's rotation on qubit 0.
Source: McClean et al. 2018, arXiv:1803.11173.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp

from hybrid import Objective, ParameterShift
from hybrid.backends import Exact
from studies.peers.route import OURS, Driver, Route

WORKLOAD = "ensemble"
SHIFT, ADJOINT = "parameter-shift", "adjoint"
LIGHTNING = "PennyLane lightning.qubit"
_START = np.pi / 4


@dataclass(frozen=True, kw_only=True)
class EnsembleCase:
    """An ensemble, and how many of its circuits are run by toolkits that take them one by one."""

    circuits: int
    qubits: int
    layers: int
    one_by_one: int

    @property
    def name(self) -> str:
        return f"{self.circuits} circuits of {self.qubits} qubits, {self.layers} layers"

    @property
    def units(self) -> int:
        """Circuits in one run."""
        return self.circuits

    def axes(self) -> np.ndarray:
        """0, 1, 2 for X, Y, Z: shape (circuits, layers, qubits)."""
        return np.random.default_rng(0).integers(0, 3, (self.circuits, self.layers, self.qubits))

    def angles(self) -> np.ndarray:
        """Uniform angles of the same shape."""
        return np.random.default_rng(1).uniform(0, 2 * np.pi, (self.circuits, self.layers, self.qubits))


CASES = (EnsembleCase(circuits=200, qubits=10, layers=50, one_by_one=20),)
QUICK_CASES = (EnsembleCase(circuits=4, qubits=3, layers=2, one_by_one=2),)


def objective(case: EnsembleCase) -> Objective:
    """One circuit for all: RX, RY and RZ on every site, of which a row of theta leaves two at zero."""
    theta = ParameterVector("theta", case.layers * case.qubits * 3)
    circuit = QuantumCircuit(case.qubits)
    for qubit in range(case.qubits):
        circuit.ry(_START, qubit)
    for layer in range(case.layers):
        for qubit in range(case.qubits):
            at = 3 * (layer * case.qubits + qubit)
            circuit.rx(theta[at], qubit)
            circuit.ry(theta[at + 1], qubit)
            circuit.rz(theta[at + 2], qubit)
        for qubit in range(case.qubits - 1):
            circuit.cz(qubit, qubit + 1)
    pair = SparsePauliOp.from_sparse_list([("ZZ", [0, 1], 1.0)], num_qubits=case.qubits)
    return Objective(circuit, pair, parameters=list(theta))


def ours(case: EnsembleCase) -> list[Route]:
    """All circuits as rows of one batch, three derivatives of each, of which the drawn one is kept."""
    shared, axes = objective(case), case.axes()
    theta = np.zeros((*axes.shape, 3))
    np.put_along_axis(theta, axes[..., None], case.angles()[..., None], axis=-1)
    rows = theta.reshape(case.circuits, -1)
    first = axes[:, 0, 0]

    def run() -> np.ndarray:
        gradient = ParameterShift().gradient(shared, rows, backend=Exact(), wrt=[0, 1, 2])
        return np.take_along_axis(gradient.values.numpy(), first[:, None], axis=1)[:, 0]

    return [Route(method=SHIFT, run=run, note="one batch")]


def lightning(case: EnsembleCase) -> list[Route]:
    """lightning.qubit, circuit by circuit, with the one angle trainable."""
    import pennylane as qml

    device = qml.device("lightning.qubit", wires=case.qubits)
    rotations = (qml.RX, qml.RY, qml.RZ)
    axes, angles = case.axes()[: case.one_by_one], case.angles()[: case.one_by_one]

    def node(method: str, own_axes: np.ndarray, own_angles: np.ndarray) -> Any:
        def circuit(angle: Any) -> Any:
            for qubit in range(case.qubits):
                qml.RY(_START, qubit)
            for layer in range(case.layers):
                for qubit in range(case.qubits):
                    is_first = layer == qubit == 0
                    rotations[own_axes[layer, qubit]](angle if is_first else own_angles[layer, qubit], qubit)
                for qubit in range(case.qubits - 1):
                    qml.CZ([qubit, qubit + 1])
            return qml.expval(qml.Z(0) @ qml.Z(1))

        return qml.grad(qml.QNode(circuit, device, diff_method=method))

    def route(method: str) -> Route:
        gradients = [node(method, *drawn) for drawn in zip(axes, angles, strict=True)]
        starts = [qml.numpy.array(own[0, 0], requires_grad=True) for own in angles]
        part = len(gradients)
        return Route(
            method=method,
            run=lambda: np.array([float(slope(x)) for slope, x in zip(gradients, starts, strict=True)]),
            against=SHIFT,
            scale=case.circuits / part,
            note=f"{part} of {case.circuits} circuits run, times scaled" if part < case.circuits else "",
        )

    return [route(SHIFT), route(ADJOINT)]


DRIVERS: Sequence[Driver[EnsembleCase]] = (
    Driver(toolkit=OURS, packages=("qtn-hybrid",), modules=(), routes=ours),
    Driver(
        toolkit=LIGHTNING,
        packages=("pennylane-lightning", "pennylane"),
        modules=("pennylane", "pennylane_lightning"),
        routes=lightning,
    ),
)
