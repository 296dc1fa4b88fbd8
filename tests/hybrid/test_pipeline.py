"""The hybrid step is a plain backward step with a ledger; prices are sums one can do by hand."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from torch import nn

from classical.cost import Cost
from hybrid import ParameterShift
from hybrid.backends import Exact, Sampled
from hybrid.gradients import AbstractShotEstimator
from hybrid.pipeline import (
    CIRCUIT_BACKWARD,
    CIRCUITS,
    ENCODER_BACKWARD,
    ENCODER_FORWARD,
    OPTIMISER,
    PHASES,
    HybridModel,
    Ledger,
    train_step,
)
from hybrid.pricing import HERON, circuit_seconds, device_cost
from hybrid.shots import BudgetTooSmall
from tests.cases import ESTIMATOR_CASES, EstimatorCase
from tests.hybrid.test_layer import BASES, NUM_INPUTS, ROTATIONS, batch, make_layer, make_linear
from tests.systems import product_global, product_local


def _model(**settings: object) -> HybridModel:
    return HybridModel(
        nn.Sequential(make_linear(5, NUM_INPUTS, 0), nn.Tanh()),
        make_layer(ParameterShift(), **settings),
        make_linear(2, 1, 1),
    )


def test_a_train_step_is_a_plain_step() -> None:
    model, plain = _model(), _model()
    inputs, targets = batch(4, 5), batch(4, 1, seed=6)
    optimisers = [torch.optim.Adam(each.parameters(), lr=0.05) for each in (model, plain)]
    ledger = Ledger()
    for _ in range(3):
        value = train_step(
            model, inputs, targets, loss=nn.functional.mse_loss, optimiser=optimisers[0], ledger=ledger
        )
        optimisers[1].zero_grad()
        expected = nn.functional.mse_loss(plain(inputs), targets)
        expected.backward()
        optimisers[1].step()
        assert value == pytest.approx(float(expected.detach()), abs=1e-12)
    for (name, mine), theirs in zip(model.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-12, rtol=0, msg=name)


def test_training_lowers_the_loss() -> None:
    model = _model()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    inputs, targets = batch(6, 5), batch(6, 1, seed=6)
    losses = [
        train_step(model, inputs, targets, loss=nn.functional.mse_loss, optimiser=optimiser, ledger=Ledger())
        for _ in range(25)
    ]
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("backend", [Exact(), Sampled()], ids=lambda b: type(b).__name__)
def test_the_ledger_charges_each_phase_once(backend: Exact | Sampled) -> None:
    shots = {} if isinstance(backend, Exact) else {"total_shots": 8000, "value_shots": 100}
    model = _model(backend=backend, **shots)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    ledger = Ledger()
    for _ in range(2):
        train_step(
            model, batch(3, 5), batch(3, 1), loss=nn.functional.mse_loss, optimiser=optimiser, ledger=ledger
        )
    by_phase = ledger.by_phase
    assert tuple(by_phase) == PHASES
    assert by_phase[CIRCUITS].circuits == 2 * 3 * BASES
    assert by_phase[CIRCUIT_BACKWARD].circuits == 2 * 3 * 2 * ROTATIONS * BASES
    for phase in (ENCODER_FORWARD, ENCODER_BACKWARD, OPTIMISER):
        assert (by_phase[phase].circuits, by_phase[phase].shots) == (0, 0)
    assert by_phase[CIRCUITS].shots == (2 * 3 * 100 if shots else 0)
    assert by_phase[CIRCUIT_BACKWARD].shots == (2 * 3 * 8000 if shots else 0)
    total = ledger.total()
    assert total == sum(by_phase.values(), Cost())
    assert total.circuits == 2 * 3 * BASES * (1 + 2 * ROTATIONS)
    for cost in by_phase.values():
        assert cost.wall_seconds is not None
        assert cost.wall_seconds > 0
    assert model.middle.take_cost().circuits == 0


def test_a_classical_middle_runs_no_circuits() -> None:
    model = HybridModel(make_linear(5, 3, 0), make_linear(3, 2, 1), make_linear(2, 1, 2))
    plain = copy.deepcopy(model)
    ledger = Ledger()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    train_step(
        model, batch(3, 5), batch(3, 1), loss=nn.functional.mse_loss, optimiser=optimiser, ledger=ledger
    )
    assert ledger.total().circuits == 0
    nn.functional.mse_loss(plain(batch(3, 5)), batch(3, 1)).backward()
    for mine, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


def test_an_encoder_without_parameters_is_skipped() -> None:
    model = HybridModel(nn.Identity(), make_layer(), make_linear(2, 1, 1))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model.middle.weights.detach().clone()
    train_step(
        model, batch(2, 3), batch(2, 1), loss=nn.functional.mse_loss, optimiser=optimiser, ledger=Ledger()
    )
    assert not torch.equal(before, model.middle.weights)


def test_length_of_a_circuit_is_that_of_its_gates() -> None:
    circuit = QuantumCircuit(2)
    circuit.ry(0.1, 0)
    circuit.ry(0.1, 1)
    circuit.rz(0.1, 1)  # a change of frame takes no time
    circuit.cx(0, 1)
    circuit.ry(0.1, 1)
    assert circuit_seconds(circuit) == pytest.approx(1.58e-6 + 84e-9 + 2 * 2 * 24e-9 + 1.56e-6)


@pytest.mark.parametrize("case", ESTIMATOR_CASES, ids=lambda case: case.name)
def test_device_price_is_the_formula(case: EstimatorCase) -> None:
    system = case.several
    objective = system.objective()
    if not isinstance(case.estimator, AbstractShotEstimator):
        return
    cost = device_cost(case.estimator, objective, total_shots=50_000, rows=3)
    assert cost.shots == 150_000
    assert cost.circuits == 3 * case.estimator.allocation.num_stages * case.circuits(system)
    jobs = case.estimator.allocation.num_stages
    assert cost.jobs == jobs
    seconds = 2 * jobs + 150_000 * (250e-6 + circuit_seconds(objective.circuit))
    assert cost.qpu_seconds == pytest.approx(seconds)
    assert cost.dollars == pytest.approx(1.6 * seconds)
    assert cost.sources["dollars"] == cost.sources["qpu_seconds"] == "estimated"
    assert HERON.dollars_per_second == 1.6


def test_a_device_price_needs_a_budget_that_works() -> None:
    with pytest.raises(BudgetTooSmall):
        device_cost(ParameterShift(), product_local().objective(), total_shots=5)


def test_a_rule_that_needs_a_simulator_has_no_device_price() -> None:
    for case in ESTIMATOR_CASES:
        if not case.takes_shots:
            with pytest.raises((TypeError, ValueError), match=case.name):
                device_cost(case.estimator, product_local().objective(), total_shots=1000)


def test_variances_of_shallow_costs_are_the_closed_forms() -> None:
    # Cerezo et al. 2021: one RY a qubit, uniform angles. Var of the slope of the global cost
    # (1/8)(3/8)^(n-1), of the local one 1/(8 n^2). Five points an angle integrate the squares exactly.
    for n in (2, 3):
        grid = np.linspace(0, 2 * np.pi, 5, endpoint=False)
        points = np.stack(np.meshgrid(*[grid] * n), axis=-1).reshape(-1, n)
        slopes = ParameterShift().gradient(product_global(n).objective(), points, backend=Exact()).values
        np.testing.assert_allclose((slopes**2).mean(0).numpy(), (3 / 8) ** (n - 1) / 8, rtol=1e-10)
        # C_L is half of the mean of all Z, but for sign and constant.
        slopes = ParameterShift().gradient(product_local(n).objective(), points, backend=Exact()).values / 2
        np.testing.assert_allclose((slopes**2).mean(0).numpy(), 1 / (8 * n**2), rtol=1e-10)
