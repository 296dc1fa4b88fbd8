"""Shot constants: closed forms, the sum over groups, and what allocations really give."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp, Statevector
from torch import Tensor

from hybrid import Objective
from hybrid.allocation import ALLOCATIONS, AbstractAllocation, RandomTerms, TwoStage, Uniform, Weighted
from hybrid.backends import Exact, Sampled
from hybrid.precision import group_moments, ungrouped

EVEN = SparsePauliOp(["ZI", "IZ", "XX", "YZ", "II"], np.array([1.0, -0.5, 0.7, 0.25, 3.0]))


def _layered(observable: SparsePauliOp, grouping: str = "qubit-wise") -> tuple[Objective, np.ndarray]:
    circuit = efficient_su2(2, reps=1).decompose()
    theta = np.linspace(0.2, 2.5, circuit.num_parameters)
    return Objective(circuit, observable, grouping=grouping), theta


def test_two_letters_on_one_qubit() -> None:
    """RY(t): <Z> = cos t, <X> = sin t, so the terms a Z and b X have spreads a sin t and b cos t."""
    t, a, b = 0.4, 2.0, 0.3
    circuit = QuantumCircuit(1)
    circuit.ry(t, 0)
    moments = group_moments(Objective(circuit, SparsePauliOp(["Z", "X"], np.array([a, b]))), [])
    spread = np.array([a * np.sin(t), b * np.cos(t)])
    value = a * np.cos(t) + b * np.sin(t)
    np.testing.assert_allclose(moments.means.numpy(), [a * np.cos(t), b * np.sin(t)], rtol=1e-12)
    assert moments.best_shot_constant() == pytest.approx(spread.sum() ** 2)
    assert moments.shot_constant(Uniform()) == pytest.approx(2 * (spread**2).sum())
    weighted = (a + b) * (spread[0] ** 2 / a + spread[1] ** 2 / b)
    assert moments.shot_constant(Weighted()) == pytest.approx(weighted)
    assert moments.shot_constant(RandomTerms()) == pytest.approx((a + b) ** 2 - value**2)
    staged = 0.3 * 2 * (spread**2).sum() + 0.7 * spread.sum() ** 2
    assert moments.shot_constant(TwoStage(pilot=0.3)) == pytest.approx(staged)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), fully=st.booleans())
def test_moments_of_groups_add_up_and_no_allocation_beats_the_best(seed: int, fully: bool) -> None:
    rng = np.random.default_rng(seed)
    labels = sorted({"".join(rng.choice(list("IXYZ"), 3)) for _ in range(12)} - {"III"})
    observable = SparsePauliOp(labels, rng.normal(size=len(labels)))
    circuit = efficient_su2(3, reps=1).decompose()
    theta = rng.normal(size=circuit.num_parameters)
    objective = Objective(circuit, observable, grouping="fully" if fully else "qubit-wise")
    state = Statevector(circuit.assign_parameters(theta))
    for each in (objective, ungrouped(objective)):
        moments = group_moments(each, theta)
        assert float(moments.means.sum()) == pytest.approx(state.expectation_value(observable).real)
        best = moments.best_shot_constant()
        assert all(moments.shot_constant(kind()) >= best - 1e-12 for kind in ALLOCATIONS.values())
    if len(objective.groups) == 1:
        square = state.expectation_value(observable @ observable).real
        assert float(group_moments(objective, theta).variances) == pytest.approx(
            square - state.expectation_value(observable).real ** 2
        )


def test_terms_apart_are_those_of_the_objective() -> None:
    objective, theta = _layered(EVEN)
    apart = ungrouped(objective)
    assert (len(objective.groups), len(apart.groups)) == (3, 4)
    exact = [each.value(theta, backend=Exact()).values for each in (objective, apart)]
    assert float(exact[0]) == pytest.approx(float(exact[1]), abs=1e-12)
    state = Statevector(objective.circuit.assign_parameters(theta))
    means = {label: state.expectation_value(SparsePauliOp(label)).real for label in EVEN.paulis.to_labels()}
    terms = [c.real**2 * (1 - means[label] ** 2) for label, c in EVEN.to_list() if label != "II"]
    assert sorted(group_moments(apart, theta).variances.tolist()) == pytest.approx(sorted(terms))


@pytest.mark.parametrize("group", [lambda objective: objective, ungrouped], ids=["grouped", "apart"])
@pytest.mark.parametrize("kind", ALLOCATIONS.values(), ids=ALLOCATIONS)
def test_squared_errors_are_k_over_shots(
    kind: Callable[[], AbstractAllocation], group: Callable[[Objective], Objective]
) -> None:
    objective, theta = _layered(EVEN)
    objective = group(objective)
    expected = group_moments(objective, theta).shot_constant(kind())
    rows = 1 if kind is RandomTerms else 4000  # whose rows share a draw
    shots = 4_000_000 if kind is RandomTerms else 2_000
    value = objective.value(
        np.tile(theta, (rows, 1)),
        backend=Sampled(),
        total_shots=shots,
        rng=np.random.default_rng(3),
        allocation=kind(),
    )
    squares = shots * value.std_errors.numpy() ** 2
    # Two stages hand out shots by variances that they measured: near the best, not at it.
    assert squares.mean() == pytest.approx(expected, rel=0.02)
    if rows > 1:
        exact = float(objective.value(theta, backend=Exact()).values)
        observed = shots * (value.values.numpy() - exact) ** 2
        spread = observed.std() / np.sqrt(rows)
        assert abs(observed.mean() - expected) < 4.5 * spread < 0.12 * expected


class _Other(AbstractAllocation):
    """All shots to the first piece."""

    @property
    def name(self) -> str:
        return "first"

    @property
    def favours_few_circuits(self) -> bool:
        return True

    def first(
        self, total_shots: int, sizes: Sequence[Tensor], rng: np.random.Generator | None
    ) -> tuple[Tensor, ...]:
        raise NotImplementedError


def test_what_has_no_constant_is_refused() -> None:
    objective, theta = _layered(EVEN)
    with pytest.raises(
        TypeError, match="`allocation` must be Uniform, Weighted, TwoStage or RandomTerms, but"
    ):
        group_moments(objective, theta).shot_constant(_Other())
    with pytest.raises(ValueError, match="one observable at one row of parameters, but there are 1 and 2"):
        group_moments(objective, np.tile(theta, (2, 1)))
    two = Objective(objective.circuit, [EVEN, EVEN])
    with pytest.raises(ValueError, match="one observable at one row of parameters, but there are 2 and 1"):
        group_moments(two, theta)
