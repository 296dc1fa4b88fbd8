"""The walk as a matrix-product state: beside the dense one, and beyond what a vector can hold."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from classical.angle_laws import Gaussian, OutsideTheWalk, RandomAxis
from classical.measurement import GATE_MATRICES
from classical.pauli_walk import second_moments
from classical.program import Program, ProgramBuilder
from classical.walk_evolution import Weights, local_steps
from classical.walk_model import WalkModel, per_gate
from classical.walk_network import DoesNotStand, derivative_moment, network_moments
from classical.walk_observables import Terms, ZeroProjector
from tests.classical.test_pauli_walk import layered, random_circuit


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
    found = derivative_moment(program, _edge(8), 0, relative=1e-7)
    assert found.value == pytest.approx(dense, rel=1e-9)


def test_thirty_qubits_thirty_layers() -> None:
    # An independent prototype, standing from bond 32 on.
    found = derivative_moment(layered(30, 30), _edge(30), 0, relative=5e-3)
    assert found.bond == 32
    assert found.value == pytest.approx(6.02229e-5, rel=1e-4)


@pytest.mark.parametrize("noisy", [False, True])
def test_derivatives_by_pairs_with_single_gates_behind_them(noisy: bool) -> None:
    builder = ProgramBuilder(4, 16)
    at = 0
    for _ in range(2):
        for pair in ((0, 1), (2, 3), (1, 2)):
            builder.rotation("ZZ", pair, {at: 1.0})
            builder.rotation("XY", (pair[1], pair[0]), {at + 1: 1.0})
            at += 2
        for qubit in (1, 2):
            builder.rotation("X", (qubit,), {at: 1.0})
            at += 1
    program = builder.build()
    settings: dict[str, Any] = {"noise": per_gate(program, 0.9, 0.8) if noisy else None}
    terms = [("YIZI", 1.0)]
    dense = second_moments(program, terms, **settings).derivatives
    for rotation in range(16):
        found = derivative_moment(program, terms, rotation, **settings)
        assert found.value == pytest.approx(float(dense[rotation]), rel=1e-9, abs=1e-15)


def test_terms_add() -> None:
    program = layered(4, 2)
    terms = [("ZZII", 1.0), ("IIZI", 0.5)]
    dense = float(second_moments(program, terms).derivatives[3])
    assert derivative_moment(program, terms, 3).value == pytest.approx(dense, rel=1e-9)


PAIRS: list[tuple[Program, Terms, dict[str, Any]]] = [
    (layered(5, 3), [("ZZIII", 1.0), ("IIZII", 0.5), ("IIIIZ", 2.0)], {}),
    (_mixed(), [("ZIXIY", 1.0)], {}),
    (layered(5, 3), ZeroProjector(), {}),
    (layered(5, 3), [("IZIIZ", 1.5)], {"laws": [Gaussian(0.3)] * 30}),
    (layered(5, 3), [("IZIIZ", 1.5)], {"noise": per_gate(layered(5, 3), 0.99, 0.9)}),
    (random_circuit(5, 4), [("ZZIII", 1.0)], {"laws": [RandomAxis()] * 20}),
]


@pytest.mark.parametrize(("program", "terms", "settings"), PAIRS)
def test_all_derivatives_at_once_are_the_dense_walk(
    program: Program, terms: Terms, settings: dict[str, Any]
) -> None:
    dense = second_moments(program, terms, **settings)
    found = network_moments(program, terms, relative=1e-8, **settings)
    assert found.loss == pytest.approx(dense.loss, rel=1e-10)
    torch.testing.assert_close(found.derivatives, dense.derivatives, rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(found.variances, dense.variances, rtol=1e-9, atol=1e-14)
    alone = derivative_moment(program, terms, 7, relative=1e-8, **settings)
    assert alone.value == pytest.approx(float(dense.derivatives[7]), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize(("num_qubits", "layers"), [(12, 120), (20, 120)])
def test_deep_circuits_reach_the_closed_form(num_qubits: int, layers: int) -> None:
    limit = 2.0**num_qubits / (2 * (4.0**num_qubits - 1))
    program = layered(num_qubits, layers)
    # The chain's rest has decayed: the smallest bonds are enough.
    found = derivative_moment(program, _edge(num_qubits), 0, relative=1e-3, most_bond=32)
    assert found.value == pytest.approx(limit, rel=1e-3)


def test_what_is_left_of_a_deep_circuit_is_its_flat_part() -> None:
    n, layers = 8, 150
    model = WalkModel.of(layered(n, layers))
    weights = Weights.closing(model, 8)
    for step in local_steps(model):
        weights.push(step)
    weights.clean()
    # All strings but the identity close on |0...0> with the same weight.
    limit = (2.0**n - 1) / (4.0**n - 1)
    assert weights.flat == pytest.approx(limit, rel=1e-12)
    for term in _edge(n):
        assert weights.value([term]) == pytest.approx(limit, rel=1e-6)


def test_both_directions_agree_at_fourteen_qubits() -> None:
    program = layered(14, 8)
    found = network_moments(program, _edge(14))
    for rotation in (0, 31, 112):
        alone = derivative_moment(program, _edge(14), rotation, relative=1e-3)
        assert float(found.derivatives[rotation]) == pytest.approx(alone.value, rel=2e-3)
    # RX on qubit 10 in the last layer does not reach qubits 0 and 1.
    assert float(found.derivatives[7 * 28 + 10]) == 0
    assert derivative_moment(program, _edge(14), 7 * 28 + 10).value == 0


def test_a_value_that_moves_is_refused() -> None:
    for moments in (lambda **kw: derivative_moment(rotation=0, **kw), network_moments):
        with pytest.raises(DoesNotStand, match="raise `most_bond`"):
            moments(program=layered(12, 12), terms=_edge(12), relative=1e-12, most_bond=32)


def test_what_breaks_the_chain_of_tensors_is_refused() -> None:
    for relative in (-1.0, float("nan"), 100.0):
        with pytest.raises(ValueError, match="`relative` must be between 0 and 1"):
            derivative_moment(layered(3, 1), _edge(3), 0, relative=relative)
    with pytest.raises(OutsideTheWalk, match="one of the program's 6, counted from 0, but is 99"):
        derivative_moment(layered(3, 1), _edge(3), 99)
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
