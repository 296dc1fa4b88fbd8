"""What an objective, its backends and budgets refuse, and the words they do it with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import Operator, Pauli, SparsePauliOp

from hybrid import (
    SPSA,
    Adjoint,
    Backprop,
    CoordinateSubset,
    Differentiable,
    FiniteDifference,
    Objective,
    ParameterShift,
)
from hybrid.allocation import Uniform
from hybrid.backends import Exact, Sampled, open_backend
from hybrid.circuits import FreeCircuits, ShiftedCircuits
from hybrid.gradients import NeedsSimulator
from hybrid.metrics import BlockDiagonalMetric
from hybrid.shots import BudgetTooSmall
from tests.cases import ESTIMATOR_CASES, SHOT_CASES, EstimatorCase
from tests.systems import product_local, several

THETA = np.array(product_local().theta)

all_cases = pytest.mark.parametrize("case", ESTIMATOR_CASES, ids=lambda case: case.name)
shot_cases = pytest.mark.parametrize("case", SHOT_CASES, ids=lambda case: case.name)


def _objective() -> Objective:
    return product_local().objective()


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        ([0.1, 0.2], r"must have shape \(\.\.\., 3\), .* but has shape \(2,\)"),
        (0.3, r"but has shape \(\)"),
        (np.zeros((3, 2)), r"but has shape \(3, 2\)"),
        ([0.1, math.nan, 0.2], r"must be finite, but entry \[1\] is nan"),
        ([[0.1, 0.2, 0.3], [0.0, 0.0, math.inf]], r"must be finite, but entry \[1, 2\] is inf"),
        (np.array([0.1, 0.2, 0.3j]), "must be real, but is complex"),
        (torch.zeros(3, dtype=torch.complex128), "must be real, but is complex"),
    ],
    ids=["too few", "number", "batch of too few", "nan", "infinite", "complex array", "complex tensor"],
)
@all_cases
def test_wrong_theta_is_refused(case: EstimatorCase, theta: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        case.estimator.gradient(_objective(), theta, backend=Exact(), rng=_rng())
    with pytest.raises(ValueError, match=message):
        _objective().value(theta, backend=Exact())


@pytest.mark.parametrize(
    ("observable", "error", "message"),
    [
        (SparsePauliOp("ZZ"), ValueError, "must act on 3 qubits as the circuit does, but acts on 2"),
        ([SparsePauliOp("ZZZ"), SparsePauliOp("Z")], ValueError, "must act on 3 qubits .* but acts on 1"),
        (SparsePauliOp("ZZZ", 1j), ValueError, "must be Hermitian"),
        (SparsePauliOp(["ZZZ", "XII"], [1, 0.5 - 0.1j]), ValueError, "must be Hermitian"),
        (SparsePauliOp("ZZZ", math.nan), ValueError, "finite real coefficients"),
        (SparsePauliOp("III", 2.0), ValueError, r"is constant, \[2\.0\]"),
        (SparsePauliOp(["ZII", "ZII"], [1.0, -1.0]), ValueError, r"is constant, \[0\.0\]"),
        ("ZZZ", TypeError, "must be a qiskit SparsePauliOp or a list of them, but holds a str"),
        ([np.eye(8)], TypeError, "but holds a ndarray"),
    ],
    ids=["wide", "second", "imaginary", "part", "nan", "constant", "cancels", "label", "matrix"],
)
def test_wrong_observable_is_refused(observable: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Objective(product_local().circuit, observable)


def test_no_observable_is_refused() -> None:
    with pytest.raises(ValueError, match="`observable`"):
        Objective(product_local().circuit, [])


def test_a_pauli_is_an_observable() -> None:
    value = Objective(product_local().circuit, Pauli("IIZ")).value(THETA, backend=Exact())
    assert float(value.values) == pytest.approx(math.cos(THETA[0]))


def test_terms_that_repeat_add_up() -> None:
    value = Objective(product_local().circuit, SparsePauliOp(["IIZ", "IIZ"], [0.5, 0.25])).value(
        THETA, backend=Exact()
    )
    assert float(value.values) == pytest.approx(0.75 * math.cos(THETA[0]))


def test_a_constant_beside_others_has_no_slope_and_no_error() -> None:
    observables = [SparsePauliOp("III", 3.0), SparsePauliOp("IIZ")]
    objective = Objective(product_local().circuit, observables)
    value = objective.value(THETA, backend=Sampled(), total_shots=50, rng=_rng())
    assert value.values[0] == 3
    assert value.std_errors[0] == 0
    assert value.std_errors[1] > 0
    gradient = ParameterShift().gradient(objective, THETA, backend=Exact())
    np.testing.assert_allclose(gradient.values[0].numpy(), 0)


@shot_cases
def test_too_small_a_budget_is_refused(case: EstimatorCase) -> None:
    least = 2 * case.estimator.allocation.num_stages * case.circuits(product_local())
    for total_shots in (0, -3, least - 1):
        with pytest.raises(BudgetTooSmall, match=f"at least {least:,} .*, but is {total_shots:,}"):
            case.estimator.gradient(
                _objective(), THETA, backend=Sampled(), total_shots=total_shots, rng=_rng()
            )
    assert issubclass(BudgetTooSmall, ValueError)


@pytest.mark.parametrize("total_shots", [100.0, 99.5, "100", True, np.float64(100), np.True_], ids=repr)
@shot_cases
def test_a_budget_that_is_no_whole_number_is_refused(case: EstimatorCase, total_shots: Any) -> None:
    with pytest.raises(TypeError, match="`total_shots` must be a whole number"):
        case.estimator.gradient(_objective(), THETA, backend=Sampled(), total_shots=total_shots, rng=_rng())


def test_a_whole_number_of_numpy_is_a_budget() -> None:
    (spread,) = Uniform().first(np.int64(103), [torch.ones(5, 2)], None)
    assert spread.sum() == 103
    assert spread.shape == (5, 2)
    assert sorted(set(spread.flatten().tolist())) == [10, 11]


@pytest.mark.parametrize("total_shots", [5, 0, -1])
def test_a_value_needs_two_shots_a_basis(total_shots: int) -> None:
    objective = several().objective()
    with pytest.raises(BudgetTooSmall, match=r"at least 6 \(1 circuits, 3 with measurement bases"):
        objective.value(several().theta, backend=Sampled(), total_shots=total_shots, rng=_rng())


@pytest.mark.parametrize("total_shots", [100.0, 0.5, "100", True])
def test_a_value_takes_whole_numbers_of_shots(total_shots: Any) -> None:
    with pytest.raises(TypeError, match="`total_shots` must be a whole number"):
        _objective().value(THETA, backend=Sampled(), total_shots=total_shots, rng=_rng())


@shot_cases
def test_a_price_takes_whole_numbers_of_shots(case: EstimatorCase) -> None:
    with pytest.raises(TypeError, match="`total_shots` must be a whole number"):
        case.estimator.price(_objective(), total_shots=99.5)  # pyright: ignore


@shot_cases
def test_sampling_needs_shots_and_a_generator(case: EstimatorCase) -> None:
    with pytest.raises(ValueError, match="`total_shots` must be given on the backend Sampled"):
        case.estimator.gradient(_objective(), THETA, backend=Sampled(), rng=_rng())
    with pytest.raises(ValueError, match="`rng` must be"):
        case.estimator.gradient(_objective(), THETA, backend=Sampled(), total_shots=10_000)
    with pytest.raises(ValueError, match="`rng` must be a numpy Generator on the backend Sampled"):
        _objective().value(THETA, backend=Sampled(), total_shots=100)


@shot_cases
def test_exact_values_take_no_shots(case: EstimatorCase) -> None:
    with pytest.raises(ValueError, match="`total_shots` must be left out on the backend Exact"):
        case.estimator.gradient(_objective(), THETA, backend=Exact(), total_shots=10_000, rng=_rng())


@pytest.mark.parametrize("rule", [Adjoint(), Backprop()], ids=lambda rule: rule.name)
def test_rules_of_the_simulator_refuse_what_only_measures(rule: Adjoint | Backprop) -> None:
    needs = f"{rule.name} .* needs the backend Exact, but was given Sampled: ParameterShift gives the same"
    with pytest.raises(NeedsSimulator, match=needs):
        rule.gradient(_objective(), THETA, backend=Sampled(), total_shots=100, rng=_rng())
    with pytest.raises(NeedsSimulator, match=needs):
        Differentiable(_objective(), estimator=rule, backend=Sampled(), total_shots=100, rng=_rng())
    with pytest.raises(ValueError, match="`total_shots` has no meaning"):
        rule.gradient(_objective(), THETA, backend=Exact(), total_shots=100)


@pytest.mark.parametrize("rule", [SPSA(), CoordinateSubset()], ids=lambda rule: rule.name)
def test_random_choices_need_a_generator(rule: SPSA | CoordinateSubset) -> None:
    with pytest.raises(ValueError, match=f"`rng` must be given to {rule.name}"):
        rule.gradient(_objective(), THETA, backend=Exact())


@pytest.mark.parametrize("shift", [0.0, -1.0, math.pi, 4.0, math.nan])
def test_a_shift_outside_the_half_circle_is_refused(shift: float) -> None:
    with pytest.raises(ValueError, match="`shift` must lie strictly between 0 and pi"):
        ParameterShift(shift=shift)


@pytest.mark.parametrize("rule", [FiniteDifference, SPSA])
@pytest.mark.parametrize("step", [0.0, -0.1, math.nan, math.inf])
def test_a_step_that_is_not_positive_is_refused(rule: type, step: float) -> None:
    with pytest.raises(ValueError, match="`step` must be positive and finite"):
        rule(step=step)


@pytest.mark.parametrize("directions", [0, -1, 1.5, True])
def test_no_directions_are_refused(directions: Any) -> None:
    with pytest.raises(ValueError, match="`directions` must be a whole number of at least 1"):
        SPSA(directions=directions)


def test_an_unknown_rule_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match=r"`rule` must be one of .*'occurrences'.* but is 'often'"):
        ParameterShift(rule="often")  # pyright: ignore


def test_an_unknown_backend_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match=r"must be one of .*'exact'.*'sampled'.* but is 'quantum'"):
        open_backend("quantum")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_a_missing_device_is_refused() -> None:
    missing = "`device` is cuda, but no CUDA device is there: use 'cpu'"
    with pytest.raises(ValueError, match=missing):
        _objective().value(THETA, backend=Exact(device="cuda"))
    for case in ESTIMATOR_CASES:
        with pytest.raises(ValueError, match=missing):
            case.estimator.gradient(_objective(), THETA, backend=Exact(device="cuda"), rng=_rng())
    with pytest.raises(ValueError, match=missing):
        ParameterShift().gradient(
            _objective(), THETA, backend=Sampled(exact=Exact(device="cuda")), total_shots=100, rng=_rng()
        )


def test_single_precision_has_seven_digits() -> None:
    single = Exact(dtype=torch.complex64)
    for case in ESTIMATOR_CASES:
        if case.tolerance is None or isinstance(case.estimator, FiniteDifference):
            continue
        gradient = case.estimator.gradient(_objective(), THETA, backend=single, rng=_rng())
        assert gradient.values.dtype == torch.float64
        np.testing.assert_allclose(gradient.values.numpy(), -np.sin(THETA) / 3, atol=1e-6)
        assert np.abs(gradient.values.numpy() + np.sin(THETA) / 3).max() > 1e-12


def test_shifted_circuits_are_the_circuits_at_shifted_angles() -> None:
    objective = _two_level()
    angles = objective.program.angles(torch.tensor([[0.3, 0.8], [1.0, -0.4]], dtype=torch.float64))
    shifted = ShiftedCircuits(
        angles=angles,
        rotations=torch.tensor([2, 0, 0, 1]),
        shifts=torch.tensor([0.5, -2.0, 3.0, 1.0]).double(),
    )
    table = shifted.all_angles()
    assert table.shape == (4, 2, 3)
    moved = table - angles
    expected = np.zeros((4, 2, 3))
    for s, (rotation, shift) in enumerate([(2, 0.5), (0, -2.0), (0, 3.0), (1, 1.0)]):
        expected[s, :, rotation] = shift
    np.testing.assert_allclose(moved.numpy(), expected, atol=1e-15)
    fast = Exact().run(objective.target, shifted, shots=None, rng=None).values
    plain = Exact().run(objective.target, FreeCircuits(angles=table), shots=None, rng=None).values
    np.testing.assert_allclose(fast.numpy(), plain.numpy(), atol=1e-12)


def test_shots_of_shifted_circuits_are_those_of_the_circuits_at_shifted_angles() -> None:
    objective = _two_level()
    angles = objective.program.angles(torch.tensor([[0.3, 0.8], [1.0, -0.4]], dtype=torch.float64))
    shifted = ShiftedCircuits(
        angles=angles, rotations=torch.tensor([2, 0, 1]), shifts=torch.tensor([0.5, -2.0, 1.0]).double()
    )
    for shots in (6, 500):
        (spread,) = Uniform().first(3 * 2 * shots + 4, [torch.ones(3, len(objective.groups))], None)
        fast = Sampled().run(objective.target, shifted, shots=spread, rng=_rng())
        plain = Sampled().run(
            objective.target, FreeCircuits(angles=shifted.all_angles()), shots=spread, rng=_rng()
        )
        np.testing.assert_allclose(fast.values.numpy(), plain.values.numpy(), atol=1e-12)
        assert fast.cost == plain.cost


def _two_level() -> Objective:
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(2)
    circuit.ry(a, 0)
    circuit.cry(2 * b, 0, 1)
    return Objective(circuit, [SparsePauliOp(["ZI", "XX"], [1.0, 0.4]), SparsePauliOp("IZ")])


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: Objective("x", SparsePauliOp("Z")), "`circuit` must be a qiskit QuantumCircuit"),  # pyright: ignore
        (lambda: Objective(QuantumCircuit(1), Operator(np.eye(2))), "from_operator"),  # pyright: ignore
        (
            lambda: ParameterShift().gradient(QuantumCircuit(1), [0.1], backend=Exact()),
            "must be an Objective",
        ),  # pyright: ignore
        (lambda: ParameterShift().gradient(one(), [0.1], backend="exact"), "`backend` must be a backend"),  # pyright: ignore
        (lambda: Adjoint().gradient(one(), [0.1], backend=Exact), "`backend` must be a backend"),  # pyright: ignore
        (
            lambda: ParameterShift(allocation=Uniform).gradient(one(), [0.1], backend=Exact()),  # pyright: ignore
            r"`allocation` must be an allocation such as Uniform\(\), but is <class",
        ),
        (
            lambda: BlockDiagonalMetric(allocation="uniform").price(one()),  # pyright: ignore
            r"`allocation` must be an allocation such as Uniform\(\), but is 'uniform'",
        ),
        (lambda: one().value("abc", backend=Exact()), "`theta` must be numbers"),
        (lambda: one().value([[1.0], [1.0, 2.0]], backend=Exact()), "`theta` must be numbers"),  # pyright: ignore
    ],
)
def test_a_thing_of_another_kind_is_named(call: Callable[[], object], match: str) -> None:
    with pytest.raises(TypeError, match=match):
        call()


def test_shots_without_number_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`total_shots` must be at most 9,007,199,254,740,992"):
        ParameterShift().plan(one(), [0.1], total_shots=10**17)


def one() -> Objective:
    circuit = QuantumCircuit(1)
    circuit.ry(Parameter("a"), 0)
    return Objective(circuit, SparsePauliOp("Z"))
