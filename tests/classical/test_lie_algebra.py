"""Dimensions of algebras that are known, and variances that they predict beside the exact walk."""

from __future__ import annotations

import pytest
import torch

from classical.lie_algebra import (
    AlgebraTooLarge,
    OutsideTheAlgebra,
    algebra_of,
    lie_closure,
    loss_variance,
)
from classical.pauli_walk import second_moments
from classical.program import Program, ProgramBuilder


def _word(num_qubits: int, letters: dict[int, str]) -> str:
    return "".join(letters.get(q, "I") for q in range(num_qubits))


def _pairs(num_qubits: int, letter: str, *, ring: bool = False) -> list[str]:
    last = num_qubits if ring else num_qubits - 1
    return [_word(num_qubits, {q: letter, (q + 1) % num_qubits: letter}) for q in range(last)]


def _singles(num_qubits: int, letter: str) -> list[str]:
    return [_word(num_qubits, {q: letter}) for q in range(num_qubits)]


def _ising(num_qubits: int, *, ring: bool = False) -> list[str]:
    return _pairs(num_qubits, "Z", ring=ring) + _singles(num_qubits, "X")


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
def test_dimensions_are_those_of_the_standard_families(n: int) -> None:
    assert lie_closure(_ising(n)).dimension == n * (2 * n - 1)
    assert lie_closure(_pairs(n, "Z") + _singles(n, "Y")).dimension == n * (2 * n - 1)
    assert lie_closure(_ising(n) + _singles(n, "Z")).dimension == 4**n - 1
    assert lie_closure(_pairs(n, "X") + _pairs(n, "Y")).dimension == n * (n - 1)
    assert lie_closure(_singles(n, "X") + _singles(n, "Z")).dimension == 3 * n
    heisenberg = lie_closure(_pairs(n, "X") + _pairs(n, "Y") + _pairs(n, "Z"))
    assert heisenberg.dimension == {2: 3, 3: 15, 4: 60, 5: 255, 6: 1020}[n]


@pytest.mark.parametrize(("n", "dimension"), [(2, 6), (3, 30), (4, 56), (5, 90), (6, 132)])
def test_the_ising_ring(n: int, dimension: int) -> None:
    assert lie_closure(set(_ising(n, ring=True))).dimension == dimension


def test_sixteen_qubits_close_at_once() -> None:
    assert lie_closure(_ising(16)).dimension == 16 * 31


def _rotations(labels: list[str], layers: int) -> Program:
    builder = ProgramBuilder(len(labels[0]), layers * len(labels))
    for k, label in enumerate(labels * layers):
        qubits = tuple(q for q, letter in enumerate(label) if letter != "I")
        builder.rotation("".join(label[q] for q in qubits), qubits, {k: 1.0})
    return builder.build()


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_the_variance_of_the_ising_chain_is_that_of_the_exact_walk(n: int) -> None:
    labels = _ising(n)
    program = _rotations(labels, 30 * n)
    algebra = algebra_of(program)
    for term in ("X" + "I" * (n - 1), _pairs(n, "Z")[0]):
        predicted = loss_variance(algebra, [(term, 1.0)])
        assert predicted == pytest.approx((n - 1) / (n * (2 * n - 1)))
        assert second_moments(program, [(term, 1.0)]).loss == pytest.approx(predicted, rel=1e-6)


def test_own_gates_on_every_qubit_have_a_variance_without_size() -> None:
    for n in (1, 4, 9):
        algebra = lie_closure(_singles(n, "X") + _singles(n, "Z"))
        assert len(algebra.ideals) == n
        assert loss_variance(algebra, [("X" + "I" * (n - 1), 1.0)]) == pytest.approx(1 / 3)


def test_controllable_circuits_have_the_variance_of_random_states() -> None:
    n = 3
    algebra = lie_closure(_ising(n) + _singles(n, "Z"))
    assert loss_variance(algebra, [("XYZ", 2.0)]) == pytest.approx(4 / (2**n + 1))


def test_terms_whose_products_count_are_refused() -> None:
    # X and X Z of a spectator generate su(2) twice, for the spectator up and down.
    algebra = lie_closure(["XI", "ZI", "XZ"])
    assert [len(ideal) for ideal in algebra.ideals] == [6]
    # |0...0> is in one of the two: 1/3 for one of them, as on one qubit.
    assert loss_variance(algebra, [("XZ", 1.0)]) == pytest.approx(1 / 3)
    with pytest.raises(OutsideTheAlgebra, match="sum of equal simple ones"):
        loss_variance(algebra, [("XI", 1.0), ("XZ", 1.0)])
    simple = lie_closure(_ising(3))
    both = loss_variance(simple, [("XII", 1.0), ("IXI", 2.0)])
    assert both == pytest.approx(5 * loss_variance(simple, [("XII", 1.0)]))


def test_what_lies_in_the_centre_has_no_variance() -> None:
    algebra = lie_closure(["ZZ"])
    assert loss_variance(algebra, [("ZZ", 1.0)]) == 0


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="at least one"):
        lie_closure([])
    with pytest.raises(ValueError, match="other than the identity"):
        lie_closure(["II"])
    with pytest.raises(AlgebraTooLarge, match="more than 1,000"):
        lie_closure(_ising(6) + _singles(6, "Z"), most=1_000)
    with pytest.raises(OutsideTheAlgebra, match="is not in the algebra"):
        loss_variance(lie_closure(_ising(3)), [("ZII", 1.0)])
    builder = ProgramBuilder(1, 1)
    builder.unitary(torch.eye(2, dtype=torch.complex128), (0,))
    with pytest.raises(OutsideTheAlgebra, match="rotations alone"):
        algebra_of(builder.build())
