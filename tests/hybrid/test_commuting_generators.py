"""Derivatives by generators that share circuits: the right ones, from few circuits, with the known noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.circuit import library as gates
from qiskit.quantum_info import Pauli, SparsePauliOp

from hybrid import Adjoint, CommutingGenerators, HadamardTest, Objective
from hybrid.backends import Exact
from hybrid.gradients.shared_circuits import CannotShare
from tests.cases import ESTIMATOR_CASES
from tests.hybrid.samples import Z_LIMIT, check_honest, check_variance, relative_mean_error, repeated

RULE = CommutingGenerators()
(CASE,) = (case for case in ESTIMATOR_CASES if case.estimator == RULE)


def _agrees(objective: Objective, theta: np.ndarray, tolerance: float = 1e-12) -> None:
    ours = RULE.gradient(objective, theta, backend=Exact()).values.numpy()
    exact = Adjoint().gradient(objective, theta, backend=Exact()).values.numpy()
    np.testing.assert_allclose(ours, exact, atol=tolerance)
    assert np.abs(exact).max() > 1e-3


def _x_strings(num_qubits: int, weights: tuple[int, ...]) -> list[str]:
    words = [
        format(bits, f"0{num_qubits}b").replace("1", "X").replace("0", "I") for bits in range(2**num_qubits)
    ]
    return [word for word in words if word.count("X") in weights]


def _blocks(blocks: list[list[str]], num_qubits: int) -> tuple[QuantumCircuit, int]:
    """Blocks of Pauli rotations, each with its own parameter, on a state without symmetry."""
    theta = ParameterVector("t", sum(map(len, blocks)))
    circuit = QuantumCircuit(num_qubits)
    for qubit in range(num_qubits):
        circuit.ry(0.3 + 0.4 * qubit, qubit)
    for qubit in range(num_qubits - 1):
        circuit.cx(qubit, qubit + 1)
    for angle, word in zip(theta, [word for block in blocks for word in block], strict=True):
        circuit.append(gates.PauliEvolutionGate(Pauli(word), time=angle / 2), range(num_qubits))
    return circuit, len(theta)


@pytest.mark.parametrize("num_blocks", [1, 2, 3, 4, 5])
def test_alternating_blocks_take_one_circuit_a_block_and_term(num_blocks: int) -> None:
    # X strings of odd weight all anticommute with ZZZZZ: what one block turns round is the same for all of it.
    odd = _x_strings(5, (1, 3))
    layers = [odd if k % 2 == 0 else ["ZZZZZ"] for k in range(num_blocks)]
    circuit, num_params = _blocks(layers, 5)
    theta = np.random.default_rng(num_blocks).uniform(-2, 2, num_params)
    # One term: it anticommutes with ZZZZZ, and with half of each X block.
    single = Objective(circuit, SparsePauliOp("IIIIY"))
    assert RULE.price(single).circuits == num_blocks
    _agrees(single, theta)
    # Three terms: their products with an X block do not commute, those with ZZZZZ do and share one circuit.
    three = Objective(circuit, SparsePauliOp(["IIIIY", "IIIYI", "IIYII"], [1.0, -0.5, 0.2]))
    assert RULE.price(three).circuits == 3 * math.ceil(num_blocks / 2) + num_blocks // 2
    _agrees(three, theta)


def test_a_commuting_block_needs_no_ancilla() -> None:
    circuit, num_params = _blocks([_x_strings(4, (1, 2, 3))], 4)
    objective = Objective(circuit, SparsePauliOp("ZIII"))
    theta = np.random.default_rng(0).uniform(-2, 2, num_params)
    (part,) = RULE.plan(objective, theta).parts
    assert part.target.program.num_qubits == 4
    _agrees(objective, theta)
    circuit, _ = _blocks([_x_strings(4, (1, 3)), ["ZZZZ"]], 4)
    parts = RULE.plan(Objective(circuit, SparsePauliOp("YIII")), np.zeros(9)).parts
    # The X block is measured with an ancilla, ZZZZ behind it without.
    assert sorted(part.target.program.num_qubits for part in parts) == [4, 5]


def test_four_x_generators_and_one_z_are_one_circuit() -> None:
    circuit, _ = _blocks([["IIIX", "IIXX", "XIXX", "XXXX"]], 4)
    objective = Objective(circuit, SparsePauliOp("IIIZ"))
    assert RULE.price(objective).circuits == 1
    _agrees(objective, np.array([0.4, -1.1, 0.9, 2.0]))


def test_terms_whose_products_commute_share_a_circuit() -> None:
    # Z and Y of qubit 0 give Y and Z there: two bases. Z on different qubits under X on each: Y on each, one basis.
    circuit, num_params = _blocks([["IIX", "IXI", "XII"]], 3)
    theta = np.array([0.5, 1.2, -0.8])
    assert num_params == 3
    for labels, count in [
        (["IIZ", "IZI", "ZII"], 1),
        (["IIZ", "IIY"], 2),
        (["IIZ", "IIY", "IZI", "IYI"], 2),
        (["IZZ", "IZY"], 2),
    ]:
        objective = Objective(circuit, SparsePauliOp(labels, np.arange(1.0, len(labels) + 1)))
        assert RULE.price(objective).circuits == count
        _agrees(objective, theta)


def test_terms_that_a_generator_leaves_alone_cost_nothing() -> None:
    circuit, _ = _blocks([["IIX", "IXI"]], 3)
    objective = Objective(circuit, SparsePauliOp(["XII", "IXX", "IIZ"], [1.0, 2.0, 0.7]))
    assert RULE.price(objective).circuits == 1
    _agrees(objective, np.array([0.4, 1.0]))


def test_several_observables_and_shared_scaled_parameters() -> None:
    theta = ParameterVector("t", 2)
    circuit = QuantumCircuit(3)
    for qubit in range(3):
        circuit.ry(0.4 + 0.5 * qubit, qubit)
    circuit.cx(0, 1)
    circuit.rxx(2 * theta[0] - theta[1] + 0.3, 0, 1)
    circuit.rx(theta[1], 2)
    circuit.s(1)
    circuit.cz(1, 2)
    circuit.rx(-0.5 * theta[0], 0)
    observables = [SparsePauliOp(["ZIZ", "IYZ"], [1.0, -0.4]), SparsePauliOp(["IIZ", "III"], [2.0, 5.0])]
    _agrees(Objective(circuit, observables), np.array([0.7, -0.4]))


@st.composite
def _clifford_problems(draw: st.DrawFn) -> tuple[Objective, np.ndarray]:
    """Pauli rotations, most of them of a few strings, between Clifford gates."""
    num_qubits = draw(st.integers(1, 4))
    num_params = draw(st.integers(1, 4))
    theta = ParameterVector("t", num_params)
    circuit = QuantumCircuit(num_qubits)
    words = st.text("IXYZ", min_size=num_qubits, max_size=num_qubits).filter(lambda w: set(w) != {"I"})
    pool = draw(st.lists(words, min_size=1, max_size=3))
    for qubit in range(num_qubits):
        circuit.ry(0.4 + 0.5 * qubit, qubit)
    for _ in range(draw(st.integers(2, 10))):
        kind = draw(st.sampled_from(["rotation", "rotation", "rotation", "clifford"]))
        if kind == "rotation":
            word = draw(st.sampled_from(pool) | words)
            factor = draw(st.sampled_from([0.5, -0.5, 1.0]))
            angle = factor * theta[draw(st.integers(0, num_params - 1))] + 0.2
            circuit.append(gates.PauliEvolutionGate(Pauli(word), time=angle), range(num_qubits))
            continue
        one = [gates.HGate(), gates.SGate(), gates.SXGate(), gates.YGate()]
        two = [gates.CXGate(), gates.CZGate(), gates.iSwapGate(), gates.ECRGate()]
        gate = draw(st.sampled_from([*one, *two] if num_qubits > 1 else one))
        circuit.append(gate, draw(st.permutations(range(num_qubits)))[: gate.num_qubits])
    labels = draw(st.lists(words, min_size=1, max_size=3, unique=True))
    sizes = [draw(st.sampled_from([1.0, -0.5, 2.0])) for _ in labels]
    observables = [SparsePauliOp(labels, sizes), SparsePauliOp(labels[-1])]
    point = np.array([draw(st.floats(-4, 4, allow_nan=False)) for _ in range(num_params)])
    return Objective(circuit, observables, parameters=list(theta)), point


def test_drawn_circuits_are_refused_or_right() -> None:
    done: list[bool] = []

    @settings(max_examples=80, deadline=None, derandomize=True)
    @given(_clifford_problems())
    def check(problem: tuple[Objective, np.ndarray]) -> None:
        objective, theta = problem
        gradient = CASE.gradient_or_refusal(objective, theta)
        done.append(gradient is not None)
        if gradient is None:
            return
        exact = Adjoint().gradient(objective, theta, backend=Exact()).values.numpy()
        np.testing.assert_allclose(gradient.values.numpy(), exact, atol=1e-10)
        # Never more than one circuit a rotation and term, as the Hadamard test takes in the worst case.
        most = HadamardTest().price(objective).circuits / len(objective.groups) * len(objective.labels)
        assert gradient.cost.circuits <= most

    check()
    assert sum(done) > 0.6 * len(done)
    assert not all(done)


def test_generators_in_general_position_are_refused_with_what_takes_as_many() -> None:
    theta = ParameterVector("t", 3)
    circuit = QuantumCircuit(1)
    circuit.rx(theta[0], 0)
    circuit.rz(theta[1], 0)
    circuit.rx(theta[2], 0)
    objective = Objective(circuit, SparsePauliOp("Z"))
    with pytest.raises(
        CannotShare, match=r"No two of the circuit's 3 generators share a circuit, .* HadamardTest"
    ):
        RULE.gradient(objective, [0.1, 0.2, 0.3], backend=Exact())
    with pytest.raises(CannotShare, match="No two"):
        RULE.price(objective)
    assert issubclass(CannotShare, ValueError)


def test_a_gate_that_is_not_clifford_is_refused_behind_a_generator_and_nowhere_else() -> None:
    theta = ParameterVector("t", 2)

    def objective(t_behind: bool) -> Objective:
        circuit = QuantumCircuit(2)
        circuit.ry(0.3, 0)
        circuit.t(0)
        circuit.rx(theta[0], 0)
        circuit.rx(theta[1], 1)
        if t_behind:
            circuit.t(1)
        return Objective(circuit, SparsePauliOp(["IY", "YI"], [1.0, 0.5]))

    _agrees(objective(False), np.array([0.3, 0.9]))
    with pytest.raises(CannotShare, match=r"A gate on qubits \[1\] behind a generator is not Clifford, so"):
        RULE.gradient(objective(True), [0.3, 0.9], backend=Exact())


def test_a_gate_that_a_generator_commutes_with_may_be_anything() -> None:
    # T leaves Z alone, and CCZ too.
    theta = ParameterVector("t", 3)
    circuit = QuantumCircuit(3)
    circuit.h(range(3))
    for qubit in range(3):
        circuit.rz(theta[qubit], qubit)
    circuit.t(0)
    circuit.ccz(0, 1, 2)
    circuit.p(0.3, 2)
    objective = Objective(circuit, SparsePauliOp(["IIX", "IXZ", "YII"], [1.0, 0.4, -0.7]))
    _agrees(objective, np.array([0.4, -0.3, 1.1]))


@pytest.mark.parametrize("ancilla", [False, True], ids=["one block", "block behind which others turn"])
def test_every_component_has_the_known_variance_from_the_same_shots(ancilla: bool) -> None:
    # (1 - g_j^2) / N for each, from N shots in all: no component pays for the others.
    words = ["IIX", "IXI", "XII", "XXX"]
    blocks = [words, ["ZZZ"]] if ancilla else [words]
    circuit, num_params = _blocks(blocks, 3)
    objective = Objective(circuit, SparsePauliOp("YII" if ancilla else "IIZ"))
    theta = np.random.default_rng(8).uniform(-2, 2, num_params)
    shots = 120
    total_shots = shots * RULE.price(objective).circuits
    slopes = Adjoint().gradient(objective, theta, backend=Exact()).values.numpy()
    values, variances = repeated(RULE, objective, theta, total_shots=total_shots, repeats=8000)
    moving = np.abs(slopes) > 1e-9
    assert moving.sum() >= 2
    assert np.abs(slopes).max() > 0.3
    exact = (1 - slopes[moving] ** 2) / shots
    check_variance(values[:, moving], exact, within=0.1)
    check_honest(values[:, moving], variances[:, moving], slopes[moving], within=0.1)
    error = relative_mean_error(variances[:, moving])
    assert (np.abs(variances[:, moving].mean(0) / exact - 1) < Z_LIMIT * error).all()
    np.testing.assert_allclose(values[:, ~moving], 0, atol=1e-12)


def test_components_from_the_same_shots_are_correlated_as_their_products_are() -> None:
    # Y0 and Y0 X1 from X0 and X0 X1 under Z0: their covariance is <X1> - <Y0> <Y0 X1>, over N.
    circuit, _ = _blocks([["IX", "XX"]], 2)
    objective = Objective(circuit, SparsePauliOp("IZ"))
    theta, shots = np.array([0.6, -0.9]), 100
    slopes = Adjoint().gradient(objective, theta, backend=Exact()).values.numpy()
    (x1,) = Objective(circuit, [SparsePauliOp("XI")]).value(theta, backend=Exact()).values.tolist()
    values, _ = repeated(RULE, objective, theta, total_shots=shots, repeats=20_000)
    exact = (x1 - slopes[0] * slopes[1]) / shots
    observed = np.cov(values.T)[0, 1]
    deviation = np.sqrt(((1 - slopes**2) / shots).prod() * 2 / len(values))
    assert abs(observed - exact) < Z_LIMIT * deviation
    assert Z_LIMIT * deviation < 0.2 * abs(exact)
