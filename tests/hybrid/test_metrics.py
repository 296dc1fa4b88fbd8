"""Metrics and the natural gradient: closed forms, PennyLane, errors by repeats, costs by hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pennylane as qml
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.quantum_info import SparsePauliOp
from scipy.linalg import sqrtm

from classical.metric import fubini_study
from classical.program import PauliRotation, ProgramBuilder
from hybrid import SPSA, Adjoint, Objective, ParameterShift
from hybrid.allocation import RandomTerms, TwoStage, Weighted
from hybrid.backends import AbstractBackend, Exact, Sampled
from hybrid.gradients import NeedsSimulator
from hybrid.metrics import (
    METRICS,
    AbstractMetricEstimator,
    BlockDiagonalMetric,
    ExactMetric,
    NaturalGradient,
    SPSAMetric,
)
from hybrid.metrics.blocks import layers
from hybrid.metrics.overlap import overlap_angles, overlap_target
from hybrid.shots import BudgetTooSmall
from studies.circuits import hardware_efficient, transverse_ising
from tests.systems import (
    System,
    chain_of_many,
    chain_of_one,
    ghz_phases,
    product_local,
    scaled,
    several,
    shared_and_affine,
)

Z_LIMIT = 4.5
EXACT_RULES = [ExactMetric(), BlockDiagonalMetric()]
RUNS = [
    (ExactMetric(), Exact()),
    *(
        (rule, backend)
        for rule in (BlockDiagonalMetric(), SPSAMetric(directions=3))
        for backend in (Exact(), Sampled())
    ),
]
all_runs = pytest.mark.parametrize(
    ("rule", "backend"), RUNS, ids=[f"{rule.name}-{type(backend).__name__}" for rule, backend in RUNS]
)


def _arguments(backend: AbstractBackend, total_shots: int = 6000, seed: int = 0) -> dict[str, Any]:
    shots = {} if isinstance(backend, Exact) else {"total_shots": total_shots}
    return {"backend": backend, "rng": np.random.default_rng(seed), **shots}


def _objective(circuit: QuantumCircuit) -> Objective:
    return Objective(circuit, SparsePauliOp("Z" * circuit.num_qubits))


def _chain(letters: str) -> Objective:
    """Rotations of one qubit about the axes in turn."""
    circuit = QuantumCircuit(1)
    for letter, angle in zip(letters, ParameterVector("t", len(letters)), strict=True):
        getattr(circuit, "r" + letter)(angle, 0)
    return _objective(circuit)


def _commuting_and_shared() -> Objective:
    """Three layers: XX, YY and ZZ of one pair beside a Z, whose parameters overlap; RX, one for all; RY."""
    a, b, c = Parameter("a"), Parameter("b"), Parameter("c")
    circuit = QuantumCircuit(3)
    circuit.ry(0.7, 0)
    circuit.rx(0.4, 1)
    circuit.ry(1.1, 2)
    circuit.cx(0, 2)
    circuit.rxx(a, 0, 1)
    circuit.ryy(2 * b - a, 0, 1)
    circuit.rz(b + 0.3, 2)
    circuit.rzz(0.5 * a, 0, 1)
    circuit.cx(1, 2)
    for qubit in range(3):
        circuit.rx(-c, qubit)
    circuit.ry(a, 1)
    return _objective(circuit)


def _repeated(
    rule: AbstractMetricEstimator,
    objective: Objective,
    theta: Any,
    repeats: int,
    total_shots: int,
    seed: int = 3,
) -> tuple[np.ndarray, np.ndarray]:
    """Values and reported variances of independent metrics, each of shape (repeats, P, P)."""
    rows = np.tile(theta, (repeats, 1))
    found = rule.metric(objective, rows, **_arguments(Sampled(), total_shots, seed))
    return found.values.numpy(), found.std_errors.numpy() ** 2


def _z(samples: np.ndarray, expected: np.ndarray) -> np.ndarray:
    noise = samples.std(0, ddof=1) / math.sqrt(len(samples))
    return np.abs(samples.mean(0) - expected) / np.maximum(noise, 1e-12)


# --- closed forms -------------------------------------------------------------------------------------


def _ones(count: int) -> np.ndarray:
    return np.ones((count, count)) / 4


CLOSED = [
    (product_local(4), np.eye(4) / 4),
    (chain_of_one(4), np.array([[4.0]])),
    (chain_of_many(3), _ones(3)),
    (scaled(), np.array([[1.0]])),
    (ghz_phases(3), _ones(3)),
    (shared_and_affine(), np.array([[2.0, 1.0], [1.0, 5.0]]) / 4),
]


@pytest.mark.parametrize("rule", EXACT_RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize(("system", "expected"), CLOSED, ids=[system.name for system, _ in CLOSED])
def test_a_metric_of_one_layer_is_the_closed_form(
    rule: AbstractMetricEstimator, system: System, expected: np.ndarray
) -> None:
    found = rule.metric(system.objective(), system.theta, backend=Exact())
    np.testing.assert_allclose(found.values, expected, atol=1e-12)
    assert not found.std_errors.any()
    assert found.cost.circuits == 1


def test_the_metric_of_one_qubit_is_a_quarter_of_that_of_the_sphere() -> None:
    a, b, _ = theta = (0.7, 1.9, -0.4)
    # The Bloch vector before the last rotation, and its derivatives; the last one turns it about Y.
    by_a = [math.cos(a) * math.cos(b), math.cos(a) * math.sin(b), -math.sin(a)]
    by_b = [-math.sin(a) * math.sin(b), math.sin(a) * math.cos(b), 0.0]
    by_c = [math.cos(a), 0.0, -math.sin(a) * math.cos(b)]
    moves = np.array([by_a, by_b, by_c])
    whole = ExactMetric().metric(_chain("yzy"), theta, backend=Exact()).values.numpy()
    np.testing.assert_allclose(whole, moves @ moves.T / 4, atol=1e-12)
    diagonal = BlockDiagonalMetric().metric(_chain("yzy"), theta, backend=Exact()).values.numpy()
    np.testing.assert_allclose(diagonal, np.diag(np.diag(whole)), atol=1e-12)
    # RZ does nothing to |0>, and RY after it moves by its whole angle.
    still = ExactMetric().metric(_chain("zy"), (a, b), backend=Exact()).values.numpy()
    np.testing.assert_allclose(still, np.diag([0, 0.25]), atol=1e-12)


@pytest.mark.parametrize("metric", EXACT_RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("gradient", [ParameterShift(), Adjoint()], ids=lambda rule: rule.name)
def test_on_a_product_layer_the_natural_gradient_is_four_times_the_gradient(
    gradient: Any, metric: AbstractMetricEstimator
) -> None:
    system = product_local(4)
    theta = np.array(system.theta) + np.array([[0.0], [1.3]])
    rule = NaturalGradient(gradient=gradient, metric=metric)
    found = rule.direction(system.objective(), theta, backend=Exact())
    np.testing.assert_allclose(found.values, 4 * system.gradients(theta), atol=1e-12)
    assert not found.std_errors.any()
    assert not found.ridge.any()


def test_directions_in_which_the_state_stays_are_left_out() -> None:
    # The metric is that of the sum of the phases: 3 of 4 by 4 directions move nothing.
    system = ghz_phases(4)
    found = NaturalGradient(metric=ExactMetric()).direction(system.objective(), system.theta, backend=Exact())
    np.testing.assert_allclose(found.values, system.gradients(np.array(system.theta)), atol=1e-12)


# --- against PennyLane --------------------------------------------------------------------------------


def _layered(seed: int) -> tuple[Objective, Callable[..., Any], np.ndarray]:
    """Layers of RX, RY or RZ on four qubits, CNOTs between them; five parameters, shared and scaled."""
    rng = np.random.default_rng(seed)
    qubits, params, depth = 4, 5, 4
    letters = rng.integers(3, size=(depth, qubits))
    letters[1:] = (letters[:-1] + 1 + rng.integers(2, size=(depth - 1, qubits))) % 3  # none after its like
    places = rng.integers(params, size=(depth, qubits))
    factors = rng.choice([1.0, 2.0, -1.0, 0.5], size=(depth, qubits))
    theta = ParameterVector("theta", params)
    circuit = QuantumCircuit(qubits)
    circuit.h(0)
    for layer in range(depth):
        for qubit in range(qubits):
            angle = factors[layer, qubit] * theta[places[layer, qubit]] + 0.1 * qubit
            getattr(circuit, "r" + "xyz"[letters[layer, qubit]])(angle, qubit)
        for qubit in range(qubits):
            circuit.cx(qubit, (qubit + 1) % qubits)

    @qml.qnode(qml.device("default.qubit", wires=qubits), interface="torch")
    def same(theta: torch.Tensor) -> Any:
        qml.Hadamard(0)
        for layer in range(depth):
            for qubit in range(qubits):
                angle = factors[layer, qubit] * theta[places[layer, qubit]] + 0.1 * qubit
                getattr(qml, "R" + "XYZ"[letters[layer, qubit]])(angle, wires=qubit)
            for qubit in range(qubits):
                qml.CNOT([qubit, (qubit + 1) % qubits])
        return qml.expval(qml.Z(0))

    objective = Objective(circuit, SparsePauliOp("IIIZ"), parameters=list(theta))
    return objective, same, rng.uniform(-np.pi, np.pi, params)


@pytest.mark.parametrize("seed", range(3))
def test_metrics_are_those_of_pennylane(seed: int) -> None:
    objective, same, theta = _layered(seed)
    tensor = torch.tensor(theta, requires_grad=True)
    whole = qml.adjoint_metric_tensor(same)(tensor).detach().numpy()
    inside = qml.metric_tensor(same, approx="block-diag")(tensor).detach().numpy()
    assert np.abs(whole - inside).max() > 0.01
    np.testing.assert_allclose(
        ExactMetric().metric(objective, theta, backend=Exact()).values, whole, atol=1e-9
    )
    found = BlockDiagonalMetric().metric(objective, theta, backend=Exact())
    np.testing.assert_allclose(found.values, inside, atol=1e-9)
    assert found.cost.circuits == 4


# --- layers and blocks --------------------------------------------------------------------------------


def _rotation_layers(objective: Objective) -> list[int]:
    program = objective.program
    found = zip(program.gates, layers(program), strict=True)
    return [layer for gate, layer in found if isinstance(gate, PauliRotation)]


def test_layers_do_not_hang_on_the_order_of_writing() -> None:
    # Written qubit by qubit: RY, RZ, RY, RZ, ..., and still four layers.
    objective = Objective(hardware_efficient(4, 2, "cz ring"), transverse_ising(4))
    assert _rotation_layers(objective) == 4 * [0, 1] + 4 * [2, 3]


def test_layers_are_cut_only_where_gates_do_not_commute() -> None:
    t = ParameterVector("t", 7)
    circuit = QuantumCircuit(3)
    circuit.rz(t[0], 0)
    circuit.cx(0, 1)  # commutes with Z of its control
    circuit.rz(t[1], 0)
    circuit.rz(t[2], 1)  # behind the CX's target, but behind no rotation that it must follow
    circuit.h(2)
    circuit.rz(t[3], 2)
    circuit.rzz(t[4], 0, 2)
    circuit.h(0)  # cuts qubit 0
    circuit.rx(t[5], 0)
    circuit.rx(t[6], 1)
    assert _rotation_layers(_objective(circuit)) == [0, 0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize(("qubits", "expected"), [(4, [0, 0]), (5, [0, 1])])
def test_wide_gates_count_as_not_commuting(qubits: int, expected: list[int]) -> None:
    builder = ProgramBuilder(qubits, 2)
    builder.rotation("Z", (0,), {0: 1.0})
    builder.unitary(torch.eye(2**qubits), tuple(range(qubits)))
    builder.rotation("Z", (0,), {1: 1.0})
    found = layers(builder.build())
    assert [found[0], found[2]] == expected


@pytest.mark.parametrize(
    "objective",
    [
        Objective(hardware_efficient(4, 3, "cx chain"), transverse_ising(4)),
        _commuting_and_shared(),
        *(_layered(seed)[0] for seed in (7, 8)),
    ],
    ids=["hardware-efficient", "commuting and shared", "layered 7", "layered 8"],
)
def test_blocks_are_those_of_the_exact_metric(objective: Objective) -> None:
    program = objective.program
    theta = np.random.default_rng(5).normal(size=(3, objective.num_params))
    each = torch.eye(program.num_rotations, dtype=torch.float64)
    angles = program.angles(torch.from_numpy(theta))
    whole = fubini_study(Exact().simulator(objective.target), angles, each)
    layer = torch.tensor(_rotation_layers(objective))
    inside = torch.where(layer[:, None] == layer, whole, 0.0)
    expected = program.coefficients.T @ inside @ program.coefficients
    found = BlockDiagonalMetric().metric(objective, theta, backend=Exact())
    np.testing.assert_allclose(found.values, expected, atol=1e-10)
    assert found.cost.circuits == 3 * len(set(layer.tolist()))
    exact = ExactMetric().metric(objective, theta, backend=Exact())
    np.testing.assert_allclose(
        exact.values, program.coefficients.T @ whole @ program.coefficients, atol=1e-10
    )


def test_rotations_that_cancel_take_no_circuit() -> None:
    t = Parameter("t")
    circuit = QuantumCircuit(1)
    circuit.h(0)
    circuit.rz(t, 0)
    circuit.rz(-t, 0)
    found = BlockDiagonalMetric().metric(_objective(circuit), [0.4], **_arguments(Sampled()))
    assert (found.cost.circuits, found.cost.shots) == (0, 0)
    assert not found.values.any()


def test_tangents_that_do_not_fit_at_once_meet_all_the_same() -> None:
    objective = _commuting_and_shared()
    wide = Objective(hardware_efficient(4, 2, "cz ring"), transverse_ising(4))
    for each, qubits in ((objective, 3), (wide, 4)):
        theta = np.random.default_rng(2).normal(size=(5, each.num_params))
        expected = ExactMetric().metric(each, theta, backend=Exact()).values
        for states in (12, 25):  # room for one or two rows and three to seven tangents
            small = Exact(max_bytes=states * 2**qubits * 16)
            found = ExactMetric().metric(each, theta, backend=small).values
            np.testing.assert_allclose(found, expected, atol=1e-12)
        single = ExactMetric().metric(each, theta, backend=Exact(dtype=torch.complex64)).values
        np.testing.assert_allclose(single, expected, atol=1e-5)


# --- the overlap circuit ------------------------------------------------------------------------------


def test_the_overlap_circuit_gives_the_overlap_of_states() -> None:
    objective = _commuting_and_shared()
    here, there = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 4, 3)))
    target = overlap_target(objective.program)
    assert target.program.num_rotations == 2 * objective.program.num_rotations
    found = Exact().simulator(target).values(overlap_angles(target, here, there), target.groups)[:, 0]
    simulator = Exact().simulator(objective.target)
    one, other = (simulator.states(objective.program.angles(each)) for each in (here, there))
    expected = (one.conj() * other).sum(-1).abs() ** 2
    assert 0.01 < expected.min() < expected.max() < 0.9
    np.testing.assert_allclose(found, expected, atol=1e-12)


# --- errors by repeats --------------------------------------------------------------------------------


def test_blocks_from_few_shots_are_unbiased() -> None:
    # The product of two means of the same five shots is a fifth of their covariance too large.
    objective = _commuting_and_shared()
    theta = [0.8, -0.5, 0.3]
    expected = BlockDiagonalMetric().metric(objective, theta, backend=Exact()).values.numpy()
    for rule, shots in ((BlockDiagonalMetric(), 5), (BlockDiagonalMetric(allocation=TwoStage()), 12)):
        values, _ = _repeated(rule, objective, theta, repeats=20_000, total_shots=3 * shots)
        assert _z(values, expected).max() < Z_LIMIT
        precision = values.std(0).max() / math.sqrt(len(values))
        assert precision * Z_LIMIT < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("rule", "shots"),
    [
        (BlockDiagonalMetric(), 20),
        (BlockDiagonalMetric(), 2000),
        (BlockDiagonalMetric(allocation=TwoStage()), 2000),
        (BlockDiagonalMetric(allocation=Weighted()), 2000),
        (BlockDiagonalMetric(allocation=RandomTerms()), 2000),
    ],
    ids=lambda each: each.allocation.name if isinstance(each, BlockDiagonalMetric) else str(each),
)
def test_blocks_know_their_errors(rule: BlockDiagonalMetric, shots: int) -> None:
    objective = _commuting_and_shared()
    theta = [0.8, -0.5, 0.3]
    values, variances = _repeated(rule, objective, theta, repeats=30_000, total_shots=3 * shots)
    observed = values.var(0, ddof=1)
    moved = observed > 1e-12
    assert moved.sum() == 5  # all but the entries of c with a and b, which share no layer
    np.testing.assert_allclose(variances.mean(0)[moved] / observed[moved], 1, atol=0.05)
    assert not variances.mean(0)[~moved].any()


def test_where_the_first_order_vanishes_the_error_is_of_second_order() -> None:
    # At <Y> = 0 the variance of (1 - <Y>^2) / 4 with N shots is 2 / (N (N - 1)) / 16.
    shots = 100
    values, variances = _repeated(
        BlockDiagonalMetric(), _chain("y"), [0.7], repeats=40_000, total_shots=shots
    )
    expected = 2 / (shots * (shots - 1)) / 16
    assert values.var() == pytest.approx(expected, rel=0.05)
    assert expected < variances.mean() < 1.5 * expected  # below zero is raised to zero


def _finite_step(angles: int, step: float) -> np.ndarray:
    """Mean of the SPSA metric of RYs on different qubits over all signs; overlaps are products of cos^2."""

    def overlap(move: np.ndarray) -> float:
        return float((np.cos(step * move / 2) ** 2).prod())

    total = np.zeros((angles, angles))
    every = [np.array(signs) for signs in itertools.product((-1, 1), repeat=angles)]
    for d, e in itertools.product(every, every):
        change = overlap(d + e) - overlap(d) - overlap(e - d) + overlap(-d)
        total -= change / (4 * step**2) * (np.outer(d, e) + np.outer(e, d)) / 2
    return total / len(every) ** 2


@pytest.mark.parametrize("shots", [None, 4 * 2 * 30])
def test_spsa_gives_the_metric_on_average_and_its_error(shots: int | None) -> None:
    system = product_local(3)
    rule = SPSAMetric(directions=2, step=0.3)
    rows = np.tile(system.theta, (30_000, 1))
    backend = Exact() if shots is None else Sampled()
    found = rule.metric(system.objective(), rows, **_arguments(backend, shots or 0))
    values = found.values.numpy()
    expected = _finite_step(3, 0.3)
    np.testing.assert_allclose(expected, np.eye(3) / 4, atol=0.04)
    assert _z(values, expected).max() < Z_LIMIT
    assert values.std(0).max() / math.sqrt(len(rows)) * Z_LIMIT < 0.05 * 0.25
    reported = (found.std_errors.numpy() ** 2).mean()
    assert reported / values.var(0, ddof=1).mean() == pytest.approx(1, abs=0.05)


def test_spsa_mean_over_draws_is_the_exact_metric() -> None:
    objective = _commuting_and_shared()
    theta = [0.8, -0.5, 0.3]
    expected = ExactMetric().metric(objective, theta, backend=Exact())
    found = SPSAMetric(directions=20_000).metric(objective, theta, **_arguments(Exact()))
    # An entry's own error is at most twice the mean square over entries.
    assert ((found.values - expected.values).abs() < Z_LIMIT * 2**0.5 * found.std_errors).all()
    assert float(found.std_errors.max()) < 0.02 * float(expected.values.max())


def test_spsa_step_balances_bias_and_shots() -> None:
    # One RY: bias c^2 / 12 and variance 3 / (32 c^2 N), least in sum of squares at c^6 = 27 / (4 N).
    shots, repeats = 500, 20_000
    squares = {}
    for factor in (0.6, 1.0, 1.6):
        step = factor * (27 / (4 * shots)) ** (1 / 6)
        rule = SPSAMetric() if factor == 1 else SPSAMetric(step=step)
        values, _ = _repeated(rule, _chain("y"), [0.7], repeats=repeats, total_shots=4 * shots)
        squares[factor] = ((values - 0.25) ** 2).mean()
        exact = (math.sin(step) ** 2 / (4 * step**2) - 0.25) ** 2
        exact += (math.sin(2 * step) ** 2 / 4 + math.sin(step) ** 2 / 2) / shots / (16 * step**4)
        assert squares[factor] == pytest.approx(exact, rel=0.05)
    assert squares[1.0] < min(squares[0.6], squares[1.6])


# --- the natural gradient -----------------------------------------------------------------------------


def test_natural_gradient_solves_with_the_ridge() -> None:
    objective = Objective(hardware_efficient(3, 2, "cz ring"), transverse_ising(3))
    theta = np.random.default_rng(4).normal(size=(2, 12))
    rule = NaturalGradient(metric=ExactMetric(), ridge=0.01)
    found = rule.direction(objective, theta, backend=Exact())
    whole = found.metric.values.numpy() + 0.01 * np.eye(12)
    expected = np.linalg.solve(whole, found.gradient.values.numpy()[..., None])[..., 0]
    np.testing.assert_allclose(found.values, expected, atol=1e-10)
    assert found.ridge.tolist() == [0.01, 0.01]


def test_eigenvalues_below_zero_count_by_their_size() -> None:
    objective = Objective(hardware_efficient(3, 1, "cz ring"), transverse_ising(3))
    theta = np.random.default_rng(4).normal(size=6)
    rule = NaturalGradient(gradient=Adjoint(), metric=SPSAMetric(directions=3), ridge=0.02)
    found = rule.direction(objective, theta, **_arguments(Exact()))
    metric = found.metric.values.numpy()
    assert np.linalg.eigvalsh(metric).min() < -0.01
    positive = sqrtm(metric @ metric).real + 0.02 * np.eye(6)
    np.testing.assert_allclose(found.values, np.linalg.solve(positive, found.gradient.values), rtol=1e-5)


def test_the_default_ridge_is_the_noise_of_the_metric() -> None:
    system = shared_and_affine()
    found = NaturalGradient().direction(system.objective(), system.theta, **_arguments(Sampled()))
    noise = math.sqrt(float((found.metric.std_errors**2).sum()) / 2)
    assert float(found.ridge) == pytest.approx(noise, rel=1e-12)
    assert 0 < noise < 0.05
    whole = found.metric.values.numpy() + noise * np.eye(2)
    np.testing.assert_allclose(found.values, np.linalg.solve(whole, found.gradient.values), atol=1e-12)


def test_errors_go_through_the_metric_with_their_covariances() -> None:
    # Each rotation feeds both parameters: their errors are not independent.
    system = shared_and_affine()
    rule = NaturalGradient(metric_share=0.99, ridge=0.0)
    rows = np.tile(system.theta, (20_000, 1))
    found = rule.direction(system.objective(), rows, **_arguments(Sampled(), 40_000))
    observed = found.values.numpy().var(0, ddof=1)
    reported = (found.std_errors.numpy() ** 2).mean(0)
    np.testing.assert_allclose(reported / observed, 1, atol=0.05)
    inverse = torch.linalg.inv(found.metric.values)
    apart = torch.einsum("bpi,bi->bp", inverse**2, found.gradient.covariances).mean(0).numpy()
    assert np.abs(apart / observed - 1).max() > 0.2


def test_a_rule_from_random_directions_has_errors_in_the_natural_gradient() -> None:
    system = product_local(3)
    rule = NaturalGradient(gradient=SPSA(), metric=ExactMetric())
    found = rule.direction(system.objective(), system.theta, **_arguments(Exact()))
    np.testing.assert_allclose(found.std_errors, 4 * found.gradient.std_errors, rtol=1e-9)
    assert (found.std_errors > 0).all()


def test_shots_are_split_by_the_share() -> None:
    system = product_local(3)
    rule = NaturalGradient(metric_share=0.25)
    found = rule.direction(system.objective(), system.theta, **_arguments(Sampled(), 1001))
    assert (found.gradient.cost.shots, found.metric.cost.shots) == (751, 250)
    assert found.cost.shots == 1001


# --- costs by hand ------------------------------------------------------------------------------------


def test_circuits_are_counted_by_hand() -> None:
    objective = Objective(hardware_efficient(4, 3, "cz ring"), transverse_ising(4))  # two bases
    assert BlockDiagonalMetric().price(objective).circuits == 6
    assert BlockDiagonalMetric().price(objective, rows=5, total_shots=600).circuits == 30
    assert BlockDiagonalMetric().price(objective, wrt=[0, 2, 23]).circuits == 2
    assert SPSAMetric().price(objective).circuits == 4
    assert SPSAMetric(directions=7).price(objective, rows=2, total_shots=6000).circuits == 2 * 4 * 7
    assert ExactMetric().price(objective, rows=3).circuits == 3
    one_basis = product_local(4).objective()
    assert NaturalGradient(gradient=SPSA(), metric=SPSAMetric()).price(one_basis).circuits == 2 + 4
    assert NaturalGradient().price(one_basis, rows=2).circuits == 2 * (8 + 1)
    assert NaturalGradient(gradient=Adjoint(), metric=ExactMetric()).price(one_basis).circuits == 2


@all_runs
def test_planned_executed_and_priced_are_equal(
    rule: AbstractMetricEstimator, backend: AbstractBackend
) -> None:
    objective = _commuting_and_shared()
    theta = np.zeros((2, 3)) + 0.4
    arguments = _arguments(backend, 1003)
    shots = arguments.get("total_shots")
    found = rule.metric(objective, theta, **arguments)
    priced = rule.price(objective, rows=2, total_shots=shots)
    expected = (found.cost.circuits, found.cost.shots)
    assert expected == (priced.circuits, priced.shots)
    assert found.cost.shots == 2 * (shots or 0)
    assert found.plan is None or (found.plan.cost.circuits, found.plan.cost.shots) == expected
    whole = NaturalGradient(metric=rule)
    direction = whole.direction(objective, theta, **_arguments(backend, 1003))
    price = whole.price(objective, rows=2, total_shots=shots)
    assert (direction.cost.circuits, direction.cost.shots) == (price.circuits, price.shots)


# --- shapes, choices of parameters, wrong inputs ------------------------------------------------------


@pytest.mark.parametrize("batch", [(), (1,), (2, 3), (0,)], ids=str)
@all_runs
def test_any_batch_shape_comes_back(
    rule: AbstractMetricEstimator, backend: AbstractBackend, batch: tuple[int, ...]
) -> None:
    objective = _commuting_and_shared()
    theta = np.random.default_rng(1).normal(size=(*batch, 3))
    found = rule.metric(objective, theta, **_arguments(backend))
    assert found.values.shape == found.std_errors.shape == (*batch, 3, 3)
    assert found.values.dtype == found.std_errors.dtype == torch.float64
    assert torch.equal(found.values, found.values.mT)
    direction = NaturalGradient(metric=rule).direction(objective, theta, **_arguments(backend))
    assert direction.values.shape == direction.std_errors.shape == (*batch, 3)
    assert direction.ridge.shape == batch
    assert torch.isfinite(direction.values).all()
    if rule in EXACT_RULES and isinstance(backend, Exact) and batch == (2, 3):
        single = rule.metric(objective, theta[1, 2], backend=backend)
        np.testing.assert_allclose(found.values[1, 2], single.values, atol=1e-12)


@pytest.mark.parametrize("rule", EXACT_RULES, ids=lambda rule: rule.name)
def test_chosen_parameters_are_rows_and_columns_of_the_whole(rule: AbstractMetricEstimator) -> None:
    objective = _commuting_and_shared()
    theta = [0.8, -0.5, 0.3]
    whole = rule.metric(objective, theta, backend=Exact()).values
    for wrt, places in (([2, 0], [2, 0]), ([objective.parameters[1]], [1])):
        found = rule.metric(objective, theta, backend=Exact(), wrt=wrt).values
        np.testing.assert_allclose(found, whole[places][:, places], atol=1e-12)
    direction = NaturalGradient(metric=rule).direction(objective, theta, backend=Exact(), wrt=[2, 0])
    slopes = ParameterShift().gradient(objective, theta, backend=Exact(), wrt=[2, 0]).values
    expected = np.linalg.solve(whole[[2, 0]][:, [2, 0]], slopes)
    np.testing.assert_allclose(direction.values, expected, atol=1e-10)


def test_spsa_moves_chosen_parameters_only() -> None:
    objective = _commuting_and_shared()
    theta = [0.8, -0.5, 0.3]
    found = SPSAMetric(directions=4000).metric(objective, theta, wrt=[2], **_arguments(Exact()))
    whole = ExactMetric().metric(objective, theta, backend=Exact()).values
    assert float(found.values) == pytest.approx(float(whole[2, 2]), rel=1e-3)


@all_runs
def test_a_seed_gives_the_same_metric_again(rule: AbstractMetricEstimator, backend: AbstractBackend) -> None:
    objective = _commuting_and_shared()
    theta = [0.8, -0.5, 0.3]
    first, again = (rule.metric(objective, theta, **_arguments(backend)).values for _ in range(2))
    other = rule.metric(objective, theta, **_arguments(backend, seed=1)).values
    assert torch.equal(first, again)
    drawn = isinstance(rule, SPSAMetric) or isinstance(backend, Sampled)
    assert torch.equal(first, other) == (not drawn)


def test_metrics_of_several_observables_are_those_of_the_state() -> None:
    system = several()
    metric = ExactMetric().metric(system.objective(), system.theta, backend=Exact()).values
    np.testing.assert_allclose(metric, np.diag([0.25, math.sin(0.9) ** 2 / 4]), atol=1e-12)


def test_every_rule_is_listed_by_its_name_and_final() -> None:
    assert all(kind().name == name for name, kind in METRICS.items())
    assert set(METRICS.values()) == {ExactMetric, BlockDiagonalMetric, SPSAMetric}
    assert not [kind for kind in (*METRICS.values(), NaturalGradient) if kind.__subclasses__()]


def test_a_rule_that_reads_a_simulation_names_those_that_measure() -> None:
    system = product_local()
    for call in (ExactMetric().metric, NaturalGradient(metric=ExactMetric()).direction):
        with pytest.raises(NeedsSimulator, match=r"BlockDiagonalMetric measures .* SPSAMetric estimates"):
            call(system.objective(), system.theta, **_arguments(Sampled()))
    with pytest.raises(NeedsSimulator, match="ParameterShift gives the same gradient"):
        NaturalGradient(gradient=Adjoint()).direction(
            system.objective(), system.theta, **_arguments(Sampled())
        )


def test_a_list_of_observables_has_no_natural_gradient() -> None:
    system = several()
    with pytest.raises(ValueError, match="is that of one value, but the objective is a list of 4"):
        NaturalGradient().direction(system.objective(), system.theta, backend=Exact())


def test_budgets_that_are_too_small_are_refused_before_anything_runs() -> None:
    objective = _commuting_and_shared()
    theta = [0.8, -0.5, 0.3]
    with pytest.raises(BudgetTooSmall, match="at least 6"):
        BlockDiagonalMetric().metric(objective, theta, **_arguments(Sampled(), 5))
    with pytest.raises(BudgetTooSmall, match=r"is 1,000, of which SPSA metric gets 20, .* at least 40"):
        NaturalGradient(metric=SPSAMetric(directions=5), metric_share=0.02).direction(
            objective, theta, **_arguments(Sampled(), 1000)
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SPSAMetric(directions=0), "`directions` must be a whole number of at least 1"),
        (lambda: SPSAMetric(directions=True), "`directions` must be a whole number"),
        (lambda: SPSAMetric(step=-1.0), "`step` must be positive"),
        (lambda: SPSAMetric(step=math.nan), "`step` must be positive"),
        (lambda: NaturalGradient(ridge=-0.1), "`ridge` must be finite and not negative"),
        (lambda: NaturalGradient(ridge=math.inf), "`ridge` must be finite"),
        (lambda: NaturalGradient(metric_share=1.0), "`metric_share` must lie strictly between 0 and 1"),
        (lambda: NaturalGradient(metric=ParameterShift()), "`metric` must be a metric rule"),  # type: ignore
        (lambda: NaturalGradient(gradient=ExactMetric()), "`gradient` must be a gradient"),  # type: ignore
    ],
)
def test_wrong_settings_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@all_runs
def test_wrong_arguments_are_named(rule: AbstractMetricEstimator, backend: AbstractBackend) -> None:
    system = product_local()
    objective = system.objective()
    arguments = _arguments(backend)
    fixed = Objective(system.circuit.assign_parameters(system.theta), system.observable)
    for call in (rule.metric, NaturalGradient(metric=rule).direction):
        with pytest.raises(ValueError, match=r"`theta` must have shape \(\.\.\., 3\)"):
            call(objective, [0.1, 0.2], **arguments)
        with pytest.raises(ValueError, match="`wrt` must hold parameters of the objective"):
            call(objective, system.theta, wrt=[3], **arguments)
        with pytest.raises(TypeError, match="`objective` must be an Objective"):
            call(system.circuit, system.theta, **arguments)  # type: ignore
        with pytest.raises(TypeError, match="`backend` must be a backend"):
            call(objective, system.theta, backend="exact")  # type: ignore
        with pytest.raises(ValueError, match="no free parameters"):
            call(fixed, [], **arguments)
        with pytest.raises(ValueError, match="no free parameters"):
            rule.price(fixed)
        if isinstance(backend, Exact):
            with pytest.raises(ValueError, match="`total_shots`"):
                call(objective, system.theta, backend=backend, rng=arguments["rng"], total_shots=100)
        else:
            with pytest.raises(ValueError, match="`total_shots` must be given"):
                call(objective, system.theta, backend=backend, rng=arguments["rng"])
    if isinstance(rule, SPSAMetric):
        with pytest.raises(ValueError, match="`rng` must be given to SPSA metric"):
            rule.metric(objective, system.theta, backend=Exact())
