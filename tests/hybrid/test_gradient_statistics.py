"""Gradients from shots: unbiased, with the right error bars, falling as theory says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import CRYGate
from qiskit.quantum_info import SparsePauliOp

from classical import statevector
from hybrid import SPSA, CommutingGenerators, FiniteDifference, HadamardTest, Objective, ParameterShift
from hybrid.allocation import Uniform
from hybrid.backends import Exact, Sampled
from hybrid.circuits import FreeCircuits
from hybrid.gradients import AbstractShotEstimator
from tests.cases import SHOT_CASES, EstimatorCase
from tests.hybrid.samples import Z_LIMIT, mean_z, relative_mean_error, relative_variance_error, repeated
from tests.systems import SYSTEMS, System, chain_of_many, controlled, product_local, several

REPEATS = 2500


def _cosine() -> Objective:
    angle = Parameter("t")
    circuit = QuantumCircuit(1)
    circuit.ry(angle, 0)
    return Objective(circuit, SparsePauliOp("Z"))


def _even(shots: int, circuits: int, groups: int) -> torch.Tensor:
    return Uniform().first(shots, [torch.ones(circuits, groups)], None)[0]


UNBIASED = {
    "parameter-shift": ParameterShift(),
    "parameter-shift, by occurrence": ParameterShift(shift=1.2, rule="occurrences"),
    "parameter-shift, by frequency": ParameterShift(rule="frequencies"),
    "Hadamard test": HadamardTest(),
    "commuting generators": CommutingGenerators(),
}


@pytest.mark.parametrize("rule", UNBIASED.values(), ids=list(UNBIASED))
@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_an_exact_rule_is_unbiased_and_knows_its_error(system: System, rule: AbstractShotEstimator) -> None:
    if isinstance(rule, CommutingGenerators) and system.shared is None:
        return
    theta, objective = np.array(system.theta), system.objective()
    total_shots = 6 * rule.price(objective).circuits
    values, variances = repeated(rule, objective, theta, total_shots=total_shots, repeats=12_000)
    assert (np.abs(mean_z(values, system.gradients(theta)))[values.std(0) > 1e-9] < Z_LIMIT).all()
    observed, reported = values.var(0, ddof=1), variances.mean(0)
    noisy = observed > 1e-18
    ratio_error = np.hypot(
        relative_variance_error(values[:, noisy]), relative_mean_error(variances[:, noisy])
    )
    assert (np.abs(reported[noisy] / observed[noisy] - 1) < Z_LIMIT * ratio_error).all()
    assert np.median(ratio_error) * Z_LIMIT < 0.1  # a tenth more or less would not pass
    np.testing.assert_allclose(reported[~noisy], 0, atol=1e-15)
    np.testing.assert_allclose(values.mean(0)[~noisy], system.gradients(theta)[~noisy], atol=1e-12)


@pytest.mark.parametrize("angle", [0.3, 1.1, 2.6])
@pytest.mark.parametrize("shift", [math.pi / 2, 1.0, 0.5])
def test_shift_rule_variance_is_the_closed_form(shift: float, angle: float) -> None:
    # (sin^2(t+s) + sin^2(t-s)) / (4 N sin^2 s) with N shots an evaluation; cos^2(t)/(2N) at s = pi/2.
    shots = 50
    exact = (math.sin(angle + shift) ** 2 + math.sin(angle - shift) ** 2) / (4 * shots * math.sin(shift) ** 2)
    if shift == math.pi / 2:
        assert exact == pytest.approx(math.cos(angle) ** 2 / (2 * shots))
    values, variances = repeated(
        ParameterShift(shift=shift), _cosine(), np.array([angle]), total_shots=2 * shots, repeats=20_000
    )
    assert abs(mean_z(values, -math.sin(angle))) < Z_LIMIT
    error = relative_variance_error(values)
    assert error < 0.1 / Z_LIMIT
    assert abs(values.var(0, ddof=1) / exact - 1) < Z_LIMIT * error
    assert abs(variances.mean(0) / exact - 1) < Z_LIMIT * relative_mean_error(variances)


def test_shift_rule_has_no_noise_at_the_steepest_point() -> None:
    values, variances = repeated(ParameterShift(), _cosine(), np.array([math.pi / 2]), total_shots=8)
    np.testing.assert_allclose(values, -1, atol=1e-12)
    np.testing.assert_allclose(variances, 0, atol=1e-15)


@pytest.mark.parametrize("system", [product_local(), several()], ids=lambda system: system.name)
def test_shift_rule_error_falls_with_the_root_of_shots(system: System) -> None:
    theta = np.array(system.theta)
    budgets = [200, 800, 3200, 12_800]
    errors = []
    for shots in budgets:
        values, _ = repeated(ParameterShift(), system.objective(), theta, total_shots=shots, repeats=400)
        errors.append(math.sqrt(((values - system.gradients(theta)) ** 2).mean()))
    slope, deviation = _slope(budgets, errors, relative_error=1 / math.sqrt(2 * 400))
    assert abs(slope + 0.5) < Z_LIMIT * deviation
    assert Z_LIMIT * deviation < 0.1


def _slope(places: list[int], heights: list[float], *, relative_error: float) -> tuple[float, float]:
    """Slope in doubly logarithmic scale, and its standard error from that of each height."""
    x = np.log(places) - np.log(places).mean()
    return float(x @ np.log(heights) / (x @ x)), relative_error / math.sqrt(x @ x)


def test_finite_difference_error_falls_as_shots_to_the_two_thirds() -> None:
    angle, repeats = 0.9, 1500
    budgets = [10**2, 10**3, 10**4, 10**5]
    squares = []
    for shots in budgets:
        values, _ = repeated(
            FiniteDifference(), _cosine(), np.array([angle]), total_shots=2 * shots, repeats=repeats
        )
        squares.append(((values + math.sin(angle)) ** 2).mean())
    slope, deviation = _slope(budgets, squares, relative_error=math.sqrt(2 / repeats))
    assert abs(slope + 2 / 3) < Z_LIMIT * deviation + 0.01
    assert Z_LIMIT * deviation < 0.05


def test_finite_difference_at_the_best_step_has_the_known_error() -> None:
    # Central difference of cos t at t = 0.9: best h 0.675, 0.458, 0.311 and mean squared error
    # 9.14e-3, 2.09e-3, 4.64e-4 for 1e2, 1e3, 1e4 shots an evaluation; parameter-shift 1.93e-3 and so on.
    for shots, step, square in [(100, 0.675, 9.14e-3), (1000, 0.458, 2.09e-3), (10_000, 0.311, 4.64e-4)]:
        values, _ = repeated(
            FiniteDifference(step=step), _cosine(), np.array([0.9]), total_shots=2 * shots, repeats=8000
        )
        errors = (values + math.sin(0.9)) ** 2
        deviation = errors.std() / math.sqrt(len(errors))
        assert abs(errors.mean() - square) < Z_LIMIT * deviation + 0.005 * square


def test_finite_difference_error_bars_cover_bias_and_noise() -> None:
    angle = 0.9
    for total_shots in (200, 2000, 20_000):
        values, variances = repeated(
            FiniteDifference(), _cosine(), np.array([angle]), total_shots=total_shots
        )
        square = ((values + math.sin(angle)) ** 2).mean()
        assert 0.9 < variances.mean() / square < 1.3


def test_spsa_variance_without_shots_is_that_of_the_other_slopes() -> None:
    # Var_i = sum over j != i of g_j^2; E |error|^2 = (d - 1) |g|^2 (Spall 1992).
    system = product_local(4)
    theta = np.array(system.theta)
    slopes = system.gradients(theta)
    for directions in (1, 3):
        rule = SPSA(directions=directions, step=1e-3)
        values, variances = repeated(rule, system.objective(), theta, total_shots=None, repeats=20_000)
        assert (np.abs(mean_z(values, slopes)) < Z_LIMIT).all()
        exact = ((slopes**2).sum() - slopes**2) / directions
        assert (np.abs(values.var(0) / exact - 1) < Z_LIMIT * relative_variance_error(values)).all()
        total = 3 * (slopes**2).sum() / directions
        reported = variances.sum(1)
        assert abs(reported.mean() - total) < Z_LIMIT * reported.std() / math.sqrt(len(reported))


def test_spsa_variance_with_shots_adds_the_noise_of_two_values() -> None:
    # sigma^2 / (2 c^2 N) more for each component, N shots an evaluation; sigma^2 is the shot variance.
    system = product_local(3)
    theta = np.array(system.theta)
    slopes = system.gradients(theta)
    step, shots = 0.05, 40
    values, variances = repeated(
        SPSA(step=step), system.objective(), theta, total_shots=2 * shots, repeats=40_000
    )
    sigma2 = (np.sin(theta) ** 2).sum() / 9
    exact = (slopes**2).sum() - slopes**2 + sigma2 / (2 * step**2 * shots)
    assert (np.abs(mean_z(values, slopes * np.sin(step) / step)) < Z_LIMIT).all()
    ratio = values.var(0) / exact - 1
    assert (np.abs(ratio) < Z_LIMIT * relative_variance_error(values) + 3 * step**2).all()
    reported = variances.mean()
    assert abs(reported / exact.mean() - 1) < 0.03


def test_spsa_is_unbiased_with_many_directions_and_shots() -> None:
    system = controlled(CRYGate)
    theta = np.array(system.theta)
    values, variances = repeated(
        SPSA(directions=4, step=0.02), system.objective(), theta, total_shots=800, repeats=4000
    )
    assert abs(mean_z(values, system.gradients(theta))) < Z_LIMIT
    assert abs(variances.mean() / values.var() - 1) < Z_LIMIT * relative_variance_error(values)


def test_observables_measured_together_have_the_known_covariance() -> None:
    # |00> + |11> tilted: Z0, Z1 and Z0 Z1 come from the same shots.
    angle = Parameter("t")
    circuit = QuantumCircuit(2)
    circuit.ry(angle, 0)
    circuit.cx(0, 1)
    objective = Objective(
        circuit, [SparsePauliOp("IZ"), SparsePauliOp(["ZI", "ZZ"], [1.0, 0.5]), SparsePauliOp("ZZ")]
    )
    t, shots, repeats = 1.0, 30, 20_000
    rows = torch.full((repeats, 1), t, dtype=torch.float64)
    measured = Sampled().run(
        objective.target,
        FreeCircuits(angles=objective.program.angles(rows)[None]),
        shots=_even(shots, 1, len(objective.groups)),
        rng=np.random.default_rng(2),
    )
    # Z0 = Z1 and Z0 Z1 = 1 in every shot: all of the variance is sin^2(t), shared by the first two.
    exact = math.sin(t) ** 2 / shots * np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]])
    values = measured.values[0].numpy()
    covariances = measured.covariances[0].numpy()
    tolerance = Z_LIMIT * math.sqrt(2 / repeats) * exact.max() * 1.2
    np.testing.assert_allclose(np.cov(values.T), exact, atol=tolerance)
    np.testing.assert_allclose(covariances.mean(0), exact, atol=tolerance)
    assert tolerance < 0.1 * exact.max()
    np.testing.assert_allclose(measured.variances()[0].numpy(), covariances.diagonal(axis1=1, axis2=2))


def test_covariance_of_two_different_letters_in_one_basis() -> None:
    # A product state: Z0 and Z1 are independent, Z0 Z1 has covariance <Z1> Var(Z0) with Z0.
    angles = ParameterVector("t", 2)
    circuit = QuantumCircuit(2)
    circuit.ry(angles[0], 0)
    circuit.ry(angles[1], 1)
    objective = Objective(circuit, [SparsePauliOp(label) for label in ("IZ", "ZI", "ZZ")])
    theta = np.array([0.7, 1.3])
    c, s = np.cos(theta), np.sin(theta)
    shots, repeats = 25, 20_000
    value = Sampled().run(
        objective.target,
        FreeCircuits(angles=objective.program.angles(torch.from_numpy(np.tile(theta, (repeats, 1))))[None]),
        shots=_even(shots, 1, 1),
        rng=np.random.default_rng(3),
    )
    exact = (
        np.array(
            [
                [s[0] ** 2, 0, c[1] * s[0] ** 2],
                [0, s[1] ** 2, c[0] * s[1] ** 2],
                [c[1] * s[0] ** 2, c[0] * s[1] ** 2, 1 - (c[0] * c[1]) ** 2],
            ]
        )
        / shots
    )
    tolerance = Z_LIMIT * math.sqrt(2 / repeats) / shots
    np.testing.assert_allclose(np.cov(value.values[0].numpy().T), exact, atol=tolerance)
    np.testing.assert_allclose(value.covariances[0].numpy().mean(0), exact, atol=tolerance)


@pytest.mark.parametrize("total_shots", [7, 300], ids=["shot by shot", "counts"])
def test_value_from_shots_is_unbiased_and_knows_its_error(total_shots: int) -> None:
    system = several()
    theta = np.array(system.theta)
    value = system.objective().value(
        np.tile(theta, (REPEATS, 1)),
        backend=Sampled(),
        total_shots=total_shots,
        rng=np.random.default_rng(8),
    )
    values = value.values.numpy()
    assert (np.abs(mean_z(values, system.values(theta))) < Z_LIMIT).all()
    reported = (value.std_errors.numpy() ** 2).mean(0)
    error = np.hypot(relative_variance_error(values), relative_mean_error(value.std_errors.numpy() ** 2))
    assert (np.abs(reported / values.var(0, ddof=1) - 1) < Z_LIMIT * error).all()


@pytest.mark.parametrize("kind", ["general", "outcomes that cannot occur"])
@pytest.mark.parametrize("shots_each", [3, 200], ids=["shot by shot", "counts"])
@pytest.mark.parametrize("case", SHOT_CASES, ids=lambda case: case.name)
def test_sampled_values_do_not_depend_on_chunking(
    case: EstimatorCase, shots_each: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = case.estimator if not isinstance(case.estimator, SPSA) else SPSA(directions=6)
    entangled = _commuting if isinstance(rule, CommutingGenerators) else _entangled
    make = entangled if kind == "general" else _with_impossible_outcomes
    theta = np.random.default_rng(4).normal(size=(7, make().num_params))
    count = rule.price(make()).circuits * rule.allocation.num_stages

    def gradient(backend: Sampled) -> tuple[torch.Tensor, torch.Tensor]:
        # The objective is made anew: simulators are kept with it.
        result = rule.gradient(
            make(),
            theta,
            backend=backend,
            total_shots=count * shots_each + 1,
            rng=np.random.default_rng(5),
        )
        return result.values, result.std_errors

    whole = gradient(Sampled())
    small = gradient(Sampled(exact=Exact(max_bytes=12 * 16 * 2**4)))
    monkeypatch.setattr(statevector, "_CACHE_BYTES", 1)
    tight = gradient(Sampled())
    for values, errors in (small, tight):
        assert torch.equal(values, whole[0])
        assert torch.equal(errors, whole[1])


def _entangled() -> Objective:
    theta = ParameterVector("t", 6)
    circuit = QuantumCircuit(4)
    for qubit in range(4):
        circuit.ry(theta[qubit], qubit)
    for qubit in range(3):
        circuit.cx(qubit, qubit + 1)
    circuit.crx(theta[4], 0, 3)
    circuit.rzz(2 * theta[5], 1, 2)
    circuit.ry(theta[0], 1)
    return Objective(circuit, [SparsePauliOp(["ZZII", "IIXX"], [1.0, 0.3]), SparsePauliOp("YIIZ")])


def _commuting() -> Objective:
    theta = ParameterVector("t", 4)
    circuit = QuantumCircuit(4)
    for qubit in range(4):
        circuit.rx(theta[qubit], qubit)
    circuit.rxx(theta[0], 0, 2)
    circuit.rxx(theta[3], 1, 3)
    return Objective(circuit, [SparsePauliOp(["ZZII", "IIZZ"], [1.0, 0.3]), SparsePauliOp("YIIZ")])


def _with_impossible_outcomes() -> Objective:
    # Half of the outcomes have probability zero: rounding must not decide how many numbers are drawn.
    theta = ParameterVector("t", 4)
    circuit = QuantumCircuit(4)
    circuit.h(0)
    for qubit in range(3):
        circuit.cx(qubit, qubit + 1)
    for qubit in range(4):
        circuit.rz(theta[qubit], qubit)
    circuit.h(0)
    return Objective(circuit, SparsePauliOp(["ZZZZ", "XXXX"], [1.0, 0.37]))


def test_rows_of_a_batch_are_independent() -> None:
    system = chain_of_many()
    values, _ = repeated(ParameterShift(), system.objective(), np.array(system.theta), total_shots=120)
    flat = values[:, 0]
    lagged = np.corrcoef(flat[:-1], flat[1:])[0, 1]
    assert abs(lagged) < Z_LIMIT / math.sqrt(len(flat))
    between = np.corrcoef(values.T) - np.eye(values.shape[1])
    assert np.abs(between).max() < Z_LIMIT / math.sqrt(len(values))


def test_gradients_of_one_generator_are_independent() -> None:
    system = product_local()
    rng = np.random.default_rng(0)
    pair = [
        ParameterShift()
        .gradient(system.objective(), system.theta, backend=Sampled(), total_shots=600, rng=rng)
        .values
        for _ in range(2)
    ]
    assert not torch.equal(*pair)
