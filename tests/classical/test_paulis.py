"""Products of Pauli strings, against dense matrices."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit.circuit import library as gates
from qiskit.quantum_info import Operator

from classical.paulis import CliffordMap, PauliString
from classical.program import FixedUnitary, pauli_matrix

words = st.text("IXYZ", min_size=3, max_size=3)
bounded = settings(max_examples=60, deadline=None, derandomize=True)


def _dense(string: PauliString, num_qubits: int) -> torch.Tensor:
    return 1j**string.phase * pauli_matrix(string.letters(num_qubits))


@bounded
@given(words, words)
def test_product_and_commutation_are_those_of_matrices(first: str, second: str) -> None:
    a, b = PauliString.of(first), PauliString.of(second)
    left, right = pauli_matrix(first), pauli_matrix(second)
    torch.testing.assert_close(_dense(a @ b, 3), left @ right)
    assert a.commutes(b) == torch.allclose(left @ right, right @ left)


def _embedded(matrix: torch.Tensor, qubits: tuple[int, ...], num_qubits: int) -> torch.Tensor:
    """A matrix on `qubits` (first most significant) as one on all qubits, by Pauli decomposition."""
    total = torch.zeros(2**num_qubits, 2**num_qubits, dtype=torch.complex128)
    for letters in itertools.product("IXYZ", repeat=len(qubits)):
        word = ["I"] * num_qubits
        for qubit, letter in zip(qubits, letters, strict=True):
            word[qubit] = letter
        overlap = torch.trace(pauli_matrix("".join(letters)) @ matrix) / len(matrix)
        total += overlap * pauli_matrix("".join(word))
    return total


@pytest.mark.parametrize(
    ("gate", "qubits"),
    [
        (gates.HGate(), (1,)),
        (gates.SGate(), (2,)),
        (gates.SXGate(), (0,)),
        (gates.YGate(), (0,)),
        (gates.CXGate(), (2, 0)),
        (gates.CZGate(), (0, 1)),
        (gates.iSwapGate(), (1, 2)),
        (gates.ECRGate(), (2, 1)),
    ],
    ids=lambda item: getattr(item, "name", str(item)),
)
def test_clifford_turns_every_string_as_its_matrix_does(gate: object, qubits: tuple[int, ...]) -> None:
    matrix = torch.from_numpy(Operator(gate).data)
    turn = CliffordMap.of(FixedUnitary(qubits=qubits, matrix=matrix))
    assert turn is not None
    dense = _embedded(matrix, qubits, 3)
    for word in map("".join, itertools.product("IXYZ", repeat=3)):
        image = turn(PauliString.of(word))
        torch.testing.assert_close(_dense(image, 3), dense @ pauli_matrix(word) @ dense.mH)
        assert image.sign in (1, -1)


def test_a_gate_that_is_not_clifford_has_no_map() -> None:
    for gate in (gates.TGate(), gates.CSXGate(), gates.RXGate(0.3)):
        matrix = torch.from_numpy(Operator(gate).data)
        assert CliffordMap.of(FixedUnitary(qubits=tuple(range(gate.num_qubits)), matrix=matrix)) is None
