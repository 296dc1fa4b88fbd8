"""An objective as a torch function: derivatives, their errors, and what they cost."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.quantum_info import SparsePauliOp

from hybrid import (
    SPSA,
    Adjoint,
    Backprop,
    CommutingGenerators,
    CoordinateSubset,
    Differentiable,
    FiniteDifference,
    HadamardTest,
    Objective,
    ParameterShift,
    QuantumLayer,
)
from hybrid.allocation import RandomTerms, TwoStage, Weighted
from hybrid.backends import Exact, Sampled
from hybrid.differentiable import NoSecondDerivative
from hybrid.gradients import AbstractShotEstimator
from hybrid.shots import BudgetTooSmall
from tests.cases import ESTIMATOR_CASES, EstimatorCase, arguments_for
from tests.hybrid.samples import Z_LIMIT, Array, check_honest, check_mean, mean_z
from tests.systems import product_local, several, several_commuting

THETA = np.array([0.5, 1.6, 1.1])
# Both observables rise and fall together in every shot, and the loss takes their difference.
UPSTREAM = torch.tensor([1.0, -0.6], dtype=torch.float64)


@cache
def _correlated() -> Objective:
    """Two observables from the same shots, which agree in most of them; three parameters."""
    theta = ParameterVector("t", 3)
    circuit = QuantumCircuit(2)
    circuit.rx(theta[0], 0)
    circuit.cx(0, 1)
    circuit.rx(theta[1], 1)
    circuit.rxx(2 * theta[2], 0, 1)
    circuit.rx(-0.5 * theta[0], 1)
    return Objective(
        circuit, [SparsePauliOp(["ZI", "IZ"], [0.5, 1.0]), SparsePauliOp(["IZ", "ZI", "XX"], [1.0, 0.6, 0.3])]
    )


def _function(
    estimator: AbstractShotEstimator, total_shots: int, seed: int = 1, **settings: Any
) -> Differentiable:
    return Differentiable(
        _correlated(),
        estimator=estimator,
        backend=Sampled(),
        total_shots=total_shots,
        rng=np.random.default_rng(seed),
        **settings,
    )


def _linear_loss_slopes(function: Differentiable, rows: int) -> tuple[Array, Array, Array]:
    """Slopes, reported variances and reported biases of a linear loss, each (rows, P)."""
    theta = torch.from_numpy(np.tile(THETA, (rows, 1))).requires_grad_()
    (function(theta) @ UPSTREAM).sum().backward()
    assert theta.grad is not None
    assert function.errors is not None
    return theta.grad.numpy(), function.errors.variances.numpy(), function.errors.biases.numpy()


def _exact_slopes() -> Array:
    gradient = Adjoint().gradient(_correlated(), THETA, backend=Exact()).values
    return (UPSTREAM @ gradient).numpy()


HONEST = {
    "parameter-shift": (ParameterShift(), 1200),
    "by frequency": (ParameterShift(rule="frequencies"), 1200),
    "weighted": (ParameterShift(allocation=Weighted()), 1200),
    "two-stage": (ParameterShift(allocation=TwoStage()), 2400),
    "Hadamard test": (HadamardTest(), 900),
    "commuting generators": (CommutingGenerators(), 900),
}


@pytest.mark.parametrize(("estimator", "total_shots"), HONEST.values(), ids=list(HONEST))
def test_errors_of_a_loss_gradient_are_its_spread(estimator: AbstractShotEstimator, total_shots: int) -> None:
    function = _function(estimator, total_shots)
    slopes, variances, biases = _linear_loss_slopes(function, 8000)
    check_honest(slopes, variances, _exact_slopes(), within=0.1)
    assert (np.abs(variances.mean(0) / slopes.var(0, ddof=1) - 1) < 0.05).all()
    assert not biases.any()


def test_without_the_covariance_of_observables_the_errors_would_be_wrong() -> None:
    rule, rows = ParameterShift(), 2000
    function = _function(rule, 1200)
    slopes, variances, _ = _linear_loss_slopes(function, rows)
    gradient = rule.gradient(
        _correlated(),
        np.tile(THETA, (rows, 1)),
        backend=Sampled(),
        total_shots=1200,
        rng=np.random.default_rng(1),
    )
    # Each observable's own error, as if they were independent.
    naive = (UPSTREAM[:, None] ** 2 * gradient.std_errors**2).sum(1).numpy()
    observed = slopes.var(0, ddof=1)
    assert (np.abs(variances.mean(0) / observed - 1) < 0.2).all()
    assert (naive.mean(0) / observed - 1 > 0.5).all()


def test_errors_of_random_directions_are_the_spread_on_average_over_components() -> None:
    slopes, variances, _ = _linear_loss_slopes(_function(SPSA(directions=2, step=0.05), 800), 16_000)
    exact = _exact_slopes()
    assert (np.abs(mean_z(slopes, exact)) < Z_LIMIT + 0.2).all()
    squares = ((slopes - exact) ** 2).sum(1)
    difference = squares - variances.sum(1)
    error = difference.std() / math.sqrt(len(difference))
    assert abs(difference.mean()) < Z_LIMIT * error + 0.005 * squares.mean()
    assert Z_LIMIT * error < 0.08 * squares.mean()


def test_errors_of_finite_differences_hold_noise_and_bias() -> None:
    step = 0.4
    slopes, variances, biases = _linear_loss_slopes(_function(FiniteDifference(step=step), 1200), 8000)
    exact = _exact_slopes()
    function = Differentiable(_correlated(), estimator=FiniteDifference(step=step))
    theta = torch.from_numpy(THETA)[None].requires_grad_()
    (function(theta) @ UPSTREAM).sum().backward()
    assert theta.grad is not None
    bias = theta.grad.numpy()[0] - exact
    assert (np.abs(bias) > 3e-3).all()
    check_honest(slopes, variances, exact + bias, within=0.1)
    # To leading order, for a parameter of one frequency: the second.
    assert abs(biases.mean(0)[1] / bias[1] - 1) < 0.1
    check_mean(biases, -((np.array([1.5, 1.0, 2.0]) * step) ** 2) / 6 * (exact + bias))


def _bell() -> Objective:
    """Two bases, at pi/2 each without noise in the shifted circuits: all noise is that of drawing one of them."""
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.rx(Parameter("t"), 0)
    return Objective(circuit, SparsePauliOp(["ZZ", "XX"], [1.0, -1.0]))


@pytest.mark.parametrize("kind", ["coordinate subset", "random terms"])
def test_rows_add_up_when_something_is_drawn_for_all_of_them(kind: str) -> None:
    # Four rows that are alike: were one draw to serve them all, the sum's variance would be four times as large.
    if kind == "random terms":
        objective, theta, estimator = (
            _bell(),
            np.array([math.pi / 2]),
            ParameterShift(allocation=RandomTerms()),
        )
    else:
        objective, theta, estimator = _correlated(), THETA, CoordinateSubset(count=2)
    function = Differentiable(
        objective, estimator=estimator, backend=Sampled(), total_shots=400, rng=np.random.default_rng(1)
    )
    gradient = Adjoint().gradient(objective, theta, backend=Exact()).values.reshape(-1, len(theta))
    exact = gradient.sum(0).numpy()
    rows, calls = 4, 120
    sums, reported = np.zeros((calls, len(theta))), np.zeros((calls, len(theta)))
    for k in range(calls):
        leaf = torch.from_numpy(np.tile(theta, (rows, 1))).requires_grad_()
        function(leaf).sum().backward()
        assert leaf.grad is not None
        assert function.errors is not None
        sums[k], reported[k] = leaf.grad.sum(0).numpy(), function.errors.variances.sum(0).numpy()
    squares = ((sums - rows * exact) ** 2).sum(1)
    difference = squares - reported.sum(1)
    error = difference.std(ddof=1) / math.sqrt(calls)
    assert abs(difference.mean()) < Z_LIMIT * error
    assert Z_LIMIT * error < 0.7 * squares.mean()


# The layer: weights and inputs.


def _layer(inputs: int, **settings: Any) -> QuantumLayer:
    objective = _correlated()
    layer = QuantumLayer(
        objective, inputs=list(objective.parameters)[:inputs], rng=np.random.default_rng(2), **settings
    )
    with torch.no_grad():
        layer.weights.copy_(torch.from_numpy(THETA[inputs:]))
    return layer


def _sampled_layer(inputs: int, total_shots: int = 1200, **settings: Any) -> QuantumLayer:
    return _layer(inputs, backend=Sampled(), total_shots=total_shots, **settings)


def test_input_errors_are_the_spread_of_what_flows_on() -> None:
    # A loss that is not linear, at forward values that are as good as exact.
    rows = 8000
    layer = _sampled_layer(1, value_shots=10**12)
    inputs = torch.full((rows, 1), THETA[0], dtype=torch.float64, requires_grad=True)
    loss = ((layer(inputs) - torch.tensor([0.3, 2.0])) ** 2) @ UPSTREAM
    loss.sum().backward()
    errors = layer.loss_gradient_errors()
    assert inputs.grad is not None
    assert errors is not None
    assert errors.inputs is not None
    assert errors.inputs.shape == inputs.shape
    exact = _layer(1, estimator=Backprop())
    leaf = inputs.detach()[:1].clone().requires_grad_()
    (((exact(leaf) - torch.tensor([0.3, 2.0])) ** 2) @ UPSTREAM).sum().backward()
    assert leaf.grad is not None
    samples, variances = inputs.grad.numpy(), errors.inputs.numpy() ** 2
    check_honest(samples, variances, leaf.grad.numpy()[0], within=0.1)
    assert abs(variances.mean() / samples.var() - 1) < 0.05
    # Weights: the same rows, summed.
    assert layer.weights.grad is not None
    assert exact.weights.grad is not None
    z = (layer.weights.grad - rows * exact.weights.grad) / errors.weights
    assert (z.abs() < Z_LIMIT).all()


def test_weight_errors_are_the_spread_of_the_summed_gradient() -> None:
    layer = _sampled_layer(1, value_shots=4)
    inputs = torch.tensor([[0.3], [0.7], [-1.1]], dtype=torch.float64)
    values, variances = [], []
    for _ in range(500):
        layer.zero_grad()
        (layer(inputs) @ UPSTREAM).sum().backward()
        errors = layer.loss_gradient_errors()
        assert errors is not None
        assert errors.inputs is None
        assert layer.weights.grad is not None
        values.append(layer.weights.grad.clone())
        variances.append(errors.weights**2)
    exact = _layer(1, estimator=Backprop())
    (exact(inputs) @ UPSTREAM).sum().backward()
    assert exact.weights.grad is not None
    samples, reported = torch.stack(values).numpy(), torch.stack(variances).numpy()
    check_mean(samples, exact.weights.grad.numpy())
    # Both weights together, each in units of its own variance.
    ratio = (((samples - exact.weights.grad.numpy()) ** 2) / reported).mean()
    assert abs(ratio - 1) < Z_LIMIT * math.sqrt(2 / samples.size)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3)], ids=str)
def test_rows_of_a_batch_add_and_keep_their_shape(shape: tuple[int, ...]) -> None:
    layer = _sampled_layer(2, total_shots=400)
    inputs = torch.from_numpy(np.random.default_rng(3).normal(size=(*shape, 2))).requires_grad_()
    (layer(inputs) @ UPSTREAM).sum().backward()
    errors, by_row = layer.loss_gradient_errors(), layer.function.errors
    assert errors is not None
    assert by_row is not None
    assert errors.inputs is not None
    assert by_row.variances.shape == by_row.biases.shape == (*shape, 3)
    assert errors.inputs.shape == (*shape, 2)
    assert errors.weights.shape == (1,)
    torch.testing.assert_close(errors.inputs, by_row.variances[..., :2].sqrt())
    torch.testing.assert_close(errors.weights**2, by_row.variances[..., 2:].reshape(-1, 1).sum(0))


def test_biases_of_rows_add_before_they_are_squared() -> None:
    layer = _sampled_layer(1, total_shots=400, estimator=FiniteDifference(step=0.5))
    inputs = torch.tensor([[0.3], [0.4]], dtype=torch.float64, requires_grad=True)
    (layer(inputs) @ UPSTREAM).sum().backward()
    errors, by_row = layer.loss_gradient_errors(), layer.function.errors
    assert errors is not None
    assert by_row is not None
    assert errors.inputs is not None
    assert (by_row.biases.abs() > 1e-3).any()
    expected = (by_row.variances.sum(0) + by_row.biases.sum(0) ** 2).sqrt()[1:]
    torch.testing.assert_close(errors.weights, expected)
    deviations = (by_row.variances + by_row.biases**2).sqrt()[:, :1]
    torch.testing.assert_close(errors.inputs, deviations)


def test_errors_are_those_of_the_last_backward_pass() -> None:
    layer = _sampled_layer(1, total_shots=400)
    assert layer.loss_gradient_errors() is None
    inputs = torch.rand(
        4, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ).requires_grad_()
    (layer(inputs) @ UPSTREAM).sum().backward()
    before = layer.loss_gradient_errors()
    assert before is not None
    assert before.inputs is not None
    with torch.no_grad():
        layer(inputs[:3])
    layer(inputs.detach()[:2])
    after = layer.loss_gradient_errors()
    assert after is not None
    assert after.inputs is not None
    assert torch.equal(after.inputs, before.inputs)
    assert torch.equal(after.weights, before.weights)


def test_errors_of_a_loss_of_two_calls_are_the_spread_of_their_sum() -> None:
    layer = _sampled_layer(1, total_shots=120, value_shots=10**12)
    first = torch.tensor([[0.3]], dtype=torch.float64)
    second = torch.tensor([0.8], dtype=torch.float64)
    values, variances = [], []
    for _ in range(400):
        layer.zero_grad()
        ((layer(first) @ UPSTREAM).sum() + layer(second) @ UPSTREAM).backward()
        errors = layer.loss_gradient_errors()
        assert errors is not None
        assert layer.weights.grad is not None
        values.append(layer.weights.grad.clone())
        variances.append(errors.weights**2)
    ratio = torch.stack(values).var(0) / torch.stack(variances).mean(0)
    assert ((ratio - 1).abs() < Z_LIMIT * math.sqrt(2 / 400)).all()


def test_inputs_are_those_of_the_last_call_and_weights_add() -> None:
    layer = _sampled_layer(1, total_shots=400, estimator=FiniteDifference(step=0.5))
    one, two = (torch.full((rows, 1), 0.3, dtype=torch.float64, requires_grad=True) for rows in (2, 3))
    ((layer(one) @ UPSTREAM).sum() + (layer(two) @ UPSTREAM).sum()).backward()
    errors, calls = layer.loss_gradient_errors(), layer.function.errors_by_call
    assert errors is not None
    assert errors.inputs is not None
    assert [len(call.variances) for call in calls] == [2, 3]
    assert errors.inputs.shape == (3, 1)
    variances = sum(call.variances.sum(0) for call in calls)
    biases = sum(call.biases.sum(0) for call in calls)
    torch.testing.assert_close(errors.weights, (variances + biases**2).sqrt()[1:])


def test_a_call_that_is_passed_twice_is_measured_twice() -> None:
    layer = _sampled_layer(1, total_shots=400)
    loss = (layer(torch.full((2, 1), 0.3, dtype=torch.float64)) @ UPSTREAM).sum()
    loss.backward(retain_graph=True)
    once = layer.loss_gradient_errors()
    loss.backward()
    twice = layer.loss_gradient_errors()
    assert once is not None
    assert twice is not None
    assert (twice.weights > 1.2 * once.weights).all()
    (layer(torch.full((2, 1), 0.3, dtype=torch.float64)) @ UPSTREAM).sum().backward()
    anew = layer.loss_gradient_errors()
    assert anew is not None
    assert (twice.weights > 1.2 * anew.weights).all()


@pytest.mark.parametrize("estimator", [Adjoint(), ParameterShift()], ids=lambda rule: rule.name)
def test_exact_slopes_have_no_error(estimator: Any) -> None:
    layer = _layer(1, estimator=estimator)
    inputs = torch.full((4, 1), 0.3, dtype=torch.float64, requires_grad=True)
    layer(inputs).sum().backward()
    errors = layer.loss_gradient_errors()
    assert errors is not None
    assert errors.inputs is not None
    assert not errors.weights.any()
    assert not errors.inputs.any()


def test_backprop_reports_no_errors() -> None:
    layer = _layer(1, estimator=Backprop())
    layer(torch.full((4, 1), 0.3, dtype=torch.float64, requires_grad=True)).sum().backward()
    assert layer.loss_gradient_errors() is None


# Values, derivatives and prices of the function itself.


@pytest.mark.parametrize("shape", [(), (3,), (2, 2), (0,)], ids=str)
@pytest.mark.parametrize("case", ESTIMATOR_CASES, ids=lambda case: case.name)
def test_values_and_derivatives_have_the_shape_of_the_closed_form(
    case: EstimatorCase, shape: tuple[int, ...]
) -> None:
    for system in (product_local(), several() if case.takes(several()) else several_commuting()):
        function = Differentiable(system.objective(), estimator=case.estimator, rng=np.random.default_rng(0))
        theta = np.array(system.theta) + np.random.default_rng(1).normal(size=(*shape, system.num_params)) / 4
        leaf = torch.from_numpy(theta).requires_grad_()
        values = function(leaf)
        observables = (len(system.observable),) if isinstance(system.observable, list) else ()
        assert values.shape == (*shape, *observables)
        values.sum().backward()
        assert leaf.grad is not None
        assert leaf.grad.shape == leaf.shape
        if 0 in shape:
            continue
        np.testing.assert_allclose(values.detach().numpy(), system.values(theta), atol=1e-12)
        expected = system.gradients(theta)
        expected = expected.sum(-2) if observables else expected
        if case.tolerance is not None:
            np.testing.assert_allclose(leaf.grad.numpy(), expected, atol=20 * case.tolerance)


def test_a_scalar_objective_has_scalar_values_and_errors() -> None:
    system = product_local()
    function = Differentiable(
        system.objective(), backend=Sampled(), total_shots=600, rng=np.random.default_rng(0)
    )
    theta = torch.tensor(system.theta, dtype=torch.float64, requires_grad=True)
    value = function(theta)
    assert value.shape == ()
    (3 * value).backward()
    assert function.errors is not None
    assert function.errors.variances.shape == (3,)
    # sin^2 is the slope's square, so cos^2 t / 9 the variance of a pair's half difference, over 200 shots.
    expected = 9 * np.cos(np.array(system.theta)) ** 2 / 9 / 200
    others = (
        9 * np.array([np.delete(np.sin(np.array(system.theta)) ** 2, k).sum() for k in range(3)]) / 9 / 200
    )
    np.testing.assert_allclose(function.errors.variances.numpy(), expected + others, rtol=0.35)
    assert theta.grad is not None
    assert function.errors.places.tolist() == [0, 1, 2]


def test_places_are_differentiated_and_no_others() -> None:
    function = Differentiable(_correlated(), backend=Sampled(), total_shots=600, rng=np.random.default_rng(0))
    theta = torch.from_numpy(np.tile(THETA, (2, 1))).requires_grad_()
    function.take_cost()
    values = function(theta, wrt=[2])
    function.take_cost()
    values.sum().backward()
    cost = function.take_cost()
    # One rotation, two circuits, in as many bases.
    assert cost.circuits == 2 * 2 * len(_correlated().groups)
    assert theta.grad is not None
    assert not theta.grad[:, :2].any()
    assert theta.grad[:, 2].all()
    assert function.errors is not None
    assert not function.errors.variances[:, :2].any()
    assert function.errors.variances[:, 2].all()
    assert function.errors.places.tolist() == [2]


def test_values_get_the_shots_of_one_circuit_whatever_the_allocation() -> None:
    groups = len(_correlated().groups)
    for estimator, stages in ((ParameterShift(), 1), (ParameterShift(allocation=TwoStage()), 2)):
        circuits = estimator.price(_correlated()).circuits // groups
        function = _function(estimator, circuits * groups * 50)
        assert estimator.allocation.num_stages == stages
        assert function.value_shots == 50 * groups
    # Two shots a circuit do for the slopes; a value needs two a basis.
    least = _function(ParameterShift(allocation=RandomTerms()), 2 * circuits)
    assert least.value_shots is not None
    assert least.value_shots >= 2 * groups
    theta = torch.from_numpy(THETA).requires_grad_()
    least(theta).sum().backward()
    assert theta.grad is not None


@pytest.mark.parametrize("shots", [0, -5, 3], ids=str)
def test_too_few_shots_are_refused_when_it_is_made(shots: int) -> None:
    groups = len(_correlated().groups)
    with pytest.raises(
        BudgetTooSmall, match=f"`value_shots` must be at least {2 * groups}, .*, but is {shots}"
    ):
        _function(ParameterShift(), 1200, value_shots=shots)
    with pytest.raises(BudgetTooSmall, match=f"`total_shots` must be at least .*, but is {shots}"):
        _function(ParameterShift(), shots)


@pytest.mark.parametrize("name", ["total_shots", "value_shots"])
@pytest.mark.parametrize("shots", [99.5, 100.0, "100", True])
def test_shots_that_are_no_whole_number_are_refused_when_it_is_made(name: str, shots: Any) -> None:
    settings = {"total_shots": 1200, "value_shots": 100, name: shots}
    with pytest.raises(TypeError, match=f"`{name}` must be a whole number"):
        Differentiable(_correlated(), backend=Sampled(), rng=np.random.default_rng(0), **settings)


@pytest.mark.parametrize("case", ESTIMATOR_CASES, ids=lambda case: case.name)
def test_a_second_derivative_is_refused_by_all_but_backprop(case: EstimatorCase) -> None:
    system = product_local()
    function = Differentiable(system.objective(), estimator=case.estimator, rng=np.random.default_rng(0))
    theta = torch.tensor(system.theta, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(function(theta), theta, create_graph=True)
    if isinstance(case.estimator, Backprop):
        (second,) = torch.autograd.grad(slope.sum(), theta)
        np.testing.assert_allclose(second.numpy(), -np.cos(np.array(system.theta)) / 3, atol=1e-12)
        return
    with pytest.raises(
        NoSecondDerivative, match=f"{case.estimator.name} has no second derivative: use Backprop"
    ):
        (slope**2).sum().backward()


def test_things_of_another_kind_are_named() -> None:
    with pytest.raises(TypeError, match="`objective` must be an Objective, but is a QuantumCircuit"):
        Differentiable(QuantumCircuit(1))  # pyright: ignore
    with pytest.raises(TypeError, match=r"`estimator` must be an estimator such as ParameterShift\(\)"):
        Differentiable(_correlated(), estimator="adjoint")  # pyright: ignore
    with pytest.raises(ValueError, match="`wrt` must hold"):
        Differentiable(_correlated())(torch.from_numpy(THETA).requires_grad_(), wrt=[5]).sum().backward()


def test_one_parameter_in_many_rows_is_one_parameter() -> None:
    # A parameter that torch repeats over rows collects what they give.
    angle = Parameter("t")
    circuit = QuantumCircuit(1)
    circuit.ry(angle, 0)
    function = Differentiable(Objective(circuit, SparsePauliOp("Z")))
    theta = torch.tensor([0.4], dtype=torch.float64, requires_grad=True)
    function(theta.expand(5, 1)).sum().backward()
    assert theta.grad is not None
    assert float(theta.grad) == pytest.approx(-5 * math.sin(0.4), abs=1e-12)


def test_the_arguments_of_a_case_make_a_function_too() -> None:
    system = product_local()
    settings = arguments_for(Sampled())
    function = Differentiable(system.objective(), **settings)  # pyright: ignore
    values = function(torch.from_numpy(np.tile(system.theta, (3, 1))))
    assert values.shape == (3,)
    assert function.take_cost().circuits == 3
