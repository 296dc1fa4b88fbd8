"""Circuits whose expectation values and gradients are known in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import CPhaseGate, CRXGate, CRYGate, CRZGate
from qiskit.quantum_info import SparsePauliOp

from hybrid import Objective

Array = np.ndarray


@dataclass(frozen=True, kw_only=True)
class System:
    """A circuit, what is measured on it, and both as functions of theta (P,).

    `value` gives a number, or (M,) for a list of M observables; `gradient` (P,) or (M, P).
    """

    name: str
    circuit: QuantumCircuit
    observable: SparsePauliOp | list[SparsePauliOp]
    value: Callable[[Array], Array | float]
    gradient: Callable[[Array], Array]
    rotations: int
    """Occurrences of parameters, a controlled rotation counting as two (three for a controlled phase)."""
    bases: int
    theta: tuple[float, ...] = field(repr=False)
    """A point at which nothing is special."""
    together: int | None = None
    """Occurrences when those that turn about one axis side by side, or make one phase, count as one."""
    shared: int | None = None
    """Circuits of the rule for commuting generators, by hand; None: no two generators share one."""

    @property
    def shift_circuits(self) -> int:
        """Circuits of the cheapest parameter-shift rule, in each basis."""
        return 2 * (self.rotations if self.together is None else self.together)

    def objective(self) -> Objective:
        return Objective(self.circuit, self.observable)

    @property
    def num_params(self) -> int:
        return len(self.theta)

    @property
    def scale(self) -> float:
        """Sum of the sizes of all coefficients: no value is larger."""
        listed = self.observable if isinstance(self.observable, list) else [self.observable]
        return float(sum(np.abs(item.coeffs).sum() for item in listed))

    def values(self, theta: Array) -> Array:
        """Exact values for theta (*batch, P)."""
        return _over_batch(self.value, theta)

    def gradients(self, theta: Array) -> Array:
        """Exact gradients for theta (*batch, P)."""
        return _over_batch(self.gradient, theta)


def _over_batch(function: Callable[[Array], Array | float], theta: Array) -> Array:
    theta = np.asarray(theta, dtype=float)
    rows = [np.asarray(function(row)) for row in theta.reshape(-1, theta.shape[-1])]
    return np.stack(rows).reshape((*theta.shape[:-1], *rows[0].shape))


def product_local(num_qubits: int = 3) -> System:
    """One RY a qubit and the mean of all Z: every slope is a sine of its own angle."""
    angles = ParameterVector("t", num_qubits)
    circuit = QuantumCircuit(num_qubits)
    for qubit, angle in enumerate(angles):
        circuit.ry(angle, qubit)
    terms = [("Z", [qubit], 1 / num_qubits) for qubit in range(num_qubits)]
    return System(
        name="product, local",
        circuit=circuit,
        observable=SparsePauliOp.from_sparse_list(terms, num_qubits=num_qubits),
        value=lambda t: np.cos(t).mean(),
        gradient=lambda t: -np.sin(t) / len(t),
        rotations=num_qubits,
        bases=1,
        shared=1,
        theta=tuple(0.4 + 0.9 * k for k in range(num_qubits)),
    )


def product_global(num_qubits: int = 3) -> System:
    """One RY a qubit and the projector on |0...0>: the product of all cos^2(t/2)."""
    angles = ParameterVector("t", num_qubits)
    circuit = QuantumCircuit(num_qubits)
    projector = SparsePauliOp([""], [1.0])
    for qubit, angle in enumerate(angles):
        circuit.ry(angle, qubit)
        projector = SparsePauliOp(["I", "Z"], [0.5, 0.5]).tensor(projector)

    def gradient(t: Array) -> Array:
        factors = np.cos(t / 2) ** 2
        others = [np.delete(factors, k).prod() for k in range(len(t))]
        return -np.sin(t) / 2 * np.array(others)

    return System(
        name="product, global",
        circuit=circuit,
        observable=projector,
        value=lambda t: (np.cos(t / 2) ** 2).prod(),
        gradient=gradient,
        rotations=num_qubits,
        bases=1,
        shared=5,  # single letters; each of three pairs; the triple
        theta=tuple(0.3 + 0.5 * k for k in range(num_qubits)),
    )


def chain_of_one(length: int = 4) -> System:
    """RY(t) applied `length` times: one parameter, cos(L t)."""
    angle = Parameter("t")
    circuit = QuantumCircuit(1)
    for _ in range(length):
        circuit.ry(angle, 0)
    return System(
        name="chain, one parameter",
        circuit=circuit,
        observable=SparsePauliOp("Z"),
        value=lambda t: np.cos(length * t[0]),
        gradient=lambda t: -length * np.sin(length * t),
        rotations=length,
        bases=1,
        together=1,
        shared=1,
        theta=(0.2,),
    )


def chain_of_many(length: int = 3) -> System:
    """RY(t_k) one after the other: cos of the sum."""
    angles = ParameterVector("t", length)
    circuit = QuantumCircuit(1)
    for angle in angles:
        circuit.ry(angle, 0)
    return System(
        name="chain, own parameters",
        circuit=circuit,
        observable=SparsePauliOp("Z"),
        value=lambda t: np.cos(t.sum()),
        gradient=lambda t: -np.sin(t.sum()) * np.ones(length),
        rotations=length,
        bases=1,
        shared=1,
        theta=tuple(0.1 + 0.2 * k for k in range(length)),
    )


def ghz_phases(num_qubits: int = 3) -> System:
    """A GHZ state with a phase on every qubit, measured in X...X: cos of the sum of the phases."""
    angles = ParameterVector("t", num_qubits)
    circuit = QuantumCircuit(num_qubits)
    circuit.h(0)
    for qubit in range(num_qubits - 1):
        circuit.cx(qubit, qubit + 1)
    for qubit, angle in enumerate(angles):
        circuit.rz(angle, qubit)
    return System(
        name="GHZ phases",
        circuit=circuit,
        observable=SparsePauliOp("X" * num_qubits),
        value=lambda t: np.cos(t.sum()),
        gradient=lambda t: -np.sin(t.sum()) * np.ones(num_qubits),
        rotations=num_qubits,
        bases=1,
        shared=1,
        theta=tuple(0.5 - 0.2 * k for k in range(num_qubits)),
    )


def scaled() -> System:
    """RX(2 t + 0.3): cos(2 t + 0.3)."""
    angle = Parameter("t")
    circuit = QuantumCircuit(1)
    circuit.rx(2 * angle + 0.3, 0)
    return System(
        name="scaled",
        circuit=circuit,
        observable=SparsePauliOp("Z"),
        value=lambda t: np.cos(2 * t[0] + 0.3),
        gradient=lambda t: -2 * np.sin(2 * t + 0.3),
        rotations=1,
        bases=1,
        shared=1,
        theta=(0.3,),
    )


def negated() -> System:
    """|+> turned by RZ(-t) and measured in Y: -sin t."""
    angle = Parameter("t")
    circuit = QuantumCircuit(1)
    circuit.h(0)
    circuit.rz(-angle, 0)
    return System(
        name="negated",
        circuit=circuit,
        observable=SparsePauliOp("Y"),
        value=lambda t: -np.sin(t[0]),
        gradient=lambda t: -np.cos(t),
        rotations=1,
        bases=1,
        shared=1,
        theta=(0.8,),
    )


def shared_and_affine() -> System:
    """Two parameters, each in two angles: cos(a + 2 b) cos(b - a)."""
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(2)
    circuit.ry(a + 2 * b, 0)
    circuit.ry(b - a, 1)
    return System(
        name="shared and affine",
        circuit=circuit,
        observable=SparsePauliOp("ZZ"),
        value=lambda t: np.cos(t[0] + 2 * t[1]) * np.cos(t[1] - t[0]),
        gradient=lambda t: np.array(
            [
                -np.sin(t[0] + 2 * t[1]) * np.cos(t[1] - t[0])
                + np.cos(t[0] + 2 * t[1]) * np.sin(t[1] - t[0]),
                -2 * np.sin(t[0] + 2 * t[1]) * np.cos(t[1] - t[0])
                - np.cos(t[0] + 2 * t[1]) * np.sin(t[1] - t[0]),
            ]
        ),
        rotations=2,
        bases=1,
        shared=1,
        theta=(0.3, 0.6),
    )


def controlled(gate: type) -> System:
    """A rotation of the target, controlled by RY(0.8)|0>, which is 1 with probability p = sin^2(0.4).

    Target in Z (RX, RY) or X (RZ, phase): 1 - p + p cos t. Control in X: sin(0.8) cos(t/2) for rotations,
    sin(0.8) (1 + cos t)/2 for a phase.
    """
    angle, tilt = Parameter("t"), 0.8
    circuit = QuantumCircuit(2)
    circuit.ry(tilt, 0)
    along = "X" if gate in (CRZGate, CPhaseGate) else "Z"
    if along == "X":
        circuit.h(1)
    circuit.append(gate(angle), [0, 1])
    one_frequency = gate is CPhaseGate
    p = np.sin(tilt / 2) ** 2

    def value(t: Array) -> float:
        control = (1 + np.cos(t[0])) / 2 if one_frequency else np.cos(t[0] / 2)
        return 1 - p + p * np.cos(t[0]) + 0.7 * np.sin(tilt) * control

    def gradient(t: Array) -> Array:
        control = -np.sin(t) / 2 if one_frequency else -np.sin(t / 2) / 2
        return -p * np.sin(t) + 0.7 * np.sin(tilt) * control

    return System(
        name=gate.__name__,
        circuit=circuit,
        observable=SparsePauliOp([along + "I", "IX"], [1.0, 0.7]),
        value=value,
        gradient=gradient,
        rotations=3 if one_frequency else 2,
        bases=1,
        together=1 if one_frequency else None,
        shared=2,  # one for each term
        theta=(1.1,),
    )


def with_constant() -> System:
    """Two bases and a constant: 2.5 + cos t + 0.5 sin t."""
    angle = Parameter("t")
    circuit = QuantumCircuit(1)
    circuit.ry(angle, 0)
    return System(
        name="constant",
        circuit=circuit,
        observable=SparsePauliOp(["I", "Z", "X"], [2.5, 1.0, 0.5]),
        value=lambda t: 2.5 + np.cos(t[0]) + 0.5 * np.sin(t[0]),
        gradient=lambda t: -np.sin(t) + 0.5 * np.cos(t),
        rotations=1,
        bases=2,
        shared=2,
        theta=(0.7,),
    )


def several() -> System:
    """Four observables in three bases on RZ(b) RY(a)|0>, one of them a sum over bases."""
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(1)
    circuit.ry(a, 0)
    circuit.rz(b, 0)

    def value(t: Array) -> Array:
        x, y, z = np.sin(t[0]) * np.cos(t[1]), np.sin(t[0]) * np.sin(t[1]), np.cos(t[0])
        return np.array([x, y, z, x + 2 * z - 1])

    def gradient(t: Array) -> Array:
        x = np.array([np.cos(t[0]) * np.cos(t[1]), -np.sin(t[0]) * np.sin(t[1])])
        y = np.array([np.cos(t[0]) * np.sin(t[1]), np.sin(t[0]) * np.cos(t[1])])
        z = np.array([-np.sin(t[0]), 0.0])
        return np.stack([x, y, z, x + 2 * z])

    return System(
        name="several observables",
        circuit=circuit,
        observable=[
            SparsePauliOp("X"),
            SparsePauliOp("Y"),
            SparsePauliOp("Z"),
            SparsePauliOp(["X", "Z", "I"], [1.0, 2.0, -1.0]),
        ],
        value=value,
        gradient=gradient,
        rotations=2,
        bases=3,
        theta=(0.9, 0.4),
    )


def several_commuting() -> System:
    """Two observables in two bases on RZ(b) RZ(a) |+>, of one and the same axis."""
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(1)
    circuit.h(0)
    circuit.rz(a, 0)
    circuit.rz(b, 0)
    return System(
        name="several observables, commuting generators",
        circuit=circuit,
        observable=[SparsePauliOp("X"), SparsePauliOp(["X", "Y"], [0.5, 2.0])],
        value=lambda t: np.array([np.cos(t.sum()), 0.5 * np.cos(t.sum()) + 2 * np.sin(t.sum())]),
        gradient=lambda t: np.stack(
            [
                -np.sin(t.sum()) * np.ones(2),
                (2 * np.cos(t.sum()) - 0.5 * np.sin(t.sum())) * np.ones(2),
            ]
        ),
        rotations=2,
        bases=2,
        shared=2,
        theta=(0.5, 0.2),
    )


def asymmetric() -> System:
    """Every qubit does something else, with a weight of its own: a turned qubit order changes the value.

    Qubit 0, the last letter, has RX(t0) and controls a flip of qubit 2, the first letter.
    """
    angles = ParameterVector("t", 3)
    circuit = QuantumCircuit(3)
    circuit.rx(angles[0], 0)
    circuit.ry(angles[1], 1)
    circuit.ry(angles[2], 2)
    circuit.cx(0, 2)
    return System(
        name="asymmetric",
        circuit=circuit,
        observable=SparsePauliOp(["IIZ", "IXI", "ZII"], [1.0, 2.0, 4.0]),
        value=lambda t: np.cos(t[0]) + 2 * np.sin(t[1]) + 4 * np.cos(t[0]) * np.cos(t[2]),
        gradient=lambda t: np.array(
            [
                -np.sin(t[0]) * (1 + 4 * np.cos(t[2])),
                2 * np.cos(t[1]),
                -4 * np.cos(t[0]) * np.sin(t[2]),
            ]
        ),
        rotations=3,
        bases=1,
        shared=2,  # the first two terms, and the flip's
        theta=(0.6, 1.2, -0.5),
    )


SYSTEMS = [
    product_local(),
    product_global(),
    chain_of_one(),
    chain_of_many(),
    ghz_phases(),
    scaled(),
    negated(),
    shared_and_affine(),
    *(controlled(gate) for gate in (CRXGate, CRYGate, CRZGate, CPhaseGate)),
    with_constant(),
    several(),
    several_commuting(),
    asymmetric(),
]
