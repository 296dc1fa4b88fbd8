"""Drawn circuits: the rules agree with each other and with differences of the value."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.circuit import library as gates
from qiskit.quantum_info import Pauli, SparsePauliOp, Statevector

from hybrid import SPSA, Adjoint, Backprop, Objective, ParameterShift
from hybrid.backends import Exact
from tests.cases import ESTIMATOR_CASES, EXACT_CASES

bounded = settings(max_examples=40, deadline=None, derandomize=True)

_ONE_ANGLE = {
    1: [gates.RXGate, gates.RYGate, gates.RZGate, gates.PhaseGate],
    2: [
        *(gates.RXXGate, gates.RYYGate, gates.RZZGate, gates.RZXGate),
        *(gates.CRXGate, gates.CRYGate, gates.CRZGate, gates.CPhaseGate),
    ],
}
_FIXED = {
    1: [gates.HGate, gates.SGate, gates.TdgGate, gates.SXGate, gates.YGate],
    2: [gates.CXGate, gates.CZGate, gates.SwapGate, gates.iSwapGate, gates.ECRGate],
    3: [gates.CCXGate, gates.CSwapGate],
}
_numbers = st.sampled_from([1.0, -1.0, 2.0, -0.5, 0.0])


@st.composite
def problems(draw: st.DrawFn) -> tuple[Objective, np.ndarray]:
    """An objective on 1 to 5 qubits with 1 to 4 parameters, and a theta."""
    num_qubits = draw(st.integers(1, 5))
    num_params = draw(st.integers(1, 4))
    theta = ParameterVector("theta", num_params)
    circuit = QuantumCircuit(num_qubits)

    def angle() -> object:
        weights = {i: draw(_numbers) for i in draw(st.sets(st.integers(0, num_params - 1), max_size=2))}
        return sum((w * theta[i] for i, w in weights.items()), start=draw(st.sampled_from([0.0, 0.3])))

    for _ in range(draw(st.integers(1, 12))):
        qubits = draw(st.permutations(range(num_qubits)))
        kind = draw(st.sampled_from(["rotation", "rotation", "fixed", "evolution", "euler", "open", "ring"]))
        if kind == "evolution":
            width = draw(st.integers(1, num_qubits))
            word = "".join(draw(st.sampled_from("XYZ")) for _ in range(width))
            circuit.append(gates.PauliEvolutionGate(Pauli(word), time=angle()), qubits[:width])
        elif kind == "ring" and num_qubits > 2:
            # One angle on every edge: fewer frequencies than rotations.
            shared = angle()
            for here, there in zip(qubits, [*qubits[1:], qubits[0]], strict=True):
                circuit.append(gates.RZZGate(shared), [here, there])
        elif kind == "euler":
            circuit.append(gates.UGate(angle(), angle(), angle()), qubits[:1])
        elif kind == "open" and num_qubits > 1:
            circuit.append(gates.CRYGate(angle(), ctrl_state=0), qubits[:2])
        else:
            table = _FIXED if kind == "fixed" else _ONE_ANGLE
            width = draw(st.integers(1, min(num_qubits, max(table))))
            gate = draw(st.sampled_from(table[width]))
            circuit.append(gate() if kind == "fixed" else gate(angle()), qubits[:width])
    words = draw(
        st.lists(
            st.text("IXYZ", min_size=num_qubits, max_size=num_qubits), min_size=1, max_size=4, unique=True
        )
    )
    words = [word for word in words if set(word) != {"I"}] or ["Z" * num_qubits]
    sizes = [draw(st.sampled_from([1.0, -0.5, 2.0])) for _ in words]
    observables = [SparsePauliOp(words, sizes), SparsePauliOp(words[0])]
    point = [draw(st.floats(-4, 4, allow_nan=False)) for _ in range(num_params)]
    return Objective(circuit, observables, parameters=list(theta)), np.array(point)


@bounded
@given(problems())
def test_value_is_that_of_qiskit(problem: tuple[Objective, np.ndarray]) -> None:
    objective, theta = problem
    used = {
        p: t for p, t in zip(objective.parameters, theta, strict=True) if p in objective.circuit.parameters
    }
    circuit = objective.circuit.assign_parameters(used).decompose(
        "PauliEvolution"
    )  # exact for one Pauli string
    state = Statevector(circuit)
    expected = [state.expectation_value(observable).real for observable in objective.observables]
    value = objective.value(theta, backend=Exact()).values.numpy()
    np.testing.assert_allclose(value, expected, atol=1e-9)


@bounded
@given(problems())
def test_exact_rules_agree(problem: tuple[Objective, np.ndarray]) -> None:
    objective, theta = problem
    backprop = Backprop().gradient(objective, theta, backend=Exact()).values.numpy()
    found = {case.name: case.gradient_or_refusal(objective, theta) for case in EXACT_CASES}
    for rule in (
        ParameterShift(shift=0.7),
        ParameterShift(rule="frequencies"),
        ParameterShift(rule="occurrences"),
    ):
        found[f"{rule.rule}, s = {rule.shift}"] = rule.gradient(objective, theta, backend=Exact())
    for name, gradient in found.items():
        if gradient is not None:
            np.testing.assert_allclose(gradient.values.numpy(), backprop, atol=1e-9, err_msg=name)


class _EverySign(np.random.Generator):
    """A generator that gives every vector of signs once: SPSA's mean over them is the gradient."""

    def __init__(self) -> None:
        super().__init__(np.random.Philox(0))

    def integers(self, low: int, high: int, size: tuple[int, ...]) -> np.ndarray:  # type: ignore[override]
        rows, params, directions = size
        assert (low, high, directions) == (0, 2, 2**params)
        return np.tile(np.arange(directions) >> np.arange(params)[:, None] & 1, (rows, 1, 1))


@bounded
@given(problems())
def test_gradient_is_the_difference_of_values(problem: tuple[Objective, np.ndarray]) -> None:
    objective, theta = problem
    step = 1e-4
    moves = step * np.eye(len(theta))
    up, down = (objective.value(theta + sign * moves, backend=Exact()).values.numpy() for sign in (1, -1))
    half_up, half_down = (
        objective.value(theta + sign * moves / 2, backend=Exact()).values.numpy() for sign in (1, -1)
    )
    # Two steps, the h^2 error taken out.
    difference = ((4 * (half_up - half_down) / step - (up - down) / (2 * step)) / 3).T
    for case in ESTIMATOR_CASES:
        if case.tolerance is None:
            continue
        gradient = case.gradient_or_refusal(objective, theta)
        if gradient is not None:
            np.testing.assert_allclose(gradient.values.numpy(), difference, atol=1e-6, err_msg=case.name)
    every = SPSA(directions=2 ** len(theta), step=1e-5)
    gradient = every.gradient(objective, theta, backend=Exact(), rng=_EverySign())
    np.testing.assert_allclose(gradient.values.numpy(), difference, atol=1e-6, err_msg="SPSA")


@bounded
@given(problems(), st.data())
def test_columns_are_those_of_the_whole_gradient(
    problem: tuple[Objective, np.ndarray], data: st.DataObject
) -> None:
    objective, theta = problem
    wrt = data.draw(st.lists(st.integers(0, len(theta) - 1), min_size=1, unique=True))
    whole = Adjoint().gradient(objective, theta, backend=Exact()).values[:, wrt].numpy()
    for case in EXACT_CASES:
        columns = case.gradient_or_refusal(objective, theta, wrt)
        # A rule that does a circuit does every part of its gradient.
        assert (columns is None) == (case.gradient_or_refusal(objective, theta) is None)
        if columns is not None:
            np.testing.assert_allclose(columns.values.numpy(), whole, atol=1e-9, err_msg=case.name)
