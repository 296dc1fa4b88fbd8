"""Classical shadows: variances in closed form and by enumeration, unbiased values, honest errors, equal bills."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp, Statevector

from classical.cost import Cost
from hybrid import Objective, ParameterShift
from hybrid.backends import AbstractBackend, Exact, Sampled, open_backend
from hybrid.backends.base import Measured
from hybrid.shadow_variance import shadow_variance
from hybrid.shadows import (
    ClassicalShadows,
    Snapshots,
    _spread_of_median,
    shadow_gradient,
    shadow_gradient_plan,
)
from hybrid.shots import BudgetTooSmall

PAIR = SparsePauliOp(["ZI", "XX", "YZ", "II"], np.array([1.0, 0.7, -0.4, 2.0]))
OTHER = SparsePauliOp(["IZ", "XX"], np.array([0.5, 1.0]))


def _bell() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    return circuit


def _layered(
    observable: SparsePauliOp | list[SparsePauliOp], qubits: int = 2
) -> tuple[Objective, np.ndarray]:
    circuit = efficient_su2(qubits, reps=1).decompose()
    return Objective(circuit, observable), np.linspace(0.2, 2.5, circuit.num_parameters)


def test_the_bell_state_has_eight() -> None:
    objective = Objective(_bell(), SparsePauliOp(["ZZ"]))
    assert float(shadow_variance(objective, [])) == pytest.approx(8, abs=1e-12)
    shots = 200_000
    value = ClassicalShadows().value(
        objective, [], backend=Sampled(), total_shots=shots, rng=np.random.default_rng(0)
    )
    # Outcomes are 9 with probability 1/9, else 0: their sample variance has a spread of sqrt((k - 1)/N), k = 57/8.
    assert float(value.std_errors**2 * shots) == pytest.approx(8, rel=4.5 * math.sqrt(57 / 8 / shots))
    assert float(value.values) == pytest.approx(1, abs=4.5 * math.sqrt(8 / shots))


@pytest.mark.parametrize("weight", [1, 2, 3, 4])
def test_a_string_has_three_to_its_weight(weight: int) -> None:
    for letter, mean in (("Z", 1), ("X", 0), ("Y", 0)):
        observable = SparsePauliOp(["I" * (4 - weight) + letter * weight], np.array([0.5]))
        found = shadow_variance(Objective(QuantumCircuit(4), observable), [])
        assert float(found) == pytest.approx(0.25 * (3**weight - mean), abs=1e-12)


def _by_enumeration(circuit: QuantumCircuit, observable: SparsePauliOp) -> float:
    """Over all bases and outcomes, with qiskit's states."""
    qubits = circuit.num_qubits
    first = second = 0.0
    for basis in itertools.product("XYZ", repeat=qubits):  # basis[q] of qubit q
        turned = circuit.copy()
        for qubit, letter in enumerate(basis):
            if letter == "Y":
                turned.sdg(qubit)
            if letter != "Z":
                turned.h(qubit)
        for outcome, chance in enumerate(Statevector(turned).probabilities()):
            snapshot = 0.0
            for label, c in observable.to_list():
                letters = label[::-1]
                if all(a in ("I", b) for a, b in zip(letters, basis, strict=True)):
                    bits = [outcome >> q & 1 for q in range(qubits) if letters[q] != "I"]
                    snapshot += c.real * 3 ** len(bits) * (-1) ** sum(bits)
            first += chance * snapshot / 3**qubits
            second += chance * snapshot**2 / 3**qubits
    return second - first**2


@settings(max_examples=5, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_variance_is_that_of_all_bases_and_outcomes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = [
        SparsePauliOp(labels, rng.normal(size=len(labels)))
        for labels in (["".join(rng.choice(list("IXYZ"), 3)) for _ in range(8)] + ["ZZZ"] for _ in range(2))
    ]
    circuit = efficient_su2(3, reps=1).decompose()
    rows = rng.normal(size=(2, circuit.num_parameters))
    found = shadow_variance(Objective(circuit, drawn), rows)
    assert found.shape == (2, 2)
    for row, variances in zip(rows, found.tolist(), strict=True):
        bound = circuit.assign_parameters(row)
        assert variances == pytest.approx([_by_enumeration(bound, item) for item in drawn], rel=1e-9)


def test_values_are_unbiased_and_errors_are_those_of_the_theory() -> None:
    objective, theta = _layered([PAIR, OTHER])
    shots = 400_000
    exact = objective.value(theta, backend=Exact()).values
    variances = shadow_variance(objective, theta)
    value = ClassicalShadows().value(
        objective, theta, backend=Sampled(), total_shots=shots, rng=np.random.default_rng(1)
    )
    assert float(((value.values - exact) / value.std_errors).abs().max()) < 4.5
    torch.testing.assert_close(value.std_errors**2 * shots, variances, rtol=0.03, atol=0)


def test_snapshots_settle_as_a_list_of_single_shots_does() -> None:
    rng = np.random.default_rng(2)
    counts = np.array([1, 4, 2, 7])
    total = counts.sum()
    shots = [rng.normal(size=(count, 2)) + rng.normal() for count in counts]  # two observables
    share = counts / total
    values = np.stack([s * each.mean(0) for s, each in zip(share, shots, strict=True)])
    spread = np.zeros((4, 2, 2))
    for g in (1, 2, 3):
        spread[g] = share[g] ** 2 * np.cov(shots[g].T, ddof=1) / counts[g]
    measured = Measured(
        group_values=torch.from_numpy(values)[:, None, None],
        group_covariances=torch.from_numpy(spread)[:, None, None],
        constants=torch.zeros(2, dtype=torch.float64),
        cost=Cost(),
    )
    table = torch.from_numpy(counts)[None]
    settled = Snapshots(drawn=(table,)).settle(torch.ones(1, 4), table, [measured], 1.0)
    everything = np.concatenate(shots)
    np.testing.assert_allclose(settled.values[0, 0], everything.mean(0), rtol=1e-12)
    assert settled.covariances is not None
    np.testing.assert_allclose(settled.covariances[0, 0], np.cov(everything.T, ddof=1) / total, rtol=1e-12)


@pytest.mark.parametrize("name", ["sampled", "aer"])
def test_planned_is_executed_is_billed(name: str) -> None:
    backend: AbstractBackend = open_backend(name)
    objective, theta = _layered(PAIR)
    rng = np.random.default_rng(3)
    shadows = ClassicalShadows(batches=3)
    plan = shadows.plan(objective, np.tile(theta, (2, 1)), total_shots=100, rng=rng)
    priced = plan.price(backend)
    cost = shadows.combine(plan, plan.run(backend, rng)).cost
    bases = sum(len(part.target.groups) for part in plan.parts)
    assert plan.cost.circuits == priced.circuits == cost.circuits == 2 * bases <= 2 * 3 * 9
    assert plan.cost.shots == priced.shots == cost.shots == 2 * 100
    assert all(part.shots is not None and (part.shots > 0).all() for part in plan.parts)


def test_a_device_gives_the_same_values_within_their_errors() -> None:
    objective, theta = _layered(PAIR)
    value = ClassicalShadows().value(
        objective, theta, backend=open_backend("aer"), total_shots=20_000, rng=np.random.default_rng(4)
    )
    exact = objective.value(theta, backend=Exact()).values
    assert abs(float((value.values - exact) / value.std_errors)) < 4.5
    assert float(value.std_errors**2 * 20_000) == pytest.approx(
        float(shadow_variance(objective, theta)), rel=0.1
    )


def test_the_same_generator_gives_the_same_shadows() -> None:
    objective, theta = _layered(PAIR)
    first, second, other = (
        ClassicalShadows().value(
            objective, theta, backend=Sampled(), total_shots=30, rng=np.random.default_rng(seed)
        )
        for seed in (5, 5, 6)
    )
    assert float(first.values) == float(second.values) != float(other.values)
    plans = [
        ClassicalShadows(batches=3).plan(objective, theta, total_shots=600, rng=np.random.default_rng(seed))
        for seed in (5, 6)
    ]
    draws = {str(part.shots) for plan in plans for part in plan.parts}
    assert len(draws) == 6


# Variances of the median of normal numbers: Godwin 1949, doi:10.1214/aoms/1177730036.
@pytest.mark.parametrize(("count", "variance"), [(1, 1.0), (3, 0.44867), (5, 0.28683), (7, 0.21045)])
def test_the_median_of_means_has_its_known_spread(count: int, variance: float) -> None:
    assert _spread_of_median(count) ** 2 == pytest.approx(variance, abs=1e-5)


def test_the_median_of_means_is_one_and_its_error_is_right() -> None:
    circuit = QuantumCircuit(1)
    circuit.ry(0.6, 0)
    objective = Objective(circuit, SparsePauliOp(["Z", "X"], np.array([1.0, 0.5])))
    shadows = ClassicalShadows(batches=5)
    rng = np.random.default_rng(7)
    plan = shadows.plan(objective, [], total_shots=500, rng=rng)
    measured = plan.run(Sampled(), rng)
    value = shadows.combine(plan, measured)
    means = [float(each.values) for each in measured]
    assert float(value.values) == np.median(means)
    error = math.sqrt(float(shadow_variance(objective, [])) / 100) * _spread_of_median(5)
    assert float(value.std_errors) == pytest.approx(error, rel=0.2)
    assert [int(part.shots.sum()) for part in plan.parts if part.shots is not None] == [100] * 5


def test_the_gradient_is_that_of_parameter_shift() -> None:
    objective, theta = _layered([PAIR, OTHER])
    shots = 160_000
    gradient = shadow_gradient(
        objective, theta, backend=Sampled(), total_shots=shots, rng=np.random.default_rng(8)
    )
    exact = ParameterShift().gradient(objective, theta, backend=Exact())
    assert gradient.plan is not None and exact.plan is not None
    assert float(((gradient.values - exact.values) / gradient.std_errors).abs().max()) < 4.5
    # Each of the circuits has its share of the shots and the variance of a shadow at its angles.
    (part,) = exact.plan.parts
    shifted = theta + np.array([[0.5 * np.pi], [-0.5 * np.pi]])[:, None] * np.eye(len(theta))  # (2, P, P)
    circuits = part.circuits.num_circuits
    variances = shadow_variance(objective, shifted).sum(0).T / 4 / (shots / circuits)
    torch.testing.assert_close(gradient.std_errors**2, variances, rtol=0.1, atol=0)
    assert gradient.cost.shots == gradient.plan.cost.shots == shots
    assert gradient.cost.circuits == gradient.plan.cost.circuits == 9 * circuits


def test_shared_and_controlled_parameters_have_their_gradients() -> None:
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(2)
    circuit.ry(a, 0)
    circuit.rzz(a, 0, 1)
    circuit.rx(2 * b, 1)
    circuit.crx(b, 0, 1)
    objective = Objective(circuit, [PAIR, OTHER])
    theta = np.array([[0.3, 0.7], [1.1, -0.4]])
    exact = ParameterShift().gradient(objective, theta, backend=Exact()).values
    for wrt, columns in ((None, [0, 1]), ([b], [1])):
        gradient = shadow_gradient(
            objective, theta, backend=Sampled(), total_shots=60_000, rng=np.random.default_rng(11), wrt=wrt
        )
        assert float(((gradient.values - exact[..., columns]) / gradient.std_errors).abs().max()) < 4.5
        assert float(gradient.std_errors.max()) < 0.1 < float(exact[..., columns].abs().max())


def test_terms_that_no_shot_sees_count_as_zero() -> None:
    objective = Objective(QuantumCircuit(6), SparsePauliOp(["ZZZZZZ", "IIIIII"], np.array([1.0, 3.0])))
    value = ClassicalShadows().value(
        objective, [], backend=Sampled(), total_shots=3, rng=np.random.default_rng(9)
    )
    assert (float(value.values), float(value.std_errors), value.cost.shots) == (3, 0, 3)


def test_expected_noise_is_that_of_uncorrelated_terms() -> None:
    objective, theta = _layered(SparsePauliOp(["ZI", "XX"], np.array([1.0, 0.5])))
    plan = shadow_gradient_plan(objective, theta, total_shots=160_000, rng=np.random.default_rng(10))
    each = 160_000 / plan.parts[0].circuits.num_circuits / len(plan.parts)
    assert plan.expected_noise() == pytest.approx(math.sqrt((3 + 9 / 4) / 2 / each), rel=0.02)


def test_wrong_arguments_are_refused() -> None:
    objective, theta = _layered(PAIR)
    rng = np.random.default_rng(0)
    for wrong in (0, 2, -1, 3.0, True):
        with pytest.raises(ValueError, match="`batches` must be odd and at least 1, but is"):
            ClassicalShadows(batches=wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(BudgetTooSmall, match="must be at least 6 "):
        ClassicalShadows(batches=3).value(objective, theta, backend=Sampled(), total_shots=5, rng=rng)
    with pytest.raises(BudgetTooSmall, match="must be at least 32 "):
        shadow_gradient(objective, theta, backend=Sampled(), total_shots=31, rng=rng)
    with pytest.raises(ValueError, match="`total_shots` must be left out on the backend Exact"):
        ClassicalShadows().value(objective, theta, backend=Exact(), total_shots=100, rng=rng)
    with pytest.raises(ValueError, match="`rng` must be a numpy Generator on the backend Sampled"):
        ClassicalShadows().value(objective, theta, backend=Sampled(), total_shots=100, rng=None)
    with pytest.raises(ValueError, match="`rng` must be given to classical shadows"):
        ClassicalShadows().plan(objective, theta, total_shots=100, rng=None)
    with pytest.raises(TypeError, match="`backend` must be a backend such as"):
        ClassicalShadows().value(objective, theta, backend="aer", total_shots=9, rng=rng)  # pyright: ignore
