"""The adjoint sweep: all derivatives of a program from one pass back through it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from classical.measurement import AbstractMeasurementGroup
from classical.propagation import inverse, permute_axes, run, undo_block, zero_state
from classical.statevector import Statevector, even_pieces


def adjoint(
    simulator: Statevector,
    angles: Tensor,  # shape: (B, rotations)
    groups: Sequence[AbstractMeasurementGroup],
) -> tuple[Tensor, Tensor]:
    """Values (B, observables) and their derivatives by the angles (B, observables, rotations).

    One pass forward, one back that undoes the blocks on [state, O state]; at each block the derivatives of
    all its rotations come from one d x d matrix of overlaps. Memory: about six states for each of
    [state, O state] a row, whatever the depth. Source: Jones and Gacon 2020, arXiv:2009.02823, on fused blocks.
    """
    pieces = even_pieces(len(angles), simulator.rows_at_once(states=groups[0].num_observables + 1))
    parts = [_adjoint(simulator, part, groups) for part in angles.to(simulator.device).split(pieces)]
    return torch.cat([value for value, _ in parts]), torch.cat([slope for _, slope in parts])


@torch.no_grad()
def _adjoint(
    simulator: Statevector, angles: Tensor, groups: Sequence[AbstractMeasurementGroup]
) -> tuple[Tensor, Tensor]:
    observables = groups[0].num_observables
    rows = len(angles)
    everything = tuple(range(simulator.program.num_rotations))
    schedule = simulator.schedule(states=observables + 2, rows=rows)
    insertion = simulator.insertion(schedule, everything, rows=rows)
    dim = 2**schedule.width
    rest = 2**schedule.num_qubits // dim
    matrices, tables = insertion.made(angles, into_states=False)
    start = zero_state(rows, schedule.num_qubits, simulator.dtype, simulator.device)
    state = run(schedule, matrices, start)
    images = _images(simulator, state, groups)
    values = torch.einsum("brd,bmd->bm", state.conj(), images).real
    slopes = angles.new_zeros(rows, observables, len(everything))
    both = permute_axes(torch.cat([state, images], dim=1), inverse(schedule.final_permutation))
    spans = insertion.spans(0, len(everything))
    inside: dict[int, list[int]] = {}
    for rotation, b in zip(insertion.rotations, insertion.blocks, strict=True):
        inside.setdefault(b, []).append(rotation)
    for b in reversed(range(len(schedule.blocks))):
        block = schedule.blocks[b]
        images = both[:, 1:].reshape(rows, observables, rest, dim)
        both = undo_block(matrices[b], both)
        if b in spans:
            before = both[:, :1].reshape(rows, 1, dim, rest)
            overlaps = torch.matmul(before, images.conj())  # (B, observables, d before, d after)
            inserted = torch.cat([tables[table][cell, :, slots] for table, cell, slots in spans[b]], dim=1)
            slope = torch.einsum("bkya,bmya->bmk", inserted, overlaps).imag
            slopes[:, :, inside[b]] = slope.to(slopes)
        both = permute_axes(both, inverse(block.permutation))
    return values, slopes


def _images(simulator: Statevector, state: Tensor, groups: Sequence[AbstractMeasurementGroup]) -> Tensor:
    """O applied to the states (B, 1, D) for each observable, shape (B, observables, D)."""
    total = torch.zeros_like(state.expand(-1, groups[0].num_observables, -1))
    for group in groups:
        weights = group.eigenvalues.T.to(simulator.device, simulator.dtype)
        total = total + simulator.turn_back(simulator.turn(state, group) * weights, group)
    return total
