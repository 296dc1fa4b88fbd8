"""What a measurement group says of itself, against dense matrices and values by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.quantum_info import Operator

from classical.adjoint import adjoint
from classical.measurement import GATE_MATRICES, AbstractMeasurementGroup, MeasurementGroup, ZeroProjection
from classical.program import TURNS_TO_Z, FixedUnitary, Program, ProgramBuilder, pauli_matrix
from classical.statevector import Statevector


def _bell_basis() -> MeasurementGroup:
    """XX, ZZ and YY of two qubits: CX and H turn them to Z on 0, Z on 1, and -Z on both."""
    return MeasurementGroup(
        basis="clifford",
        num_qubits=2,
        named_gates=(("cx", (0, 1)), ("h", (0,))),
        supports=((0,), (1,), (0, 1)),
        coefficients=torch.tensor([[1.0, 0.0], [2.0, 0.5], [-4.0, 0.0]], dtype=torch.float64),
    )


def _dense_turn(group: AbstractMeasurementGroup) -> np.ndarray:
    circuit = QuantumCircuit(group.num_qubits)
    for name, qubits in group.named_gates:
        # qiskit's qubit 0 is the least significant bit.
        getattr(circuit, name)(*(group.num_qubits - 1 - q for q in qubits))
    return np.asarray(Operator(circuit).data)


def _rotated(num_qubits: int) -> Program:
    """RY(t_q) on each qubit, then a chain of CX."""
    builder = ProgramBuilder(num_qubits, num_qubits)
    for qubit in range(num_qubits):
        builder.rotation("Y", (qubit,), {qubit: 1.0})
    for qubit in range(num_qubits - 1):
        builder.unitary(GATE_MATRICES["cx"], (qubit, qubit + 1))
    return builder.build()


@pytest.mark.parametrize("name", GATE_MATRICES)
def test_gates_are_qiskits(name: str) -> None:
    width = len(GATE_MATRICES[name]).bit_length() - 1
    circuit = QuantumCircuit(width)
    getattr(circuit, name)(*reversed(range(width)))
    np.testing.assert_allclose(GATE_MATRICES[name].numpy(), np.asarray(Operator(circuit).data), atol=1e-15)


def test_a_basis_in_letters_brings_its_qubits_and_gates() -> None:
    group = MeasurementGroup(basis="ZXY", supports=(), coefficients=torch.zeros(0, 1).double())
    assert group.num_qubits == 3
    assert group.named_gates == (("h", (1,)), ("sdg", (2,)), ("h", (2,)))
    program = group.basis_change
    assert program is not None
    assert program is group.basis_change
    gates = [gate for gate in program.gates if isinstance(gate, FixedUnitary)]
    assert [gate.qubits for gate in gates] == [(1,), (2,)]
    for gate, letter in zip(gates, "XY", strict=True):
        torch.testing.assert_close(gate.matrix, TURNS_TO_Z[letter])
        torch.testing.assert_close(gate.matrix @ pauli_matrix(letter) @ gate.matrix.mH, pauli_matrix("Z"))
    assert MeasurementGroup(basis="ZZ", supports=(), coefficients=torch.zeros(0, 1)).basis_change is None


def test_the_turn_is_its_named_gates_in_their_order() -> None:
    group = MeasurementGroup(
        basis="clifford",
        num_qubits=3,
        named_gates=(
            ("h", (1,)), ("s", (1,)), ("cx", (1, 2)), ("sdg", (2,)), ("swap", (0, 2)), ("h", (0,)), ("cz", (2, 1)),
            ("h", (1,)),
        ),
        supports=((0,),),
        coefficients=torch.ones(1, 1).double(),
    )  # fmt: skip
    states = torch.eye(8, dtype=torch.complex128)[:, None]
    simulator = Statevector(_rotated(3))
    turned = simulator.turn(states, group)
    np.testing.assert_allclose(turned[:, 0].T.numpy(), _dense_turn(group), atol=1e-14)
    np.testing.assert_allclose(simulator.turn_back(turned, group).numpy(), states.numpy(), atol=1e-14)


def test_a_clifford_group_has_the_values_of_its_strings() -> None:
    group = _bell_basis()
    turn = _dense_turn(group)
    for m, terms in enumerate([{"XX": 1.0, "ZZ": 2.0, "YY": 4.0}, {"ZZ": 0.5}]):
        dense = sum(c * pauli_matrix(label).numpy() for label, c in terms.items())
        diagonal = turn @ dense @ turn.conj().T
        np.testing.assert_allclose(diagonal, np.diag(group.eigenvalues[:, m].numpy()), atol=1e-14)
    # cos(0.3) |00> + sin(0.3) |11>: XX is sin(0.6), YY its negative, ZZ 1.
    values = Statevector(_rotated(2)).values(torch.tensor([[0.6, 0.0]], dtype=torch.float64), [group])
    np.testing.assert_allclose(values.numpy(), [[-3 * math.sin(0.6) + 2, 0.5]], atol=1e-14)


def test_scale_and_norms_are_those_of_the_coefficients() -> None:
    group = _bell_basis()
    assert group.num_observables == 2
    assert group.scale == 7.5
    np.testing.assert_allclose(group.norms.numpy(), [math.sqrt(21), 0.5])
    assert group.norms.dtype == torch.float64


@pytest.mark.parametrize("num_qubits", [1, 2, 4])
def test_zero_projection_is_the_probability_of_zeros(num_qubits: int) -> None:
    group = ZeroProjection(num_qubits)
    assert (group.num_qubits, group.num_observables) == (num_qubits, 1)
    assert group.named_gates == ()
    assert group.basis_change is None
    assert group.scale == 1.0
    assert group.norms.tolist() == [1.0]
    assert group.eigenvalues.dtype == torch.float64
    assert group.eigenvalues.tolist() == [[1.0]] + [[0.0]] * (2**num_qubits - 1)

    simulator = Statevector(_rotated(num_qubits))
    angles = torch.linspace(0.2, 1.7, 2 * num_qubits, dtype=torch.float64).reshape(2, -1)
    factors = torch.cos(angles / 2) ** 2
    values = simulator.values(angles, [group])
    np.testing.assert_allclose(values[:, 0].numpy(), factors.prod(1).numpy(), atol=1e-14)
    slopes = -torch.tan(angles / 2) * factors.prod(1, keepdim=True)
    found = adjoint(simulator, angles, [group])[1]
    np.testing.assert_allclose(found[:, 0].numpy(), slopes.numpy(), atol=1e-14)


def test_groups_of_both_kinds_add_up() -> None:
    angles = torch.tensor([[0.4, 1.1]], dtype=torch.float64)
    z = MeasurementGroup(basis="ZZ", supports=((0,),), coefficients=torch.full((1, 1), 2.0).double())
    value = Statevector(_rotated(2)).values(angles, [ZeroProjection(2), z])
    expected = (math.cos(0.2) * math.cos(0.55)) ** 2 + 2 * math.cos(0.4)
    assert float(value) == pytest.approx(expected, abs=1e-14)


def test_a_group_must_say_what_it_measures() -> None:
    with pytest.raises(TypeError, match="abstract"):
        AbstractMeasurementGroup()  # pyright: ignore
