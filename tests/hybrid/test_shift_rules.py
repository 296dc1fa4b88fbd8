"""Shift rules: exact for their frequencies, with the known weights and noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import CRXGate, CRYGate, CRZGate
from qiskit.quantum_info import SparsePauliOp

from hybrid import Adjoint, Objective, ParameterShift
from hybrid.allocation import AbstractAllocation, Uniform, Weighted
from hybrid.backends import Exact
from hybrid.gradients.shift_rules import ShiftRule, equidistant, two_term
from tests.hybrid.samples import check_honest, check_variance, repeated
from tests.systems import controlled

ROOT = math.sqrt(2)


def _polynomial(frequencies: list[float], seed: int) -> tuple[np.ndarray, np.ndarray]:
    return np.array(frequencies), np.random.default_rng(seed).normal(size=(2, len(frequencies)))


def _value(polynomial: tuple[np.ndarray, np.ndarray], t: float) -> float:
    frequencies, (a, b) = polynomial
    return float(a @ np.cos(frequencies * t) + b @ np.sin(frequencies * t)) + 0.7


def _error(rule: ShiftRule, polynomial: tuple[np.ndarray, np.ndarray]) -> float:
    slope = sum(w * _value(polynomial, s) for s, w in zip(rule.shifts, rule.weights, strict=True))
    frequencies, (_, b) = polynomial
    return abs(slope - float(frequencies @ b))


@pytest.mark.parametrize("base", [1.0, 0.5, 3.7])
@pytest.mark.parametrize("multiples", range(1, 7))
def test_the_rule_is_exact_for_its_frequencies_and_no_others(multiples: int, base: float) -> None:
    rule = equidistant(multiples, base)
    for seed in range(5):
        inside = [base * k for k in range(1, multiples + 1)]
        assert _error(rule, _polynomial(inside, seed)) < 1e-11 * base * multiples
        assert _error(rule, _polynomial([*inside, base * (multiples + 1)], seed)) > 1e-2 * base


@pytest.mark.parametrize("multiples", range(1, 13))
def test_weights_sum_to_the_largest_frequency(multiples: int) -> None:
    rule = equidistant(multiples)
    assert len(rule.shifts) == len(rule.weights) == 2 * multiples
    assert sum(map(abs, rule.weights)) == pytest.approx(multiples, abs=1e-12)
    assert max(map(abs, rule.shifts)) <= math.pi
    assert len({round(shift, 9) for shift in rule.shifts}) == 2 * multiples


def test_the_rule_is_the_published_one() -> None:
    # Shifts (2m - 1) pi / (2R), weights (-1)^(m-1) / (4R sin^2((2m - 1) pi / (4R))), m = 1 ... 2R.
    for count in (1, 2, 3, 5):
        published = {
            round(((2 * m - 1) * math.pi / (2 * count)) % (2 * math.pi), 9): (-1) ** (m - 1)
            / (4 * count * math.sin((2 * m - 1) * math.pi / (4 * count)) ** 2)
            for m in range(1, 2 * count + 1)
        }
        rule = equidistant(count)
        ours = {
            round(s % (2 * math.pi), 9): weight for s, weight in zip(rule.shifts, rule.weights, strict=True)
        }
        assert ours == pytest.approx(published)


@pytest.mark.parametrize(("multiples", "equal"), [(1, 1), (2, 6), (3, 19)])
def test_noise_at_equal_and_at_best_shots_is_the_known_one(multiples: int, equal: int) -> None:
    rule = equidistant(multiples)
    assert rule.noise(favours_few_circuits=False) == pytest.approx(equal, abs=1e-10)
    assert rule.noise(favours_few_circuits=True) == pytest.approx(multiples**2, abs=1e-10)


def test_noise_at_equal_shots_grows_as_the_third_power() -> None:
    # 2R times the sum of squares of the weights: R (2 R^2 + 1) / 3.
    for count in range(1, 9):
        noise = equidistant(count).noise(favours_few_circuits=False)
        assert noise == pytest.approx(count * (2 * count**2 + 1) / 3, rel=1e-12)


@pytest.mark.parametrize("shift", [0.3, 1.0, math.pi / 2, 2.5])
@pytest.mark.parametrize("frequency", [1.0, 0.5, 4.0])
def test_two_terms_do_for_one_frequency(frequency: float, shift: float) -> None:
    rule = two_term(frequency, shift)
    for seed in range(5):
        assert _error(rule, _polynomial([frequency], seed)) < 1e-12 * frequency
        assert _error(rule, _polynomial([frequency, 2 * frequency], seed)) > 1e-3


def test_four_terms_of_a_controlled_rotation_are_the_closed_form() -> None:
    # c1 [E(t + pi/2) - E(t - pi/2)] - c2 [E(t + 3 pi/2) - E(t - 3 pi/2)]
    c1, c2 = (ROOT + 1) / (4 * ROOT), (ROOT - 1) / (4 * ROOT)
    closed = {math.pi / 2: c1, -math.pi / 2: -c1, 3 * math.pi / 2: -c2, -3 * math.pi / 2: c2}
    rule = equidistant(2, 0.5)
    ours = dict(zip(rule.shifts, rule.weights, strict=True))
    assert sorted(ours) == pytest.approx(sorted(closed))
    for shift, weight in closed.items():
        assert min(abs(w - weight) for s, w in ours.items() if abs(s - shift) < 1e-9) < 1e-12
    assert sum(map(abs, rule.weights)) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("gate", [CRXGate, CRYGate, CRZGate])
def test_a_controlled_rotation_has_the_same_slope_by_every_rule(gate: type) -> None:
    system = controlled(gate)
    objective = system.objective()
    t = system.theta[0]
    c1, c2 = (ROOT + 1) / (4 * ROOT), (ROOT - 1) / (4 * ROOT)
    places = t + np.pi / 2 * np.array([[1], [-1], [3], [-3]])
    up, down, far_up, far_down = objective.value(places, backend=Exact()).values.numpy()
    closed = c1 * (up - down) - c2 * (far_up - far_down)
    np.testing.assert_allclose(closed, system.gradients(np.array([t]))[0], atol=1e-12)
    for rule in (ParameterShift(), ParameterShift(rule="frequencies"), ParameterShift(rule="occurrences")):
        gradient = rule.gradient(objective, [t], backend=Exact()).values
        np.testing.assert_allclose(gradient.numpy(), [closed], atol=1e-12)
    # Two terms, as for a plain rotation, are wrong without a word.
    assert abs((up - down) / 2 - closed) > 0.05


def _ring(num_qubits: int, observable: str) -> Objective:
    """exp(-i t/4 sum of ZZ on a ring) on |+...+>: frequencies 1 to n/2, from n rotations."""
    angle = Parameter("t")
    circuit = QuantumCircuit(num_qubits)
    circuit.h(range(num_qubits))
    for qubit in range(num_qubits):
        circuit.rzz(angle / 2, qubit, (qubit + 1) % num_qubits)
    return Objective(circuit, SparsePauliOp(observable))


@pytest.mark.parametrize(("multiples", "equal"), [(2, 6), (3, 19)])
@pytest.mark.parametrize("allocation", [Uniform(), Weighted()], ids=lambda each: each.name)
def test_variance_by_frequency_is_the_closed_form(
    multiples: int, equal: int, allocation: AbstractAllocation
) -> None:
    # Z of a qubit in |+> is +1 or -1 at random, whatever the phases: sigma^2 = 1 in every circuit.
    objective = _ring(2 * multiples, "Z" + "I" * (2 * multiples - 1))
    rule = ParameterShift(rule="frequencies", allocation=allocation)
    total_shots = 2 * multiples * 300
    assert rule.price(objective).circuits == 2 * multiples
    values, variances = repeated(
        rule, objective, np.array([0.7]), total_shots=total_shots, repeats=6000, seed=multiples
    )
    factor = equal if isinstance(allocation, Uniform) else multiples**2
    check_variance(values, factor / total_shots, within=0.1)
    check_honest(values, variances, 0.0, within=0.1)


def test_the_variance_at_a_general_point_is_that_of_the_weights() -> None:
    objective = _ring(6, "X" * 3 + "I" * 3)
    rule, t, total_shots = ParameterShift(rule="frequencies"), 0.7, 6 * 200
    closed = equidistant(3)
    places = t + np.array(closed.shifts)[:, None]
    means = objective.value(places, backend=Exact()).values.numpy()
    exact = (np.array(closed.weights) ** 2 * (1 - means**2)).sum() / 200
    values, variances = repeated(rule, objective, np.array([t]), total_shots=total_shots, repeats=6000)
    check_variance(values, exact, within=0.1)
    slope = Adjoint().gradient(objective, [t], backend=Exact()).values.numpy()
    check_honest(values, variances, slope, within=0.1)


def test_the_cheapest_rule_weighs_circuits_against_noise() -> None:
    # By occurrence 12 circuits of weight 1/4 each: noise 9 at any shots. By frequency 6: 9 at best, 19 at equal shots.
    objective = _ring(6, "XXIIII")
    few = ParameterShift(allocation=Weighted())
    assert ParameterShift().price(objective).circuits == 12
    assert few.price(objective).circuits == 6
    assert ParameterShift(rule="frequencies").price(objective).circuits == 6
    assert ParameterShift(rule="occurrences", allocation=Weighted()).price(objective).circuits == 12
    exact = Adjoint().gradient(objective, [0.4], backend=Exact()).values.numpy()
    for rule in (few, ParameterShift(), ParameterShift(rule="frequencies")):
        np.testing.assert_allclose(
            rule.gradient(objective, [0.4], backend=Exact()).values.numpy(), exact, atol=1e-12
        )


def test_the_shift_is_that_of_one_frequency_too() -> None:
    # RY(t) four times side by side is cos(4 t): two circuits at t + s/4 and t - s/4.
    angle = Parameter("t")
    circuit = QuantumCircuit(1)
    for _ in range(4):
        circuit.ry(angle, 0)
    objective = Objective(circuit, SparsePauliOp("Z"))
    for shift in (math.pi / 2, 0.8):
        (part,) = ParameterShift(shift=shift).plan(objective, [0.3]).parts
        moved = part.circuits.all_angles()[:, 0] - 0.3
        np.testing.assert_allclose(moved.numpy(), [[shift / 4] * 4, [-shift / 4] * 4], atol=1e-12)
        gradient = ParameterShift(shift=shift).gradient(objective, [0.3], backend=Exact())
        np.testing.assert_allclose(gradient.values.numpy(), [-4 * math.sin(1.2)], atol=1e-12)


def test_rotations_apart_and_together_in_one_gradient() -> None:
    # One parameter stands side by side, another is kept apart by it: both parts enter one sum.
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(1)
    circuit.ry(a, 0)
    circuit.ry(a, 0)
    circuit.rz(b, 0)
    circuit.ry(a, 0)
    circuit.rz(b, 0)
    objective = Objective(circuit, SparsePauliOp(["X", "Z"], [1.0, 0.3]))
    rule = ParameterShift()
    plan = rule.plan(objective, [0.3, 0.8])
    assert [part.circuits.num_circuits for part in plan.parts] == [6, 2]
    np.testing.assert_allclose(
        rule.gradient(objective, [0.3, 0.8], backend=Exact()).values.numpy(),
        Adjoint().gradient(objective, [0.3, 0.8], backend=Exact()).values.numpy(),
        atol=1e-12,
    )
