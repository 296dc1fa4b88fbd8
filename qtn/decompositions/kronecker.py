"""The Kronecker product that stands best for a matrix of second moments."""

from __future__ import annotations

import torch
from torch import Tensor

from qtn.decompositions.checks import working_copy


def kronecker_covariance(
    samples: Tensor,  # shape: (num_samples, n_1, ..., n_d)
    *,
    steps: int = 10,
    shrinkage: float = 0.0,
) -> list[Tensor]:
    """Positive definite matrices M_1, ..., M_d whose Kronecker product stands for E[v v^T] of the samples v.

    The most likely ones, were the samples normal with mean zero: of all Kronecker products K the one that minimises
    log det K + tr(K^-1 E[v v^T]). Unlike the nearest in the Frobenius norm it judges small eigenvalues by their
    ratios, as whitening and preconditioning do. It is found by alternation: M_k is the mean second moment along
    axis k of the samples whitened by the other matrices. If E[v v^T] is a Kronecker product, two steps give it.
    For a covariance C = A A^T take the rows of A^T, times the square root of their number, as samples.

    Args:
        samples: Real, not all zero; half precision is taken as float32.
        steps: Number of passes over all axes, at least 1.
        shrinkage: M_k is drawn towards a multiple of the identity with weight t / (1 + t), where t is this times
            n_k over the number of vectors (num_samples times the other sizes) in its mean. Above 0 where the
            vectors may be fewer than n_k.

    Returns:
        d matrices (n_k, n_k) in float64. Only their product is determined: the scale is in whatever factor.

    Raises:
        TypeError: The samples are complex or not of floating dtype.
        ValueError: The samples have fewer than two axes, are all zero, or hold NaN or infinity, `steps` is below 1,
            or `shrinkage` is negative.

    Cost: steps * d * (n_1 + ... + n_d) multiply-adds for each entry of the samples, and steps inverses of each M_k.

    Source: P. Dutilleul, The MLE algorithm for the matrix normal distribution, J. Stat. Comput. Simul. 64, 105
    (1999), doi:10.1080/00949659908811970, for d = 2.
    """
    if samples.ndim < 2:
        raise ValueError(
            f"Argument `samples` must have shape (num_samples, n_1, ...), but has shape {tuple(samples.shape)}."
        )
    if steps < 1:
        raise ValueError(f"Argument `steps` must be at least 1, but is {steps}.")
    if not shrinkage >= 0.0:
        raise ValueError(f"Argument `shrinkage` must be at least 0, but is {shrinkage}.")
    working = working_copy(samples, "samples")
    if working.is_complex():
        raise TypeError(f"Argument `samples` must be real, but has {samples.dtype}.")
    largest = working.abs().max()
    if largest == 0.0:
        raise ValueError("Argument `samples` must have entries other than zero, but has none.")
    # Scaled, for squares of small numbers may underflow.
    working = working / largest

    matrices = [torch.eye(size, dtype=torch.float64, device=working.device) for size in working.shape[1:]]
    inverses = [matrix.to(working.dtype) for matrix in matrices]
    for _ in range(steps):
        for k, size in enumerate(working.shape[1:]):
            num_vectors = working.numel() / size
            others = [inverse if axis != k else None for axis, inverse in enumerate(inverses)]
            along = working.movedim(k + 1, 0).flatten(1)
            whitened = along_axes(working, others, first_axis=1).movedim(k + 1, 0).flatten(1)
            moment = (along @ whitened.T).double() / num_vectors
            weight = shrinkage * size / (shrinkage * size + num_vectors)
            weight = max(weight, 10 * size * torch.finfo(working.dtype).eps)
            moment = (1.0 - weight) * 0.5 * (moment + moment.T)
            moment.diagonal().add_(weight / (1.0 - weight) * moment.diagonal().mean())
            matrices[k] = moment
            inverses[k] = torch.cholesky_inverse(torch.linalg.cholesky(moment)).to(working.dtype)
    matrices[0] = matrices[0] * largest.double().square()
    return matrices


def along_axes(tensor: Tensor, matrices: list[Tensor | None], *, first_axis: int = 0) -> Tensor:
    """The tensor with a matrix applied to each axis from `first_axis` on; None leaves an axis as it is."""
    for axis, matrix in enumerate(matrices, start=first_axis):
        if matrix is not None:
            tensor = (tensor.movedim(axis, -1) @ matrix.T).movedim(-1, axis)
    return tensor
