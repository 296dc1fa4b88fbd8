"""Free fermions beside state vectors, at sizes that state vectors do not reach, and what is none."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from classical.free_fermions import FreeFermions, NoFreeFermions
from classical.measurement import GATE_MATRICES
from classical.program import Program, ProgramBuilder, pauli_matrix
from classical.statevector import Statevector
from tests.classical.chains import ising, layered, pairs, singles

Terms = list[tuple[str, float]]


def _turns(count: int, program: Program, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.uniform(0, 2 * math.pi, (count, program.num_params)))


def _dense(program: Program, theta: torch.Tensor, terms: Terms) -> torch.Tensor:
    states = Statevector(program).states(program.angles(theta))
    observable = torch.stack([c * pauli_matrix(label) for label, c in terms]).sum(0)
    return torch.einsum("bi,ij,bj->b", states.conj(), observable, states).real


def test_one_rotation_is_a_cosine() -> None:
    program = layered([["XX"]], 1)
    theta = torch.tensor([[0.0], [0.3], [2.0]], dtype=torch.float64)
    found = FreeFermions.of(program).values(theta, [("ZI", 2.0), ("II", 0.5)])
    torch.testing.assert_close(found, 2 * torch.cos(theta[:, 0]) + 0.5)


@st.composite
def _matchgates(draw: st.DrawFn) -> tuple[Program, Terms]:
    """Rotations about strings of so(2n), with X, Y or Z between their ends, behind any product state."""
    n = draw(st.integers(2, 4))
    through, first, second = draw(st.sampled_from(["ZXY", "XYZ", "YZX"]))
    ends = [(a, b) for a, b in combinations(range(n), 2)]

    def string() -> str:
        if draw(st.booleans()):
            q = draw(st.integers(0, n - 1))
            return "I" * q + through + "I" * (n - 1 - q)
        a, b = draw(st.sampled_from(ends))
        left, right = (draw(st.sampled_from([first, second])) for _ in range(2))
        return "I" * a + left + through * (b - a - 1) + right + "I" * (n - 1 - b)

    count = draw(st.integers(1, 12))
    builder = ProgramBuilder(n, count)
    for qubit in range(n):
        angle = draw(st.floats(0, 6))
        builder.rotation("Y", (qubit,), {}, angle)
        builder.rotation("Z", (qubit,), {}, 2 * angle)
    for k in range(count):
        label = string()
        qubits = tuple(q for q, letter in enumerate(label) if letter != "I")
        factor = draw(st.sampled_from([1.0, -2.0]))
        builder.rotation("".join(label[q] for q in qubits), qubits, {k: factor}, 0.1 * k)
    return builder.build(), [(string(), 1.0), (string(), -0.5)]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(_matchgates())
def test_losses_are_those_of_state_vectors(case: tuple[Program, Terms]) -> None:
    program, terms = case
    theta = _turns(3, program)
    found = FreeFermions.of(program).values(theta, terms)
    torch.testing.assert_close(found, _dense(program, theta, terms), atol=1e-12, rtol=0)


@pytest.mark.parametrize("n", [3, 4, 5])
def test_rings_from_plus_states_are_those_of_state_vectors(n: int) -> None:
    # The bond that closes the ring is one of so(2n) only times X on all qubits, which is 1 in |+...+>.
    plain = layered([pairs(n, "Z", ring=True), singles(n, "X")], 3)
    builder = ProgramBuilder(n, plain.num_params)
    for qubit in range(n):
        builder.unitary(GATE_MATRICES["h"], (qubit,))
    program = replace(plain, gates=(*builder.build().gates, *plain.gates))
    terms: Terms = [(label, 1.0) for label in pairs(n, "Z", ring=True)]
    theta = _turns(4, program)
    found = FreeFermions.of(program).values(theta, terms)
    torch.testing.assert_close(found, _dense(program, theta, terms), atol=1e-12, rtol=0)
    with pytest.raises(NoFreeFermions, match="not all in so"):
        FreeFermions.of(plain)


def test_losses_of_large_chains_have_the_variance_of_their_algebra() -> None:
    # so(2n) on eight qubits, deep: (n - 1) / (n (2n - 1)) by sampling.
    n, rows = 8, 1_500
    program = layered([[label] for label in ising(n)], 8 * n)
    losses = FreeFermions.of(program).values(_turns(rows, program), [(pairs(n, "Z")[0], 1.0)])
    expected = (n - 1) / (n * (2 * n - 1))
    error = float((losses**2).std()) / math.sqrt(rows)
    assert abs(float((losses**2).mean()) - expected) < 4.5 * error
    assert error < 0.04 * expected


def test_what_is_not_free_is_refused() -> None:
    with pytest.raises(NoFreeFermions, match="not all in so"):
        FreeFermions.of(layered([[label] for label in ising(3) + singles(3, "Z")], 1))
    chain = FreeFermions.of(layered([[label] for label in ising(3)], 1))
    with pytest.raises(NoFreeFermions, match="term ZII is not in so"):
        chain.values(torch.zeros(1, 5, dtype=torch.float64), [("ZII", 1.0)])
    builder = ProgramBuilder(2, 1)
    builder.rotation("X", (0,), {0: 1.0})
    builder.unitary(GATE_MATRICES["h"], (0,))
    with pytest.raises(NoFreeFermions, match="fixed gate stands"):
        FreeFermions.of(builder.build())
