"""A tensor as a train of cores, by sequential singular value decompositions."""

from __future__ import annotations

from collections.abc import Sequence
from math import nextafter

import torch
from torch import Tensor

from qtn.decompositions.checks import check_cutoff, check_max_bond, working_copy
from qtn.decompositions.svd import leading_svd


def tt_svd(
    tensor: Tensor,  # shape: (n_1, ..., n_d)
    *,
    max_bond: int | Sequence[int] | None = None,
    cutoff: float = 0.0,
    balanced: bool = False,
) -> tuple[list[Tensor], float]:
    """The cores of a tensor train, and the relative weight they miss.

    tensor[i_1, ..., i_d] = G_1[0, i_1, :] G_2[:, i_2, :] ... G_d[:, i_d, 0], up to what is discarded. All
    cores but the last have orthonormal columns as matrices (left * n, right), so the squared errors of the
    steps add: `discarded` is exact, not a bound. It is at most the sum over the d - 1 unfoldings of the
    weight that the best approximation of each alone would discard (Theorem 2.2), and at most d - 1 times
    the least possible at these bonds (Corollary 2.4).

    Args:
        tensor: Real or complex, one axis or more, of any device. Half precision is decomposed in float32 and
            cast back.
        max_bond: Largest bond, or one for each of the d - 1 bonds. None sets no limit.
        cutoff: Largest relative weight that may be discarded in all: each step may take 1 / (d - 1) of it.
        balanced: Share the singular values of each bond out, the square root to either side, instead of
            leaving all in the last core. The tensor is the same; the cores then have comparable norms, which
            is what gradient descent and half precision want.

    Returns:
        d cores of shapes (bond_{k-1}, n_k, bond_k) with bond_0 = bond_d = 1, and `discarded` =
        ||tensor - train||^2 / ||tensor||^2 in the Frobenius norm, before any casting back.

    Raises:
        TypeError: The dtype is not floating or complex.
        ValueError: No axes, no elements, NaN or infinity, or a bad `max_bond` or `cutoff`.

    Cost: d - 1 thin singular value decompositions, the first of n_1 x (n_2 ... n_d).

    Source: I. V. Oseledets, Tensor-Train Decomposition, SIAM J. Sci. Comput. 33, 2295 (2011),
    doi:10.1137/090752286, Algorithm 1.
    """
    if tensor.ndim < 1:
        raise ValueError("Argument `tensor` must have at least one axis, but has none.")
    check_cutoff(cutoff)
    limits = _limits(max_bond, tensor.ndim - 1)
    rest = working_copy(tensor, "tensor")
    step_cutoff = cutoff / max(tensor.ndim - 1, 1)

    cores: list[Tensor] = []
    spectra: list[Tensor] = []
    discarded = 0.0
    remaining = 1.0  # share of the tensor's weight that the steps so far have kept
    bond = 1
    for size, limit in zip(tensor.shape[:-1], limits, strict=True):
        allowed = min(step_cutoff / remaining, nextafter(1.0, 0.0))
        left, values, right, lost = leading_svd(rest.reshape(bond * size, -1), max_bond=limit, cutoff=allowed)
        cores.append(left.reshape(bond, size, -1))
        spectra.append(values)
        discarded += remaining * lost
        remaining *= 1.0 - lost
        bond = values.numel()
        rest = values[:, None] * right
    cores.append(rest.reshape(bond, tensor.shape[-1], 1))
    if balanced:
        cores = _share_out(cores, spectra)
    return [core.to(tensor.dtype).contiguous() for core in cores], discarded


def _limits(max_bond: int | Sequence[int] | None, num_bonds: int) -> list[int | None]:
    """One limit for each bond."""
    if max_bond is None or isinstance(max_bond, int):
        check_max_bond(max_bond)
        return [max_bond] * num_bonds
    if len(max_bond) != num_bonds:
        raise ValueError(
            f"Argument `max_bond` must have one entry for each of the {num_bonds} bonds, "
            f"but has {len(max_bond)}."
        )
    for limit in max_bond:
        check_max_bond(limit)
    return list(max_bond)


def _share_out(cores: list[Tensor], spectra: list[Tensor]) -> list[Tensor]:
    """The same train with the square root of each bond's singular values on either side of it.

    G_k takes sqrt(s_k) on its right and 1 / sqrt(s_{k-1}) on its left; the last core, which holds s_{d-1},
    keeps the root of it. Diagonal scalings are accurate to the last digit, so small values do no harm; those
    below the resolution of the dtype are raised to it.
    """
    shared = list(cores)
    for k, values in enumerate(spectra):
        floor = torch.finfo(values.dtype).eps * values[0]
        roots = torch.where(values > floor, values, floor).sqrt()
        roots = torch.where(roots > 0, roots, torch.ones_like(roots))
        shared[k] = shared[k] * roots
        shared[k + 1] = shared[k + 1] / roots[:, None, None]
    return shared
