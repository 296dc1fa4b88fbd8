"""Circuits and observables that studies share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp


def _cz_ring(circuit: QuantumCircuit) -> None:
    """CZ between neighbours, closed to a ring from three qubits on."""
    count = circuit.num_qubits
    for qubit in range(count if count > 2 else count - 1):
        circuit.cz(qubit, (qubit + 1) % count)


def _cz_chain(circuit: QuantumCircuit) -> None:
    """CZ between neighbours, open."""
    for qubit in range(circuit.num_qubits - 1):
        circuit.cz(qubit, qubit + 1)


def _cx_chain(circuit: QuantumCircuit) -> None:
    """CNOT from each qubit to the next, open."""
    for qubit in range(circuit.num_qubits - 1):
        circuit.cx(qubit, qubit + 1)


ENTANGLERS: Mapping[str, Callable[[QuantumCircuit], None]] = {
    "cz ring": _cz_ring,
    "cx chain": _cx_chain,
    "cz chain": _cz_chain,
}


def hardware_efficient(num_qubits: int, num_layers: int, entangler: str) -> QuantumCircuit:
    """Layers of RY and RZ on every qubit and an entangler; 2 * qubits * layers parameters, each used once.

    Source: Kandala et al. 2017, arXiv:1704.05018, in the form common in barren-plateau studies.
    """
    theta = iter(ParameterVector("theta", 2 * num_qubits * num_layers))
    circuit = QuantumCircuit(num_qubits)
    for _ in range(num_layers):
        for qubit in range(num_qubits):
            circuit.ry(next(theta), qubit)
            circuit.rz(next(theta), qubit)
        ENTANGLERS[entangler](circuit)
    return circuit


def neighbour_zz(num_qubits: int) -> SparsePauliOp:
    """Sum of Z_i Z_{i+1} on an open chain: one measurement basis."""
    terms = [("ZZ", [i, i + 1], 1.0) for i in range(num_qubits - 1)]
    return SparsePauliOp.from_sparse_list(terms, num_qubits=num_qubits)


def transverse_ising(num_qubits: int) -> SparsePauliOp:
    """-sum Z_i Z_{i+1} - sum X_i on an open chain, the critical point: two measurement bases."""
    terms = [("ZZ", [i, i + 1], -1.0) for i in range(num_qubits - 1)]
    terms += [("X", [i], -1.0) for i in range(num_qubits)]
    return SparsePauliOp.from_sparse_list(terms, num_qubits=num_qubits)


HAMILTONIANS: Mapping[str, Callable[[int], SparsePauliOp]] = {
    "neighbour ZZ": neighbour_zz,
    "transverse Ising": transverse_ising,
}


def angle_classifier(
    num_qubits: int, num_layers: int
) -> tuple[QuantumCircuit, ParameterVector, list[SparsePauliOp]]:
    """A circuit with one input angle a qubit, and <Z> of every qubit; returns it, its inputs and observables.

    RX(input) on every qubit, then layers of RZ and RY on every qubit, with rings of CZ between them: 2 * qubits *
    layers weights, none of which is without effect on <Z>.
    """
    inputs = ParameterVector("x", num_qubits)
    theta = iter(ParameterVector("theta", 2 * num_qubits * num_layers))
    circuit = QuantumCircuit(num_qubits)
    for qubit in range(num_qubits):
        circuit.rx(inputs[qubit], qubit)
    for layer in range(num_layers):
        if layer > 0:
            _cz_ring(circuit)
        for qubit in range(num_qubits):
            circuit.rz(next(theta), qubit)
            circuit.ry(next(theta), qubit)
    observables = [
        SparsePauliOp.from_sparse_list([("Z", [qubit], 1.0)], num_qubits=num_qubits)
        for qubit in range(num_qubits)
    ]
    return circuit, inputs, observables
