"""Allocations: budgets kept to the shot, unbiased values, honest error bars, and the known noise."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import StatePreparation
from qiskit.quantum_info import SparsePauliOp, Statevector

from hybrid import (
    SPSA,
    Adjoint,
    CommutingGenerators,
    CoordinateSubset,
    FiniteDifference,
    HadamardTest,
    Objective,
    ParameterShift,
)
from hybrid.allocation import ALLOCATIONS, AbstractAllocation, RandomTerms, TwoStage, Uniform, Weighted
from hybrid.backends import Exact, Sampled
from hybrid.circuits import FreeCircuits
from hybrid.gradients import AbstractShotEstimator
from hybrid.plan import Part, Plan, allocated
from hybrid.shots import LEAST_SHOTS, MOST_SHOTS, BudgetTooSmall, apportion
from tests.hybrid.samples import Z_LIMIT, Array, check_honest
from tests.systems import product_global, several_commuting, with_constant

bounded = settings(max_examples=150, deadline=None, derandomize=True)
each_allocation = pytest.mark.parametrize(
    "allocation", [kind() for kind in ALLOCATIONS.values()], ids=list(ALLOCATIONS)
)


# Tables


@st.composite
def _sizes(draw: st.DrawFn) -> list[torch.Tensor]:
    """Tables of sizes, of a few circuits and groups each, from zero to a million."""
    size = st.sampled_from([0.0, 1e-9, 0.1, 1.0, 3.0, 1e6]) | st.floats(0, 10)
    tables = []
    for _ in range(draw(st.integers(1, 3))):
        circuits, groups = draw(st.integers(1, 4)), draw(st.integers(1, 4))
        tables.append(torch.tensor([[draw(size) for _ in range(groups)] for _ in range(circuits)]).double())
    return tables


extra_shots = st.integers(0, 40) | st.integers(0, 10**6) | st.integers(0, 2**52)


def _pieces(tables: list[torch.Tensor]) -> int:
    return sum(table.numel() for table in tables)


@bounded
@given(_sizes(), extra_shots, st.integers(0, 3))
def test_shares_sum_to_the_budget_and_none_is_below_the_least(
    tables: list[torch.Tensor], extra: int, least: int
) -> None:
    sizes = torch.cat([table.flatten() for table in tables])
    total = least * len(sizes) + extra
    shots = apportion(total, sizes, least)
    assert int(shots.sum()) == total
    assert int(shots.min()) >= least
    # What is not raised to the least is in proportion, to the shot.
    free = shots > least
    if free.any() and sizes.any() and total < 10**9:
        share = sizes[free] / sizes[free].sum() * float(shots[free].sum())
        assert (shots[free] - share).abs().max() < 1 + 1e-6 + int((~free).sum())


@bounded
@given(_sizes(), extra_shots)
def test_first_stages_keep_to_the_budget(tables: list[torch.Tensor], extra: int) -> None:
    rng = np.random.default_rng(0)
    total = LEAST_SHOTS * _pieces(tables) + extra
    for allocation in (Uniform(), Weighted()):
        shots = allocation.first(total, tables, rng)
        assert [table.shape for table in shots] == [table.shape for table in tables]
        assert sum(int(table.sum()) for table in shots) == total
        assert min(int(table.min()) for table in shots) >= LEAST_SHOTS
        assert allocation.num_stages == 1
    evenly = torch.cat([table.flatten() for table in Uniform().first(total, tables, rng)])
    assert int(evenly.max() - evenly.min()) <= 1


@bounded
@given(_sizes(), extra_shots, st.sampled_from([0.05, 0.2, 0.5, 0.9]))
def test_both_stages_together_keep_to_the_budget(
    tables: list[torch.Tensor], extra: int, pilot: float
) -> None:
    allocation = TwoStage(pilot=pilot)
    total = 2 * LEAST_SHOTS * _pieces(tables) + extra
    first = allocation.first(total, tables, None)
    second = allocation.second(total, first, tables)
    for shots in (first, second):
        assert [table.shape for table in shots] == [table.shape for table in tables]
        assert min(int(table.min()) for table in shots) >= LEAST_SHOTS
    spent = sum(int(table.sum()) for table in first)
    assert spent + sum(int(table.sum()) for table in second) == total
    floor = LEAST_SHOTS * _pieces(tables)
    assert spent == min(max(round(pilot * total), floor), total - floor)


@bounded
@given(_sizes(), st.integers(0, 40) | st.integers(0, 10**6))
def test_random_terms_keep_to_the_budget_circuit_by_circuit(tables: list[torch.Tensor], extra: int) -> None:
    circuits = sum(len(table) for table in tables)
    total = LEAST_SHOTS * circuits + extra
    shots = RandomTerms().first(total, tables, np.random.default_rng(0))
    assert [table.shape for table in shots] == [table.shape for table in tables]
    assert sum(int(table.sum()) for table in shots) == total
    assert min(int(table.sum(1).min()) for table in shots) >= LEAST_SHOTS
    for drawn, table in zip(shots, tables, strict=True):
        impossible = (table == 0) & table.any(1, keepdim=True)
        assert not drawn[impossible].any()


def test_known_shares() -> None:
    sizes = torch.tensor([[8.0, 1.0], [1.0, 0.0]])
    assert Uniform().first(11, [sizes], None)[0].tolist() == [[3, 3], [3, 2]]
    # 2 for the piece of size 0; the rest, 98, as 8 : 1 : 1.
    assert Weighted().first(100, [sizes], None)[0].tolist() == [[78, 10], [10, 2]]
    assert Weighted().first(8, [sizes], None)[0].tolist() == [[2, 2], [2, 2]]
    assert Weighted().first(10, [torch.zeros(1, 3)], None)[0].tolist() == [[4, 3, 3]]
    pilot = TwoStage(pilot=0.25).first(100, [sizes], None)
    assert pilot[0].tolist() == [[7, 6], [6, 6]]
    rest = TwoStage(pilot=0.25).second(100, pilot, [torch.tensor([[1.0, 1.0], [1.0, 2.0]])])
    assert rest[0].tolist() == [[15, 15], [15, 30]]


def test_a_pilot_is_a_share() -> None:
    for pilot in (0.0, 1.0, -0.1, math.nan):
        with pytest.raises(ValueError, match="`pilot` must lie strictly between 0 and 1"):
            TwoStage(pilot=pilot)


@each_allocation
def test_allocations_are_listed_by_their_names(allocation: AbstractAllocation) -> None:
    assert isinstance(allocation, ALLOCATIONS[allocation.name])


# Five bases with very different coefficients, no two of them qubit-wise commuting.

LABELS, SIZES = ["ZZ", "XX", "YY", "XY", "YX"], [8.0, 1.0, -0.7, 0.4, 0.1]
THETA = np.array([0.7, -0.5])


@cache
def _uneven() -> Objective:
    theta = ParameterVector("t", 2)
    circuit = QuantumCircuit(2)
    circuit.ry(0.8, 0)
    circuit.rxx(theta[0], 0, 1)
    circuit.ry(theta[1], 1)
    circuit.cz(0, 1)
    circuit.rx(0.5, 0)
    return Objective(circuit, SparsePauliOp([*LABELS, "II"], [*SIZES, 3.0]))


@cache
def _term_means() -> Array:
    """Exact value of each group at THETA."""
    objective = _uneven()
    circuit = objective.circuit.assign_parameters(THETA)
    assert len(objective.groups) == 5
    values = [Statevector(circuit).expectation_value(SparsePauliOp(label)).real for label in LABELS]
    return np.array(SIZES) * np.array(values)


def _deviations() -> Array:
    """Of one shot of each group: c^2 (1 - <P>^2)."""
    return np.sqrt(np.array(SIZES) ** 2 - _term_means() ** 2)


def test_groups_stand_in_the_order_of_their_sizes() -> None:
    norms = [float(group.norms) for group in _uneven().groups]
    np.testing.assert_allclose(norms, np.abs(SIZES))


def _values(
    objective: Objective,
    theta: Array,
    allocation: AbstractAllocation,
    shots: int,
    repeats: int,
    seed: int = 7,
) -> tuple[Array, Array]:
    """Values and reported variances of independent measurements, shape (calls, rows).

    Rows of one call share what is drawn or measured first. What is drawn is drawn for each circuit, so one call with
    many circuits does; what is measured first needs many calls.
    """
    rng = np.random.default_rng(seed)
    if isinstance(allocation, TwoStage):
        rows = 45
        found = [
            objective.value(
                np.tile(theta, (rows, 1)),
                backend=Sampled(),
                total_shots=shots,
                rng=rng,
                allocation=allocation,
            )
            for _ in range(repeats // rows)
        ]
        values = torch.stack([value.values for value in found])
        return values.numpy(), torch.stack([value.std_errors for value in found]).numpy() ** 2
    angles = objective.program.angles(torch.from_numpy(theta)[None])
    part = Part(
        target=objective.target,
        circuits=FreeCircuits(angles=angles.expand(repeats, 1, -1)),
        weights=torch.ones(1, 1, repeats, 1, dtype=torch.float64),
    )
    plan = Plan(
        estimator="value",
        objective=objective,
        wrt=torch.zeros(0, dtype=torch.int64),
        parts=allocated([part], shots * repeats, allocation, rng),
        total_shots=shots * repeats,
        allocation=allocation,
        batch=(1,),
    )
    (table,) = (part.shots for part in plan.parts)
    assert table is not None
    assert (table.sum(1) - shots).abs().max() <= len(objective.groups)  # the last shots are dealt out in turn
    (measured,) = plan.run(Sampled(), rng)
    return measured.values[..., 0].numpy(), measured.variances()[..., 0].numpy()


def _gradients(
    allocation: AbstractAllocation, total_shots: int, calls: int, rows: int
) -> tuple[Array, Array]:
    rule, rng = ParameterShift(allocation=allocation), np.random.default_rng(8)
    found = [
        rule.gradient(
            _uneven(), np.tile(THETA, (rows, 1)), backend=Sampled(), total_shots=total_shots, rng=rng
        )
        for _ in range(calls)
    ]
    values = torch.stack([gradient.values for gradient in found])
    return values.numpy(), torch.stack([gradient.std_errors for gradient in found]).numpy() ** 2


def _check(values: Array, variances: Array, mean: Array | float, within: float) -> None:
    """Unbiased and honest: calls are independent, their rows need not be. One off by the share `within` would fail."""
    calls = len(values)
    assert calls >= 40
    means = values.mean(1)
    assert (np.abs(means.mean(0) - mean) < Z_LIMIT * means.std(0, ddof=1) / math.sqrt(calls)).all()
    squares, reported = ((values - mean) ** 2).mean(1), variances.mean(1)
    difference = squares - reported
    error = difference.std(0, ddof=1) / math.sqrt(calls)
    assert (np.abs(difference.mean(0)) < Z_LIMIT * error).all()
    assert (np.abs(reported.mean(0) / squares.mean(0) - 1) < 0.05).all()
    assert (Z_LIMIT * error < within * squares.mean(0)).all()


# Calls and rows of each.
GRADIENTS = {
    "uniform": (50, 110),
    "weighted by coefficient": (50, 110),
    "weighted by variance": (110, 50),
    "random terms": (400, 8),
}


@each_allocation
def test_values_are_unbiased_with_the_variance_of_theory(allocation: AbstractAllocation) -> None:
    total_shots = 800
    deviations, means = _deviations(), _term_means()
    even, norms = np.full(5, 1 / 5), np.abs(SIZES) / np.abs(SIZES).sum()
    by_shares = {name: (deviations**2 / p).sum() for name, p in (("even", even), ("norms", norms))}
    exact = {
        "uniform": by_shares["even"],
        "weighted by coefficient": by_shares["norms"],
        # Weights 0.2 and 0.8 of the two stages' means, with those shares of the shots.
        "weighted by variance": 0.2 * by_shares["even"] + 0.8 * deviations.sum() ** 2,
        # sum over g of E[v_g^2] / p_g, less the square of the mean.
        "random terms": (np.array(SIZES) ** 2 / norms).sum() - means.sum() ** 2,
    }[allocation.name] / total_shots
    values, variances = _values(_uneven(), THETA, allocation, total_shots, repeats=10_000)
    _check(values, variances, means.sum() + 3, 0.07)
    squares = ((values - means.sum() - 3) ** 2).mean(1)
    error = squares.std(ddof=1) / math.sqrt(len(squares))
    # Whole shots, and a first stage that knows the deviations but roughly, cost a hundredth.
    assert abs(squares.mean() - exact) < Z_LIMIT * error + 0.02 * exact
    assert Z_LIMIT * error < 0.08 * exact


@each_allocation
def test_gradients_are_unbiased_and_honest(allocation: AbstractAllocation) -> None:
    exact = Adjoint().gradient(_uneven(), THETA, backend=Exact()).values.numpy()
    values, variances = _gradients(allocation, 1200, *GRADIENTS[allocation.name])
    _check(values, variances, exact, 0.1 if allocation.name != "random terms" else 0.15)


def test_measured_variances_beat_even_shots_as_theory_says() -> None:
    # By (sum s)^2 against G sum s^2; the pilot's share is spent evenly.
    deviations = _deviations()
    even, best = 5 * (deviations**2).sum(), deviations.sum() ** 2
    pilot, total_shots = 0.1, 2000
    theory = (pilot * even + (1 - pilot) * best) / even
    assert theory < 0.45
    exact = _term_means().sum() + 3
    first, _ = _values(_uneven(), THETA, Uniform(), total_shots, repeats=9000)
    second, _ = _values(_uneven(), THETA, TwoStage(pilot=pilot), total_shots, repeats=9000)
    ratio = ((second - exact) ** 2).mean() / ((first - exact) ** 2).mean()
    error = math.sqrt(2 / first.size + 2 / second.size)
    assert abs(ratio / theory - 1) < Z_LIMIT * error + 0.02
    assert Z_LIMIT * error < 0.1


def test_stages_count_by_their_shares_at_the_least_budget() -> None:
    # Two shots in each basis, twice: as good as four, whatever share the first stage was to have.
    values, variances = _values(_uneven(), THETA, TwoStage(pilot=0.2), 20, repeats=9000)
    exact = _term_means().sum() + 3
    _check(values, variances, exact, 0.12)
    ratio = ((values - exact) ** 2).mean() / ((_deviations() ** 2).sum() / 4)
    assert abs(ratio - 1) < 0.1


def test_a_price_of_random_terms_is_an_estimate() -> None:
    random, even = (
        ParameterShift(allocation=each).price(_uneven(), total_shots=400)
        for each in (RandomTerms(), Uniform())
    )
    assert random.sources["circuits"] == "estimated"
    assert random.sources["shots"] == even.sources["circuits"] == even.sources["shots"] == "computed"


def test_random_terms_run_with_two_shots_a_circuit() -> None:
    # Five groups, of which two shots see two at most.
    objective, exact = _uneven(), _term_means().sum() + 3
    values, variances = _values(objective, THETA, RandomTerms(), 2, repeats=10_000)
    _check(values, variances, exact, 0.15)
    gradient = ParameterShift(allocation=RandomTerms()).gradient(
        objective, THETA, backend=Sampled(), total_shots=8, rng=np.random.default_rng(0)
    )
    assert gradient.cost.shots == 8
    assert 4 <= gradient.cost.circuits <= 8
    with pytest.raises(BudgetTooSmall, match=r"at least 8 \(4 circuits, 2 shots each\), but is 7"):
        ParameterShift(allocation=RandomTerms()).price(objective, total_shots=7)
    with pytest.raises(
        BudgetTooSmall, match=r"at least 40 \(4 circuits, 20 with measurement bases, 2 shots each\)"
    ):
        ParameterShift(allocation=Weighted()).price(objective, total_shots=39)
    with pytest.raises(BudgetTooSmall, match="at least 80 "):
        ParameterShift(allocation=TwoStage()).price(objective, total_shots=79)


def test_random_terms_need_a_generator() -> None:
    with pytest.raises(ValueError, match="`rng` must be given to RandomTerms"):
        _uneven().value(THETA, backend=Sampled(), total_shots=100, allocation=RandomTerms())


@each_allocation
def test_a_budget_that_no_number_holds_is_refused(allocation: AbstractAllocation) -> None:
    with pytest.raises(ValueError, match="must be at most"):
        allocation.first(MOST_SHOTS + 1, [torch.ones(1, 1)], np.random.default_rng(0))


@each_allocation
@pytest.mark.parametrize("batch", [(), (3,), (0,), (2, 2)], ids=str)
@pytest.mark.parametrize(
    "kind", [ParameterShift, FiniteDifference, SPSA, HadamardTest, CommutingGenerators, CoordinateSubset]
)
def test_every_rule_runs_with_every_allocation_and_pays_what_was_planned(
    kind: type[AbstractShotEstimator], batch: tuple[int, ...], allocation: AbstractAllocation
) -> None:
    rule = kind(allocation=allocation)
    for system in (product_global(), with_constant(), several_commuting()):
        theta = np.random.default_rng(0).normal(size=(*batch, system.num_params))
        first, second = (
            rule.gradient(
                system.objective(), theta, backend=Sampled(), total_shots=2000, rng=np.random.default_rng(1)
            )
            for _ in range(2)
        )
        assert torch.isfinite(first.values).all()
        assert torch.isfinite(first.std_errors).all()
        assert torch.equal(first.values, second.values)
        assert first.plan is not None
        planned = first.plan.cost
        assert (planned.circuits, planned.shots) == (first.cost.circuits, first.cost.shots)
        assert first.cost.shots == 2000 * math.prod(batch)


@pytest.mark.parametrize("allocation", [Weighted(), TwoStage()], ids=lambda each: each.name)
def test_parts_of_a_plan_share_one_budget(allocation: AbstractAllocation) -> None:
    # One parameter stands side by side and apart: circuits of two kinds, in two bases.
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(1)
    for angle in (a, a, b, a):
        circuit.ry(angle, 0) if angle is a else circuit.rz(angle, 0)
    objective = Objective(circuit, SparsePauliOp(["Z", "X"], [1.0, 0.2]))
    rule, theta = ParameterShift(allocation=allocation), np.array([0.3, 0.8])
    gradient = rule.gradient(
        objective, np.tile(theta, (6000, 1)), backend=Sampled(), total_shots=600, rng=np.random.default_rng(2)
    )
    assert gradient.plan is not None
    tables = [part.shots for part in gradient.plan.parts]
    assert [tuple(table.shape) for table in tables if table is not None] == [(4, 2), (2, 2)]
    assert gradient.cost.shots == 6000 * 600
    exact = Adjoint().gradient(objective, theta, backend=Exact()).values.numpy()
    check_honest(gradient.values.numpy(), gradient.std_errors.numpy() ** 2, exact, within=0.12)


@each_allocation
def test_exact_values_need_no_allocation(allocation: AbstractAllocation) -> None:
    rule = ParameterShift(allocation=allocation)
    gradient = rule.gradient(_uneven(), THETA, backend=Exact()).values
    torch.testing.assert_close(gradient, Adjoint().gradient(_uneven(), THETA, backend=Exact()).values)


# H2 at 0.7414 angstrom: shots are K / eps^2 at the ground state.

H2 = {
    "IIII": -0.09886397, "ZIII": 0.17119775, "IZII": 0.17119775, "IIZI": -0.22278593, "IIIZ": -0.22278593,
    "ZZII": 0.16862219, "ZIZI": 0.12054482, "IZIZ": 0.12054482, "ZIIZ": 0.16586702, "IZZI": 0.16586702,
    "IIZZ": 0.17434844, "XXYY": -0.0453222, "YYXX": -0.0453222, "XYYX": 0.0453222, "YXXY": 0.0453222,
}  # fmt: skip


@cache
def _ground_state() -> tuple[Objective, float]:
    """The exact ground state as a circuit without parameters, and its energy."""
    # Qubit 0 is the first letter of the reference's names, the last of qiskit's.
    hamiltonian = SparsePauliOp([label[::-1] for label in H2], list(H2.values()))
    energies, states = np.linalg.eigh(hamiltonian.to_matrix())
    circuit = QuantumCircuit(4)
    circuit.append(StatePreparation(states[:, 0]), range(4))
    return Objective(circuit.decompose(reps=8), hamiltonian), float(energies[0])


def test_h2_has_the_known_energy_and_groups() -> None:
    objective, energy = _ground_state()
    assert energy == pytest.approx(-1.137270, abs=1e-6)
    assert float(objective.value([], backend=Exact()).values) == pytest.approx(energy, abs=1e-9)
    assert len(objective.groups) == 5


def _h2_spread() -> tuple[Array, Array, Array]:
    """Of each group at the ground state: its mean, its variance, and the root of its coefficients' squares."""
    objective, _ = _ground_state()
    simulator = Exact().simulator(objective.target)
    states = simulator.states(objective.program.angles(torch.zeros(1, 0, dtype=torch.float64)))
    means, squares = [], []
    for group in objective.groups:
        weights = simulator.turn(states[:, None], group)[0, 0].abs() ** 2
        means.append(float(weights @ group.eigenvalues[:, 0]))
        squares.append(float(weights @ group.eigenvalues[:, 0] ** 2))
    norms = np.array([float(group.norms) for group in objective.groups])
    return np.array(means), np.array(squares) - np.array(means) ** 2, norms


def _constant(allocation: AbstractAllocation, shots: int) -> tuple[float, float]:
    """K as measured, shots times mean squared error, and its standard error."""
    objective, energy = _ground_state()
    values, variances = _values(objective, np.zeros(0), allocation, shots, repeats=6000)
    _check(values, variances, energy, 0.1)
    squares = ((values - energy) ** 2).mean(1)
    return shots * float(squares.mean()), shots * float(squares.std(ddof=1)) / math.sqrt(len(squares))


def test_h2_constants_are_the_known_ones() -> None:
    _, variances, _ = _h2_spread()
    assert 5 * variances.sum() == pytest.approx(0.195, abs=1e-3)
    assert np.sqrt(variances).sum() ** 2 == pytest.approx(0.12485, abs=1e-4)


def test_h2_at_even_shots() -> None:
    constant, error = _constant(Uniform(), 500)
    assert abs(constant - 0.195) < Z_LIMIT * error + 5e-4
    assert Z_LIMIT * error < 0.1 * 0.195


def test_h2_at_the_best_shots_within_the_pilots_loss() -> None:
    # 0.12485 at best; a tenth of the shots is spent evenly, as 0.195.
    pilot = 0.1
    constant, error = _constant(TwoStage(pilot=pilot), 4000)
    theory = pilot * 0.195 + (1 - pilot) * 0.12485
    assert abs(constant - theory) < Z_LIMIT * error + 0.02 * theory
    assert Z_LIMIT * error < 0.1 * theory
    assert constant < 0.16


def test_h2_with_random_terms_is_its_closed_form() -> None:
    means, variances, norms = _h2_spread()
    chance = norms / norms.sum()
    closed = ((variances + means**2) / chance).sum() - means.sum() ** 2
    constant, error = _constant(RandomTerms(), 200)
    assert abs(constant - closed) < Z_LIMIT * error
    assert Z_LIMIT * error < 0.1 * closed


def test_h2_by_coefficient_is_its_closed_form() -> None:
    _, variances, norms = _h2_spread()
    closed = (variances / (norms / norms.sum())).sum()
    constant, error = _constant(Weighted(), 5000)
    assert abs(constant - closed) < Z_LIMIT * error + 0.01 * closed
    assert Z_LIMIT * error < 0.1 * closed
