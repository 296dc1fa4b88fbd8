"""Repeated gradients and values, and how far their means and variances may be from what they should be."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from hybrid import Objective
from hybrid.backends import Exact, Sampled
from hybrid.gradients import AbstractShotEstimator

Array = np.ndarray

# Of a right program one comparison in 150,000 fails.
Z_LIMIT = 4.5


def repeated(
    rule: AbstractShotEstimator,
    objective: Objective,
    theta: Array,
    *,
    total_shots: int | None,
    repeats: int = 2500,
    seed: int = 11,
) -> tuple[Array, Array]:
    """Values and reported variances of gradients, each of shape (repeats, ...), as rows of one batch."""
    gradient = rule.gradient(
        objective,
        np.tile(theta, (repeats, 1)),
        backend=Exact() if total_shots is None else Sampled(),
        total_shots=total_shots,
        rng=np.random.default_rng(seed),
    )
    return gradient.values.numpy(), gradient.std_errors.numpy() ** 2


def called(make: Callable[[], tuple[torch.Tensor, torch.Tensor]], repeats: int) -> tuple[Array, Array]:
    """Values and variances, each of shape (repeats, ...), of calls that give values and standard errors.

    For what rows of one batch share: a draw of rotations, or a first stage.
    """
    values, errors = zip(*(make() for _ in range(repeats)), strict=True)
    return torch.stack(values).numpy(), torch.stack(errors).numpy() ** 2


def mean_z(samples: Array, expected: Array | float) -> Array:
    """Distance of the mean from what is expected, in standard errors."""
    return (samples.mean(0) - expected) / (samples.std(0, ddof=1) / math.sqrt(len(samples)))


def relative_mean_error(samples: Array) -> Array:
    """Standard error of the mean, divided by it."""
    return samples.std(0, ddof=1) / math.sqrt(len(samples)) / samples.mean(0)


def relative_variance_error(samples: Array) -> Array:
    """Standard error of a sample variance, divided by it, from the samples' own kurtosis."""
    centred = samples - samples.mean(0)
    fourth = (centred**4).mean(0) / (centred**2).mean(0) ** 2
    return np.sqrt((fourth - 1) / len(samples))


def check_variance(samples: Array, exact: Array | float, *, within: float = 0.1) -> None:
    """The samples' variance is `exact`, with so many of them that one off by the share `within` would fail."""
    error = relative_variance_error(samples)
    assert (Z_LIMIT * error < within).all()
    assert (np.abs(samples.var(0, ddof=1) / exact - 1) < Z_LIMIT * error).all()


def check_mean(samples: Array, exact: Array | float, *, within: float | None = None) -> None:
    """The samples' mean is `exact`; with `within`, one off by that share would fail."""
    assert (np.abs(mean_z(samples, exact)) < Z_LIMIT).all()
    if within is not None:
        assert (Z_LIMIT * np.abs(relative_mean_error(samples)) < within).all()


def check_honest(values: Array, variances: Array, exact: Array | float, *, within: float = 0.1) -> None:
    """Values are unbiased, and the reported variance is the observed one: one off by `within` would fail."""
    check_mean(values, exact)
    error = np.hypot(relative_variance_error(values), relative_mean_error(variances))
    assert (Z_LIMIT * error < within).all()
    assert (np.abs(variances.mean(0) / values.var(0, ddof=1) - 1) < Z_LIMIT * error).all()
