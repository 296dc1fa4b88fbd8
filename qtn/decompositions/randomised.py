"""The leading column space of a matrix by random projection."""

from __future__ import annotations

import torch
from torch import Tensor


def leading_columns(
    matrix: Tensor,  # shape: (rows, columns)
    probe: Tensor,  # shape: (columns, bond)
) -> Tensor:
    """Orthonormal columns (rows, bond) that nearly span the best approximation of a matrix at rank `bond`.

    `probe` holds independent normal numbers. After one power iteration the error is near that of the best approximation
    where singular values fall fast; ask for a few columns more than the rank that is wanted. Source: Halko, Martinsson,
    Tropp 2011, arXiv:0909.4061, algorithm 4.4 with q = 1.

    Cost: 3 products of the matrix with `bond` columns and 2 QR decompositions, instead of a decomposition of the whole.
    """
    basis, _ = torch.linalg.qr(matrix @ probe)
    basis, _ = torch.linalg.qr(matrix @ (matrix.mH @ basis))
    return basis
