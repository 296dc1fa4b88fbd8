"""What parts of the study of measurement overhead rest on: exact sampling, theory, shares and the choice of rates."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pandas as pd
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import PauliEvolutionGate
from qiskit.quantum_info import SparsePauliOp
from scipy.special import ndtr

from hybrid import Adjoint, CommutingGenerators, Objective, ParameterShift
from hybrid.backends import Exact, Sampled
from studies.overhead.bars_and_dots import Classifier, pictures
from studies.overhead.descent_cases import Commuting, Layered
from studies.overhead.descent_theory import chance_of_exact_rule, chance_of_spsa, least_shots
from studies.overhead.success import crossing, share
from studies.overhead.tuning import most_chosen, tuned
from tests.hybrid.samples import Z_LIMIT, check_mean, relative_variance_error

# --- bars and dots ------------------------------------------------------------------------------------


def test_pictures_are_bars_and_dots_with_noise() -> None:
    """Half of 8 pixels are -1: together in a bar, every second one among dots; noise 1; all halved."""
    x, classes = pictures(40_000, 8, np.random.default_rng(0))
    bars, dots = x[classes == 1], x[classes == -1]
    assert abs(len(bars) / len(x) - 0.5) < 0.02
    for of_class, neighbours in ((bars, (8 - 4) / 8), (dots, -1.0)):
        assert of_class.mean() == pytest.approx(0, abs=0.01)
        assert of_class.var() == pytest.approx((1 + 1) / 4, rel=0.02)
        product = (of_class * np.roll(of_class, 1, axis=1)).mean()
        assert product == pytest.approx(neighbours / 4, abs=0.01)


@cache
def _objective(qubits: int) -> Objective:
    """The classifier as a circuit: pictures first, then weights."""
    model = Classifier(qubits=qubits)
    x, weights = ParameterVector("x", qubits), ParameterVector("w", model.num_params)
    circuit = QuantumCircuit(qubits)
    for qubit in range(qubits):
        circuit.ry(x[qubit], qubit)
    for weight, supports in zip(weights, model.supports, strict=True):
        for support in supports:
            string = SparsePauliOp.from_sparse_list(
                [("X" * len(support), list(support), 1.0)], num_qubits=qubits
            )
            circuit.append(PauliEvolutionGate(string.paulis[0], time=weight / 2), range(qubits))
    mean = SparsePauliOp.from_sparse_list([("Z", [q], 1 / qubits) for q in range(qubits)], num_qubits=qubits)
    return Objective(circuit, mean, parameters=[*x, *weights])


def _point(qubits: int) -> tuple[Classifier, np.ndarray, np.ndarray]:
    model, rng = Classifier(qubits=qubits), np.random.default_rng(qubits)
    return model, rng.uniform(0, 2 * np.pi, model.num_params), pictures(2, qubits, rng)[0]


@pytest.mark.parametrize("qubits", [3, 4, 5])
def test_the_classifier_is_its_circuit(qubits: int) -> None:
    model, weights, x = _point(qubits)
    theta = np.hstack([x, np.tile(weights, (2, 1))])
    exact = _objective(qubits).value(theta, backend=Exact()).values.numpy()
    np.testing.assert_allclose(model.values(weights, x), exact, atol=1e-12)
    wrt = list(range(qubits, qubits + model.num_params))
    slopes = Adjoint().gradient(_objective(qubits), theta, backend=Exact(), wrt=wrt).values.numpy()
    np.testing.assert_allclose(model.gradients(weights, x), slopes, atol=1e-12)
    assert np.abs(slopes).max() > 0.01


def test_sixteen_qubits_have_the_sources_sizes() -> None:
    """696 rotations, 44 weights: 1, 8 and 35 orbits of strings of one, two and three letters."""
    model = Classifier(qubits=16)
    assert (model.num_strings, model.num_params) == (16 + 120 + 560, 1 + 8 + 35)
    _, paid = model.commuting_gradients(np.zeros(44), np.zeros((2, 16)), 3, np.random.default_rng(0))
    assert (paid.circuits, paid.shots) == (2 * 16, 2 * 16 * 3)


def test_sampled_values_have_the_known_mean_and_variance() -> None:
    model, weights, x = _point(4)
    rng = np.random.default_rng(1)
    drawn = np.array([model.sampled_values(weights, x, 5, rng)[0] for _ in range(6_000)])
    check_mean(drawn, model.values(weights, x))
    np.testing.assert_allclose(drawn.var(0, ddof=1) * 5, model.variances(weights, x), rtol=0.09)


@pytest.mark.parametrize("rule", [ParameterShift(rule="occurrences"), CommutingGenerators()])
def test_shots_have_the_mean_and_noise_of_the_rules_on_circuits(
    rule: ParameterShift | CommutingGenerators,
) -> None:
    model, weights, x = _point(4)
    objective, repeats, rng = _objective(4), 6_000, np.random.default_rng(2)
    together = isinstance(rule, CommutingGenerators)
    draw, circuits = (
        (model.commuting_gradients, 4) if together else (model.shift_gradients, 2 * model.num_strings)
    )
    values, paid = draw(weights, np.repeat(x[:1], repeats, axis=0), 2, rng)
    assert (paid.circuits, paid.shots) == (circuits * repeats, 2 * circuits * repeats)
    check_mean(values, model.gradients(weights, x)[0])
    theta, wrt = np.concatenate([x[0], weights]), list(range(4, 4 + model.num_params))
    many = 2_000_000
    known = rule.gradient(objective, theta, backend=Sampled(), total_shots=many, rng=rng, wrt=wrt)
    variances = known.std_errors.numpy() ** 2 * many / (2 * circuits)
    assert (np.abs(values.var(0, ddof=1) / variances - 1) < Z_LIMIT * relative_variance_error(values)).all()
    assert (Z_LIMIT * relative_variance_error(values) < 0.12).all()


# --- theory, shares and rates -------------------------------------------------------------------------


def test_without_curvature_a_step_takes_the_shots_of_the_normal_quantile() -> None:
    """N = 1.645^2 g.C.g / (g.g)^2, whatever the rate."""
    slope, noise = np.array([0.3, -0.4]), np.array([[2.0, 0.5], [0.5, 1.0]])
    found = least_shots(lambda shots: chance_of_exact_rule(slope, np.zeros((2, 2)), noise, 0.7, shots))
    expected = 1.6448536**2 * slope @ noise @ slope / (slope @ slope) ** 2
    assert found == pytest.approx(expected, rel=1e-5)
    assert least_shots(lambda shots: 0.9) is None


@pytest.mark.parametrize("shots", [50, 200, 800])
def test_chances_are_those_of_drawn_noise_on_a_quadratic(shots: int) -> None:
    rng = np.random.default_rng(3)
    count, rate = 6, 0.5
    slope, root = rng.normal(size=count) / 3, rng.normal(size=(count, count))
    curvature = np.diag(rng.uniform(-0.3, 1.0, count))
    noise = root @ root.T
    drawn = rng.multivariate_normal(slope, noise / shots, size=40_000)
    change = -rate * drawn @ slope + rate**2 / 2 * np.einsum("ri,ij,rj->r", drawn, curvature, drawn)
    # The normal that stands for the quadratic form is off by its skewness, a percent or so.
    assert chance_of_exact_rule(slope, curvature, noise, rate, shots) == pytest.approx(
        (change < 0).mean(), abs=0.03
    )
    signs = rng.choice([-1.0, 1.0], size=(40_000, count))
    along, bend = signs @ slope, (signs @ curvature * signs).sum(1)
    noisy = along + rng.normal(size=len(along)) * math.sqrt(3 / shots)
    falls = -rate / count * noisy * along + (rate / count) ** 2 / 2 * noisy**2 * bend < 0
    expected = chance_of_spsa(along, bend, 3 / shots, rate / count)
    assert expected == pytest.approx(falls.mean(), abs=4.5 * 0.5 / math.sqrt(40_000))


def test_shares_have_exact_binomial_intervals() -> None:
    """Of n successes in n the lower end is alpha^(1/n); shares are told apart by their own count."""
    whole, none = share(30, 30), share(0, 30)
    assert (whole.value, whole.high) == (1.0, 1.0)
    assert whole.low == pytest.approx(0.025 ** (1 / 30))
    assert (none.low, none.high) == (0.0, pytest.approx(1 - 0.025 ** (1 / 30)))
    rng = np.random.default_rng(4)
    counts = rng.binomial(50, 0.9, size=400)
    held = [
        (each.low or 0) <= 0.9 <= (each.high or 1) for each in (share(int(count), 50) for count in counts)
    ]
    assert np.mean(held) > 0.93


def test_a_crossing_is_found_where_it_is() -> None:
    shots = np.geomspace(100, 1_600, 5)
    chances = ndtr(1.6448536 + 1.3 * np.log(shots / 500))
    assert crossing(shots, 1e6 * chances, 1_000_000) == pytest.approx(500, rel=1e-3)
    rng = np.random.default_rng(5)
    found = [crossing(shots, rng.binomial(200, chances), 200) for _ in range(100)]
    assert np.log([each for each in found if each]).mean() == pytest.approx(math.log(500), abs=0.08)
    assert crossing(shots, [200] * 5, 200) is None
    assert crossing(shots, [200, 190, 180, 150, 100], 200) is None


def test_no_run_chooses_its_own_rate() -> None:
    errors = {0.1: [1.0, 1.0, 1.0], 0.5: [0.01, 2.0, 2.0]}
    rows = pd.DataFrame(
        [
            {"rate": rate, "replicate": replicate, "end_error": error}
            for rate, column in errors.items()
            for replicate, error in enumerate(column)
        ]
    )
    chosen = tuned(rows).set_index("replicate")["rate"].to_dict()
    # The lucky first start cannot choose 0.5 for itself, but does for the others.
    assert chosen == {0: 0.1, 1: 0.5, 2: 0.5}
    assert most_chosen(tuned(rows)) == 0.5


# --- the losses of descent ----------------------------------------------------------------------------


@pytest.mark.parametrize("case", [Layered(2), Commuting(_point(4)[2][:1])], ids=["layers", "commuting"])
def test_slopes_curvature_and_noise_of_a_loss(case: Layered | Commuting) -> None:
    rng = np.random.default_rng(6)
    theta = rng.uniform(0, 2 * np.pi, case.num_params)
    slope, curvature = case.slopes(theta)
    step = 1e-4 * rng.normal(size=case.num_params)
    plus, minus, middle = case.values(np.array([theta + step, theta - step, theta]))
    assert (plus - minus) / 2 == pytest.approx(slope @ step, rel=1e-5)
    assert (plus + minus) / 2 - middle == pytest.approx(step @ curvature @ step / 2, rel=1e-3)
    for method in case.methods:
        shots = 10 * case.least_shots(method)
        drawn, cost = case.measured(method, theta, shots, 400, rng)
        assert cost.shots == 400 * shots
        if method != "SPSA":
            z = (drawn.mean(0) - slope) / (drawn.std(0) / 20 + 1e-12)
            assert np.abs(z).max() < 4.5
            ratio = np.trace(np.cov(drawn.T)) * shots / np.trace(case.noise(method, theta, rng))
            assert ratio == pytest.approx(1, abs=0.25)
