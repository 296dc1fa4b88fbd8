"""Applying a schedule to blocks of states: the inner loop of every simulation.

Shapes: B parameter rows, R states per row, D = 2^qubits amplitudes, d = 2^width, N = D / d.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from classical.schedule import Schedule


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockMatrices:
    """The matrices of all blocks of a schedule at given angles.

    `unitaries`: (B, blocks, d, d). `insertions`: (B, blocks, steps, d, d); entry (b, j) is the block with the
    Pauli string of its j-th rotation inserted after that rotation; None unless asked for.
    """

    unitaries: Tensor
    insertions: Tensor | None


def block_matrices(
    schedule: Schedule,
    angles: Tensor,  # shape: (B, rotations)
    dtype: torch.dtype,
    *,
    insertions: bool = False,
) -> BlockMatrices:
    """Returns the matrices of all blocks, built for all blocks and rows at once.

    Cost: `steps` products of shape (B * blocks, d, d), three times as many with insertions.
    """
    device = angles.device
    cosine, sine = schedule.cosine.to(device, dtype), schedule.sine.to(device, dtype)
    padded = torch.cat([angles, angles.new_zeros(len(angles), 1)], dim=1)
    half = padded[:, schedule.angle_index.to(device)] / 2
    cos, sin = (f(half).to(dtype)[..., None, None] for f in (torch.cos, torch.sin))
    steps = cos * cosine + sin * sine
    prefixes = [steps[:, :, 0]]
    for j in range(1, steps.shape[2]):
        prefixes.append(steps[:, :, j] @ prefixes[-1])
    if not insertions:
        return BlockMatrices(unitaries=prefixes[-1], insertions=None)
    # P_j times step j, because i (cos * sine - sin * cosine) = P (cos - i sin P), fixed gates included.
    inserted = 1j * (cos * sine - sin * cosine)
    blocks = [torch.empty(0)] * len(prefixes)
    suffix: Tensor | None = None
    for j in reversed(range(len(prefixes))):
        block = inserted[:, :, j]
        if j > 0:
            block = block @ prefixes[j - 1]
        blocks[j] = block if suffix is None else suffix @ block
        if j > 0:
            suffix = steps[:, :, j] if suffix is None else suffix @ steps[:, :, j]
    return BlockMatrices(unitaries=prefixes[-1], insertions=torch.stack(blocks, dim=2))


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
    right = matrices.transpose(1, 2)
    if total == dim:
        return _product(states, right, out)
    left = states.reshape(batch, rows, dim, total // dim).transpose(2, 3)
    if batch == 1:
        # One matrix for all states: told to the library as such, it is not copied for each.
        right = right.contiguous().expand(rows, dim, dim)
        view = None if out is None else out.view(rows, total // dim, dim)
        return _product(left[0], right, view).view(1, rows, total)
    view = None if out is None else out.view(batch, rows, total // dim, dim)
    return _product(left, right[:, None], view).view(batch, rows, total)


def insert(
    insertions: Tensor,  # shape: (B, steps, d, d)
    state: Tensor,  # shape: (B, D), window in front
    out: Tensor,  # shape: (B, steps, D), each row contiguous
) -> None:  # writes states with their window at the back
    batch, total = state.shape
    steps, dim = insertions.shape[1:3]
    left = state.reshape(batch, 1, dim, total // dim).transpose(2, 3)
    _product(left, insertions.transpose(2, 3), out.view(batch, steps, total // dim, dim))


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
    return torch.matmul(matrices.mH[:, None], right).reshape(batch, rows, total)


def inverse(permutation: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The permutation that undoes `permutation`."""
    if permutation is None:
        return None
    return tuple(sorted(range(len(permutation)), key=permutation.__getitem__))


def run(schedule: Schedule, unitaries: Tensor, states: Tensor) -> Tensor:
    """States (B, R, D) in qubit order after the whole schedule, in qubit order; differentiable."""
    for b, block in enumerate(schedule.blocks):
        states = apply_block(unitaries[:, b], permute_axes(states, block.permutation))
    return permute_axes(states, schedule.final_permutation)
