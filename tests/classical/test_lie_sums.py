"""Algebras of sums: dimensions that are known, PennyLane's closure, and that commutators stay inside."""

from __future__ import annotations

import numpy as np
import pennylane as qml
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from classical.lie_algebra import PauliAlgebra, algebra_of
from classical.lie_errors import AlgebraTooLarge, OutsideTheAlgebra, RankUndecided
from classical.lie_sums import SumAlgebra, Terms, sum_closure
from classical.paulis import PauliString
from classical.program import ProgramBuilder, pauli_matrix
from tests.classical.chains import ising, layered, pairs, singles


def _sums(*parts: list[str]) -> list[Terms]:
    return [[(label, 1.0) for label in part] for part in parts]


def _shared(n: int, *, ring: bool = False) -> list[Terms]:
    return _sums(pairs(n, "Z", ring=ring), singles(n, "X"))


def _with_fields(n: int) -> list[Terms]:
    return [*_shared(n), *_sums(singles(n, "Z"))]


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 9])
def test_ising_chains_with_shared_angles(n: int) -> None:
    assert sum_closure(_shared(n)).dimension == n**2
    assert sum_closure(_shared(n, ring=True)).dimension == (3 * n - 1 if n > 2 else 4)


@pytest.mark.parametrize(("n", "dimension"), [(2, 9), (3, 38), (4, 135)])
def test_fields_leave_the_reflection(n: int, dimension: int) -> None:
    assert sum_closure(_with_fields(n)).dimension == dimension


def test_sums_of_one_string_are_the_algebra_of_strings() -> None:
    assert sum_closure(_sums(*([label] for label in ising(4)))).dimension == 28


def test_sixteen_qubits_close_at_once() -> None:
    assert sum_closure(_shared(16)).dimension == 256


@pytest.mark.parametrize("n", [2, 3, 4])
def test_pennylane_finds_as_many_elements(n: int) -> None:
    uneven: list[Terms] = [[(label, 1.0 + 0.5 * i) for i, label in enumerate(pairs(n, "Z"))], _shared(n)[1]]
    cases = [_shared(n), _shared(n, ring=True), uneven] + [_with_fields(n)] * (n < 4)
    for generators in cases:
        theirs = qml.lie_closure([_sentence(terms) for terms in generators])
        assert sum_closure(generators).dimension == len(list(theirs))


def _sentence(terms: Terms) -> qml.pauli.PauliSentence:
    words = {qml.pauli.PauliWord({q: x for q, x in enumerate(word) if x != "I"}): c for word, c in terms}
    return qml.pauli.PauliSentence(words)


def _matrices(algebra: SumAlgebra, num_qubits: int) -> torch.Tensor:
    strings = torch.stack([pauli_matrix(PauliString(x, z).letters(num_qubits)) for x, z in algebra.strings])
    return torch.einsum("bs,sij->bij", torch.from_numpy(algebra.basis).to(strings), strings)


@st.composite
def _drawn(draw: st.DrawFn) -> list[Terms]:
    label = st.text("IXYZ", min_size=2, max_size=2).filter(lambda text: text != "II")
    coefficient = st.sampled_from([1.0, -1.0, 0.5, 3.0])
    terms = st.lists(st.tuples(label, coefficient), min_size=1, max_size=3, unique_by=lambda term: term[0])
    return draw(st.lists(terms, min_size=1, max_size=3))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(_drawn())
def test_commutators_of_any_two_elements_stay_inside(generators: list[Terms]) -> None:
    algebra = sum_closure(generators)
    matrices = _matrices(algebra, 2)
    gram = torch.einsum("aij,bji->ab", matrices, matrices) / 4
    torch.testing.assert_close(gram, torch.eye(len(matrices)).to(gram))
    commutators = 1j * (matrices[:, None] @ matrices - matrices @ matrices[:, None]) / 2
    inside = torch.einsum("abij,cji->abc", commutators, matrices) / 4
    torch.testing.assert_close(torch.einsum("abc,cij->abij", inside, matrices), commutators)
    for terms in generators:
        length = sum(c**2 for _, c in terms) ** 0.5
        assert np.linalg.norm(algebra.coordinates(terms)) == pytest.approx(length)


def test_adjoint_matrices_are_commutators_with_generators() -> None:
    generators = _shared(3)
    algebra = sum_closure(generators)
    matrices = _matrices(algebra, 3)
    for terms, adjoint in zip(generators, algebra.adjoint, strict=True):
        own = sum(c * pauli_matrix(label) for label, c in terms) / len(terms) ** 0.5
        moved = 1j * (own @ matrices - matrices @ own) / 2
        expected = torch.einsum("cb,cij->bij", torch.from_numpy(adjoint).to(matrices), matrices)
        torch.testing.assert_close(moved, expected)


def test_means_of_a_product_state() -> None:
    algebra = sum_closure(_with_fields(2))
    bloch = (0.36, 0.48, 0.8)
    single = torch.eye(2, dtype=torch.complex128) / 2
    for letter, component in zip("XYZ", bloch, strict=True):
        single = single + component * pauli_matrix(letter) / 2
    expected = torch.einsum("bij,ji->b", _matrices(algebra, 2), torch.kron(single, single)).real
    assert algebra.means(bloch) == pytest.approx(expected.numpy())


def test_circuits_with_shared_angles_have_algebras_of_sums() -> None:
    algebra = algebra_of(layered([pairs(4, "Z"), singles(4, "X")], layers=3))
    assert isinstance(algebra, SumAlgebra)
    assert algebra.dimension == 16
    own = algebra_of(layered([[label] for label in ising(4)], layers=2))
    assert isinstance(own, PauliAlgebra)
    assert own.dimension == 28


def test_what_is_no_generator_is_refused() -> None:
    builder = ProgramBuilder(1, 2)
    for letter, parameter in (("X", 0), ("Z", 1), ("X", 0)):
        builder.rotation(letter, (0,), {parameter: 1.0})
    with pytest.raises(OutsideTheAlgebra, match="Parameter 0 turns 2 times"):
        algebra_of(builder.build())
    builder = ProgramBuilder(1, 2)
    builder.rotation("X", (0,), {0: 1.0, 1: 1.0})
    with pytest.raises(OutsideTheAlgebra, match="each by one parameter"):
        algebra_of(builder.build())


def test_bad_input_is_named() -> None:
    for generators in ([], [[]], [[("II", 1.0)]], [[("X", 1.0), ("X", -1.0)]], [[("X", 1.0)], [("XX", 1.0)]]):
        with pytest.raises(ValueError, match=r"Argument `generators` must h(old|ave)"):
            sum_closure(generators)
    with pytest.raises(AlgebraTooLarge, match="at least"):
        sum_closure(_with_fields(4), most=100)
    with pytest.raises(AlgebraTooLarge, match="more than 50 strings"):
        sum_closure(_with_fields(4), most_strings=50)
    with pytest.raises(RankUndecided, match="Rounding hides"):
        sum_closure([[("X", 1.0)], [("X", 1.0), ("Z", 1e-8)]])
    with pytest.raises(OutsideTheAlgebra, match="is not in the algebra of dimension 9"):
        sum_closure(_shared(3)).coordinates([("XII", 1.0)])


def test_the_identity_of_an_observable_is_left_out() -> None:
    algebra = sum_closure(_shared(3))
    plain = algebra.coordinates(_shared(3)[1])
    assert algebra.coordinates([*_shared(3)[1], ("III", 5.0)]) == pytest.approx(plain)
