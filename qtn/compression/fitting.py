"""Fit all factors of a tensor layer together, in the metric of the loss."""

from __future__ import annotations

import copy
from collections import deque
from math import isfinite

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from qtn.decompositions.kronecker import along_axes, kronecker_covariance
from qtn.layers.base import AbstractTensorLayer
from qtn.layers.factors import equal_norms
from qtn.layers.pivoted import PivotedLinear
from qtn.metric import LayerMetric

_NUM_PROBES = 4
_SHRINKAGE = 0.1
_LARGEST_AXIS = 4096  # above it the preconditioner of an axis would cost more than it saves
_MEMORY = 20
_SUFFICIENT_DECREASE = 1e-4
_SHORTEST_STEP = 1e-8


def fit_in_metric(
    layer: AbstractTensorLayer,
    weight: Tensor,  # shape: (out_features, in_features)
    metric: LayerMetric,
    *,
    steps: int = 60,
    tolerance: float = 1e-5,
    generator: torch.Generator | None = None,
) -> list[float]:
    """Move the factors of a layer so that its weight comes nearer to a given one in the damped metric.

    The squared distance ||B^T (W - layer.to_dense()) A||^2, see `LayerMetric`, is lowered over all factors together
    by limited-memory BFGS with backtracking, never raised. The factors that require gradients move; the bias and
    frozen ones stay. For a network of factors of which each appears once, the distance is quadratic in each,
    with a matrix J^T (G (x) C) J that is nearly a Kronecker product over the axes of the factor. That product,
    fitted to J^T z of random z (see `kronecker_covariance`), is the preconditioner: it takes out what the spectra
    of C and G and unbalanced bonds do to convergence. To move one factor after the other, by conjugate gradients
    with this preconditioner, takes longer to the same distance.

    Args:
        layer: Real; changed in place, at the end only, if that brings it nearer; else left as it is. Its factors that
            moved then have equal norms, and its `discarded` is that of the fit.
        weight: The weight aimed at, real.
        metric: What measures the distance.
        steps: Largest number of steps, at least 1.
        tolerance: The fit ends when a step lowers the squared distance by less than this share of it.
        generator: For the random z, of which the result depends but little; None draws from a fresh one of seed 0.

    Returns:
        Squared distances: the first that of the layer as it was, the last that of the layer as it is, both
        in float64 from the parameters, between them those after each step. They fall, up to the rounding
        of the last to the dtype of the layer. One entry if the layer was left as it was.

    Raises:
        TypeError: The weight or the layer is complex, or the weight not of floating dtype.
        ValueError: The weight is not finite or not of the size of the layer or the metric, all factors are frozen,
            `steps` is below 1, or `tolerance` is negative.

    Cost: for each step, out * in * (out + in) multiply-adds and one `to_dense` with its gradients, in float32 unless
    the layer is of float64. Memory for 40 copies of the factors.

    Source: D. C. Liu, J. Nocedal, On the limited memory BFGS method for large scale optimization,
    Math. Program. 45, 503 (1989), doi:10.1007/BF01589116.
    """
    if steps < 1:
        raise ValueError(f"Argument `steps` must be at least 1, but is {steps}.")
    if not tolerance >= 0.0:
        raise ValueError(f"Argument `tolerance` must be at least 0, but is {tolerance}.")
    shape = (layer.out_features, layer.in_features)
    if tuple(weight.shape) != shape:
        raise ValueError(f"Argument `weight` must have shape {shape}, but has shape {tuple(weight.shape)}.")
    moving = _moving(layer)
    if not moving:
        raise ValueError("Argument `layer` must have a factor that requires gradients, but all are frozen.")
    if any(factor.is_complex() for factor in moving):
        raise TypeError(f"Argument `layer` must be real, but has {moving[0].dtype}.")

    weight = weight.detach()
    total = float(metric.whiten(weight).square().sum())
    before = _distance(layer, weight, metric)
    objective = _Objective(layer, weight, metric)
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    point, losses = _minimise(objective, steps, tolerance, generator)
    fitted = copy.deepcopy(layer)
    vector_to_parameters(point, objective.factors)
    with torch.no_grad():
        # The product of pivots and coefficients is not all of a pivoted weight: it cannot be scaled between them.
        found = objective.factors if isinstance(layer, PivotedLinear) else equal_norms(objective.factors)
        for factor, value in zip(_moving(fitted), found, strict=True):
            factor.copy_(value)
        after = _distance(fitted, weight, metric)
        if not after < before:
            return [before]
        for factor, value in zip(moving, _moving(fitted), strict=True):
            factor.copy_(value)
    layer.discarded = after / total if total > 0.0 else 0.0
    return [before, *losses[1:-1], after]


def _moving(layer: AbstractTensorLayer) -> list[Tensor]:
    """The factors that a fit may change."""
    return [each for each in layer.parameters() if each is not layer.bias and each.requires_grad]


def _distance(layer: AbstractTensorLayer, weight: Tensor, metric: LayerMetric) -> float:
    wide = copy.deepcopy(layer).double()
    return float(metric.whiten(weight.double() - wide.to_dense().detach()).square().sum())


class _Objective:
    """The squared distance as a function of all moving factors in one vector."""

    def __init__(self, layer: AbstractTensorLayer, weight: Tensor, metric: LayerMetric) -> None:
        dtype = torch.float64 if _moving(layer)[0].dtype == torch.float64 else torch.float32
        self.layer = copy.deepcopy(layer).to(dtype)
        self.factors = _moving(self.layer)
        self.weight = weight.to(dtype)
        roots = [metric._output_factor, metric._input_factor]
        # The unit of each side is taken out, for gradients can be small enough to underflow when squared.
        units = [1.0 if root is None else float(root.square().sum() / len(root)) for root in roots]
        self.unit = units[0] * units[1]
        self._roots = [
            None if root is None else (root / unit**0.5).to(dtype)
            for root, unit in zip(roots, units, strict=True)
        ]
        self._grams = [None if root is None else root @ root.T for root in self._roots]

    def start(self) -> Tensor:
        return parameters_to_vector(self.factors).detach().clone()

    def evaluate(self, point: Tensor) -> tuple[float, Tensor]:
        """The squared distance and its gradient."""
        dense = self._dense(point)
        difference = self.weight - dense.detach()
        weighted = along_axes(difference, [self._grams[0], self._grams[1]])
        gradient = self._pull_back(dense, -2.0 * weighted)
        return max(float((difference.double() * weighted).sum()), 0.0), _flat(gradient)

    def curvature(self, point: Tensor, generator: torch.Generator) -> list[list[Tensor | None]]:
        """For each factor, the inverses of the matrices whose Kronecker product stands for its Gram matrix."""
        dense = self._dense(point)
        probes: list[list[Tensor]] = []
        for _ in range(_NUM_PROBES):
            drawn = torch.randn(
                dense.shape, generator=generator, dtype=dense.dtype, device=generator.device
            ).to(dense.device)
            coloured = along_axes(drawn, [self._roots[0], self._roots[1]])
            probes.append(self._pull_back(dense, coloured, again=True))
        return [_inverses(torch.stack(samples)) for samples in zip(*probes, strict=True)]

    def split(self, vector: Tensor) -> list[Tensor]:
        parts = vector.split([factor.numel() for factor in self.factors])
        return [part.reshape(factor.shape) for part, factor in zip(parts, self.factors, strict=True)]

    def _dense(self, point: Tensor) -> Tensor:
        vector_to_parameters(point, self.factors)
        with torch.enable_grad():
            return self.layer.to_dense()

    def _pull_back(self, dense: Tensor, cotangent: Tensor, *, again: bool = False) -> list[Tensor]:
        return list(torch.autograd.grad(dense, self.factors, cotangent, retain_graph=again))


def _inverses(
    samples: Tensor,  # shape: (num_probes, *factor)
) -> list[Tensor | None]:
    """Inverses of the Kronecker factors of E[v v^T], along the axes where one is worth its cost."""
    sizes = samples.shape[1:]
    if max(sizes) > _LARGEST_AXIS or not samples.any():
        return [None] * len(sizes)
    matrices = kronecker_covariance(samples, steps=3, shrinkage=_SHRINKAGE)
    return [torch.cholesky_inverse(torch.linalg.cholesky(matrix)).to(samples.dtype) for matrix in matrices]


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _minimise(
    objective: _Objective, steps: int, tolerance: float, generator: torch.Generator
) -> tuple[Tensor, list[float]]:
    """The last point of preconditioned L-BFGS, and the squared distances of all."""
    point = objective.start()
    inverses = objective.curvature(point, generator)

    def precondition(vector: Tensor) -> Tensor:
        parts = zip(objective.split(vector), inverses, strict=True)
        # The gradient is that of the squared distance, whose matrix is twice the Gram matrix.
        return 0.5 * _flat([along_axes(part, matrices) for part, matrices in parts])

    pairs: deque[tuple[Tensor, Tensor, float]] = deque(maxlen=_MEMORY)
    scale = 1.0 / len(objective.factors)  # each factor alone would take the whole step
    loss, gradient = objective.evaluate(point)
    losses = [loss]
    for _ in range(steps):
        direction, weights = gradient.clone(), []
        for step, change, curvature in reversed(pairs):
            weights.append(float(step @ direction) / curvature)
            direction -= weights[-1] * change
        direction = scale * precondition(direction)
        for (step, change, curvature), weight in zip(pairs, reversed(weights), strict=True):
            direction += (weight - float(change @ direction) / curvature) * step
        slope = -float(gradient @ direction)
        length = 1.0
        while slope < 0.0 and length > _SHORTEST_STEP:
            new_loss, new_gradient = objective.evaluate(point - length * direction)
            if new_loss <= loss + _SUFFICIENT_DECREASE * length * slope:
                break
            # The minimum of the parabola through what is known, within bounds.
            excess = new_loss - loss - length * slope
            guess = -0.5 * slope * length**2 / excess if isfinite(excess) else 0.0
            length = min(max(guess, 0.1 * length), 0.5 * length)
        else:
            break
        step, change = -length * direction, new_gradient - gradient
        curvature = float(step @ change)
        if curvature > 0.0:
            pairs.append((step, change, curvature))
            scale = curvature / float(change @ precondition(change))
        gained = loss - new_loss
        point, loss, gradient = point + step, new_loss, new_gradient
        losses.append(loss)
        if gained <= tolerance * losses[-2]:
            break
    return point, [objective.unit * each for each in losses]
