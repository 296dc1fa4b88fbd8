"""Groups of terms: they commute, their circuits diagonalise them, and no grouping changes a value."""

from __future__ import annotations

import itertools
import re
from typing import Any

import networkx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import Clifford, Operator, Pauli, SparsePauliOp, Statevector
from torch import Tensor

from classical.measurement import MeasurementGroup, NamedGates
from hybrid import Objective
from hybrid.backends import Exact, Sampled
from hybrid.diagonalising import diagonalise
from hybrid.grouping import COMMUTING, ORDERS, Grouping, measurement_groups, measurement_reduction
from studies.molecules import molecule

GROUPINGS = [Grouping(commuting=c, order=o) for c, o in itertools.product(COMMUTING, ORDERS)]
all_groupings = pytest.mark.parametrize("grouping", GROUPINGS, ids=lambda g: f"{g.commuting}, {g.order}")
bounded = settings(max_examples=60, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)

H2 = {
    "ZIII": 0.17119775, "IZII": 0.17119775, "IIZI": -0.22278593, "IIIZ": -0.22278593, "ZZII": 0.16862219,
    "ZIZI": 0.12054482, "IZIZ": 0.12054482, "ZIIZ": 0.16586702, "IZZI": 0.16586702, "IIZZ": 0.17434844,
    "XXYY": -0.0453222, "YYXX": -0.0453222, "XYYX": 0.0453222, "YXXY": 0.0453222,
}  # fmt: skip


def _lih() -> dict[str, float]:
    terms = {label[::-1]: float(value.real) for label, value in molecule("LiH").to_list()}
    del terms["I" * 12]
    return terms


def _groups(terms: dict[str, float], grouping: Grouping | str) -> tuple[MeasurementGroup, ...]:
    return measurement_groups(list(terms), _column(terms), grouping)


def _column(terms: dict[str, float]) -> Tensor:
    return torch.tensor(list(terms.values()), dtype=torch.float64)[:, None]


def _drawn(seed: int, num_qubits: int, most: int) -> dict[str, float]:
    """Different Pauli strings, not the identity, with coefficients of which some are alike."""
    rng = np.random.default_rng(seed)
    labels = {"".join(rng.choice(list("IXYZ"), num_qubits)) for _ in range(most)} - {"I" * num_qubits}
    labels = sorted(labels or {"Z" * num_qubits})
    return {label: float(rng.integers(1, 9)) * rng.choice([-1, 1]) / 8 for label in labels}


def _commuting(seed: int, num_qubits: int) -> list[str]:
    rng = np.random.default_rng(seed)
    kept: list[str] = []
    for _ in range(rng.integers(1, 60)):
        label = "".join(rng.choice(list("IXYZ"), num_qubits))
        if all(Pauli(label).commutes(Pauli(other)) for other in kept):
            kept.append(label)
    return kept


def _circuit(num_qubits: int, named_gates: NamedGates) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    for name, qubits in named_gates:
        getattr(circuit, name)(*qubits)
    return circuit


def _members(group: MeasurementGroup) -> dict[str, float]:
    """A group's terms, qubit 0 first, by taking its strings of Z back through its gates with qiskit."""
    turn = Clifford(_circuit(group.num_qubits, group.named_gates))
    found = {}
    for support, coefficient in zip(group.supports, group.coefficients[:, 0].tolist(), strict=True):
        letters = "".join("Z" if q in support else "I" for q in reversed(range(group.num_qubits)))
        label = Pauli(letters).evolve(turn, frame="h").to_label()
        found[label.lstrip("-")[::-1]] = -coefficient if label.startswith("-") else coefficient
    return found


def _agree(a: str, b: str) -> bool:
    return all(p == q or "I" in (p, q) for p, q in zip(a, b, strict=True))


@all_groupings
@bounded
@given(seed=seeds, num_qubits=st.integers(1, 5))
def test_groups_serve_every_term_once_and_commute(grouping: Grouping, seed: int, num_qubits: int) -> None:
    terms = _drawn(seed, num_qubits, 40)
    groups = [_members(group) for group in _groups(terms, grouping)]
    assert sorted(itertools.chain(*groups)) == sorted(terms)
    assert {label: c for group in groups for label, c in group.items()} == terms
    for a, b in (pair for group in groups for pair in itertools.combinations(group, 2)):
        assert Pauli(a).commutes(Pauli(b))
        assert grouping.commuting == "fully" or _agree(a, b)


@bounded
@given(seed=seeds, num_qubits=st.integers(2, 5), fully=st.booleans())
def test_largest_degree_first_is_the_colouring_of_networkx(seed: int, num_qubits: int, fully: bool) -> None:
    terms = _drawn(seed, num_qubits, 40)
    graph = networkx.Graph()
    graph.add_nodes_from(sorted(terms, key=lambda label: -abs(terms[label])))
    for a, b in itertools.combinations(terms, 2):
        if not (Pauli(a).commutes(Pauli(b)) if fully else _agree(a, b)):
            graph.add_edge(a, b)
    colours = networkx.greedy_color(graph, "largest_first")
    groups = _groups(terms, Grouping(commuting=COMMUTING[fully], order="largest degree first"))
    assert [{colours[label] for label in _members(group)} for group in groups] == [
        {i} for i in range(len(groups))
    ]


def test_sorted_insertion_takes_the_largest_first() -> None:
    terms = {"XI": 0.1, "ZI": -3.0, "IZ": 2.0, "XX": 1.0, "IX": 0.5}
    assert [set(_members(group)) for group in _groups(terms, "qubit-wise")] == [
        {"ZI", "IZ"},
        {"XX", "IX", "XI"},
    ]
    assert [group.basis for group in _groups(terms, "qubit-wise")] == ["ZZ", "XX"]
    # ZZ commutes with XX, which comes before it; by degree YI would be first.
    terms = {"IX": 1.0, "YI": 1.5, "ZZ": 2.0, "XX": 3.0}
    assert [set(_members(group)) for group in _groups(terms, "fully")] == [{"XX", "ZZ"}, {"YI", "IX"}]


@bounded
@given(seed=seeds, num_qubits=st.integers(1, 5))
def test_the_clifford_turns_every_string_to_z(seed: int, num_qubits: int) -> None:
    labels = _commuting(seed, num_qubits)
    turn = diagonalise(labels)
    assert {name for name, _ in turn.named_gates} <= {"h", "s", "sdg", "cx", "cz"}
    unitary = np.asarray(Operator(_circuit(num_qubits, turn.named_gates)).data)
    for label, support, sign in zip(labels, turn.supports, turn.signs, strict=True):
        z = Pauli("".join("Z" if q in support else "I" for q in reversed(range(num_qubits))))
        turned = unitary @ Pauli(label[::-1]).to_matrix() @ unitary.conj().T
        np.testing.assert_allclose(turned, sign * z.to_matrix(), atol=1e-12)


@pytest.mark.parametrize(
    ("labels", "two_qubit"),
    [
        (["XYZ", "XII", "IYI", "IIZ"], 0),
        (["XX", "IX"], 0),
        (["XX", "YY", "ZZ"], 1),
        (["XZI", "ZXZ", "IZX"], 2),
        (["XXXX", "ZZII", "IZZI", "IIZZ"], 3),
        (["XXYY", "YYXX", "XYYX", "YXXY"], 2),
    ],
    ids=["letters", "X alone", "Bell", "cluster", "GHZ", "H2"],
)
def test_few_two_qubit_gates_are_used(labels: list[str], two_qubit: int) -> None:
    assert sum(len(qubits) == 2 for _, qubits in diagonalise(labels).named_gates) == two_qubit


def test_strings_that_do_not_commute_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be Pauli strings that commute, but is \['XI', 'ZZ'\]"):
        diagonalise(["XI", "ZZ"])


@bounded
@given(seed=seeds, num_qubits=st.integers(1, 5))
def test_values_are_the_same_in_every_grouping(seed: int, num_qubits: int) -> None:
    rng = np.random.default_rng(seed)
    observables = [
        SparsePauliOp([label[::-1] for label in terms], np.array(list(terms.values())))
        for terms in (_drawn(seed, num_qubits, 30), _drawn(seed + 1, num_qubits, 30))
    ]
    circuit = efficient_su2(num_qubits, reps=2).decompose()
    theta = rng.normal(size=circuit.num_parameters)
    state = Statevector(circuit.assign_parameters(theta))
    expected = [state.expectation_value(item).real for item in observables]
    for grouping in GROUPINGS:
        value = Objective(circuit, observables, grouping=grouping).value(theta, backend=Exact())
        np.testing.assert_allclose(value.values.numpy(), expected, atol=1e-12)


def test_samples_of_a_clifford_group_covary_as_the_terms_do() -> None:
    """Repeated estimates, and the errors that come with them, against <AB> - <A><B> of the dense state."""
    a = SparsePauliOp(["XXI", "ZZI", "YYZ", "IIZ"], np.array([1.0, 0.7, -0.4, 0.3]))
    b = SparsePauliOp(["XXZ", "YYI", "ZZZ"], np.array([0.8, 0.5, 0.6]))
    observables = [a, b, (a + b).simplify()]
    circuit = efficient_su2(3, reps=1).decompose()
    theta = np.linspace(0.2, 2.5, circuit.num_parameters)
    objective = Objective(circuit, observables, grouping="fully")
    (group,) = objective.groups
    assert any(len(qubits) == 2 for _, qubits in group.named_gates)

    state = Statevector(circuit.assign_parameters(theta))
    means = np.array([state.expectation_value(item).real for item in observables])
    squares = np.array([state.expectation_value(item @ item).real for item in observables])
    shots, rows = 25, 20_000
    variances = (squares - means**2) / shots
    # The covariance of a and b is a good part of the variance of their sum.
    assert abs(variances[2] - variances[0] - variances[1]) > 0.1 * variances[2]

    value = objective.value(
        np.tile(theta, (rows, 1)), backend=Sampled(), total_shots=shots, rng=np.random.default_rng(5)
    )
    estimates, errors = value.values.numpy(), value.std_errors.numpy() ** 2
    assert np.abs((estimates.mean(0) - means) / np.sqrt(variances / rows)).max() < 4.5
    deviations = (estimates - means) ** 2
    for found in (deviations, errors):  # noise of each row, as it came out and as it was said to be
        spread = found.std(0) / np.sqrt(rows)
        assert np.abs((found.mean(0) - variances) / spread).max() < 4.5
        assert (spread < 0.02 * variances).all()


@pytest.mark.parametrize(
    ("grouping", "count", "reduction"),
    list(zip(GROUPINGS, (5, 5, 2, 2), (6.673, 6.673, 8.700, 8.700), strict=True)),
)
def test_hydrogen_has_its_groups(grouping: Grouping, count: int, reduction: float) -> None:
    groups = _groups(H2, grouping)
    assert len(groups) == count
    assert measurement_reduction(groups) == pytest.approx(reduction, abs=5e-4)


# PySCF and OpenFermion, as the file says; how ties are broken moves what is found by degree.
@pytest.mark.parametrize(
    ("grouping", "count", "reduction", "tolerance"),
    list(
        zip(GROUPINGS, (177, 154, 41, 39), (16.67, 4.42, 23.9, 23.3), (0.002, 0.1, 0.002, 0.1), strict=True)
    ),
)
def test_lithium_hydride_has_its_groups(
    grouping: Grouping, count: int, reduction: float, tolerance: float
) -> None:
    terms = _lih()
    assert len(terms) + 1 == 631
    assert sum(map(abs, terms.values())) == pytest.approx(12.3424, abs=5e-5)
    groups = _groups(terms, grouping)
    assert len(groups) == pytest.approx(count, rel=tolerance)
    assert measurement_reduction(groups) == pytest.approx(reduction, rel=tolerance)
    found = {label: c for group in groups for label, c in _members(group).items()}
    assert found == terms


def test_reduction_is_that_of_one_observable() -> None:
    terms = {"ZI": 3.0, "IZ": 4.0, "XX": 5.0}
    assert measurement_reduction(_groups(terms, "qubit-wise")) == pytest.approx((12 / 10) ** 2)
    groups = measurement_groups(["ZI", "IZ"], torch.ones(2, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match="`groups` must be of one observable, but is of 3"):
        measurement_reduction(groups)


def test_the_default_is_qubit_wise_by_sorted_insertion() -> None:
    circuit = efficient_su2(4, reps=1).decompose()
    observable = SparsePauliOp([label[::-1] for label in H2], np.array(list(H2.values())))
    first, *others = (
        [(group.basis, group.supports) for group in Objective(circuit, observable, **options).groups]
        for options in ({}, {"grouping": "qubit-wise"}, {"grouping": Grouping()})
    )
    assert others == [first, first]
    assert [basis for basis, _ in first] == ["ZZZZ", "XXYY", "YYXX", "XYYX", "YXXY"]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: Grouping(commuting="all"),
            ValueError,
            "Argument `commuting` must be 'qubit-wise' or 'fully', but is 'all'.",
        ),
        (
            lambda: Grouping(order="size"),
            ValueError,
            "Argument `order` must be 'sorted insertion' or 'largest degree first', but is 'size'.",
        ),
        (
            lambda: _objective("some"),
            ValueError,
            "Argument `grouping` must be a Grouping, 'qubit-wise' or 'fully', but is 'some'.",
        ),
        (
            lambda: _objective(3),
            TypeError,
            "Argument `grouping` must be a Grouping, 'qubit-wise' or 'fully', but is 3.",
        ),
    ],
)
def test_an_unknown_grouping_is_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        make()


def _objective(grouping: Any) -> Objective:
    return Objective(QuantumCircuit(1), SparsePauliOp("Z"), grouping=grouping)
