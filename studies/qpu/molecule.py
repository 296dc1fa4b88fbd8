"""H2 on four qubits, and a circuit that reaches its ground state."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import PauliEvolutionGate
from qiskit.quantum_info import SparsePauliOp

CHEMICAL_ACCURACY = 1.6e-3
"""In hartree: 1 kcal/mol."""

# STO-3G, Jordan-Wigner, spin orbitals side by side, bond of 0.7414 angstrom; hartree. PySCF integrals, OpenFermion map.
_CONSTANT = -0.09886397
_Z = {(0,): 0.17119775, (1,): 0.17119775, (2,): -0.22278593, (3,): -0.22278593}
_ZZ = {
    (0, 1): 0.16862219, (0, 2): 0.12054482, (0, 3): 0.16586702, (1, 2): 0.16586702, (1, 3): 0.12054482,
    (2, 3): 0.17434844,
}  # fmt: skip
_EXCHANGE = {"XXYY": -0.0453222, "YYXX": -0.0453222, "XYYX": 0.0453222, "YXXY": 0.0453222}


def hydrogen() -> SparsePauliOp:
    """The Hamiltonian of H2 in hartree; exact ground energy -1.137270, Hartree-Fock -1.116684."""
    terms: list[tuple[str, list[int], float]] = [("", [], _CONSTANT)]
    terms += [("Z", list(qubits), value) for qubits, value in _Z.items()]
    terms += [("ZZ", list(qubits), value) for qubits, value in _ZZ.items()]
    terms += [(letters, [0, 1, 2, 3], value) for letters, value in _EXCHANGE.items()]
    return SparsePauliOp.from_sparse_list(terms, num_qubits=4)


@lru_cache(maxsize=1)
def ground_energy() -> float:
    """By exact diagonalisation, hartree."""
    return float(np.linalg.eigvalsh(hydrogen().to_matrix())[0])


def excitations() -> QuantumCircuit:
    """Hartree-Fock, then the double excitation and the two single ones: three angles, 22 CX on a line of qubits.

    On the Hartree-Fock state one Pauli string does what a double excitation does. The ground state is in reach with
    the single excitations at zero. Source: Peruzzo et al. 2014, arXiv:1304.3061 (unitary coupled cluster).
    """
    double, up, down = ParameterVector("theta", 3)
    circuit = QuantumCircuit(4)
    circuit.x([0, 1])
    for angle, letters, qubits in (
        (double, "YXXX", [0, 1, 2, 3]),
        (up, "YZX", [0, 1, 2]),
        (-up, "XZY", [0, 1, 2]),
        (down, "YZX", [1, 2, 3]),
        (-down, "XZY", [1, 2, 3]),
    ):
        # Letters are by qubit, the first first; those of qiskit the other way round.
        circuit.append(PauliEvolutionGate(SparsePauliOp(letters[::-1]), time=angle / 2), qubits)
    return circuit
