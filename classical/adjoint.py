"""The adjoint sweep: all derivatives of a program from one pass back through it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from classical.measurement import MeasurementGroup
from classical.propagation import (
    block_matrices,
    inverse,
    permute_axes,
    run,
    undo_block,
    zero_state,
)
from classical.statevector import Statevector


def adjoint(
    simulator: Statevector,
    angles: Tensor,  # shape: (B, rotations)
    groups: Sequence[MeasurementGroup],
) -> tuple[Tensor, Tensor]:
    """Values (B, observables) and their derivatives by the angles (B, observables, rotations).

    One pass forward, one back that undoes the blocks on [state, O state]; at each block the derivatives of
    all its rotations come from one d x d matrix of overlaps. Memory: about six states for each of
    [state, O state] a row, whatever the depth. Source: Jones and Gacon 2020, arXiv:2009.02823, on fused blocks.
    """
    piece = simulator.rows_at_once(states=groups[0].num_observables + 1)
    parts = [_adjoint(simulator, part, groups) for part in angles.to(simulator.device).split(piece)]
    return torch.cat([value for value, _ in parts]), torch.cat([slope for _, slope in parts])


def _adjoint(
    simulator: Statevector, angles: Tensor, groups: Sequence[MeasurementGroup]
) -> tuple[Tensor, Tensor]:
    observables = groups[0].num_observables
    schedule = simulator.schedule(states=observables + 2)
    dim = 2**schedule.width
    rest = 2**simulator.program.num_qubits // dim
    matrices = block_matrices(schedule, angles, simulator.dtype, insertions=True)
    assert matrices.insertions is not None
    start = zero_state(len(angles), simulator.program.num_qubits, simulator.dtype, simulator.device)
    state = run(schedule, matrices.unitaries, start)
    images = _images(simulator, state, groups)
    values = torch.einsum("brd,bmd->bm", state.conj(), images).real
    slopes = angles.new_zeros(len(angles), observables, simulator.program.num_rotations)
    both = permute_axes(torch.cat([state, images], dim=1), inverse(schedule.final_permutation))
    for b in reversed(range(len(schedule.blocks))):
        block = schedule.blocks[b]
        images = both[:, 1:].reshape(len(angles), observables, rest, dim)
        both = undo_block(matrices.unitaries[:, b], both)
        if block.rotations:
            before = both[:, :1].reshape(len(angles), 1, dim, rest)
            overlaps = torch.matmul(before, images.conj())  # (B, observables, d before, d after)
            inserted = matrices.insertions[:, b, : len(block.rotations)]
            slope = torch.einsum("bkay,bmya->bmk", inserted, overlaps).imag
            slopes[:, :, list(block.rotations)] = slope.to(slopes)
        both = permute_axes(both, inverse(block.permutation))
    return values, slopes


def _images(simulator: Statevector, state: Tensor, groups: Sequence[MeasurementGroup]) -> Tensor:
    """O applied to the states (B, 1, D) for each observable, shape (B, observables, D)."""
    total = torch.zeros_like(state.expand(-1, groups[0].num_observables, -1))
    for group in groups:
        weights = group.eigenvalues.T.to(simulator.device, simulator.dtype)
        total = total + simulator.turn_back(simulator.turn(state, group) * weights, group)
    return total
