"""The best approximation of a matrix by one of lower rank."""

from __future__ import annotations

import torch
from torch import Tensor

from qtn.decompositions.checks import check_cutoff, check_max_bond, working_copy


def leading_svd(
    matrix: Tensor,  # shape: (rows, columns)
    *,
    max_bond: int | None = None,
    cutoff: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor, float]:
    """The leading singular triples of a matrix, and the weight of the others.

    Args:
        matrix: Real or complex, of any device. Half precision is decomposed in float32 and returned so.
        max_bond: Largest number of triples kept. None sets no limit.
        cutoff: Largest relative weight, sum of squares of singular values, that may be discarded: quimb's
            `cutoff_mode="rsum2"`. Zero discards nothing on its own account. At least one triple is kept.

    Returns:
        `left` (rows, bond) and `right` (bond, columns) with orthonormal columns and rows, the real singular
        values (bond,) in falling order, and `discarded` = ||matrix - approximation||^2 / ||matrix||^2 in the
        Frobenius norm, exactly the discarded share of the spectrum. It is 0 for the zero matrix.

    Raises:
        TypeError: The dtype is not floating or complex.
        ValueError: Not a matrix, no elements, NaN or infinity, or a bad `max_bond` or `cutoff`.

    Cost: one thin singular value decomposition, O(rows * columns * min(rows, columns)).

    Source: C. Eckart, G. Young, The approximation of one matrix by another of lower rank, Psychometrika 1,
    211 (1936), doi:10.1007/BF02288367.
    """
    if matrix.ndim != 2:
        raise ValueError(
            f"Argument `matrix` must have shape (rows, columns), but has shape {tuple(matrix.shape)}."
        )
    check_max_bond(max_bond)
    check_cutoff(cutoff)
    left, values, right = torch.linalg.svd(working_copy(matrix, "matrix"), full_matrices=False)

    weights = values.detach().double().square()
    # tails[r] is the weight discarded when r triples are kept; summed from the smallest up.
    tails = torch.cat([weights.flip(0).cumsum(0).flip(0), weights.new_zeros(1)])
    bond = weights.numel()
    if cutoff > 0.0:
        bond = int((tails > cutoff * tails[0]).sum())
    if max_bond is not None:
        bond = min(bond, max_bond)
    bond = max(bond, 1)
    total = float(tails[0])
    discarded = float(tails[bond]) / total if total > 0.0 else 0.0
    return left[:, :bond], values[:bond], right[:bond], discarded


def truncated_svd(
    matrix: Tensor,  # shape: (rows, columns)
    *,
    max_bond: int | None = None,
    cutoff: float = 0.0,
) -> tuple[Tensor, Tensor, float]:
    """Two factors whose product is the best approximation of a matrix at their rank.

    Either factor takes the square root of the singular values, so that the two have equal norms: the scaling
    that gradient descent on the factors wants.

    Args:
        matrix: Real or complex, of any device. Half precision is decomposed in float32 and cast back.
        max_bond: Largest rank. None sets no limit.
        cutoff: Largest relative weight that may be discarded; see `leading_svd`.

    Returns:
        `left` (rows, bond) and `right` (bond, columns) in the dtype of the matrix, and `discarded` =
        ||matrix - left @ right||^2 / ||matrix||^2, before any casting back.

    Raises:
        TypeError: The dtype is not floating or complex.
        ValueError: Not a matrix, no elements, NaN or infinity, or a bad `max_bond` or `cutoff`.

    Cost and source: see `leading_svd`.
    """
    left, values, right, discarded = leading_svd(matrix, max_bond=max_bond, cutoff=cutoff)
    roots = values.sqrt()
    return (left * roots).to(matrix.dtype), (roots[:, None] * right).to(matrix.dtype), discarded
