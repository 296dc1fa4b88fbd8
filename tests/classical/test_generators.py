"""Which rotations of a parameter move as one, and the frequencies that they make."""

from __future__ import annotations

import math
from functools import reduce

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from classical.generators import Generator, generators
from classical.program import Program, ProgramBuilder, pauli_matrix

HADAMARD = torch.tensor([[1, 1], [1, -1]], dtype=torch.complex128) / math.sqrt(2)
PHASE = torch.diag(torch.tensor([1, 1j], dtype=torch.complex128))

# Letters, qubits, factor of parameter 0.
Rotation = tuple[str, tuple[int, ...], float]


def _program(num_qubits: int, rotations: list[Rotation]) -> Program:
    builder = ProgramBuilder(num_qubits, 1)
    for letters, qubits, factor in rotations:
        builder.rotation(letters, qubits, {0: factor})
    return builder.build()


def _only(num_qubits: int, rotations: list[Rotation]) -> Generator:
    (found,) = generators(_program(num_qubits, rotations), 0)
    assert found.rotations == tuple(range(len(rotations)))
    assert found.factors == tuple(factor for _, _, factor in rotations)
    return found


def _ring(num_qubits: int) -> list[Rotation]:
    """RZZ(2t) on each edge: the cost layer of MaxCut on a ring."""
    return [("ZZ", (q, (q + 1) % num_qubits), 2.0) for q in range(num_qubits)]


MERMIN = ("XXX", "XYY", "YXY", "YYX")


def _pairs(xx: float, yy: float, zz: float) -> list[Rotation]:
    return [("XX", (0, 1), xx), ("YY", (0, 1), yy), ("ZZ", (0, 1), zz)]


CRX: list[Rotation] = [("X", (1,), 0.5), ("ZX", (0, 1), -0.5)]
CONTROLLED_PHASE: list[Rotation] = [("Z", (0,), 0.5), ("Z", (1,), 0.5), ("ZZ", (0, 1), -0.5)]


@pytest.mark.parametrize(
    ("num_qubits", "rotations", "frequencies", "multiples"),
    [
        pytest.param(1, [("Y", (0,), 1.0)], (1.0,), 1, id="one rotation"),
        pytest.param(1, [("Y", (0,), -3.0)], (3.0,), 1, id="scaled and negated"),
        pytest.param(1, [("Y", (0,), 1.0)] * 4, (4.0,), 1, id="four times the same"),
        pytest.param(2, CRX, (0.5, 1.0), 2, id="CRX"),
        pytest.param(2, CONTROLLED_PHASE, (1.0,), 1, id="controlled phase"),
        pytest.param(6, _ring(6), (4.0, 8.0, 12.0), 3, id="ring of ZZ"),
        pytest.param(6, _ring(6)[:5], (2.0, 4.0, 6.0, 8.0, 10.0), 5, id="open chain of ZZ"),
        pytest.param(
            5, [("X", (q,), 2.0) for q in range(5)], (2.0, 4.0, 6.0, 8.0, 10.0), 5, id="mixer"
        ),
        # YY = -(XX)(ZZ), so XX + YY + ZZ is -3 for the singlet and 1 for the three others.
        pytest.param(2, _pairs(1, 1, 1), (2.0,), 1, id="XX + YY + ZZ"),
        # XX - YY + ZZ is 3 once, and -1 three times.
        pytest.param(2, _pairs(1, -1, 1), (2.0,), 1, id="XX - YY + ZZ"),
        # Halves of -4, 2, 2 and 0.
        pytest.param(2, _pairs(1, 2, 1), (1.0, 2.0, 3.0), 3, id="XX + 2 YY + ZZ"),
        # Their product is -1, so one of them or three are -1: the sum is 2 or -2. Were it 1, 4 and 0 and -4.
        pytest.param(3, [(word, (0, 1, 2), 1.0) for word in MERMIN], (2.0,), 1, id="product of sign -1"),
        pytest.param(2, [("Z", (0,), 0.5), ("Z", (1,), 2.5)], (0.5, 2.0, 2.5, 3.0), 6, id="common divisor"),
        pytest.param(1, [("Z", (0,), 1.0), ("Z", (0,), -1.0)], (), None, id="cancels"),
    ],
)  # fmt: skip
def test_frequencies_are_the_known_ones(
    num_qubits: int, rotations: list[Rotation], frequencies: tuple[float, ...], multiples: int | None
) -> None:
    found = _only(num_qubits, rotations)
    np.testing.assert_allclose(found.frequencies, frequencies, rtol=1e-9)
    assert len(found.frequencies) == len(frequencies)
    assert found.num_multiples == multiples


@pytest.mark.parametrize("num_qubits", [3, 4, 5, 6, 7, 8])
def test_a_ring_has_half_as_many_multiples_as_edges(num_qubits: int) -> None:
    # A cut of a ring has an even number of edges.
    assert _only(num_qubits, _ring(num_qubits)).num_multiples == num_qubits // 2


@pytest.mark.parametrize(
    ("frequencies", "multiples"),
    [
        ((2.0, 3.0), 3),
        ((1.0, 2.3, 3.1), 31),
        ((0.5, 1.0), 2),
        ((1.0,), 1),
        ((1.0, math.sqrt(2)), None),
        ((1 / 3, 0.5, 2.0), 12),
        ((), None),
    ],
)
def test_multiples_come_from_the_greatest_common_divisor(
    frequencies: tuple[float, ...], multiples: int | None
) -> None:
    generator = Generator(rotations=(0,), factors=(1.0,), frequencies=frequencies)
    assert generator.num_multiples == multiples


def test_factors_without_a_common_divisor_have_no_multiples() -> None:
    found = _only(2, [("Z", (0,), 1.0), ("Z", (1,), math.sqrt(2))])
    root = math.sqrt(2)
    np.testing.assert_allclose(found.frequencies, [root - 1, 1, root, root + 1])
    assert found.num_multiples is None


def test_more_frequencies_than_are_worth_listing_are_none() -> None:
    distinct = [("Z", (q,), 3.0**q) for q in range(12)]
    found = _only(12, distinct)
    assert found.frequencies == ()
    assert found.num_multiples is None


def test_frequencies_that_are_more_than_rotations_are_not_listed() -> None:
    # Half a million differences of 1024 eigenvalues: moving each of 55 rotations is cheaper whatever they are.
    factors = np.random.default_rng(0).uniform(0.5, 1.5, size=(11, 11))
    pairs: list[Rotation] = [("ZZ", (i, j), float(factors[i, j])) for i in range(11) for j in range(i)]
    assert _only(11, pairs).frequencies == ()


@st.composite
def _commuting(draw: st.DrawFn) -> tuple[int, list[Rotation]]:
    """Strings that all commute, many of them products of others, with either sign."""
    kind = draw(st.sampled_from(["one letter a qubit", "pair", "Mermin"]))
    if kind == "one letter a qubit":
        letters = "".join(draw(st.sampled_from("XYZ")) for _ in range(3))
        supports = draw(st.lists(st.sets(st.integers(0, 2), min_size=1), min_size=1, max_size=5))
        strings = [("".join(letters[q] for q in sorted(s)), tuple(sorted(s))) for s in supports]
    elif kind == "Mermin":
        strings = [(word, (0, 1, 2)) for word in draw(st.permutations(MERMIN))]
    else:
        pairs = [(letter * 2, (0, 1)) for letter in "XYZ"] + [("Z", (2,)), ("XXZ", (0, 1, 2))]
        strings = draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=5))
    factors = st.sampled_from([1.0, -1.0, 2.0, 0.5, 1.7])
    return 3, [(word, qubits, draw(factors)) for word, qubits in strings]


@settings(max_examples=80, deadline=None, derandomize=True)
@given(_commuting())
def test_frequencies_are_differences_of_the_matrix_s_eigenvalues(problem: tuple[int, list[Rotation]]) -> None:
    num_qubits, rotations = problem
    found = _only(num_qubits, rotations)
    words = []
    for letters, qubits, _ in rotations:
        word = ["I"] * num_qubits
        for letter, qubit in zip(letters, qubits, strict=True):
            word[qubit] = letter
        words.append("".join(word))
    matrix = sum(f / 2 * pauli_matrix(word) for word, (_, _, f) in zip(words, rotations, strict=True))
    assert isinstance(matrix, torch.Tensor)
    levels = np.linalg.eigvalsh(matrix.numpy())
    differences = np.unique(np.round(levels[:, None] - levels, 9))
    np.testing.assert_allclose(found.frequencies, differences[differences > 1e-6], atol=1e-8)


def test_a_gate_that_does_not_commute_splits() -> None:
    def split(between: str, matrix: torch.Tensor | None = None, qubit: int = 0) -> int:
        builder = ProgramBuilder(2, 2)
        builder.rotation("Z", (0,), {0: 1.0})
        if matrix is None:
            builder.rotation(between, (qubit,), {1: 1.0})
        else:
            builder.unitary(matrix, (qubit,))
        builder.rotation("Z", (0,), {0: 1.0})
        return len(generators(builder.build(), 0))

    assert split("X") == 2
    assert split("Z") == 1
    assert split("X", qubit=1) == 1
    assert split("", HADAMARD) == 2
    assert split("", PHASE) == 1
    assert split("", HADAMARD, qubit=1) == 1


def test_rotations_that_do_not_commute_with_each_other_do_not_join() -> None:
    builder = ProgramBuilder(1, 2)
    for letter in "ZZXXZ":
        builder.rotation(letter, (0,), {0: 1.0})
    found = generators(builder.build(), 0)
    assert [each.rotations for each in found] == [(0, 1), (2, 3), (4,)]


def test_a_rotation_must_commute_with_all_since_the_first_that_it_joins() -> None:
    # The middle ZZ joins, past X on qubit 2; the last, on that qubit, may not pass it.
    builder = ProgramBuilder(3, 2)
    builder.rotation("ZZ", (0, 1), {0: 1.0})
    builder.rotation("X", (2,), {1: 1.0})
    builder.rotation("Z", (0,), {0: 1.0})
    builder.rotation("Z", (2,), {0: 1.0})
    found = generators(builder.build(), 0)
    assert [each.rotations for each in found] == [(0, 2), (3,)]


def test_a_gate_before_the_first_of_a_new_group_does_not_count() -> None:
    builder = ProgramBuilder(1, 2)
    builder.rotation("Z", (0,), {0: 1.0})
    builder.unitary(HADAMARD, (0,))
    builder.rotation("Z", (0,), {0: 1.0})
    builder.rotation("Z", (0,), {0: 2.0})
    found = generators(builder.build(), 0)
    assert [each.rotations for each in found] == [(0,), (1, 2)]
    assert [each.frequencies for each in found] == [(1.0,), (3.0,)]


def test_rotations_of_other_parameters_are_left_out() -> None:
    builder = ProgramBuilder(2, 3)
    builder.rotation("Z", (0,), {0: 1.0, 1: 2.0})
    builder.rotation("Z", (1,), {1: 1.0})
    program = builder.build()
    assert [each.rotations for each in generators(program, 0)] == [(0,)]
    assert [each.rotations for each in generators(program, 1)] == [(0, 1)]
    assert [each.factors for each in generators(program, 1)] == [(2.0, 1.0)]
    assert generators(program, 2) == ()


def test_a_group_s_frequencies_are_those_of_the_value() -> None:
    # exp(-i t G): the value's Fourier series in t has the listed frequencies and no others.
    found = _only(2, CRX)
    period, count = 4 * math.pi, 16
    matrices = [pauli_matrix("IX"), pauli_matrix("ZX")]
    state = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 2)) @ [1, 1j])
    state = state / state.norm()
    observable = torch.from_numpy(np.random.default_rng(1).normal(size=(4, 4)))
    observable = (observable + observable.T).to(torch.complex128)

    def value(t: float) -> float:
        unitary = reduce(
            torch.matmul,
            (
                torch.linalg.matrix_exp(-0.5j * t * f * m)
                for f, m in zip(found.factors, matrices, strict=True)
            ),
        )
        turned = unitary @ state
        return float((turned.conj() @ observable @ turned).real)

    spectrum = np.abs(np.fft.rfft([value(period * k / count) for k in range(count)])) / count
    present = [k / 2 for k in range(1, len(spectrum)) if spectrum[k] > 1e-9]
    assert present == list(found.frequencies)
