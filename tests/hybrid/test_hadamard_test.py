"""The Hadamard test: half the circuits of parameter-shift, and never fewer shots."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit import library as gates
from qiskit.quantum_info import Pauli, SparsePauliOp, Statevector

from hybrid import HadamardTest, Objective, ParameterShift
from hybrid.ancilla import with_ancilla
from hybrid.backends import Exact, Sampled
from hybrid.circuits import AncillaCircuits, FreeCircuits
from tests.hybrid.samples import Z_LIMIT, check_honest, check_mean, check_variance, mean_z, repeated


def _tilted() -> Objective:
    """Z after RY(0.9) RZ(t) RY(0.7): cos 0.7 cos 0.9 - sin 0.7 sin 0.9 cos t, whose mean over t is not zero."""
    circuit = QuantumCircuit(1)
    circuit.ry(0.7, 0)
    circuit.rz(Parameter("t"), 0)
    circuit.ry(0.9, 0)
    return Objective(circuit, SparsePauliOp("Z"))


@pytest.mark.parametrize("t", [0.4, 1.3, -2.2])
def test_at_equal_shots_on_one_parameter_parameter_shift_is_never_worse(t: float) -> None:
    # (1 - g^2) / N against (1 - g^2 - mean^2) / N, with the mean of the two shifted values.
    slope = math.sin(0.7) * math.sin(0.9) * math.sin(t)
    mean = math.cos(0.7) * math.cos(0.9)
    total_shots = 200
    for rule, exact in [
        (HadamardTest(), (1 - slope**2) / total_shots),
        (ParameterShift(), (1 - slope**2 - mean**2) / total_shots),
    ]:
        values, variances = repeated(rule, _tilted(), np.array([t]), total_shots=total_shots, repeats=8000)
        check_variance(values, exact, within=0.1)
        check_mean(variances, exact, within=0.1)
        check_honest(values, variances, slope, within=0.1)
    assert mean**2 > 0.2


def test_it_has_the_most_noise_where_parameter_shift_has_least() -> None:
    # cos t at pi/2: all slope. Of both rules' shots none disagrees. At 0 neither knows anything.
    angle = Parameter("t")
    circuit = QuantumCircuit(1)
    circuit.ry(angle, 0)
    objective = Objective(circuit, SparsePauliOp("Z"))
    values, variances = repeated(
        HadamardTest(), objective, np.array([math.pi / 2]), total_shots=10, repeats=50
    )
    np.testing.assert_allclose(values, -1, atol=1e-12)
    np.testing.assert_allclose(variances, 0, atol=1e-12)
    values, _ = repeated(HadamardTest(), objective, np.array([0.0]), total_shots=40, repeats=8000)
    check_variance(values, 1 / 40)


THETA = np.array([0.5, -0.8, 1.4])
# With a constant: Y of the ancilla alone is 0, so it must not enter.
OBSERVABLE = SparsePauliOp(["ZIZ", "IXX", "YII", "IYZ", "XYX", "III"], [1.0, 0.6, -0.3, 0.5, 0.8, 7.5])


def _circuit(theta: ParameterVector | np.ndarray, insert: int | None = None) -> QuantumCircuit:
    """A circuit, or with an ancilla that controls the string of rotation `insert` behind it."""
    circuit = QuantumCircuit(3 if insert is None else 4)
    if insert is not None:
        circuit.h(3)

    def after(place: int, word: str, qubits: list[int]) -> None:
        if place == insert:
            for letter, qubit in zip(word, qubits, strict=True):
                circuit.append(gates.PauliGate(letter).control(1), [3, qubit])

    circuit.ry(0.6, 2)
    circuit.ry(theta[0], 0)
    after(0, "Y", [0])
    circuit.cx(0, 1)
    circuit.rxx(2 * theta[1] + 0.3, 1, 2)
    after(1, "XX", [1, 2])
    circuit.t(2)
    # A controlled rotation is two: of X on the target, and of Z X with the control.
    circuit.rx(theta[2] / 2, 1)
    after(2, "X", [1])
    circuit.append(gates.PauliEvolutionGate(Pauli("XIZ"), time=-theta[2] / 4), [0, 2, 1])
    after(3, "ZX", [0, 1])
    circuit.ry(-theta[0], 2)
    after(4, "Y", [2])
    return circuit


def test_values_are_those_of_circuits_that_are_built_with_an_ancilla() -> None:
    objective = Objective(_circuit(ParameterVector("t", 3)), OBSERVABLE)
    assert objective.program.num_rotations == 5
    plan = HadamardTest().plan(objective, THETA)
    (part,) = plan.parts
    (measured,) = plan.run(Exact())
    built = []
    for rotation in range(5):
        state = Statevector(_circuit(THETA, insert=rotation).decompose("PauliEvolution"))
        built.append(state.expectation_value(SparsePauliOp("Y").tensor(OBSERVABLE)).real)
    np.testing.assert_allclose(measured.values[:, 0, 0].numpy(), built, atol=1e-12)
    assert np.abs(built).min() > 1e-3
    # What a device is given has an ancilla, the last qubit, and the same values.
    for (target, angles), value in zip(part.circuits.realised(part.target), built, strict=True):
        assert target.program.num_qubits == 4
        run = Exact().run(target, FreeCircuits(angles=angles), shots=None, rng=None)
        assert float(run.values) == pytest.approx(value, abs=1e-12)


def test_the_gradient_is_that_of_parameter_shift() -> None:
    objective = Objective(_circuit(ParameterVector("t", 3)), OBSERVABLE)
    gradient = HadamardTest().gradient(objective, THETA, backend=Exact()).values
    expected = ParameterShift().gradient(objective, THETA, backend=Exact()).values
    torch.testing.assert_close(gradient, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("rotation", range(5))
def test_shots_are_those_of_the_circuit_with_an_ancilla(rotation: int) -> None:
    # Means and variances of both, over many rows: outcomes of the ancilla and the qubits together.
    objective = Objective(_circuit(ParameterVector("t", 3)), OBSERVABLE)
    rows = objective.program.angles(torch.from_numpy(np.tile(THETA, (4000, 1))))
    shots = torch.full((1, len(objective.groups)), 25)
    drawn = Sampled().run(
        objective.target,
        AncillaCircuits(angles=rows, rotations=torch.tensor([rotation])),
        shots=shots,
        rng=np.random.default_rng(1),
    )
    built = Sampled().run(
        with_ancilla(objective.target, rotation),
        FreeCircuits(angles=rows[None]),
        shots=shots,
        rng=np.random.default_rng(2),
    )
    for first, second in [(drawn.values, built.values), (drawn.variances(), built.variances())]:
        a, b = first[0, :, 0].numpy(), second[0, :, 0].numpy()
        assert abs(mean_z(a - b, 0.0)) < Z_LIMIT
    check_variance(drawn.values[0, :, 0].numpy(), built.values[0, :, 0].numpy().var(), within=0.15)
    assert drawn.cost == built.cost
