"""Shots of adaptive optimisers: the gain that they maximise, by brute force and in closed form."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.quantum_info import SparsePauliOp

from hybrid import SPSA, HadamardTest, Objective, ParameterShift
from hybrid.allocation import RandomTerms, TwoStage, Uniform, Weighted
from hybrid.backends import Exact, Sampled
from hybrid.optimisers import GCANS, ICANS, AbstractOptimiser, CannotSplit, FixedShots, Rosalin
from hybrid.optimisers.component_shots import component_shots, plan_by_component
from hybrid.optimisers.gcans import global_shots
from hybrid.optimisers.icans import gain_per_shot, individual_shots
from hybrid.shots import BudgetTooSmall
from tests.hybrid.samples import called, check_honest
from tests.systems import shared_and_affine

slopes = st.floats(-3, 3).filter(lambda slope: abs(slope) > 1e-2)
variances = st.floats(1e-3, 10)
products = st.floats(0.05, 1.9)  # L a
bounded = settings(max_examples=80, deadline=None, derandomize=True)


def _cosine(copies: int = 1) -> Objective:
    """RY and Z on each qubit: slopes -sin t, each with one-shot variance cos^2 t."""
    circuit = QuantumCircuit(copies)
    for qubit, angle in enumerate(ParameterVector("t", copies)):
        circuit.ry(angle, qubit)
    terms = [("Z", [qubit], 1.0) for qubit in range(copies)]
    return Objective(circuit, SparsePauliOp.from_sparse_list(terms, num_qubits=copies))


# --- the formulas -------------------------------------------------------------------------------------


@bounded
@given(slopes, variances, products, st.floats(0.1, 20))
def test_individual_shots_gain_most_per_shot(
    slope: float, variance: float, product: float, lipschitz: float
) -> None:
    rate = product / lipschitz
    g, v = torch.tensor([slope]), torch.tensor([variance])
    best = individual_shots(g, v, rate, lipschitz)
    grid = torch.from_numpy(np.geomspace(1, 1e8, 4001))
    gains = gain_per_shot(g.expand(4001), v.expand(4001), grid, rate, lipschitz)
    assert float(best) == pytest.approx(float(grid[gains.argmax()]), rel=0.01)


def test_the_gain_is_the_mean_of_a_quadratic_of_curvature_l() -> None:
    """E = L t^2 / 2 at t: the step t - a (g + noise) goes down by the gain, on average."""
    lipschitz, rate, theta, variance, shots = 1.7, 0.6, 0.8, 2.0, 5
    rng = np.random.default_rng(3)
    slope = lipschitz * theta
    drawn = slope + math.sqrt(variance / shots) * rng.normal(size=400_000)
    fall = lipschitz / 2 * (theta**2 - (theta - rate * drawn) ** 2)
    gain = gain_per_shot(
        torch.tensor([slope]), torch.tensor([variance]), torch.tensor([shots]), rate, lipschitz
    )
    assert fall.mean() == pytest.approx(shots * float(gain), abs=4.5 * fall.std() / math.sqrt(fall.size))


def test_no_component_gets_more_than_the_one_that_gains_most_per_shot() -> None:
    g, v = torch.tensor([1.0, 0.01, 0.5]), torch.tensor([1.0, 1.0, 1.0])
    shots = individual_shots(g, v, 1.0, 1.0)
    # 2 La / (2 - La) = 2: 2, 20,000 and 8 shots alone, and the first gains most for each.
    assert shots.tolist() == pytest.approx([2.0, 2.0, 2.0])
    swapped = individual_shots(torch.tensor([0.5, 1.0]), torch.tensor([0.1, 1.0]), 1.0, 1.0)
    # 0.8 shots are one shot, which gains 0.075; each of the other's two gains (1/2 - 1/4) / 2.
    assert swapped.tolist() == pytest.approx([1.0, 2.0])


@bounded
@given(st.lists(st.tuples(slopes, variances), min_size=1, max_size=4), products, st.integers(0, 10))
def test_global_shots_gain_most_per_shot(pairs: list[tuple[float, float]], product: float, seed: int) -> None:
    lipschitz = 2.0
    rate = product / lipschitz
    g, v = torch.tensor(pairs, dtype=torch.float64).T
    best = global_shots(g, v, rate, lipschitz)

    def gain(shots: torch.Tensor) -> torch.Tensor:
        along = (rate - lipschitz * rate**2 / 2) * (g**2).sum()
        return (along - lipschitz * rate**2 / 2 * (v / shots).sum(-1)) / shots.sum(-1)

    others = best * torch.from_numpy(np.random.default_rng(seed).lognormal(0, 0.3, size=(500, len(g))))
    near = best * torch.from_numpy(np.geomspace(0.5, 2, 40))[:, None]
    assert float(gain(best)) > 0
    assert (gain(others) <= gain(best) * (1 + 1e-12)).all()
    assert (gain(near) <= gain(best) * (1 + 1e-12)).all()
    # Half the noiseless gain is lost to noise.
    assert float(gain(best) * best.sum()) == pytest.approx(
        float((rate - lipschitz * rate**2 / 2) * (g**2).sum()) / 2
    )


def test_one_component_gets_the_same_from_both() -> None:
    g, v = torch.tensor([0.3]), torch.tensor([0.7])
    assert float(global_shots(g, v, 0.4, 2.0)) == pytest.approx(float(individual_shots(g, v, 0.4, 2.0)))


# --- the toy of one qubit -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ICANS, GCANS])
def test_a_cosine_gets_the_shots_of_the_closed_form(kind: type[ICANS | GCANS]) -> None:
    """2 a / (2 - a) cot^2 t, L being 1."""
    rate, angle, first = 1.9999, 0.1, 3_000_000
    optimiser = kind(learning_rate=rate, averaging=0.0, regulariser=0.0, least_shots=first)
    steps = optimiser.steps(
        _cosine(), [angle], backend=Sampled(), total_shots=20_000_000, rng=np.random.default_rng(1)
    )
    one, two = next(steps), next(steps)
    factor = 2 * rate / (2 - rate)
    assert int(one.shots) == first
    # The slope is known to 0.6 percent, its square to 1.2.
    assert int(two.shots) == pytest.approx(factor / math.tan(angle) ** 2, rel=0.055)
    measured = float(one.gradient.covariances) * first / float(one.gradient.values) ** 2
    assert abs(int(two.shots) - factor * measured) < 40


def test_two_cosines_share_by_their_own_noise() -> None:
    """Shots in proportion to cos t, and pairs that gCANS sums: factor sigma_i (sigma_1 + sigma_2) / ||g||^2."""
    angles, rate, first = np.array([0.05, 1.2]), 0.9999, 10_000
    optimiser = GCANS(learning_rate=rate, averaging=0.0, least_shots=first)  # L = 2
    steps = optimiser.steps(
        _cosine(2), angles, backend=Sampled(), total_shots=10_000_000, rng=np.random.default_rng(2)
    )
    next(steps)
    factor = 4 * rate / (2 - 2 * rate)
    # Noise of the other qubit, which the same observable measures, is in both: cos^2 t_i + sin^2 t_j.
    noise = np.sqrt(np.cos(angles) ** 2 + np.sin(angles[::-1]) ** 2)
    expected = factor * noise * noise.sum() / (np.sin(angles) ** 2).sum()
    np.testing.assert_allclose(next(steps).shots, expected, rtol=0.08)


def test_averages_forget_and_are_corrected_for_their_start() -> None:
    optimiser = ICANS(learning_rate=0.9, averaging=0.7, regulariser=0.4, least_shots=10)
    steps = list(
        optimiser.steps(
            _cosine(2), [0.4, 0.9], backend=Sampled(), total_shots=3_000, rng=np.random.default_rng(4)
        )
    )
    weights = 0.7 ** np.arange(3)[::-1]
    slope = np.average([step.gradient.values.numpy() for step in steps[:3]], axis=0, weights=weights)
    noise = np.average(
        [(step.gradient.covariances * step.shots).numpy() for step in steps[:3]], axis=0, weights=weights
    )
    wanted = individual_shots(torch.from_numpy(slope), torch.from_numpy(noise), 0.9, 2.0, 0.4 * 0.7**2)
    assert wanted.min() > 10
    assert steps[3].shots.tolist() == wanted.clamp_min(10).ceil().tolist()


# --- shots of a component -----------------------------------------------------------------------------


@pytest.mark.parametrize("allocation", [Uniform(), Weighted(), RandomTerms()])
def test_few_shots_of_a_component_are_unbiased(allocation: Uniform | Weighted | RandomTerms) -> None:
    """Two shots a piece are the least; errors are honest there."""
    circuit = QuantumCircuit(2)
    for qubit, angle in enumerate(ParameterVector("t", 2)):
        circuit.ry(angle, qubit)
    circuit.cx(0, 1)
    objective = Objective(circuit, SparsePauliOp(["ZZ", "XX", "IX"], np.array([1.0, 0.3, 0.1])))
    theta, rule = [0.4, 1.1], ParameterShift(allocation=allocation)
    exact = ParameterShift().gradient(objective, theta, backend=Exact()).values.numpy()
    shots = torch.tensor([8, 14])
    rng = np.random.default_rng(5)
    # Rows of one call share what is drawn, and are repeats where nothing is.
    rows = 1 if allocation.rows_share_draws else 4000

    def measure() -> tuple[torch.Tensor, torch.Tensor]:
        plan = plan_by_component(rule, objective, np.tile(theta, (rows, 1)), shots, rng)
        assert component_shots(plan).tolist() == [8, 14]
        found = rule.combine(plan, plan.run(Sampled(), rng))
        assert found.cost.shots == plan.cost.shots == 22 * rows
        return found.values, found.std_errors

    values, found = called(measure, 700 if rows == 1 else 1)
    check_honest(values.reshape(-1, 2), found.reshape(-1, 2), exact, within=0.4 if rows == 1 else 0.2)


def test_what_depends_on_no_angle_gets_no_shots() -> None:
    angle, idle = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(1)
    circuit.ry(angle, 0)
    objective = Objective(circuit, SparsePauliOp("Z"), parameters=[idle, angle])
    steps = list(
        ICANS(learning_rate=0.5).steps(
            objective, [0.3, 0.4], backend=Sampled(), total_shots=400, rng=np.random.default_rng(0)
        )
    )
    assert {int(step.shots[0]) for step in steps} == {0}
    assert {float(step.next_theta[0]) for step in steps} == {0.3}
    assert sum(int(step.shots[1]) for step in steps) == 400


def test_a_slope_without_noise_costs_the_least() -> None:
    """At the steepest point of a cosine all shots agree."""
    steps = ICANS(learning_rate=1e-6).steps(
        _cosine(), [math.pi / 2], backend=Sampled(), total_shots=200, rng=np.random.default_rng(0)
    )
    assert [int(step.shots) for step in steps] == [20] * 10


# --- what is refused ----------------------------------------------------------------------------------


def _refused(optimiser: AbstractOptimiser, objective: Objective, theta: list[float], **others: object) -> str:
    arguments = {"backend": Sampled(), "total_shots": 10_000, "rng": np.random.default_rng(0), **others}
    with pytest.raises((ValueError, TypeError)) as caught:
        optimiser.steps(objective, theta, **arguments)  # pyright: ignore[reportArgumentType]
    return str(caught.value)


@pytest.mark.parametrize("kind", [ICANS, GCANS, Rosalin])
def test_a_rate_that_need_not_gain_is_refused(kind: type[ICANS | GCANS | Rosalin]) -> None:
    assert "below 2 / L = 1 for L = 2" in _refused(kind(learning_rate=1.0), _cosine(2), [0.1, 0.2])
    assert "below 2 / L = 0.5 for L = 4" in _refused(
        kind(learning_rate=0.5, lipschitz=4.0), _cosine(2), [0.1, 0.2]
    )
    kind(learning_rate=0.99).steps(
        _cosine(2), [0.1, 0.2], backend=Sampled(), total_shots=100, rng=np.random.default_rng(0)
    )


def test_frequencies_count_in_the_bound() -> None:
    """cos 2t has second derivatives up to 4."""
    circuit = QuantumCircuit(1)
    circuit.ry(2 * Parameter("t"), 0)
    doubled = Objective(circuit, SparsePauliOp("Z"))
    assert ICANS(learning_rate=0.1).smoothness(doubled) == 4
    assert ICANS(learning_rate=0.1, lipschitz=0.5).smoothness(doubled) == 0.5


def test_wrong_arguments_are_named() -> None:
    good = ICANS(learning_rate=0.1)
    pair = _cosine(2)
    for wrong, word in (
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": math.inf}, "learning_rate"),
        ({"lipschitz": -1.0}, "lipschitz"),
        ({"averaging": 1.0}, "averaging"),
        ({"regulariser": -1e-9}, "regulariser"),
        ({"least_shots": 2.5}, "least_shots"),
        ({"rule": "parameter-shift"}, "rule"),
    ):
        with pytest.raises((ValueError, TypeError), match=f"`{word}`"):
            replace(good, **wrong)
    assert "`least_shots` must be at least 4, 2 for each circuit and" in _refused(
        replace(good, least_shots=3), pair, [0.1, 0.2]
    )
    assert "must have shape (2,)" in _refused(good, pair, [[0.1, 0.2]])  # pyright: ignore[reportArgumentType]
    assert "list of 2" in _refused(good, Objective(pair.circuit, [SparsePauliOp("ZI")] * 2), [0.1, 0.2])
    assert "backend Exact" in _refused(good, pair, [0.1, 0.2], backend=Exact())
    assert "`rng`" in _refused(good, pair, [0.1, 0.2], rng=None)
    assert "at least 40" in _refused(good, pair, [0.1, 0.2], total_shots=39)
    assert "several parameters" in _refused(
        ICANS(learning_rate=0.01), shared_and_affine().objective(), [0.1, 0.2]
    )
    assert "several parameters" in _refused(replace(good, rule=SPSA()), pair, [0.1, 0.2])
    two_stages = ParameterShift(allocation=TwoStage())
    assert "two stages" in _refused(replace(good, rule=two_stages), pair, [0.1, 0.2])
    with pytest.raises(ValueError, match="RandomTerms"):
        Rosalin(learning_rate=0.1, rule=ParameterShift())
    with pytest.raises(ValueError, match="`update` must be one of"):
        FixedShots(learning_rate=0.1, step_shots=100, update="momentum")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="`step_shots`"):
        FixedShots(learning_rate=0.1, step_shots=0)
    with pytest.raises(BudgetTooSmall):
        FixedShots(learning_rate=0.1, step_shots=7).steps(
            pair, [0.1, 0.2], backend=Sampled(), total_shots=100, rng=np.random.default_rng(0)
        )


def test_circuits_that_serve_one_component_each_are_taken_from_any_rule() -> None:
    with pytest.raises(CannotSplit):
        ICANS(learning_rate=0.1, rule=SPSA()).steps(
            _cosine(2), [0.1, 0.2], backend=Sampled(), total_shots=100, rng=np.random.default_rng(0)
        )
    steps = ICANS(learning_rate=0.1, rule=HadamardTest()).steps(
        _cosine(2), [0.1, 0.2], backend=Sampled(), total_shots=100, rng=np.random.default_rng(0)
    )
    assert next(steps).shots.tolist() == [10, 10]
