"""Rows of a thin matrix that carry it whole."""

from __future__ import annotations

import torch
from torch import Tensor

from qtn.decompositions.checks import working_copy

_GROWTH = 2.0  # a swap must raise the volume by so much, which also bounds the coefficients


def pivot_rows(
    matrix: Tensor,  # shape: (rows, rank)
) -> tuple[Tensor, Tensor]:
    """Rows of nearly the greatest volume, and how the others follow from them.

    matrix[others] = coefficients @ matrix[pivots]. Pivots of Gaussian elimination are exchanged, one at a time, for
    rows that raise the volume |det matrix[pivots]|, until no coefficient is above 2 in modulus: what multiplies
    rounding errors stays small.

    Args:
        matrix: Of full column rank, rows >= rank; half precision is worked on in float32.

    Returns:
        `order` (rows,), int64: the pivots first, then the others in rising order; and `coefficients`
        (rows - rank, rank) in the working dtype.

    Raises:
        ValueError: The rank is above the number of rows, the columns are dependent, NaN or infinity.

    Cost: one LU decomposition, rows * rank^2 multiply-adds, and rows * rank for each exchange, of which there
    are few from such pivots.

    Source: S. A. Goreinov, I. V. Oseledets, D. V. Savostyanov, E. E. Tyrtyshnikov, N. L. Zamarashkin, How to find a
    good submatrix, in Matrix Methods, 247 (2010), doi:10.1142/9789812836021_0015.
    """
    num_rows, rank = matrix.shape
    if rank > num_rows:
        raise ValueError(
            f"Argument `matrix` must have at least as many rows as columns, but has shape {(num_rows, rank)}."
        )
    working = working_copy(matrix.detach(), "matrix")
    factors, swaps, _ = torch.linalg.lu_factor_ex(working)
    places = list(range(num_rows))
    for place, other in enumerate(swaps.tolist()):  # counted from one, in the order of the elimination
        places[place], places[other - 1] = places[other - 1], places[place]
    order = torch.tensor(places, device=working.device)
    diagonal = factors.diagonal().abs()
    if not bool((diagonal > torch.finfo(diagonal.dtype).eps * diagonal.max()).all()):
        raise ValueError("Argument `matrix` must have independent columns, but has dependent ones.")
    # matrix[order] = lower @ upper, so the coefficients are those of the unit lower part.
    coefficients = torch.linalg.solve_triangular(
        factors[:rank], factors[rank:], upper=False, unitriangular=True, left=False
    )
    for _ in range(4 * num_rows if num_rows > rank else 0):
        place = int(coefficients.abs().argmax())
        row, column = divmod(place, rank)
        pivot = coefficients[row, column].clone()
        if abs(pivot) <= _GROWTH:
            break
        # The pivot `column` and the other row `row` change places: a correction of rank one.
        change = coefficients[row].clone()
        change[column] -= 1.0
        left = coefficients[:, column].clone()
        left[row] += 1.0
        coefficients -= torch.outer(left / pivot, change)
        order[[column, rank + row]] = order[[rank + row, column]]
    pivots, others = order[:rank], order[rank:].sort().values
    if len(others):
        # Once more from the rows themselves: exchanges add up rounding errors.
        coefficients = torch.linalg.solve(working[pivots], working[others], left=False)
    return torch.cat([pivots, others]), coefficients
