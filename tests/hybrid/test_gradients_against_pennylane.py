"""Gradients of random circuits, built in qiskit and in PennyLane by hand, are the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pennylane as qml
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp

from hybrid import SPSA, CommutingGenerators, FiniteDifference, Objective
from hybrid.backends import Exact
from hybrid.gradients import AbstractGradientEstimator
from hybrid.gradients.shared_circuits import CannotShare
from tests.cases import ESTIMATOR_CASES, EXACT_CASES, arguments_for

NUM_QUBITS = 4
NUM_PARAMS = 5
NUM_GATES = 22

# Name, PennyLane's name, qubits, takes an angle.
_GATES = [
    ("rx", "RX", 1, True),
    ("ry", "RY", 1, True),
    ("rz", "RZ", 1, True),
    ("p", "PhaseShift", 1, True),
    ("rxx", "IsingXX", 2, True),
    ("ryy", "IsingYY", 2, True),
    ("rzz", "IsingZZ", 2, True),
    ("crx", "CRX", 2, True),
    ("cry", "CRY", 2, True),
    ("crz", "CRZ", 2, True),
    ("cp", "ControlledPhaseShift", 2, True),
    ("h", "Hadamard", 1, False),
    ("s", "S", 1, False),
    ("t", "T", 1, False),
    ("sx", "SX", 1, False),
    ("cx", "CNOT", 2, False),
    ("cy", "CY", 2, False),
    ("cz", "CZ", 2, False),
    ("swap", "SWAP", 2, False),
    ("ccx", "Toffoli", 3, False),
]
_WORDS = [{0: "Z"}, {1: "X", 3: "Y"}, {0: "Y", 1: "Z", 2: "X"}, {2: "Z", 3: "Z"}, {}]


@dataclass(frozen=True)
class _Instruction:
    gate: tuple[str, str, int, bool]
    qubits: list[int]
    param: int
    factor: float
    offset: float


def _instructions(rng: np.random.Generator) -> list[_Instruction]:
    drawn = []
    for place in range(NUM_GATES):
        # Every parameter occurs at least once, most several times.
        gate = _GATES[rng.integers(11)] if place < NUM_PARAMS else _GATES[rng.integers(len(_GATES))]
        drawn.append(
            _Instruction(
                gate=gate,
                qubits=rng.permutation(NUM_QUBITS)[: gate[2]].tolist(),
                param=place if place < NUM_PARAMS else int(rng.integers(NUM_PARAMS)),
                factor=float(rng.choice([1.0, 2.0, -1.0, 0.5])),
                offset=float(rng.choice([0.0, 0.3])),
            )
        )
    return drawn


def _objective(instructions: list[_Instruction], coefficients: np.ndarray) -> Objective:
    theta = ParameterVector("theta", NUM_PARAMS)
    circuit = QuantumCircuit(NUM_QUBITS)
    for item in instructions:
        name, _, _, takes_angle = item.gate
        angle = [item.factor * theta[item.param] + item.offset] if takes_angle else []
        getattr(circuit, name)(*angle, *item.qubits)
    observables = [
        SparsePauliOp.from_sparse_list(
            [
                ("".join(word.values()), list(word), weight)
                for word, weight in zip(_WORDS, row, strict=True)
                if weight != 0
            ],
            num_qubits=NUM_QUBITS,
        )
        for row in coefficients
    ]
    return Objective(circuit, observables)


def _pennylane(
    instructions: list[_Instruction], coefficients: np.ndarray, device: str
) -> Callable[[torch.Tensor], torch.Tensor]:
    def observable(row: np.ndarray) -> qml.operation.Operator:
        words = [
            qml.prod(*(getattr(qml, letter)(wire) for wire, letter in word.items())) if word else qml.I(0)
            for word in _WORDS
        ]
        return qml.sum(*(qml.s_prod(weight, word) for weight, word in zip(row, words, strict=True) if weight))

    # Made here, not inside the QNode, which would take parts without weight for gates.
    observables = [observable(row) for row in coefficients]
    # Backprop is PennyLane's own exact derivative on default.qubit, adjoint the one on lightning.
    method = "backprop" if device == "default.qubit" else "adjoint"

    @qml.qnode(qml.device(device, wires=NUM_QUBITS), diff_method=method, interface="torch")
    def circuit(theta: torch.Tensor) -> list[qml.measurements.MeasurementProcess]:
        for item in instructions:
            _, name, _, takes_angle = item.gate
            angle = [item.factor * theta[item.param] + item.offset] if takes_angle else []
            getattr(qml, name)(*angle, wires=item.qubits)
        return [qml.expval(each) for each in observables]

    return lambda theta: torch.stack(circuit(theta))


def _jacobian(function: Callable[[torch.Tensor], torch.Tensor], theta: np.ndarray) -> np.ndarray:
    return torch.autograd.functional.jacobian(function, torch.from_numpy(theta)).numpy()


def _problem(seed: int) -> tuple[list[_Instruction], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    coefficients = rng.normal(size=(3, len(_WORDS)))
    coefficients[0, 1:] = 0  # one plain Z beside two sums
    return _instructions(rng), coefficients, rng.uniform(-np.pi, np.pi, NUM_PARAMS)


@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit"])
@pytest.mark.parametrize("seed", range(6))
def test_every_exact_rule_agrees_with_pennylane(seed: int, device: str) -> None:
    instructions, coefficients, theta = _problem(seed)
    reference = _pennylane(instructions, coefficients, device)
    expected = _jacobian(reference, theta)
    assert np.abs(expected).max() > 1e-3
    objective = _objective(instructions, coefficients)
    value = objective.value(theta, **arguments_for(Exact())).values.numpy()
    np.testing.assert_allclose(value, reference(torch.from_numpy(theta)).numpy(), atol=1e-10)
    for case in EXACT_CASES:
        gradient = case.gradient_or_refusal(objective, theta)
        if gradient is not None:
            np.testing.assert_allclose(gradient.values.numpy(), expected, atol=1e-10, err_msg=case.name)


@st.composite
def _drawn(draw: st.DrawFn) -> tuple[list[_Instruction], np.ndarray, np.ndarray]:
    """Up to 14 gates; half of the time without those that are not Clifford."""
    fixed = [gate for gate in _GATES if not gate[3]]
    if draw(st.booleans()):
        fixed = [gate for gate in fixed if gate[0] not in ("t", "ccx")]
    turning = [gate for gate in _GATES if gate[3]]
    instructions = []
    for place in range(draw(st.integers(NUM_PARAMS, 14))):
        gate = draw(st.sampled_from(turning if place < NUM_PARAMS else turning + fixed))
        instructions.append(
            _Instruction(
                gate=gate,
                qubits=draw(st.permutations(range(NUM_QUBITS)))[: gate[2]],
                param=place if place < NUM_PARAMS else draw(st.integers(0, NUM_PARAMS - 1)),
                factor=draw(st.sampled_from([1.0, 2.0, -1.0, 0.5])),
                offset=draw(st.sampled_from([0.0, 0.3])),
            )
        )
    sizes = st.sampled_from([1.0, -0.7, 0.3, 2.0])
    coefficients = np.array([[draw(sizes) for _ in _WORDS] for _ in range(2)])
    theta = np.array([draw(st.floats(-3, 3, allow_nan=False)) for _ in range(NUM_PARAMS)])
    return instructions, coefficients, theta


@settings(max_examples=25, deadline=None, derandomize=True)
@given(_drawn())
def test_drawn_circuits_agree_with_pennylane(
    problem: tuple[list[_Instruction], np.ndarray, np.ndarray],
) -> None:
    instructions, coefficients, theta = problem
    expected = _jacobian(_pennylane(instructions, coefficients, "lightning.qubit"), theta)
    objective = _objective(instructions, coefficients)
    for case in ESTIMATOR_CASES:
        gradient = case.gradient_or_refusal(objective, theta) if case.tolerance is not None else None
        if gradient is not None:
            scale = np.abs(coefficients).sum(1).max()
            tolerance = 1e-10 if case in EXACT_CASES else 10 * (case.tolerance or 0) * scale
            np.testing.assert_allclose(gradient.values.numpy(), expected, atol=tolerance, err_msg=case.name)


@pytest.mark.parametrize("seed", range(3))
def test_finite_differences_and_spsa_agree_with_pennylane_within_their_errors(seed: int) -> None:
    instructions, coefficients, theta = _problem(seed)
    expected = _jacobian(_pennylane(instructions, coefficients, "default.qubit"), theta)
    objective = _objective(instructions, coefficients)
    scale = np.abs(coefficients).sum(1)[:, None]

    def error(rule: AbstractGradientEstimator) -> np.ndarray:
        gradient = rule.gradient(objective, theta, **arguments_for(Exact()))
        return np.abs(gradient.values.numpy() - expected)

    assert (error(FiniteDifference()) < 1e-8 * scale).all()
    spread = (expected**2).sum(-1, keepdims=True) - expected**2
    many = SPSA(directions=4000, step=1e-4)
    assert (error(many) < 4.5 * np.sqrt(spread / many.directions) + 1e-5 * scale).all()


def _clifford_problem(seed: int) -> tuple[list[_Instruction], np.ndarray, np.ndarray]:
    """X and ZZ rotations in blocks, which Clifford gates follow: generators that share circuits."""
    rng = np.random.default_rng(seed)
    by_name = {gate[0]: gate for gate in _GATES}
    drawn = [
        *(("rx", [qubit], qubit) for qubit in range(4)),
        ("rxx", [0, 2], 4),
        *((str(rng.choice(["h", "s", "sx"])), [qubit], 0) for qubit in range(4)),
        ("cx", [1, 3], 0),
        ("cz", [0, 1], 0),
        *(("rzz", [qubit, qubit + 1], qubit) for qubit in range(3)),
        ("cy", [3, 0], 0),
        ("swap", [1, 2], 0),
    ]
    instructions = [
        _Instruction(
            gate=by_name[name], qubits=qubits, param=param, factor=float(rng.choice([1, -2])), offset=0.3
        )
        for name, qubits, param in drawn
    ]
    _, coefficients, theta = _problem(seed)
    return instructions, coefficients, theta


@pytest.mark.parametrize("seed", range(4))
def test_the_rule_for_commuting_generators_agrees_with_pennylane(seed: int) -> None:
    instructions, coefficients, theta = _clifford_problem(seed)
    expected = _jacobian(_pennylane(instructions, coefficients, "default.qubit"), theta)
    assert np.abs(expected).max() > 1e-3
    gradient = CommutingGenerators().gradient(_objective(instructions, coefficients), theta, backend=Exact())
    np.testing.assert_allclose(gradient.values.numpy(), expected, atol=1e-10)


def test_the_rule_for_commuting_generators_refuses_what_it_cannot_do() -> None:
    # Random gates hold a T or a Toffoli gate sooner or later.
    instructions, coefficients, theta = _problem(1)
    assert any(item.gate[0] in ("t", "ccx") for item in instructions)
    with pytest.raises(CannotShare, match=r"is not Clifford, .*: ParameterShift and HadamardTest do"):
        CommutingGenerators().gradient(_objective(instructions, coefficients), theta, backend=Exact())
