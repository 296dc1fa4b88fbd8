"""QNodes and tapes that come in have PennyLane's values and gradients, or are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pennylane as qml
import pytest
import torch
from pennylane.tape import QuantumScript

from hybrid import Adjoint, Objective, ParameterShift, from_pennylane
from hybrid.backends import Exact, Sampled
from hybrid.compiling import CannotCompile

NUM_WIRES = 4
DEVICE = qml.device("default.qubit", wires=NUM_WIRES)


def qnode(body: Callable[..., Any]) -> qml.QNode:
    return qml.QNode(body, DEVICE, interface="torch", diff_method="backprop")


def observe() -> list[Any]:
    return [
        qml.expval(qml.Z(0) @ qml.X(1) - 0.5 * qml.Y(2)),
        qml.expval(qml.Z(3)),
    ]


def rotations(x: Any, y: Any) -> list[Any]:
    qml.RX(x[0], 0)
    qml.RY(2 * x[1], 1)
    qml.RZ(-x[0] + 0.3, 1)
    qml.PhaseShift(y, 2)
    qml.Hadamard(2)
    qml.Rot(x[1], y - x[0], 0.3 * x[2], wires=3)
    qml.CNOT([0, 2])
    return observe()


def controlled(x: Any, y: Any) -> list[Any]:
    for wire in range(NUM_WIRES):
        qml.Hadamard(wire)
    qml.CRX(x[0], [0, 1])
    qml.CRY(2 * x[1], [2, 0])
    qml.CRZ(-x[2], [1, 3])
    qml.ControlledPhaseShift(y, [3, 2])
    qml.CRot(x[0], y, x[1], [0, 3])
    qml.ctrl(qml.RY(x[2], 2), (0, 1), control_values=(0, 1))
    return observe()


def pauli_words(x: Any, y: Any) -> list[Any]:
    qml.Hadamard(0)
    qml.PauliRot(x[0], "XYZ", [2, 0, 1])
    qml.PauliRot(x[1], "IX", [1, 3])
    qml.PauliRot(y, "II", [1, 3])
    qml.MultiRZ(2 * x[2], [0, 3, 1])
    qml.IsingXX(y, [1, 2])
    qml.IsingYY(x[0], [3, 2])
    qml.IsingZZ(-y, [0, 1])
    return observe()


def taken_apart(x: Any, y: Any) -> list[Any]:
    qml.Hadamard(3)
    qml.IsingXY(x[0], [0, 1])
    qml.SingleExcitation(x[1], [1, 2])
    qml.DoubleExcitation(y, [0, 1, 2, 3])
    qml.U3(x[0], x[1], -y, wires=3)
    qml.U2(x[2], x[0], wires=0)
    qml.PSWAP(y, [0, 3])
    return observe()


def changed_gates(x: Any, y: Any) -> list[Any]:
    qml.Hadamard(1)
    qml.adjoint(qml.RX(x[0], 0))
    qml.adjoint(qml.S)(1)
    qml.pow(qml.RZ(y, 1), 2)
    qml.adjoint(qml.CRY(x[1], [1, 2]))
    qml.ctrl(qml.T(3), 0)
    qml.Barrier(range(3))
    qml.GlobalPhase(x[2])
    qml.Identity(2)
    qml.Snapshot()
    return observe()


def fixed_matrices(x: Any, y: Any) -> list[Any]:
    rng = np.random.default_rng(3)
    for wires in ([2], [3, 0], [1, 3, 2]):
        dim = 2 ** len(wires)
        qml.QubitUnitary(
            np.linalg.qr(rng.normal(size=(dim, dim)) + 1j * rng.normal(size=(dim, dim)))[0], wires=wires
        )
        qml.RX(x[0] + y, wires[0])
    qml.Toffoli([0, 3, 1])
    qml.RY(x[1] - x[2], 1)
    qml.SWAP([0, 2])
    return observe()


def templates(x: Any, y: Any) -> list[Any]:
    qml.BasisState(np.array([1, 0, 1, 0]), wires=range(NUM_WIRES))
    qml.AngleEmbedding(x, wires=range(3), rotation="Y")
    qml.BasicEntanglerLayers(torch.stack([x, 2 * x, -x]).T[:, :3] * 1.0, wires=range(3))
    qml.RX(y, 3)
    qml.QFT(wires=range(3))
    return observe()


CIRCUITS = [rotations, controlled, pauli_words, taken_apart, changed_gates, fixed_matrices, templates]


@pytest.mark.parametrize("body", CIRCUITS, ids=lambda body: body.__name__)
def test_a_qnode_has_pennylanes_value_and_gradient(body: Callable[..., Any]) -> None:
    rng = np.random.default_rng(5)
    node = qnode(body)
    objective = from_pennylane(node, rng.normal(size=3), 0.3)
    assert objective.num_params == 4
    for _ in range(3):
        # Elsewhere than where it was read: signs and sizes differ.
        x, y = torch.from_numpy(rng.uniform(-3, 3, 3)), torch.tensor(rng.uniform(-3, 3), dtype=torch.float64)
        theta = torch.cat([x, y[None]])
        value = torch.stack(node(x, y))
        jacobian = torch.autograd.functional.jacobian(lambda t: torch.stack(node(t[:3], t[3])), theta)
        np.testing.assert_allclose(objective.value(theta, backend=Exact()).values, value, atol=1e-10)
        for rule in (ParameterShift(), Adjoint()):
            gradient = rule.gradient(objective, theta, backend=Exact()).values
            np.testing.assert_allclose(gradient, jacobian, atol=1e-10)


def test_drawn_circuits_have_pennylanes_gradient() -> None:
    one = [qml.RX, qml.RY, qml.RZ, qml.PhaseShift]
    two = [qml.CRX, qml.CRY, qml.CRZ, qml.IsingXX, qml.IsingYY, qml.IsingZZ, qml.ControlledPhaseShift]
    for seed in range(8):
        rng = np.random.default_rng(seed)
        plan = [
            (
                int(rng.integers(3)),
                int(rng.integers(7)),
                rng.permutation(NUM_WIRES).tolist(),
                rng.integers(5, size=2),
                rng.normal(size=3),
            )
            for _ in range(20)
        ]

        def body(theta: Any, plan: list[Any] = plan) -> Any:
            for kind, pick, wires, (i, j), (a, b, c) in plan:
                angle = a * theta[i] + b * theta[j] + c
                if kind == 0:
                    one[pick % len(one)](angle, wires[0])
                elif kind == 1:
                    two[pick](angle, wires[:2])
                else:
                    qml.CNOT(wires[:2])
                    qml.Hadamard(wires[2])
            return qml.expval(qml.X(0) @ qml.Y(2) + 0.3 * qml.Z(1) @ qml.Z(3) + 0.7)

        node = qnode(body)
        objective = from_pennylane(node, rng.normal(size=5))
        theta = torch.from_numpy(rng.uniform(-3, 3, 5))
        jacobian = torch.autograd.functional.jacobian(node, theta)
        gradient = ParameterShift().gradient(objective, theta, backend=Exact()).values
        np.testing.assert_allclose(gradient, jacobian, atol=1e-10)


def test_arguments_of_any_shape_are_flattened_in_order() -> None:
    def body(weights: Any, layers: int, angle: Any) -> Any:
        for layer in range(layers):
            for wire in range(2):
                qml.RX(weights[layer, wire], wire)
            qml.CNOT([0, 1])
        qml.RY(angle, 1)
        return qml.expval(qml.Z(0) @ qml.Z(1))

    weights = np.random.default_rng(0).normal(size=(3, 2))
    objective = from_pennylane(qnode(body), weights, 3, 0.4)
    assert objective.num_params == 7
    theta = np.append(weights.reshape(-1), 0.4)
    expected = qnode(body)(torch.from_numpy(weights), 3, torch.tensor(0.4, dtype=torch.float64))
    assert float(objective.value(theta, backend=Exact()).values) == pytest.approx(float(expected), abs=1e-12)


def test_keyword_arguments_are_constants() -> None:
    def body(x: Any, shift: float = 0.0) -> Any:
        qml.RX(x + shift, 0)
        return qml.expval(qml.Z(0))

    objective = from_pennylane(qnode(body), 0.3, shift=0.5)
    assert objective.num_params == 1
    assert float(objective.value([0.3], backend=Exact()).values) == pytest.approx(np.cos(0.8), abs=1e-14)


def test_a_shared_argument_is_one_parameter() -> None:
    def body(x: Any) -> Any:
        for _ in range(4):
            qml.RY(x, 0)
        return qml.expval(qml.Z(0))

    objective = from_pennylane(qnode(body), 0.2)
    assert objective.num_params == 1
    # Two circuits for each of four rotations; or, moved together, for one rotation by 4 x.
    for rule, circuits in ((ParameterShift(rule="occurrences"), 8), (ParameterShift(), 2)):
        gradient = rule.gradient(objective, [0.2], backend=Exact())
        assert gradient.cost.circuits == circuits
        assert float(gradient.values) == pytest.approx(-4 * np.sin(0.8), abs=1e-12)


def test_wires_keep_their_order() -> None:
    device = qml.device("default.qubit", wires=["b", 7, "a"])

    @qml.qnode(device, interface="torch")
    def node(x: Any) -> Any:
        qml.RX(x, "a")
        qml.CRY(2 * x, ["a", "b"])
        qml.RY(0.3, 7)
        return qml.expval(qml.Z("b") @ qml.Y("a") + 2 * qml.X(7))

    objective = from_pennylane(node, 0.4)
    assert objective.num_qubits == 3
    expected = node(torch.tensor(0.7, dtype=torch.float64))
    assert float(objective.value([0.7], backend=Exact()).values) == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize(
    "measurements",
    [
        lambda: [qml.expval(qml.Z(0)), qml.expval(qml.X(1) @ qml.Y(2))],
        lambda: [qml.expval(qml.Hamiltonian([0.3, -0.4], [qml.Z(0), qml.X(1)]))],
        lambda: [qml.expval(0.4 * qml.Z(0) @ qml.X(1))],
    ],
    ids=["words", "Hamiltonian", "scaled word"],
)
def test_a_tape_comes_in_with_its_gate_angles(measurements: Callable[[], list[Any]]) -> None:
    def tape(theta: Any) -> QuantumScript:
        return QuantumScript(
            [qml.RX(theta[0], 0), qml.CRY(theta[1], [0, 1]), qml.Rot(theta[2], 0.3, 0.4, 2)], measurements()
        )

    script = tape([0.3, 0.5, -0.2])
    script.trainable_params = [0, 1, 2]
    objective = from_pennylane(script)
    assert objective.num_params == 3
    theta = np.array([1.1, -0.7, 2.0])
    expected = np.atleast_1d(qml.execute([tape(theta)], DEVICE)[0])
    found = np.atleast_1d(objective.value(theta, backend=Exact()).values.numpy())
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_coefficients_of_a_tapes_observable_are_not_parameters() -> None:
    script = QuantumScript(
        [qml.RX(0.3, 0), qml.QubitUnitary(np.eye(2), 0)],
        [qml.expval(qml.Hamiltonian([0.3, 0.4], [qml.Z(0), qml.X(0)]))],
    )
    assert len(script.trainable_params) > 1
    objective = from_pennylane(script)
    assert objective.num_params == 1
    gradient = ParameterShift().gradient(objective, [0.7], backend=Exact()).values
    assert float(gradient) == pytest.approx(-0.3 * np.sin(0.7), abs=1e-12)


def test_shots_of_a_node_are_not_taken_over() -> None:
    def body(x: Any) -> Any:
        qml.RX(x, 0)
        return qml.expval(qml.Z(0))

    objective = from_pennylane(qml.set_shots(qnode(body), shots=17), 0.4)
    assert float(objective.value([0.4], backend=Exact()).values) == pytest.approx(np.cos(0.4), abs=1e-12)
    value = objective.value([0.4], backend=Sampled(), total_shots=50, rng=np.random.default_rng(0))
    assert value.cost.shots == 50


def test_a_single_expectation_value_is_a_single_observable() -> None:
    def body(x: Any) -> Any:
        qml.RX(x, 0)
        return qml.expval(qml.Z(0))

    objective = from_pennylane(qnode(body), 0.4)
    assert objective.is_scalar
    assert isinstance(objective, Objective)


def _sine(x: Any) -> Any:
    qml.RX(qml.math.sin(x), 0)


def _product(x: Any) -> Any:
    qml.RX(x * x, 0)


def _size(x: Any) -> Any:
    qml.RX(qml.math.abs(x), 0)


def _branch_by_sign(x: Any) -> Any:
    if x > 0:
        qml.RX(x, 0)
    else:
        qml.RY(x, 0)


def _branch_by_size(x: Any) -> Any:
    if x > 1:
        qml.RX(x, 0)
    qml.RY(x, 0)


def _numpy_function(x: Any) -> Any:
    qml.RX(np.sin(x), 0)


def _rounded(x: Any) -> Any:
    qml.RX(x.detach().item() if isinstance(x, torch.Tensor) else float(x), 0)


def _measured(x: Any) -> Any:
    qml.RX(x, 0)
    qml.cond(qml.measure(0), qml.X)(1)


def _noisy(x: Any) -> Any:
    qml.RX(x, 0)
    qml.DepolarizingChannel(0.1, 0)


_NOT_AFFINE = "not affine in the arguments"
_STRUCTURE = "gates depend on the values"
REFUSED_GATES: list[tuple[Callable[[Any], Any], str]] = [
    (_sine, f"`RX` is {_NOT_AFFINE}"),
    (_product, f"`RX` is {_NOT_AFFINE}"),
    (_size, f"`RX` is {_NOT_AFFINE}"),
    (_branch_by_sign, _STRUCTURE),
    (_branch_by_size, _STRUCTURE),
    (_numpy_function, "torch"),
    (_rounded, "torch cannot trace"),
    (_measured, "operation `MidMeasureMP` has no exact form"),
    (_noisy, "operation `DepolarizingChannel` has no exact form"),
]


@pytest.mark.parametrize(("gates", "message"), REFUSED_GATES, ids=lambda each: getattr(each, "__name__", ""))
def test_gates_without_an_affine_form_are_refused(gates: Callable[[Any], Any], message: str) -> None:
    def body(x: Any) -> Any:
        gates(x)
        return qml.expval(qml.Z(0))

    with pytest.raises(CannotCompile, match=message):
        from_pennylane(qnode(body), 0.4)


REFUSED_MEASUREMENTS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "probabilities": (lambda _: qml.probs(wires=0), "is not an expectation value"),
    "variance": (lambda _: qml.var(qml.Z(0)), "is not an expectation value"),
    "state": (lambda _: qml.state(), "is not an expectation value"),
    "matrix": (lambda _: qml.expval(qml.Hermitian(np.array([[1, 2], [2, -1.0]]), 0)), "not a sum of Pauli"),
    "projector": (lambda _: qml.expval(qml.Projector([0], 0)), "not a sum of Pauli"),
    "free coefficient": (lambda x: qml.expval(x * qml.Z(0)), "coefficient of the observable depends"),
}


@pytest.mark.parametrize("name", sorted(REFUSED_MEASUREMENTS))
def test_other_measurements_are_refused(name: str) -> None:
    measure, message = REFUSED_MEASUREMENTS[name]

    def body(x: Any) -> Any:
        qml.RX(x, 0)
        return measure(x)

    with pytest.raises(CannotCompile, match=message):
        from_pennylane(qnode(body), 0.4)


def test_a_batch_of_angles_in_one_gate_is_refused() -> None:
    def body(x: Any) -> Any:
        qml.RX(x, 0)
        return qml.expval(qml.Z(0))

    with pytest.raises(CannotCompile, match="several angles at once"):
        from_pennylane(qnode(body), np.array([0.4, 0.5]))


def test_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match="must be a QNode or a tape, but is a function"):
        from_pennylane(lambda x: x, 0.3)


def test_a_constant_measurement_is_refused() -> None:
    def body(x: Any) -> Any:
        qml.RX(x, 0)
        return qml.expval(qml.Identity(0))

    with pytest.raises(ValueError, match="is constant"):
        from_pennylane(qnode(body), 0.4)
