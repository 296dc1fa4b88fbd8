"""What every gradient rule promises, checked on every rule and every closed-form system."""

from __future__ import annotations

import importlib
import pkgutil
from inspect import isabstract

import numpy as np
import pytest
import torch

import hybrid
from hybrid.backends import BACKENDS as OPENABLE
from hybrid.backends import (
    AbstractBackend,
    DeviceBackend,
    Exact,
    ReadoutMitigated,
    Sampled,
    ZeroNoise,
    open_backend,
)
from hybrid.circuits import FreeCircuits
from hybrid.gradients import ESTIMATORS, SPSA, AbstractGradientEstimator, CoordinateSubset, FiniteDifference
from hybrid.gradients.shared_circuits import CannotShare
from hybrid.shots import BudgetTooSmall
from tests.cases import BACKENDS, ESTIMATOR_CASES, SHOT_CASES, EstimatorCase, arguments_for
from tests.systems import SYSTEMS, System, product_local, several

all_cases = pytest.mark.parametrize("case", ESTIMATOR_CASES, ids=lambda case: case.name)
shot_cases = pytest.mark.parametrize("case", SHOT_CASES, ids=lambda case: case.name)
all_systems = pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
all_runs = pytest.mark.parametrize(
    ("case", "backend"),
    [
        pytest.param(case, backend, id=f"{case.name}-{type(backend).__name__}")
        for case in ESTIMATOR_CASES
        for backend in BACKENDS
        if case.takes_shots or isinstance(backend, Exact)
    ],
)
all_backends = pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: type(backend).__name__)


def _final_subclasses(kind: type) -> set[type]:
    for module in pkgutil.walk_packages(hybrid.__path__, "hybrid."):
        importlib.import_module(module.name)
    found: set[type] = set()
    waiting = [kind]
    while waiting:
        each = waiting.pop()
        waiting.extend(each.__subclasses__())
        if not isabstract(each) and each.__module__.startswith("hybrid."):
            found.add(each)
    return found


def test_every_rule_is_listed_and_under_contract() -> None:
    final = _final_subclasses(AbstractGradientEstimator)
    assert final == set(ESTIMATORS.values())
    assert final == {type(case.estimator) for case in ESTIMATOR_CASES}


def test_rules_are_listed_by_their_names() -> None:
    assert all(kind().name == name for name, kind in ESTIMATORS.items())


def test_every_final_rule_has_no_subclasses() -> None:
    assert not [kind for kind in ESTIMATORS.values() if kind.__subclasses__()]


def test_every_simulated_backend_is_under_contract() -> None:
    devices = {DeviceBackend, ReadoutMitigated, ZeroNoise}  # test_devices.py
    assert _final_subclasses(AbstractBackend) == {type(each) for each in BACKENDS} | devices
    assert {type(open_backend(name)) for name in ("exact", "sampled")} == {type(each) for each in BACKENDS}
    assert {"exact", "sampled"} <= set(OPENABLE)


@all_systems
@all_cases
def test_gradient_is_the_closed_form(case: EstimatorCase, system: System) -> None:
    theta = np.array(system.theta)
    rule = case.estimator
    if isinstance(rule, CoordinateSubset) and case.tolerance is None and system.rotations > rule.count:
        return  # test_coordinate_subset.py
    if not case.takes(system):
        with pytest.raises(CannotShare, match="HadamardTest takes as many circuits"):
            rule.gradient(system.objective(), theta, **arguments_for(Exact()))
        return
    gradient = rule.gradient(system.objective(), theta, **arguments_for(Exact()))
    expected = system.gradients(theta)
    error = np.abs(gradient.values.numpy() - expected)
    if isinstance(rule, SPSA):
        # Var_i = sum over j != i of g_j^2, divided by the number of directions (Spall 1992).
        squares = (expected**2).sum(-1, keepdims=True) - expected**2
        spread = np.sqrt(squares / rule.directions)
        assert (error < 4.5 * spread + 1e-6 * system.scale).all()
        return
    assert error.max() < (case.tolerance or 1e-10) * max(1.0, system.scale)
    rounding = 1e-8 if case.name == "finite differences" else 0.0
    assert (gradient.std_errors <= rounding).all()


@all_systems
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: type(backend).__name__)
def test_value_is_the_closed_form(system: System, backend: AbstractBackend) -> None:
    theta = np.array(system.theta) + np.array([[0.0], [0.3], [-1.9]])
    value = system.objective().value(theta, **arguments_for(backend, total_shots=40_000))
    error = np.abs(value.values.numpy() - system.values(theta))
    assert (error < 1e-12 * system.scale + 4.5 * value.std_errors.numpy()).all()


@pytest.mark.parametrize("batch", [(), (1,), (4,), (2, 3), (0,), (2, 0)], ids=str)
@pytest.mark.parametrize("system", [product_local(), several()], ids=lambda system: system.name)
@all_runs
def test_any_batch_shape_comes_back(
    case: EstimatorCase, backend: AbstractBackend, system: System, batch: tuple[int, ...]
) -> None:
    theta = np.random.default_rng(1).normal(size=(*batch, system.num_params))
    if not case.takes(system):
        system = case.several
    observables = (len(system.observable),) if isinstance(system.observable, list) else ()
    objective = system.objective()
    gradient = case.estimator.gradient(objective, theta, **arguments_for(backend))
    value = objective.value(theta, **arguments_for(backend))
    assert gradient.values.shape == gradient.std_errors.shape == (*batch, *observables, system.num_params)
    assert value.values.shape == value.std_errors.shape == (*batch, *observables)
    if case.tolerance is not None and isinstance(backend, Exact) and theta.size:
        assert np.abs(gradient.values.numpy() - system.gradients(theta)).max() < 5 * case.tolerance


@all_cases
def test_a_list_of_one_observable_keeps_its_axis(case: EstimatorCase) -> None:
    system = product_local()
    listed = hybrid.Objective(system.circuit, [system.observable])
    gradient = case.estimator.gradient(listed, system.theta, **arguments_for(Exact()))
    assert gradient.values.shape == (1, 3)


@all_cases
def test_arrays_tensors_and_lists_give_the_same_numbers(case: EstimatorCase) -> None:
    system = product_local()
    array = np.array(system.theta)
    backwards = array[::-1].copy()[::-1]
    frozen = array.copy()
    frozen.flags.writeable = False
    kinds = [
        array,
        list(system.theta),
        torch.tensor(system.theta, dtype=torch.float64),
        torch.tensor(system.theta, dtype=torch.float64, requires_grad=True),
        backwards,
        frozen,
    ]
    results = [
        case.estimator.gradient(system.objective(), kind, **arguments_for(Exact())).values for kind in kinds
    ]
    for result in results:
        assert torch.equal(result, results[0])


@all_runs
def test_results_are_detached_doubles_on_the_cpu(case: EstimatorCase, backend: AbstractBackend) -> None:
    system = case.several
    theta = torch.tensor(system.theta, dtype=torch.float32, requires_grad=True)
    gradient = case.estimator.gradient(system.objective(), theta, **arguments_for(backend))
    value = system.objective().value(theta, **arguments_for(backend))
    for result in (gradient.values, gradient.std_errors, value.values, value.std_errors):
        assert result.dtype == torch.float64
        assert result.device.type == "cpu"
        assert not result.requires_grad


@all_runs
def test_errors_are_the_diagonal_of_covariances_and_the_biases(
    case: EstimatorCase, backend: AbstractBackend
) -> None:
    for system in (case.several, product_local()):
        theta = np.tile(system.theta, (3, 1))
        gradient = case.estimator.gradient(system.objective(), theta, **arguments_for(backend))
        covariances = gradient.covariances
        observables = (len(system.observable),) if isinstance(system.observable, list) else ()
        assert covariances.shape == (3, *observables, *observables, system.num_params)
        if observables:
            torch.testing.assert_close(covariances, covariances.transpose(1, 2))
            covariances = covariances.diagonal(dim1=1, dim2=2).transpose(1, 2)
        torch.testing.assert_close(gradient.std_errors**2, covariances.clamp_min(0) + gradient.biases**2)
        if not isinstance(case.estimator, FiniteDifference):
            assert not gradient.biases.any()


@all_cases
def test_theta_is_left_alone(case: EstimatorCase) -> None:
    system = case.several
    theta = np.array(system.theta)
    case.estimator.gradient(system.objective(), theta, **arguments_for(Exact()))
    assert tuple(theta) == system.theta


@all_systems
@all_runs
def test_planned_executed_and_priced_are_equal(
    case: EstimatorCase, backend: AbstractBackend, system: System
) -> None:
    if not case.takes(system):
        return
    objective = system.objective()
    theta = np.tile(system.theta, (3, 1))
    arguments = arguments_for(backend, total_shots=8003)
    shots = arguments.get("total_shots")
    gradient = case.estimator.gradient(objective, theta, **arguments)
    priced = case.estimator.price(objective, rows=3, total_shots=shots)
    stages = case.estimator.allocation.num_stages if shots else 1
    circuits = 3 * stages * case.circuits(system)
    spent = 3 * (shots or 0)
    assert (gradient.cost.circuits, gradient.cost.shots) == (circuits, spent)
    assert (priced.circuits, priced.shots) == (circuits, spent)
    if gradient.plan is not None:
        assert (gradient.plan.cost.circuits, gradient.plan.cost.shots) == (circuits, spent)
    else:
        assert not case.takes_shots


@all_systems
def test_rotations_and_bases_are_counted_by_hand(system: System) -> None:
    objective = system.objective()
    assert objective.program.num_rotations == system.rotations
    assert len(objective.groups) == system.bases


@all_backends
@pytest.mark.parametrize("system", [product_local(), several()], ids=lambda system: system.name)
def test_a_value_costs_one_circuit_a_row_and_basis(system: System, backend: AbstractBackend) -> None:
    theta = np.tile(system.theta, (5, 1))
    value = system.objective().value(theta, **arguments_for(backend, total_shots=101))
    assert value.cost.circuits == 5 * system.bases
    assert value.cost.shots == (0 if isinstance(backend, Exact) else 5 * 101)


@shot_cases
def test_shots_are_spread_evenly(case: EstimatorCase) -> None:
    objective = case.several.objective()
    plan = case.estimator.plan(objective, case.several.theta, total_shots=7_777, rng=np.random.default_rng(0))
    shots = torch.cat([part.shots.flatten() for part in plan.parts])
    first = 7_777 if case.estimator.allocation.num_stages == 1 else round(0.2 * 7_777)
    assert int(shots.sum()) == first
    assert int(shots.max() - shots.min()) <= 1


@all_runs
def test_the_same_seed_gives_the_same_gradient(case: EstimatorCase, backend: AbstractBackend) -> None:
    # Of eight rotations, two draws of two are seldom the same; these are not.
    for system in (case.several, product_local(8)):
        first, second, other = (
            case.estimator.gradient(system.objective(), system.theta, **arguments_for(backend, seed=seed))
            for seed in (5, 5, 6)
        )
        assert torch.equal(first.values, second.values)
        assert torch.equal(first.std_errors, second.std_errors)
    is_random = case.tolerance is None or not isinstance(backend, Exact)
    assert torch.equal(first.values, other.values) != is_random


@shot_cases
def test_running_and_combining_a_plan_is_the_gradient(case: EstimatorCase) -> None:
    system = case.several
    objective = system.objective()
    whole = case.estimator.gradient(objective, system.theta, **arguments_for(Exact(), seed=3))
    plan = case.estimator.plan(objective, system.theta, rng=np.random.default_rng(3))
    measured = plan.run(Exact())
    assert torch.equal(case.estimator.combine(plan, measured).values, whole.values)
    assert torch.equal(case.estimator.combine(plan, measured).values, whole.values)


@all_systems
@shot_cases
def test_circuits_that_a_device_is_given_have_the_values_that_are_simulated(
    case: EstimatorCase, system: System
) -> None:
    # Programs and angles, one circuit at a time: no tangent pass, ancillas as real qubits.
    if not case.takes(system):
        return
    theta = np.stack([system.theta, np.array(system.theta) - 0.7])
    plan = case.estimator.plan(system.objective(), theta, rng=np.random.default_rng(3))
    for part, measured in zip(plan.parts, plan.run(Exact()), strict=True):
        realised = [
            Exact().run(target, FreeCircuits(angles=angles), shots=None, rng=None).values
            for target, angles in part.circuits.realised(part.target)
        ]
        torch.testing.assert_close(torch.cat(realised), measured.values, atol=1e-12, rtol=0)


@shot_cases
def test_too_few_shots_are_refused_with_the_number_that_is_needed(case: EstimatorCase) -> None:
    objective = case.several.objective()
    least = 2 * case.estimator.allocation.num_stages * case.circuits(case.several)
    case.estimator.plan(objective, case.several.theta, total_shots=least, rng=np.random.default_rng(0))
    for too_few in (least - 1, 0, -5):
        with pytest.raises(
            BudgetTooSmall, match=f"`total_shots` must be at least {least:,} .* but is {too_few:,}"
        ):
            case.estimator.gradient(
                objective,
                case.several.theta,
                backend=Sampled(),
                total_shots=too_few,
                rng=np.random.default_rng(0),
            )
        with pytest.raises(BudgetTooSmall):
            case.estimator.price(objective, total_shots=too_few)


@shot_cases
def test_the_least_budget_runs_and_has_error_bars(case: EstimatorCase) -> None:
    objective = case.several.objective()
    least = 2 * case.estimator.allocation.num_stages * case.circuits(case.several)
    gradient = case.estimator.gradient(
        objective, case.several.theta, backend=Sampled(), total_shots=least, rng=np.random.default_rng(0)
    )
    assert torch.isfinite(gradient.values).all()
    assert torch.isfinite(gradient.std_errors).all()


@all_cases
def test_a_parameter_that_the_circuit_does_not_use_has_no_slope(case: EstimatorCase) -> None:
    from qiskit.circuit import Parameter

    system = product_local()
    more = [Parameter("before"), *system.circuit.parameters, Parameter("after")]
    objective = hybrid.Objective(system.circuit, system.observable, parameters=more)
    theta = np.array([0.5, *system.theta, 0.5])
    gradient = case.estimator.gradient(objective, theta, **arguments_for(Exact()))
    if case.tolerance is None:
        return
    np.testing.assert_allclose(
        gradient.values.numpy(), [0.0, *system.gradients(np.array(system.theta)), 0.0], atol=case.tolerance
    )


@all_cases
def test_theta_follows_the_order_of_parameters(case: EstimatorCase) -> None:
    system = product_local()
    turned = list(system.circuit.parameters)[::-1]
    objective = hybrid.Objective(system.circuit, system.observable, parameters=turned)
    plain = case.estimator.gradient(system.objective(), system.theta, **arguments_for(Exact())).values
    back = case.estimator.gradient(objective, system.theta[::-1], **arguments_for(Exact())).values
    if case.tolerance is not None:
        np.testing.assert_allclose(back.numpy()[::-1], plain.numpy(), atol=case.tolerance)


@all_cases
def test_a_circuit_without_parameters_has_a_value_and_no_gradient(case: EstimatorCase) -> None:
    system = product_local()
    fixed = system.circuit.assign_parameters(system.theta)
    objective = hybrid.Objective(fixed, system.observable)
    with pytest.raises(ValueError, match=r"no free parameters, so it has no gradient: `Objective\.value`"):
        case.estimator.gradient(objective, [], **arguments_for(Exact()))
    with pytest.raises(ValueError, match=r"no free parameters, so it has no gradient: `Objective\.value`"):
        case.estimator.price(objective)
    expected = system.value(np.array(system.theta))
    assert float(objective.value([], backend=Exact()).values) == pytest.approx(expected, abs=1e-12)
    assert objective.value(np.zeros((2, 0)), backend=Exact()).values.shape == (2,)
