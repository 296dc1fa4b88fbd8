"""Factors of tensor layers: how they are fitted one after the other, scaled alike, and drawn afresh."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log, nextafter, prod

import torch
from torch import Tensor

from qtn.decompositions import leading_svd
from qtn.decompositions.checks import check_cutoff
from qtn.layers.base import random_factor


class Truncations:
    """A sequence of truncated singular value decompositions that share one relative weight to discard.

    Each step decomposes what the orthogonal projections of the earlier ones have left, so that the squared
    errors add: `discarded` is exact, relative to the first matrix, not a bound.

    Args:
        cutoff: Largest relative weight that all steps may discard together. Each may take an equal share of what
            the earlier ones have left of it.
        num_steps: Number of steps to come.

    Raises:
        ValueError: A bad `cutoff`.
    """

    def __init__(self, cutoff: float, num_steps: int) -> None:
        check_cutoff(cutoff)
        self.discarded = 0.0
        self._cutoff = cutoff
        self._steps_left = num_steps
        self._remaining = 1.0

    @property
    def allowed(self) -> float:
        """The relative weight of what is left that the steps to come may discard together."""
        return min(max(self._cutoff - self.discarded, 0.0) / self._remaining, nextafter(1.0, 0.0))

    def step(self, matrix: Tensor, max_bond: int) -> tuple[Tensor, Tensor, Tensor]:
        """The leading singular triples (left, values, right) of the next matrix; see `leading_svd`."""
        cutoff = self.allowed / self._steps_left
        left, values, right, lost = leading_svd(matrix, max_bond=max_bond, cutoff=cutoff)
        self.count(lost)
        self._steps_left -= 1
        return left, values, right

    def count(self, lost: float) -> None:
        """Count a relative weight of what is left as discarded."""
        self.discarded += self._remaining * lost
        self._remaining *= 1.0 - lost


def equal_norms(factors: Sequence[Tensor]) -> list[Tensor]:
    """The factors scaled to one norm, their product unchanged: what gradient descent and half precision want."""
    norms = [float(factor.norm()) for factor in factors]
    if min(norms) == 0.0:
        return list(factors)
    common = exp(sum(map(log, norms)) / len(norms))
    return [factor * (common / norm) for factor, norm in zip(factors, norms, strict=True)]


def fresh_factors(
    shapes: Sequence[tuple[int, ...]],
    bonds: Sequence[int],
    *,
    in_features: int,
    out_features: int,
    bias: bool,
    generator: torch.Generator,
    dtype: torch.dtype,
    device: torch.device | str | None,
) -> tuple[list[Tensor], Tensor | None]:
    """Random factors and bias whose dense weight has the variance of a new `torch.nn.Linear`.

    That is v = 1 / (3 * in_features). An entry of the weight is a sum over all bonds of products of one entry of
    each of the d factors, which therefore have variance (v / product of the bonds)^(1/d).
    """
    dense_variance = 1.0 / (3 * in_features)
    variance = (dense_variance / prod(bonds)) ** (1.0 / len(shapes))

    def draw(shape: tuple[int, ...], value: float) -> Tensor:
        return random_factor(shape, value, generator=generator, dtype=dtype, device=device)

    factors = [draw(shape, variance) for shape in shapes]
    return factors, draw((out_features,), dense_variance) if bias else None
