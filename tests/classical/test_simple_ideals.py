"""Simple ideals: names that are known, found in two ways, and losses of sampled circuits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from classical.lie_algebra import lie_closure, loss_variance
from classical.lie_errors import OutsideTheAlgebra
from classical.lie_names import Unnamed, describe, families, simple_names
from classical.lie_sums import Terms, sum_closure
from classical.program import pauli_matrix
from classical.simple_ideals import decompose
from classical.statevector import Statevector
from tests.classical.chains import ising, layered, pairs, singles, word


def _sums(*parts: list[str]) -> list[Terms]:
    return [[(label, 1.0) for label in part] for part in parts]


def _families_of(n: int) -> dict[str, list[str]]:
    return {
        "ising": ising(n),
        "ring": ising(n, ring=True),
        "hopping": pairs(n, "X") + pairs(n, "Y"),
        "heisenberg": pairs(n, "X") + pairs(n, "Y") + pairs(n, "Z"),
        "fields": ising(n) + singles(n, "Z"),
        "own": singles(n, "X") + singles(n, "Z"),
        "ends": [*singles(n, "Y"), *pairs(n, "X"), word(n, {0: "Y", 1: "Z"})],
        "real": [*singles(n, "Y"), *pairs(n, "X"), *pairs(n, "Z")],
    }


# What the package paulie 0.2.3 says of these, an independent classification; and Wiersema et al. 2023,
# arXiv:2309.05690, of chains.
NAMES: dict[int, dict[str, str]] = {
    2: {"ising": "2 so(3)", "hopping": "2 u(1)", "heisenberg": "3 u(1)", "fields": "so(6)", "own": "2 so(3)"},
    3: {"ising": "so(6)", "ring": "2 so(6)", "hopping": "2 so(3)", "heisenberg": "so(6)", "fields": "su(8)"},
    4: {
        "ising": "so(8)",
        "ring": "2 so(8)",
        "hopping": "4 so(3)",
        "heisenberg": "4 so(6)",
        "fields": "su(16)",
    },
    5: {
        "ising": "so(10)",
        "ring": "2 so(10)",
        "hopping": "2 so(5)",
        "heisenberg": "su(16)",
        "fields": "su(32)",
    },
    6: {"ising": "so(12)", "ring": "2 so(12)", "hopping": "2 so(6)", "own": "6 so(3)"},
}
NAMES[2] |= {"ends": "so(5)"}
NAMES[3] |= {"ends": "so(7)", "own": "3 so(3)"}
NAMES[4] |= {"ends": "so(9)", "own": "4 so(3)"}
NAMES[5] |= {"ends": "so(11)", "own": "5 so(3)"}

CASES = [(n, kind, name) for n, kinds in NAMES.items() for kind, name in kinds.items()]


@pytest.mark.parametrize(("n", "kind", "name"), CASES)
def test_algebras_of_strings_have_the_names_of_the_classification(n: int, kind: str, name: str) -> None:
    (family,) = families(lie_closure(_families_of(n)[kind]))
    copies, simple = name.split() if " " in name else ("1", name)
    assert family.copies == int(copies)
    assert simple in family.names


SMALL = [case for case in CASES if lie_closure(_families_of(case[0])[case[1]]).dimension <= 66]


@pytest.mark.parametrize(("n", "kind", "_name"), SMALL)
def test_roots_say_the_same_as_bits(n: int, kind: str, _name: str) -> None:
    labels = _families_of(n)[kind]
    numeric = decompose(sum_closure(_sums(*([label] for label in labels))), np.random.default_rng(1))
    assert numeric.families() == families(lie_closure(labels))


def test_symplectic_and_orthogonal_algebras_are_told_apart() -> None:
    # What a transposition turns into its negative: 28 strings with an odd number of Y are so(8); with a form of the
    # other kind 36 are sp(8), of the dimension and unlike the roots of so(9).
    odd = [label for label in _labels(3) if label.count("Y") % 2 == 1]
    assert describe(families(lie_closure(odd))) == "so(8)"
    other = [label for label in _labels(3) if (label.count("Y") + (label[0] in "XZ")) % 2 == 1]
    assert len(other) == 36
    assert describe(families(lie_closure(other))) == "sp(8)"
    numeric = decompose(sum_closure(_sums(*([label] for label in other))), np.random.default_rng(0))
    assert [ideal.names for ideal in numeric.ideals] == [("sp(8)",)]


def _labels(n: int) -> list[str]:
    letters = "IXYZ"
    return ["".join(letters[k >> 2 * q & 3] for q in range(n)) for k in range(1, 4**n)]


def test_shared_angles_have_these_ideals() -> None:
    rng = np.random.default_rng(3)
    for n in (3, 4, 5, 6):
        chain = decompose(sum_closure(_sums(pairs(n, "Z"), singles(n, "X"))), rng)
        assert describe(chain.families()) == f"su({n}) + u(1)"
        ring = decompose(sum_closure(_sums(pairs(n, "Z", ring=True), singles(n, "X"))), rng)
        assert describe(ring.families()) == f"{n - 1} su(2) + 2 u(1)"
    # With fields the two signs of the reflection: blocks of 6 and 2 on three qubits.
    fields = decompose(sum_closure(_sums(pairs(3, "Z"), singles(3, "X"), singles(3, "Z"))), rng)
    assert describe(fields.families()) == "su(6) + su(2)"


def test_ideals_and_centre_are_an_orthonormal_basis() -> None:
    found = decompose(sum_closure(_sums(pairs(4, "Z", ring=True), singles(4, "X"))), np.random.default_rng(5))
    rows = np.concatenate([*(ideal.coordinates for ideal in found.ideals), found.centre])
    np.testing.assert_allclose(rows @ rows.T, np.eye(11), atol=1e-9)
    for ideal in found.ideals:
        for adjoint in found.algebra.adjoint:
            turned = ideal.coordinates @ adjoint.T
            np.testing.assert_allclose(turned, turned @ ideal.coordinates.T @ ideal.coordinates, atol=1e-9)


def _dense(terms: Terms) -> torch.Tensor:
    return torch.stack([c * pauli_matrix(label) for label, c in terms]).sum(0)


def _deep_variance(generators: list[Terms], terms: Terms) -> float:
    """Exactly, for real matrices: two copies of the observable, averaged over each angle in turn, in |0...0>.

    The average over an angle keeps what lies between equal eigenvalues of the generator's sum over both copies; layers
    follow each other until nothing changes.
    """
    moments = []
    for copies in (1, 2):
        turns = []
        for generator in generators:
            levels, axes = np.linalg.eigh(_dense(generator).real.numpy())
            both = np.kron(axes, axes) if copies == 2 else axes
            sums = (levels[:, None] + levels).reshape(-1) if copies == 2 else levels
            turns.append((both, np.abs(sums[:, None] - sums) < 1e-9))
        matrix = _dense(terms).real.numpy()
        matrix = np.kron(matrix, matrix) if copies == 2 else matrix
        before = np.inf
        while np.abs(matrix - before).max() > 1e-8:
            before = matrix
            for axes, kept in reversed(turns):
                matrix = axes @ ((axes.T @ matrix @ axes) * kept) @ axes.T
        moments.append(float(matrix[0, 0]))
    return moments[1] - moments[0] ** 2


SHARED: dict[str, list[list[str]]] = {
    "chain of 2": [pairs(2, "Z"), singles(2, "X")],
    "chain of 3": [pairs(3, "Z"), singles(3, "X")],
    "ring of 3": [pairs(3, "Z", ring=True), singles(3, "X")],
    "fields": [pairs(3, "Z"), singles(3, "X"), singles(3, "Z")],
}


@pytest.mark.parametrize("case", SHARED)
def test_losses_of_deep_circuits_with_shared_angles_have_the_predicted_variance(case: str) -> None:
    generators = _sums(*SHARED[case])
    found = decompose(sum_closure(generators), np.random.default_rng(7))
    for terms in (generators[0], generators[-1]):
        assert _deep_variance(generators, terms) == pytest.approx(found.loss_variance(terms), rel=1e-6)


SAMPLED: dict[str, tuple[list[list[str]], Terms]] = {
    "shared": (SHARED["chain of 3"], [("XII", 1.0), ("IXI", 1.0), ("IIX", 1.0)]),
    "equal copies": ([["XI"], ["ZI"], ["XZ"]], [("XI", 1.0), ("XZ", 0.7)]),
}


@pytest.mark.parametrize("case", SAMPLED)
def test_losses_of_sampled_circuits_have_the_predicted_variance(case: str) -> None:
    sums, terms = SAMPLED[case]
    program = layered(sums, 12)
    theta = np.random.default_rng(11).uniform(0, 2 * np.pi, (5_000, program.num_params))
    states = Statevector(program).states(program.angles(torch.from_numpy(theta)))
    losses = torch.einsum("bi,ij,bj->b", states.conj(), _dense(terms), states).real.numpy()
    moved = losses - losses.mean()
    variance = float((moved**2).mean())
    error = variance * float(np.sqrt((float((moved**4).mean()) / variance**2 - 1) / len(losses)))
    predicted = decompose(sum_closure(_sums(*sums)), np.random.default_rng(7)).loss_variance(terms)
    assert abs(variance - predicted) < 4.5 * error
    # A bias of a tenth would show.
    assert error < 0.02 * predicted


def test_strings_and_sums_predict_the_same_variance() -> None:
    for n in (2, 3, 4):
        labels = ising(n, ring=True)
        found = decompose(sum_closure(_sums(*([label] for label in labels))), np.random.default_rng(0))
        for bloch in ((0, 0, 1), (0.48, 0.6, 0.64)):
            for terms in ([(labels[0], 1.0)], [(labels[-1], -2.0)]):
                expected = loss_variance(lie_closure(labels), terms, bloch)
                assert found.loss_variance(terms, bloch) == pytest.approx(expected)


def test_what_lies_in_the_centre_has_no_variance() -> None:
    found = decompose(sum_closure([[("ZZ", 1.0), ("XX", 1.0)]]), np.random.default_rng(0))
    assert describe(found.families()) == "u(1)"
    assert found.loss_variance([("ZZ", 1.0), ("XX", 1.0)]) == 0
    with pytest.raises(OutsideTheAlgebra, match="is not in the algebra"):
        found.loss_variance([("ZZ", 1.0)])


def test_numbers_of_no_algebra_have_no_name() -> None:
    assert simple_names(3, 1) == ("su(2)", "so(3)", "sp(2)")
    assert simple_names(14, 2) == ("g2",)
    with pytest.raises(Unnamed, match="dimension 7 and rank 2"):
        simple_names(7, 2)
