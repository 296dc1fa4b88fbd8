"""Programs as qiskit circuits, with one free parameter for each rotation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from qiskit import ClassicalRegister, QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import UnitaryGate

from classical.measurement import GATE_MATRICES, GATES_OF_LETTER, NamedGates
from classical.program import PAULI_MATRICES, FixedUnitary, PauliRotation, Program

BITS = "bits"
"""Name of the classical register; bit i is qubit i of the program."""

_NAMED: Mapping[str, torch.Tensor] = {
    **GATE_MATRICES,
    "x": PAULI_MATRICES["X"],
    "y": PAULI_MATRICES["Y"],
    "z": PAULI_MATRICES["Z"],
}
_INVERSE: Mapping[str, str] = {"s": "sdg", "sdg": "s"}
_EQUAL = 1e-12


def device_circuit(program: Program) -> QuantumCircuit:
    """Returns the program as a circuit on as many qubits; parameter k is the angle of rotation k, in this order.

    Rotations of one parameter have parameters of their own: a shifted circuit is a row of angles.
    """
    circuit = QuantumCircuit(program.num_qubits)
    angles = iter(ParameterVector("angle", program.num_rotations))
    for gate in program.gates:
        if isinstance(gate, FixedUnitary):
            _apply_fixed(circuit, gate)
        else:
            _apply_rotation(circuit, gate, next(angles))
    return circuit


def measuring_circuit(num_qubits: int, gates: NamedGates) -> QuantumCircuit:
    """Returns the gates that turn to a measurement basis, then all qubits measured into the register `BITS`."""
    circuit = QuantumCircuit(num_qubits)
    apply_named(circuit, gates)
    bits = ClassicalRegister(num_qubits, BITS)
    circuit.add_register(bits)
    circuit.measure(range(num_qubits), bits)
    return circuit


def apply_named(circuit: QuantumCircuit, gates: NamedGates) -> None:
    """Appends gates by their names, control first."""
    for name, qubits in gates:
        getattr(circuit, name)(*qubits)


def _apply_fixed(circuit: QuantumCircuit, gate: FixedUnitary) -> None:
    mirrored = gate.matrix
    if len(gate.qubits) == 2:
        mirrored = gate.matrix.view(2, 2, 2, 2).permute(1, 0, 3, 2).reshape(4, 4)
    for name, matrix in _NAMED.items():
        for found, qubits in ((gate.matrix, gate.qubits), (mirrored, gate.qubits[::-1])):
            if matrix.shape == found.shape and torch.dist(matrix, found, p=torch.inf) < _EQUAL:
                getattr(circuit, name)(*qubits)
                return
    # The first qubit of ours is the most significant, that of qiskit the least.
    circuit.append(UnitaryGate(gate.matrix.resolve_conj().numpy()), list(reversed(gate.qubits)))


def _apply_rotation(circuit: QuantumCircuit, gate: PauliRotation, angle: Parameter) -> None:
    letters = set(gate.letters)
    if len(gate.qubits) == 1 or (len(gate.qubits) == 2 and len(letters) == 1):
        getattr(circuit, "r" + gate.letters.lower())(angle, *gate.qubits)
        return
    turns = tuple(
        (name, (qubit,))
        for letter, qubit in zip(gate.letters, gate.qubits, strict=True)
        for name in GATES_OF_LETTER[letter]
    )
    ladder = tuple(("cx", pair) for pair in zip(gate.qubits, gate.qubits[1:], strict=False))
    before = (*turns, *ladder)
    apply_named(circuit, before)
    circuit.rz(angle, gate.qubits[-1])
    apply_named(circuit, tuple((_INVERSE.get(name, name), qubits) for name, qubits in reversed(before)))
