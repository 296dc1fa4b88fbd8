"""A schedule is its program, whatever the width of its blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from classical.insertion import Insertion
from classical.matrices import block_matrices
from classical.program import FixedUnitary, PauliRotation, Program, ProgramBuilder, pauli_matrix
from classical.propagation import apply_block, final_states, insert, permute_axes, run, zero_state
from classical.schedule import fuse
from hybrid import Objective
from studies.circuits import HAMILTONIANS, hardware_efficient
from tests.classical.test_statevector import plain_state, random_angles, random_program

widths = pytest.mark.parametrize("width", [2, 3, 4, 5])
programs = pytest.mark.parametrize(
    "program",
    [random_program(seed, num_qubits=n, diagonal=n % 2 == 0) for seed, n in enumerate([1, 2, 3, 4, 5, 6])],
    ids=lambda program: f"{program.num_qubits} qubits",
)


@widths
@programs
def test_every_rotation_is_in_one_block(program: Program, width: int) -> None:
    schedule = fuse(program, width)
    inside = [rotation for block in schedule.blocks for rotation in block.rotations]
    assert sorted(inside) == list(range(program.num_rotations))
    for size in (1, 2, len(schedule.blocks)):
        places = {
            rotation: layers.first + place.block
            for layers in schedule.slabs(size)
            for rotation, place in layers.places.items()
        }
        assert places == {
            rotation: b for b, block in enumerate(schedule.blocks) for rotation in block.rotations
        }


@widths
@programs
def test_blocks_are_unitary_with_and_without_a_string(program: Program, width: int) -> None:
    schedule = fuse(program, width)
    angles = random_angles(program, rows=2)
    insertion = Insertion(schedule, range(program.num_rotations), 2)
    matrices, tables = insertion.made(angles, into_states=False)
    identity = torch.eye(2**schedule.width, dtype=torch.complex128)
    found = matrices @ matrices.mH
    torch.testing.assert_close(found, identity.expand(found.shape), atol=1e-12, rtol=0)
    for b, spans in insertion.spans(0, program.num_rotations).items():
        for table, cell, slots in spans:
            each = tables[table][cell, :, slots]
            product = each @ each.mH
            torch.testing.assert_close(product, identity.expand(product.shape), atol=1e-12, rtol=0)
        assert sum(slots.stop - slots.start for _, _, slots in spans) == len(schedule.blocks[b].rotations)


@programs
def test_matrices_do_not_depend_on_how_many_are_made_at_a_time(program: Program) -> None:
    schedule, angles = fuse(program, 3), random_angles(program, rows=2)
    together = block_matrices(schedule, angles, size=len(schedule.blocks))
    for size in (1, 2):
        apart = block_matrices(schedule, angles, size=size)
        torch.testing.assert_close(apart, together, atol=1e-14, rtol=0)


@programs
def test_a_string_inserted_into_a_state_is_one_inserted_into_a_matrix(program: Program) -> None:
    schedule, angles = fuse(program, 3), random_angles(program, rows=2)
    everything = range(program.num_rotations)
    matrices, into_matrices = Insertion(schedule, everything, 2).made(angles, into_states=False)
    insertion = Insertion(schedule, everything, 1)
    _, into_states = insertion.made(angles, into_states=True)
    spans = insertion.spans(0, program.num_rotations)
    others = Insertion(schedule, everything, 2).spans(0, program.num_rotations)
    state = zero_state(2, program.num_qubits, torch.complex128, torch.device("cpu"))
    for b, block in enumerate(schedule.blocks):
        state = permute_axes(state, block.permutation)
        by_state = [into_states[table][cell, :, slots].flatten(2) for table, cell, slots in spans.get(b, [])]
        by_matrix = [into_matrices[table][cell, :, slots] for table, cell, slots in others.get(b, [])]
        if by_state:
            strings = torch.cat(by_matrix, dim=1)
            found = torch.empty(*strings.shape[:2], state.shape[-1], dtype=state.dtype)
            insert(strings, state[:, 0], out=found)
            torch.testing.assert_close(torch.cat(by_state, dim=1), found, atol=1e-12, rtol=0)
        state = apply_block(matrices[b], state)


@widths
@programs
def test_the_width_does_not_change_the_state(program: Program, width: int) -> None:
    schedule = fuse(program, width)
    angles = random_angles(program, rows=2)
    states = final_states(schedule, angles, size=2).numpy()
    expected = np.stack([plain_state(program, row) for row in angles.numpy()])
    np.testing.assert_allclose(states, expected, atol=1e-12)


@programs
def test_states_that_are_given_come_in_qubit_order(program: Program) -> None:
    before = random_program(20, num_qubits=program.num_qubits)
    both = Program(
        num_qubits=program.num_qubits,
        gates=before.gates + program.gates,
        num_params=program.num_params,
        factors=before.factors + program.factors,
        offsets=torch.cat([before.offsets, program.offsets]),
    )
    angles = random_angles(both, rows=2)
    first, second = angles.split([before.num_rotations, program.num_rotations], dim=1)
    schedule = fuse(program, 3)
    given = permute_axes(final_states(fuse(before, 2), first, size=1)[:, None], schedule.first_permutation)
    states = run(schedule, block_matrices(schedule, second, size=3), given)[:, 0].numpy()
    expected = np.stack([plain_state(both, row) for row in angles.numpy()])
    np.testing.assert_allclose(states, expected, atol=1e-12)


@programs
def test_blocks_are_as_wide_as_the_widest_unitary(program: Program) -> None:
    widest = max(len(gate.qubits) for gate in program.gates if isinstance(gate, FixedUnitary))
    assert fuse(program, 2).width == min(max(widest, 2), program.num_qubits)


def test_gates_on_a_window_are_one_block() -> None:
    builder = ProgramBuilder(6, 8)
    for param in range(8):
        builder.rotation("XY"[param % 2], (3 + param % 3,), {param: 1.0})
    assert len(fuse(builder.build(), 3).blocks) == 1


def test_a_pass_through_a_ring_is_cheap() -> None:
    # With one way of cutting followed there are 10 moves, cut from the circuit's beginning 1,700 states.
    program = Objective(hardware_efficient(12, 8, "cz ring"), HAMILTONIANS["neighbour ZZ"](12)).program
    schedule = fuse(program, 4)
    states, carried = 1, 0
    for block in schedule.blocks:
        states += len(block.rotations)
        carried += states
    moves = [block.permutation for block in schedule.blocks] + [schedule.final_permutation]
    assert len(schedule.blocks) == 15
    assert sum(move is not None for move in moves) <= 4
    assert carried <= 1560


def test_commuting_diagonal_gates_pass_each_other() -> None:
    # ZZ on a ring all commute: the second layer joins the first, though others stand between.
    builder = ProgramBuilder(6, 12)
    for param in range(12):
        builder.rotation("ZZ", (param % 6, (param + 1) % 6), {param: 1.0})
    blocks = fuse(builder.build(), 3).blocks
    place = {rotation: b for b, block in enumerate(blocks) for rotation in block.rotations}
    assert all(place[pair] == place[pair + 6] for pair in range(6))
    assert len(blocks) <= 4


def test_gates_that_do_not_commute_keep_their_order() -> None:
    builder = ProgramBuilder(2, 4)
    for param, letter in enumerate("XZXZ"):
        builder.rotation(letter, (0,), {param: 1.0})
    schedule = fuse(builder.build(), 2)
    assert [block.rotations for block in schedule.blocks] == [(0, 1, 2, 3)]


def test_gates_between_rotations_of_one_qubit_are_one_run() -> None:
    # RX, fixed, RZ, RX on each of two qubits, a CNOT, the same again: two layers of runs of three.
    builder = ProgramBuilder(2, 12)
    for layer in range(2):
        for qubit in range(2):
            for j, letter in enumerate("XZX"):
                builder.rotation(letter, (qubit,), {6 * layer + 3 * qubit + j: 1.0})
                builder.unitary(pauli_matrix("Y"), (qubit,))
        builder.unitary(torch.eye(4, dtype=torch.complex128)[[0, 1, 3, 2]], (0, 1))
    (layers,) = fuse(builder.build(), 2).slabs(1)
    assert layers.depth == 2
    # Four gates: what is left of the fixed ones at the end is one, without an angle.
    assert layers.gate_angles.shape == (4, 2 * 2)
    assert (layers.gate_angles[:3] > 0).all() and (layers.gate_angles[3] == 0).all()
    assert not layers.mixing  # a CNOT is a permutation of columns


def test_strings_of_z_that_meet_are_one_layer() -> None:
    builder = ProgramBuilder(4, 6)
    for param, pair in enumerate([(0, 1), (2, 3), (1, 2), (0, 3), (0, 2), (1, 3)]):
        builder.rotation("ZZ", pair, {param: 1.0})
    (layers,) = fuse(builder.build(), 4).slabs(1)
    assert layers.depth == 1
    assert layers.string_angles.shape == (6, 1)


def test_fusing_is_the_same_every_time() -> None:
    program = random_program(3, num_qubits=6)
    first, second = fuse(program, 3), fuse(program, 3)
    assert [b.rotations for b in first.blocks] == [b.rotations for b in second.blocks]
    assert [b.permutation for b in first.blocks] == [b.permutation for b in second.blocks]
    (one,), (other,) = first.slabs(100), second.slabs(100)
    assert torch.equal(one.cosine, other.cosine)


def test_a_wide_rotation_counts_once() -> None:
    builder = ProgramBuilder(6, 1)
    builder.rotation("XYZXYZ", (5, 0, 3, 1, 4, 2), {0: 1.0})
    program = builder.build()
    assert sum(isinstance(gate, PauliRotation) for gate in program.gates) == 1
    schedule = fuse(program, 2)
    assert [r for block in schedule.blocks for r in block.rotations] == [0]
