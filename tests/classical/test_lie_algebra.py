"""Dimensions of algebras that are known, and variances that they predict beside the exact walk."""

from __future__ import annotations

import pytest
import torch

from classical.lie_algebra import (
    PauliAlgebra,
    algebra_of,
    gradient_variance,
    lie_closure,
    loss_variance,
)
from classical.lie_errors import AlgebraTooLarge, OutsideTheAlgebra
from classical.pauli_walk import second_moments
from classical.program import ProgramBuilder
from classical.variance_theory import deep_middle, free_fermion_loss
from tests.classical.chains import ising, layered, pairs, singles


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
def test_dimensions_are_those_of_the_standard_families(n: int) -> None:
    assert lie_closure(ising(n)).dimension == n * (2 * n - 1)
    assert lie_closure(pairs(n, "Z") + singles(n, "Y")).dimension == n * (2 * n - 1)
    assert lie_closure(ising(n) + singles(n, "Z")).dimension == 4**n - 1
    assert lie_closure(pairs(n, "X") + pairs(n, "Y")).dimension == n * (n - 1)
    assert lie_closure(singles(n, "X") + singles(n, "Z")).dimension == 3 * n
    heisenberg = lie_closure(pairs(n, "X") + pairs(n, "Y") + pairs(n, "Z"))
    assert heisenberg.dimension == {2: 3, 3: 15, 4: 60, 5: 255, 6: 1020}[n]


@pytest.mark.parametrize(("n", "dimension"), [(2, 6), (3, 30), (4, 56), (5, 90), (6, 132)])
def test_the_ising_ring(n: int, dimension: int) -> None:
    assert lie_closure(set(ising(n, ring=True))).dimension == dimension


def test_sixteen_qubits_close_at_once() -> None:
    assert lie_closure(ising(16)).dimension == 16 * 31


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_the_variance_of_the_ising_chain_is_that_of_the_exact_walk(n: int) -> None:
    labels = ising(n)
    program = layered([[label] for label in labels], 30 * n)
    algebra = algebra_of(program)
    assert isinstance(algebra, PauliAlgebra)
    for term in ("X" + "I" * (n - 1), pairs(n, "Z")[0]):
        predicted = loss_variance(algebra, [(term, 1.0)])
        assert predicted == pytest.approx(free_fermion_loss(n))
        assert second_moments(program, [(term, 1.0)]).loss == pytest.approx(predicted, rel=1e-6)


def test_own_gates_on_every_qubit_have_a_variance_without_size() -> None:
    for n in (1, 4, 9):
        algebra = lie_closure(singles(n, "X") + singles(n, "Z"))
        assert len(algebra.ideals) == n
        assert loss_variance(algebra, [("X" + "I" * (n - 1), 1.0)]) == pytest.approx(1 / 3)


def test_controllable_circuits_have_the_variance_of_random_states() -> None:
    n = 3
    algebra = lie_closure(ising(n) + singles(n, "Z"))
    assert loss_variance(algebra, [("XYZ", 2.0)]) == pytest.approx(4 / (2**n + 1))


def test_terms_whose_products_count_are_refused() -> None:
    # X and X Z of a spectator generate su(2) twice, for the spectator up and down.
    algebra = lie_closure(["XI", "ZI", "XZ"])
    assert [len(ideal) for ideal in algebra.ideals] == [6]
    # |0...0> is in one of the two: 1/3 for one of them, as on one qubit.
    assert loss_variance(algebra, [("XZ", 1.0)]) == pytest.approx(1 / 3)
    with pytest.raises(OutsideTheAlgebra, match="sum of equal simple ones"):
        loss_variance(algebra, [("XI", 1.0), ("XZ", 1.0)])
    simple = lie_closure(ising(3))
    both = loss_variance(simple, [("XII", 1.0), ("IXI", 2.0)])
    assert both == pytest.approx(5 * loss_variance(simple, [("XII", 1.0)]))


def _middle(n: int, labels: list[str], layers: int, rotation: str, term: str) -> float:
    """The exact walk's variance of the derivative by a rotation of the middle layer."""
    program = layered([[label] for label in labels], layers)
    place = layers // 2 * len(labels) + labels.index(rotation)
    return float(second_moments(program, [(term, 1.0)]).derivatives[place])


@pytest.mark.parametrize("n", [2, 3, 4])
def test_gradients_of_deep_ising_chains_are_those_of_the_exact_walk(n: int) -> None:
    labels = ising(n)
    algebra = lie_closure(labels)
    for rotation in (labels[0], labels[-1]):
        predicted = gradient_variance(algebra, rotation, [(labels[0], 1.0)])
        # The loss is there at 30 n layers; half of 80 n stand on each side of the middle.
        assert _middle(n, labels, 80 * n, rotation, labels[0]) == pytest.approx(predicted, rel=1e-6)


@pytest.mark.parametrize("n", [2, 3])
def test_gradients_of_deep_controllable_circuits_are_those_of_haar_unitaries(n: int) -> None:
    labels = ising(n) + singles(n, "Z")
    predicted = gradient_variance(lie_closure(labels), labels[0], [("X" * n, 3.0)])
    assert predicted == pytest.approx(9 * deep_middle(n))
    assert _middle(n, labels, 40 * n, labels[0], "X" * n) == pytest.approx(predicted / 9, rel=1e-6)


def test_gradients_of_sums_of_equal_ideals() -> None:
    # Two copies of su(2): in the one that |00> is in, a qubit's d^2 / (2 (d^2 - 1) (d + 1)) = 2/9.
    labels = ["XI", "ZI", "XZ"]
    algebra = lie_closure(labels)
    predicted = gradient_variance(algebra, "XZ", [("ZI", 1.0)])
    assert predicted == pytest.approx(2 / 9)
    assert _middle(2, labels, 60, "XZ", "ZI") == pytest.approx(predicted, rel=1e-6)


def test_gradients_across_ideals_are_zero() -> None:
    algebra = lie_closure(singles(2, "X") + singles(2, "Z"))
    assert gradient_variance(algebra, "XI", [("IX", 1.0)]) == 0
    assert gradient_variance(algebra, "XI", [("XI", 1.0), ("II", 7.0)]) == pytest.approx(2 / 9)


def test_what_lies_in_the_centre_has_no_variance() -> None:
    algebra = lie_closure(["ZZ"])
    assert loss_variance(algebra, [("ZZ", 1.0)]) == 0


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="holds none"):
        lie_closure([])
    with pytest.raises(ValueError, match="other than the identity"):
        lie_closure(["II"])
    with pytest.raises(AlgebraTooLarge, match="more than 1,000"):
        lie_closure(ising(6) + singles(6, "Z"), most=1_000)
    with pytest.raises(OutsideTheAlgebra, match="is not in the algebra"):
        loss_variance(lie_closure(ising(3)), [("ZII", 1.0)])
    with pytest.raises(OutsideTheAlgebra, match="rotation about ZII"):
        gradient_variance(lie_closure(ising(3)), "ZII", [("XII", 1.0)])
    builder = ProgramBuilder(1, 1)
    builder.unitary(torch.eye(2, dtype=torch.complex128), (0,))
    with pytest.raises(OutsideTheAlgebra, match="rotations alone"):
        algebra_of(builder.build())
