"""A schedule is its program, whatever the width of its blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from classical.program import FixedUnitary, PauliRotation, Program, ProgramBuilder
from classical.propagation import block_matrices, run, zero_state
from classical.schedule import fuse
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
    used = schedule.angle_index[schedule.angle_index < program.num_rotations].tolist()
    assert used == inside


@widths
@programs
def test_blocks_are_unitary(program: Program, width: int) -> None:
    schedule = fuse(program, width)
    angles = random_angles(program, rows=2)
    matrices = block_matrices(schedule, angles, torch.complex128, insertions=True)
    identity = torch.eye(2**schedule.width, dtype=torch.complex128)
    found = matrices.unitaries @ matrices.unitaries.mH
    torch.testing.assert_close(found, identity.expand(found.shape), atol=1e-12, rtol=0)
    assert matrices.insertions is not None
    for b, block in enumerate(schedule.blocks):
        for j in range(len(block.rotations)):
            each = matrices.insertions[:, b, j]
            torch.testing.assert_close(
                each @ each.mH, identity.expand(2, *identity.shape), atol=1e-12, rtol=0
            )


@widths
@programs
def test_the_width_does_not_change_the_state(program: Program, width: int) -> None:
    schedule = fuse(program, width)
    angles = random_angles(program, rows=2)
    unitaries = block_matrices(schedule, angles, torch.complex128).unitaries
    start = zero_state(2, program.num_qubits, torch.complex128, torch.device("cpu"))
    states = run(schedule, unitaries, start)[:, 0].numpy()
    expected = np.stack([plain_state(program, row) for row in angles.numpy()])
    np.testing.assert_allclose(states, expected, atol=1e-12)


@programs
def test_blocks_are_as_wide_as_the_widest_unitary(program: Program) -> None:
    widest = max(len(gate.qubits) for gate in program.gates if isinstance(gate, FixedUnitary))
    assert fuse(program, 2).width == min(max(widest, 2), program.num_qubits)


def test_gates_on_a_window_are_one_block() -> None:
    builder = ProgramBuilder(6, 8)
    for param in range(8):
        builder.rotation("XY"[param % 2], (2 + param % 3,), {param: 1.0})
    assert len(fuse(builder.build(), 3).blocks) == 1


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


def test_fusing_is_the_same_every_time() -> None:
    program = random_program(3, num_qubits=6)
    first, second = fuse(program, 3), fuse(program, 3)
    assert [b.rotations for b in first.blocks] == [b.rotations for b in second.blocks]
    assert [b.permutation for b in first.blocks] == [b.permutation for b in second.blocks]
    assert torch.equal(first.cosine, second.cosine)


def test_a_wide_rotation_counts_once() -> None:
    builder = ProgramBuilder(6, 1)
    builder.rotation("XYZXYZ", (5, 0, 3, 1, 4, 2), {0: 1.0})
    program = builder.build()
    assert sum(isinstance(gate, PauliRotation) for gate in program.gates) == 1
    schedule = fuse(program, 2)
    assert [r for block in schedule.blocks for r in block.rotations] == [0]
