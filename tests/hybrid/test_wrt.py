"""Derivatives by some of the parameters: the right columns, in the order asked for, at the price of those alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp

from hybrid import SPSA, CommutingGenerators, CoordinateSubset, FiniteDifference, Objective
from hybrid.backends import Exact, Sampled
from tests.cases import ESTIMATOR_CASES, SHOT_CASES, EstimatorCase, arguments_for
from tests.systems import System, asymmetric, product_global, product_local, several, shared_and_affine

all_cases = pytest.mark.parametrize("case", ESTIMATOR_CASES, ids=lambda case: case.name)
SYSTEMS = [product_local(4), shared_and_affine(), several(), asymmetric()]
ORDERS: list[list[int]] = [[0], [1], [1, 0], [0, 1]]


def _slopes(case: EstimatorCase, system: System, wrt: list[Any] | None) -> np.ndarray:
    gradient = case.estimator.gradient(system.objective(), system.theta, wrt=wrt, **arguments_for(Exact()))
    return gradient.values.numpy()


@pytest.mark.parametrize("wrt", ORDERS, ids=str)
@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
@all_cases
def test_columns_are_those_of_the_whole_gradient(case: EstimatorCase, system: System, wrt: list[int]) -> None:
    if not case.takes(system):
        system = case.several
    exact = system.gradients(np.array(system.theta))[..., wrt]
    by_place = _slopes(case, system, wrt)
    named = [system.objective().parameters[place] for place in wrt]
    assert by_place.shape == exact.shape
    np.testing.assert_array_equal(_slopes(case, system, named), by_place)
    np.testing.assert_array_equal(_slopes(case, system, [wrt[0], *named[1:]]), by_place)
    error = np.abs(by_place - exact)
    if isinstance(case.estimator, SPSA):
        # One parameter alone has no others to be noise of it.
        spread = np.sqrt(((exact**2).sum(-1, keepdims=True) - exact**2) / case.estimator.directions)
        assert (error < 4.5 * spread + 1e-6 * system.scale).all()
        assert len(wrt) > 1 or not spread.any()
        return
    rotations = int(system.objective().program.coefficients[:, wrt].any(1).sum())
    if isinstance(case.estimator, CoordinateSubset) and rotations > case.estimator.count:
        return
    assert error.max() < (case.tolerance or 1e-10) * max(1.0, system.scale)


@all_cases
def test_all_in_order_is_the_whole_gradient(case: EstimatorCase) -> None:
    system = case.several
    everything = list(range(system.num_params))
    np.testing.assert_array_equal(_slopes(case, system, everything), _slopes(case, system, None))


@pytest.mark.parametrize("count", [1, 2, 3])
@all_cases
def test_it_costs_what_those_parameters_cost(case: EstimatorCase, count: int) -> None:
    # One rotation a parameter, all of which share a circuit.
    expected = {
        "parameter-shift": 2 * count,
        "parameter-shift, s = 1, by occurrence": 2 * count,
        "parameter-shift, two-stage": 2 * count,
        "finite differences": 2 * count,
        "SPSA": 2 * 400,
        "Hadamard test": count,
        "commuting generators": 1,
        "coordinate subset": 2 * min(2, count),
        "coordinate subset, all": 2 * count,
        "adjoint": 1,
        "backprop": 1,
    }[case.name]
    system = product_local(5)
    wrt = [4, 0, 2][:count]
    rng = np.random.default_rng(0)
    gradient = case.estimator.gradient(system.objective(), system.theta, backend=Exact(), wrt=wrt, rng=rng)
    assert gradient.cost.circuits == expected
    assert case.estimator.price(system.objective(), rows=3, wrt=wrt).circuits == 3 * expected
    if not case.takes_shots:
        return
    total_shots = 4000
    sampled = case.estimator.gradient(
        system.objective(), system.theta, backend=Sampled(), wrt=wrt, rng=rng, total_shots=total_shots
    )
    stages = case.estimator.allocation.num_stages
    assert (sampled.cost.circuits, sampled.cost.shots) == (stages * expected, total_shots)
    assert sampled.values.shape == sampled.std_errors.shape == sampled.biases.shape == (count,)


def test_fewer_generators_need_fewer_shared_circuits() -> None:
    # The projector's terms with Z on one qubit have products with X there that commute, whatever the others hold.
    objective = product_global().objective()
    assert CommutingGenerators().price(objective).circuits == 5
    for place in range(3):
        assert CommutingGenerators().price(objective, wrt=[place]).circuits == 1


@pytest.mark.parametrize("case", SHOT_CASES, ids=lambda case: case.name)
def test_errors_and_covariances_have_the_shape_of_what_was_asked(case: EstimatorCase) -> None:
    system = case.several
    theta = np.tile(system.theta, (3, 1))
    gradient = case.estimator.gradient(
        system.objective(), theta, wrt=[1], **arguments_for(Sampled(), total_shots=8000)
    )
    observables = len(system.observable)
    assert gradient.values.shape == gradient.std_errors.shape == (3, observables, 1)
    assert gradient.covariances.shape == (3, observables, observables, 1)
    assert gradient.plan is not None
    assert gradient.plan.wrt.tolist() == [1]


@pytest.mark.parametrize("rule", [FiniteDifference(), SPSA()], ids=lambda rule: rule.name)
@pytest.mark.parametrize("total_shots", [None, 1000])
def test_a_step_is_that_of_the_parameters_asked_for(
    rule: FiniteDifference | SPSA, total_shots: int | None
) -> None:
    # RX(a) RX(5 b): b's step is a fifth, so its weights, 1 / (2 step), are five times a's.
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(2)
    circuit.rx(a, 0)
    circuit.rx(5 * b, 1)
    objective = Objective(circuit, SparsePauliOp("ZZ"))

    def weight(wrt: list[int]) -> float:
        plan = rule.plan(
            objective, [0.1, 0.2], total_shots=total_shots, rng=np.random.default_rng(0), wrt=wrt
        )
        return float(plan.parts[0].weights.abs().max())

    assert weight([1]) == pytest.approx(5 * weight([0]))
    together = weight([1, 0])
    if isinstance(rule, SPSA):  # along both at once: the root of 1 + 25
        assert together == pytest.approx(np.sqrt(26) * weight([0]))
    elif total_shots is None:
        assert together == pytest.approx(weight([1]))


@pytest.mark.parametrize(
    "wrt",
    [[Parameter("t[0]")], [3], [-1], [0, 7], ["t[0]"], [1.0], [True], [None], []],
    ids=[
        "another of the name",
        "too large",
        "negative",
        "one too large",
        "name",
        "float",
        "bool",
        "None",
        "empty",
    ],
)
@all_cases
def test_strangers_are_refused(case: EstimatorCase, wrt: list[Any]) -> None:
    system = product_local()
    message = (
        r"^Argument `wrt` must hold parameters of the objective or their places .* 0 to 2, but is \[.*\]\.$"
    )
    with pytest.raises(ValueError, match=message):
        case.estimator.gradient(system.objective(), system.theta, wrt=wrt, **arguments_for(Exact()))
    if case.takes_shots:
        with pytest.raises(ValueError, match=message):
            case.estimator.price(system.objective(), wrt=wrt)


@pytest.mark.parametrize("wrt", ["t", 0, Parameter("t"), 1.5], ids=["name", "place", "parameter", "float"])
@all_cases
def test_what_is_no_list_is_refused(case: EstimatorCase, wrt: Any) -> None:
    system = product_local()
    with pytest.raises(
        TypeError, match=r"^Argument `wrt` must be a list of parameters or places in theta, but is"
    ):
        case.estimator.gradient(system.objective(), system.theta, wrt=wrt, **arguments_for(Exact()))


@pytest.mark.parametrize("wrt", [(2, 0), np.array([2, 0]), range(2, -1, -2)], ids=["tuple", "array", "range"])
@all_cases
def test_places_may_come_in_any_row(case: EstimatorCase, wrt: Any) -> None:
    system = product_local()
    np.testing.assert_array_equal(_slopes(case, system, wrt), _slopes(case, system, [2, 0]))


@all_cases
def test_repeats_are_refused(case: EstimatorCase) -> None:
    system = product_local()
    objective = system.objective()
    for wrt in ([0, 0], [1, objective.parameters[1]], [objective.parameters[2], 0, objective.parameters[2]]):
        with pytest.raises(
            ValueError, match=r"^Argument `wrt` must hold each parameter once, but is \[.*\]\.$"
        ):
            case.estimator.gradient(objective, system.theta, wrt=wrt, **arguments_for(Exact()))


@all_cases
def test_a_parameter_that_feeds_nothing_costs_nothing_and_has_no_slope(case: EstimatorCase) -> None:
    system = product_local()
    more = [Parameter("nowhere"), *system.circuit.parameters]
    objective = Objective(system.circuit, system.observable, parameters=more)
    theta = [0.3, *system.theta]
    gradient = case.estimator.gradient(objective, theta, wrt=[0], **arguments_for(Exact()))
    np.testing.assert_allclose(gradient.values.numpy(), [0.0], atol=1e-6)
    goes_by_rotation = not isinstance(case.estimator, (SPSA, FiniteDifference)) and case.takes_shots
    if not goes_by_rotation:
        return
    sampled = case.estimator.gradient(objective, theta, wrt=[0], **arguments_for(Sampled()))
    for each in (gradient, sampled):
        assert (each.cost.circuits, each.cost.shots) == (0, 0)
        assert each.values.tolist() == each.std_errors.tolist() == [0.0]
        assert each.plan is not None
        assert (each.plan.cost.circuits, each.plan.cost.shots) == (0, 0)
