"""How much a change of a linear layer's weight matters to the loss."""

from __future__ import annotations

from math import isfinite
from typing import final

import torch
from torch import Tensor

from qtn.decompositions.checks import working_copy

_ROUNDING = 1e-6  # what single precision may leave of asymmetry and of negative eigenvalues


@final
class LayerMetric:
    """The quadratic form that predicts the loss change of one linear layer: ||G^(1/2) D C^(1/2)||^2 / 2.

    D is the change of the weight, C = E[x x^T] the covariance of the layer's inputs and G = E[g g^T] that of the
    gradients g of the loss with respect to its outputs; with labels sampled from the model G is the Fisher
    matrix. The form takes x and g to be independent. It is a loss per row, a token or a sample, and adds over layers.

    Fits work with damped matrices, C + damping * mean(diag C) * 1 and the like for G, for calibration rows
    leave directions unseen that other rows will use. With C = A A^T and G = B B^T so damped, A and B lower
    triangular, the whitened weight is B^T W A: the Frobenius norm there is the damped metric here. A side
    that is None is the identity.

    All is computed in float64, on the device of the matrices, whose copies are kept.

    Args:
        inputs: C (in_features, in_features), or None.
        outputs: G (out_features, out_features), or None.
        damping: At least 0, in units of the mean of the diagonal.

    Raises:
        TypeError: A matrix is complex or not of floating dtype.
        ValueError: A matrix is not square, finite, symmetric, positive semidefinite and other than zero, or
            `damping` is negative or not finite.

    Cost: 2 Cholesky decompositions for each matrix, size^3 / 3 multiply-adds each; an eigendecomposition where the
    damped matrix is singular to working precision.

    Source: J. Martens, R. Grosse, Optimizing Neural Networks with Kronecker-factored Approximate Curvature,
    ICML 2015, arXiv:1503.05671, section 3.
    """

    def __init__(self, inputs: Tensor | None, outputs: Tensor | None, damping: float = 1e-2) -> None:
        if not (isfinite(damping) and damping >= 0.0):
            raise ValueError(f"Argument `damping` must be at least 0 and finite, but is {damping}.")
        self.damping = damping
        self.inputs = None if inputs is None else _covariance(inputs, "inputs")
        self.outputs = None if outputs is None else _covariance(outputs, "outputs")
        self._input_factor = None if self.inputs is None else _factor(self.inputs, damping)
        self._output_factor = None if self.outputs is None else _factor(self.outputs, damping)

    def whiten(
        self,
        weight: Tensor,  # shape: (out_features, in_features)
    ) -> Tensor:
        """B^T W A, in float64: the matrix whose Frobenius norm is the damped norm of the weight.

        Raises:
            TypeError: The weight is complex or not of floating dtype.
            ValueError: Its shape is not that of the layer, or it holds NaN or infinity.
        """
        whitened = self._checked(weight, "weight")
        if self._input_factor is not None:
            whitened = whitened @ self._input_factor
        return whitened if self._output_factor is None else self._output_factor.T @ whitened

    def unwhiten(
        self,
        matrix: Tensor,  # shape: (out_features, in_features)
    ) -> Tensor:
        """The weight, in float64, whose whitened form is `matrix`.

        Raises:
            TypeError: The matrix is complex or not of floating dtype.
            ValueError: Its shape is not that of the layer, or it holds NaN or infinity.
        """
        return self.unwhiten_outputs(self.unwhiten_inputs(self._checked(matrix, "matrix")))

    def unwhiten_inputs(
        self,
        right: Tensor,  # shape: (rank, in_features)
    ) -> Tensor:
        """`right` A^-1, in float64: the right factor of a weight from that of a whitened one."""
        if self._input_factor is None:
            return right.double()
        return torch.linalg.solve_triangular(self._input_factor, right.double(), upper=False, left=False)

    def unwhiten_outputs(
        self,
        left: Tensor,  # shape: (out_features, rank)
    ) -> Tensor:
        """B^-T `left`, in float64: the left factor of a weight from that of a whitened one."""
        if self._output_factor is None:
            return left.double()
        return torch.linalg.solve_triangular(self._output_factor.T, left.double(), upper=True)

    def loss_change(
        self,
        difference: Tensor,  # shape: (out_features, in_features)
    ) -> float:
        """The predicted change of the loss per row when `difference` is taken off the weight.

        Without damping: it predicts what the calibration rows would show, where damping is a precaution of
        the fit. The damped value, `whiten(difference).square().sum() / 2`, is never below it. The term of
        first order is left out: its mean is zero for labels sampled from the model.

        Raises:
            TypeError: The difference is complex or not of floating dtype.
            ValueError: Its shape is not that of the layer, or it holds NaN or infinity.

        Cost: two matrix products.
        """
        change = self._checked(difference, "difference").detach()
        weighted = change if self.inputs is None else change @ self.inputs
        if self.outputs is not None:
            weighted = self.outputs @ weighted
        return max(0.5 * float((change * weighted).sum()), 0.0)

    def _checked(self, matrix: Tensor, name: str) -> Tensor:
        """The matrix in float64, if it has the shape of the layer."""
        sizes = [None if side is None else len(side) for side in (self.outputs, self.inputs)]
        shape = tuple(matrix.shape)
        if len(shape) != 2 or any(size not in (None, n) for size, n in zip(sizes, shape, strict=True)):
            rows, columns = (
                size or free for size, free in zip(sizes, ("out_features", "in_features"), strict=True)
            )
            raise ValueError(f"Argument `{name}` must have shape ({rows}, {columns}), but has shape {shape}.")
        return _real(matrix, name)


def _real(matrix: Tensor, name: str) -> Tensor:
    """The finite, real matrix in float64."""
    working = working_copy(matrix, name)
    if working.is_complex():
        raise TypeError(f"Argument `{name}` must be real, but has {matrix.dtype}.")
    return working.double()


def _covariance(given: Tensor, name: str) -> Tensor:
    """A copy of a covariance in float64, exactly symmetric."""
    if given.ndim != 2 or given.shape[0] != given.shape[1]:
        raise ValueError(f"Argument `{name}` must be a square matrix, but has shape {tuple(given.shape)}.")
    matrix = _real(given.detach(), name)
    asymmetry = float((matrix - matrix.T).abs().max())
    if asymmetry > _ROUNDING * float(matrix.abs().max()):
        raise ValueError(
            f"Argument `{name}` must be symmetric, but differs from its transpose by up to {asymmetry:.3g}."
        )
    matrix = 0.5 * (matrix + matrix.T)
    trace = float(matrix.trace())
    if trace <= 0.0:
        raise ValueError(
            f"Argument `{name}` must have a positive trace, but has {trace:.3g}; None stands for the identity."
        )
    if torch.linalg.cholesky_ex(_shifted(matrix, _ROUNDING * trace)).info:
        raise ValueError(
            f"Argument `{name}` must be positive semidefinite, but has an eigenvalue below {-_ROUNDING:g} "
            f"times its trace {trace:.3g}."
        )
    return matrix


def _factor(matrix: Tensor, damping: float) -> Tensor:
    """Lower triangular A with A A^T equal to the damped matrix, and an inverse of finite precision."""
    damped = _shifted(matrix, damping * float(matrix.diagonal().mean()))
    least = len(damped) * torch.finfo(damped.dtype).eps
    factor, failed = torch.linalg.cholesky_ex(damped)
    pivots = factor.diagonal().square()
    if not failed and pivots.min() > least * pivots.max():
        return factor
    values, vectors = torch.linalg.eigh(damped)
    roots = values.clamp_min(least * float(values[-1])).sqrt()
    return torch.linalg.qr((vectors * roots).T).R.T


def _shifted(matrix: Tensor, shift: float) -> Tensor:
    return matrix + shift * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
