"""The walk as a matrix-product state: beside the dense one, and beyond what a vector can hold."""

from __future__ import annotations

import pytest

from classical.angle_laws import OutsideTheWalk
from classical.measurement import GATE_MATRICES
from classical.pauli_walk import second_moments
from classical.program import Program, ProgramBuilder
from classical.walk_network import DoesNotStand, derivative_moment
from tests.classical.test_pauli_walk import _layered as layered


def _edge(num_qubits: int) -> list[tuple[str, float]]:
    return [("ZZ" + "I" * (num_qubits - 2), 1.0)]


def _mixed() -> Program:
    """Rotations about pairs, fixed gates with a direction, a scaled parameter, gates that go both ways."""
    builder = ProgramBuilder(5, 17)
    at = 0
    for _ in range(2):
        for qubit in range(4):
            builder.rotation("XZ", (qubit, qubit + 1), {at: 1.0})
            builder.rotation("Y", (4 - qubit,), {at + 1: 2.0})
            builder.unitary(GATE_MATRICES["cx"], (qubit + 1, qubit))
            at += 2
        builder.unitary(GATE_MATRICES["h"], (2,))
    builder.rotation("X", (0,), {at: 1.0})
    return builder.build()


@pytest.mark.parametrize("rotation", [0, 1, 6, 11, 16])
def test_it_is_the_dense_walk(rotation: int) -> None:
    for program, terms in ((layered(5, 4), [("IZIIZ", 1.5)]), (_mixed(), [("ZIXIY", 1.0)])):
        dense = float(second_moments(program, terms).derivatives[rotation])
        found = derivative_moment(program, terms, rotation, relative=1e-9)
        assert found.value == pytest.approx(dense, rel=1e-9, abs=1e-15)


def test_eight_qubits_deep_to_nine_digits() -> None:
    program = layered(8, 12)
    dense = float(second_moments(program, _edge(8)).derivatives[0])
    found = derivative_moment(program, _edge(8), 0, relative=1e-8)
    assert found.value == pytest.approx(dense, rel=1e-9)


def test_thirty_qubits_thirty_layers() -> None:
    # An independent prototype, standing from bond 32 on.
    assert derivative_moment(layered(30, 30), _edge(30), 0).value == pytest.approx(6.02229e-5, rel=1e-4)


def test_terms_add() -> None:
    program = layered(4, 2)
    terms = [("ZZII", 1.0), ("IIZI", 0.5)]
    dense = float(second_moments(program, terms).derivatives[3])
    assert derivative_moment(program, terms, 3).value == pytest.approx(dense, rel=1e-9)


def test_a_value_that_moves_is_refused() -> None:
    with pytest.raises(DoesNotStand, match="raise `most_bond`"):
        derivative_moment(layered(12, 12), _edge(12), 0, relative=1e-12, most_bond=32)


def test_what_breaks_the_chain_of_tensors_is_refused() -> None:
    builder = ProgramBuilder(3, 1)
    builder.rotation("X", (0,), {0: 1.0})
    builder.unitary(GATE_MATRICES["cz"], (0, 2))
    with pytest.raises(OutsideTheWalk, match="no neighbours on a line"):
        derivative_moment(builder.build(), [("ZII", 1.0)], 0)
    builder = ProgramBuilder(2, 1)
    builder.rotation("X", (0,), {0: 1.0})
    builder.rotation("X", (1,), {0: 1.0})
    with pytest.raises(OutsideTheWalk, match="shares a parameter"):
        derivative_moment(builder.build(), [("ZI", 1.0)], 0)
