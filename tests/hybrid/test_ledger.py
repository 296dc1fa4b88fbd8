"""Circuits of one gradient: whole numbers, counted by hand."""

from __future__ import annotations

from itertools import combinations

import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import CRXGate, CRYGate, CRZGate, PauliEvolutionGate
from qiskit.quantum_info import Pauli, SparsePauliOp

from hybrid import (
    SPSA,
    Adjoint,
    Backprop,
    CommutingGenerators,
    CoordinateSubset,
    FiniteDifference,
    HadamardTest,
    Objective,
    ParameterShift,
)
from hybrid.allocation import Weighted
from hybrid.gradients import AbstractGradientEstimator
from tests.systems import controlled

OCCURRENCES = ParameterShift(rule="occurrences")
FREQUENCIES = ParameterShift(rule="frequencies")


def _count(rule: AbstractGradientEstimator, circuit: QuantumCircuit, *labels: str) -> int:
    return rule.price(Objective(circuit, SparsePauliOp(labels or ["Z" * circuit.num_qubits]))).circuits


def _layers(num_qubits: int, depth: int) -> QuantumCircuit:
    """RX and RY on every qubit, then CZ along the line, `depth` times."""
    theta = ParameterVector("t", 2 * num_qubits * depth)
    circuit = QuantumCircuit(num_qubits)
    angles = iter(theta)
    for _ in range(depth):
        for qubit in range(num_qubits):
            circuit.rx(next(angles), qubit)
            circuit.ry(next(angles), qubit)
        for qubit in range(num_qubits - 1):
            circuit.cz(qubit, qubit + 1)
    return circuit


@pytest.mark.parametrize(("num_qubits", "depth"), [(2, 1), (3, 2), (4, 3)])
def test_circuits_are_those_of_the_ledger(num_qubits: int, depth: int) -> None:
    circuit = _layers(num_qubits, depth)
    d = 2 * num_qubits * depth
    counts = {
        ParameterShift(): 2 * d,
        OCCURRENCES: 2 * d,
        FREQUENCIES: 2 * d,
        FiniteDifference(): 2 * d,
        HadamardTest(): d,
        SPSA(): 2,
        SPSA(directions=7): 14,
        CoordinateSubset(count=3): 6,
        CoordinateSubset(count=10_000): 2 * d,
        Adjoint(): 1,
        Backprop(): 1,
    }
    for rule, count in counts.items():
        assert _count(rule, circuit) == count


@pytest.mark.parametrize("bases", [1, 2, 3])
def test_the_number_of_measurement_groups_multiplies_every_count(bases: int) -> None:
    circuit = _layers(3, 1)
    labels = ["ZZZ", "XXX", "YYY"][:bases]
    for rule in (ParameterShift(), FiniteDifference(), HadamardTest(), SPSA(), CoordinateSubset(count=3)):
        assert _count(rule, circuit, *labels) == bases * _count(rule, circuit, "ZZZ")
    assert _count(Adjoint(), circuit, *labels) == 1


@pytest.mark.parametrize("gate", [CRXGate, CRYGate, CRZGate])
def test_a_controlled_rotation_takes_four(gate: type) -> None:
    objective = controlled(gate).objective()
    for rule in (ParameterShift(), OCCURRENCES, FREQUENCIES):
        assert rule.price(objective).circuits == 4
    assert HadamardTest().price(objective).circuits == 2
    assert FiniteDifference().price(objective).circuits == 2


@pytest.mark.parametrize("times", [1, 2, 3, 5])
def test_a_parameter_that_is_used_k_times_takes_two_each(times: int) -> None:
    angle = Parameter("t")
    apart, beside, wide = QuantumCircuit(1), QuantumCircuit(1), QuantumCircuit(times)
    for k in range(times):
        apart.ry(angle, 0)
        apart.t(0)
        beside.ry(angle, 0)
        wide.rx(2 * angle, k)
    assert _count(OCCURRENCES, apart) == _count(ParameterShift(), apart) == 2 * times
    assert _count(OCCURRENCES, beside) == _count(OCCURRENCES, wide) == 2 * times
    assert _count(HadamardTest(), apart) == _count(HadamardTest(), wide) == times
    assert _count(FiniteDifference(), apart) == _count(FiniteDifference(), wide) == 2
    # Side by side about one axis it is one rotation by k t; about k axes it has k frequencies.
    assert _count(ParameterShift(), beside) == 2
    assert _count(FREQUENCIES, wide) == 2 * times


@pytest.mark.parametrize("num_qubits", [4, 5, 6, 8])
def test_r_frequencies_take_two_r(num_qubits: int) -> None:
    gamma, beta = Parameter("g"), Parameter("b")
    circuit = QuantumCircuit(num_qubits)
    circuit.h(range(num_qubits))
    for qubit in range(num_qubits):
        circuit.rzz(2 * gamma, qubit, (qubit + 1) % num_qubits)
    for qubit in range(num_qubits):
        circuit.rx(2 * beta, qubit)
    # A cut of a ring has an even number of edges: n/2 frequencies of gamma; n of beta.
    assert _count(FREQUENCIES, circuit) == 2 * (num_qubits // 2) + 2 * num_qubits
    assert _count(OCCURRENCES, circuit) == 4 * num_qubits
    assert _count(ParameterShift(allocation=Weighted()), circuit) == 2 * (num_qubits // 2) + 2 * num_qubits


NUM_QUBITS = 16


def _orbits(strings: list[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
    """Sets of qubits that turning the ring takes into each other."""
    found: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for string in strings:
        turned = (tuple(sorted((q + k) % NUM_QUBITS for q in string)) for k in range(NUM_QUBITS))
        found.setdefault(min(turned), []).append(string)
    return list(found.values())


def _rotate(circuit: QuantumCircuit, letter: str, qubits: tuple[int, ...], angle: Parameter) -> None:
    circuit.append(PauliEvolutionGate(Pauli(letter * len(qubits)), time=angle / 2), list(qubits))


def _mean_of_z() -> SparsePauliOp:
    return SparsePauliOp.from_sparse_list(
        [("Z", [qubit], 1 / NUM_QUBITS) for qubit in range(NUM_QUBITS)], num_qubits=NUM_QUBITS
    )


def test_a_commuting_model_takes_one_circuit_a_term() -> None:
    # The size of the model of Bowles, Wierichs and Park 2023, arXiv:2306.14962: all strings of one to three X on
    # 16 qubits, one parameter for each cyclic orbit, the mean of Z.
    strings = [each for weight in (1, 2, 3) for each in combinations(range(NUM_QUBITS), weight)]
    orbits = _orbits(strings)
    assert (len(strings), len(orbits)) == (696, 44)
    theta = ParameterVector("t", len(orbits))
    circuit = QuantumCircuit(NUM_QUBITS)
    for angle, orbit in zip(theta, orbits, strict=True):
        for qubits in orbit:
            _rotate(circuit, "X", qubits, angle)
    objective = Objective(circuit, _mean_of_z())
    assert (objective.program.num_rotations, objective.num_params) == (696, 44)
    assert OCCURRENCES.price(objective).circuits == 2 * 696 == 1392
    assert HadamardTest().price(objective).circuits == 696
    assert CommutingGenerators().price(objective).circuits == 16
    # 20 data, 1000 shots a circuit.
    step = CommutingGenerators().price(objective, rows=20, total_shots=16 * 1000)
    assert (step.circuits, step.shots) == (16 * 20, 320_000)


def test_an_equivariant_model_that_does_not_commute_takes_two_circuits_a_generator() -> None:
    # The model that it is compared with: 608 generators and 40 parameters in 4 layers are 152 and 10 a layer. Cyclic
    # orbits of 16 qubits have 16 strings, save pairs across the ring, which have 8: X on each qubit, Y on each, ZZ at
    # distances 1 to 7, and 8, are (2 + 7) * 16 + 8 = 152 strings in 2 + 8 = 10 orbits.
    pairs = _orbits(list(combinations(range(NUM_QUBITS), 2)))
    singles = [(qubit,) for qubit in range(NUM_QUBITS)]
    assert sorted(map(len, pairs)) == [8] + 7 * [16]
    layer = [("X", singles), ("Y", singles), *(("Z", orbit) for orbit in pairs)]
    theta = ParameterVector("t", 4 * len(layer))
    circuit = QuantumCircuit(NUM_QUBITS)
    for angle, (letter, orbit) in zip(theta, 4 * layer, strict=True):
        for qubits in orbit:
            _rotate(circuit, letter, qubits, angle)
    objective = Objective(circuit, _mean_of_z())
    assert (objective.program.num_rotations, objective.num_params) == (608, 40)
    assert OCCURRENCES.price(objective).circuits == 1216
    step = OCCURRENCES.price(objective, rows=20, total_shots=1216 * 1000)
    assert (step.circuits, step.shots) == (1216 * 20, 24_320_000)
