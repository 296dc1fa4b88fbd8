"""Applying a schedule to blocks of states: the inner loop of every simulation.

Shapes: B parameter rows, R states per row, D = 2^qubits amplitudes, d = 2^width, N = D / d. Matrices act on rows of
amplitudes, from the right.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from classical.matrices import block_matrices, half_angles, layer_matrices
from classical.schedule import Schedule


def zero_state(batch: int, num_qubits: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """|0...0> for every row, shape (B, 1, D)."""
    state = torch.zeros(batch, 1, 2**num_qubits, dtype=dtype, device=device)
    state[..., 0] = 1
    return state


def permute_axes(
    states: Tensor,  # shape: (B, R, D)
    permutation: tuple[int, ...] | None,
    out: Tensor | None = None,  # shape: (B, R, D), contiguous
) -> Tensor:  # shape: (B, R, D), qubit axes in another order
    if permutation is None:
        return states
    batch, rows, _ = states.shape
    shape, axes = _merged(permutation)
    turned = states.reshape(batch, rows, *shape).permute(0, 1, *(axis + 2 for axis in axes))
    if out is None:
        return turned.reshape(states.shape)
    out.view(turned.shape).copy_(turned)
    return out


def _merged(permutation: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """The same permutation on as few axes as it can be written with: runs that stay together are one axis."""
    runs: list[list[int]] = []
    for axis in permutation:
        if runs and runs[-1][-1] + 1 == axis:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    by_position = sorted(range(len(runs)), key=lambda i: runs[i][0])
    shape = [2 ** len(runs[i]) for i in by_position]
    return shape, [by_position.index(i) for i in range(len(runs))]


def apply_block(
    matrices: Tensor,  # shape: (B, d, d)
    states: Tensor,  # shape: (B, R, D), window in front
    out: Tensor | None = None,  # shape: (B, R, D), each row contiguous
) -> Tensor:  # shape: (B, R, D), window at the back
    batch, rows, total = states.shape
    dim = matrices.shape[-1]
    if total == dim:
        return _product(states, matrices, out)
    left = states.reshape(batch, rows, dim, total // dim).transpose(2, 3)
    if batch == 1:
        # One matrix for all states: told to the library as such, it is not copied for each.
        view = None if out is None else out.view(rows, total // dim, dim)
        return _product(left[0], matrices.expand(rows, dim, dim), view).view(1, rows, total)
    view = None if out is None else out.view(batch, rows, total // dim, dim)
    return _product(left, matrices[:, None], view).view(batch, rows, total)


def insert(
    insertions: Tensor,  # shape: (B, steps, d, d)
    state: Tensor,  # shape: (B, D), window in front
    out: Tensor,  # shape: (B, steps, D), each row contiguous
) -> None:  # writes states with their window at the back
    batch, total = state.shape
    steps, dim = insertions.shape[1:3]
    left = state.reshape(batch, dim, total // dim).transpose(1, 2)
    if batch == 1:
        _product(left.expand(steps, -1, -1), insertions[0], out.view(steps, total // dim, dim))
    else:
        _product(left[:, None], insertions, out.view(batch, steps, total // dim, dim))


def _product(left: Tensor, right: Tensor, out: Tensor | None) -> Tensor:
    if out is None:
        return torch.matmul(left, right)
    if out.is_contiguous():
        return torch.matmul(left, right, out=out)
    return out.copy_(torch.matmul(left, right))


def undo_block(
    matrices: Tensor,  # shape: (B, d, d)
    states: Tensor,  # shape: (B, R, D), window at the back
) -> Tensor:  # shape: (B, R, D), window in front
    batch, rows, total = states.shape
    dim = matrices.shape[-1]
    right = states.reshape(batch, rows, total // dim, dim).transpose(2, 3)
    return torch.matmul(matrices.conj()[:, None], right).reshape(batch, rows, total)


def inverse(permutation: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The permutation that undoes `permutation`."""
    if permutation is None:
        return None
    return tuple(sorted(range(len(permutation)), key=permutation.__getitem__))


def run(schedule: Schedule, unitaries: Tensor, states: Tensor) -> Tensor:
    """States (B, R, D), their axes as the first block wants them, after all blocks in qubit order; differentiable."""
    for block, unitary in zip(schedule.blocks, unitaries, strict=True):
        states = apply_block(unitary, permute_axes(states, block.permutation))
    return permute_axes(states, schedule.final_permutation)


def final_states(schedule: Schedule, angles: Tensor, *, size: int) -> Tensor:
    """Final states (B, D) from |0...0>, for rotation angles (B, rotations); differentiable.

    Matrices are made for `size` blocks at a time.
    """
    if schedule.blocks and schedule.width == schedule.num_qubits:
        # One block: its layers are applied one by one, from the first row on, which is the image of |0...0>.
        (layers,) = schedule.slabs(1)
        first, *others = layer_matrices(layers, half_angles(angles, schedule.dtype)).layers[:, 0].unbind(0)
        return reduce(torch.matmul, others, first[:, :1])[:, 0]
    start = zero_state(len(angles), schedule.num_qubits, schedule.dtype, angles.device)
    return run(schedule, block_matrices(schedule, angles, size=size), start)[:, 0]
