"""The metric of states from the tangent pass: how far the state moves when parameters do."""

from __future__ import annotations

import torch
from torch import Tensor

from classical.statevector import Statevector
from classical.tangents import tangent_chunks

# Share of the memory that tangents of parameters are held in; the pass itself takes about half of it.
_SHARE = 3


def fubini_study(simulator: Statevector, angles: Tensor, chain: Tensor) -> Tensor:
    """Returns the Fubini-Study metric of final states, shape (B, P, P), float64, on the CPU.

    With chi_k the final state with the Pauli string of rotation k inserted after it, the metric over
    rotations is `Re(<chi_j|chi_k> - <chi_j|psi><psi|chi_k>) / 4`, and the chain rule takes it to parameters.
    Only real parts count, <psi|chi_k> being real: psi and the parameters' tangents chi_p = sum_k chain[k, p]
    chi_k stand as rows of real numbers in one table, and the metric is its product with its transpose.

    Cost: one tangent pass and 2 P^2 2^qubits multiply-adds a row. Tangents of parameters take a third of
    `max_bytes`; where only H of the P fit, they are held in n = P / H blocks, one after the other, and the
    tangents of later parameters are carried past each: (n + 1) / 2 passes. Source: Provost and Vallee 1980,
    doi:10.1007/BF02193559; Stokes et al. 2020, arXiv:1909.02108.

    Args:
        angles: shape (B, rotations), radians.
        chain: shape (rotations, P), derivatives of the angles by the parameters.
    """
    chain = chain.to(torch.float64)
    count = chain.shape[1]
    found = torch.zeros(len(angles), count, count, dtype=torch.float64)
    at_once = simulator.rows_at_once(states=simulator.program.num_rotations + 1)
    state_bytes = 2**simulator.program.num_qubits * simulator.dtype.itemsize
    with torch.no_grad():
        for first in range(0, len(angles), at_once):
            part = angles[first : first + at_once]
            most = max(1, simulator.max_bytes // (_SHARE * len(part) * state_bytes) - 1)
            for start in range(0, count, most):
                rows = slice(first, first + len(part))
                end = min(start + most, count)
                own, crossed = _beside(simulator, part, chain[:, start:end], chain[:, end:])
                found[rows, start:end, start:end] = own
                found[rows, start:end, end:] = crossed
                found[rows, end:, start:end] = crossed.mT
    return found / 4


def _beside(simulator: Statevector, angles: Tensor, held: Tensor, later: Tensor) -> tuple[Tensor, Tensor]:
    """Four times the metric among the parameters `held`, (b, H, H), and with `later`, (b, H, P')."""
    table = _tangents(simulator, angles, held)
    gram = (table @ table.mT).to("cpu", torch.float64)
    overlaps = gram[:, :1, 1:]  # <psi|chi_p>, which is real
    own = gram[:, 1:, 1:] - overlaps.mT * overlaps
    crossed = torch.zeros(len(angles), held.shape[1], later.shape[1], dtype=torch.float64)
    for chunk in tangent_chunks(simulator, angles, _rotations(later)) if later.shape[1] else ():
        products = (table[chunk.rows] @ _as_real(chunk.both).mT).to("cpu", torch.float64)
        covariances = products[:, 1:, 1:] - overlaps[chunk.rows].mT * products[:, :1, 1:]
        crossed[chunk.rows] += covariances @ later[list(chunk.rotations)]
    return own, crossed


def _tangents(simulator: Statevector, angles: Tensor, chain: Tensor) -> Tensor:
    """The state and the tangents of parameters, as real numbers, shape (b, 1 + P, 2 D)."""
    width = 2 * 2**simulator.program.num_qubits
    real = torch.float64 if simulator.dtype == torch.complex128 else torch.float32
    table = torch.zeros(len(angles), 1 + chain.shape[1], width, dtype=real, device=simulator.device)
    for chunk in tangent_chunks(simulator, angles, _rotations(chain)):
        both = _as_real(chunk.both)
        into = table[chunk.rows]
        into[:, 0] = both[:, 0]
        part = chain[list(chunk.rotations)].to(table)  # (k, P)
        at, columns = part.nonzero(as_tuple=True)
        if len(at) <= len(part):
            into.index_add_(1, 1 + columns, both[:, 1 + at] * part[at, columns, None])
        else:
            into[:, 1:] += part.T @ both[:, 1:]
    return table


def _rotations(chain: Tensor) -> list[int]:
    return chain.any(1).nonzero()[:, 0].tolist()


def _as_real(states: Tensor) -> Tensor:
    """States (b, R, D) as real numbers (b, R, 2 D); real parts of overlaps are products of these."""
    return torch.view_as_real(states).flatten(-2)
