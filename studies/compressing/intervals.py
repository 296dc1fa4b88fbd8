"""Intervals of shares, of differences and of rank correlations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri
from scipy.stats import rankdata

from studies.engine.statistics import Estimate, checked_level


def wilson(successes: int, trials: int, level: float = 0.95) -> Estimate:
    """The share of successes with Wilson's score interval (E. B. Wilson 1927, doi:10.1080/01621459.1927.10502953)."""
    z = float(ndtri((1 + checked_level(level)) / 2))
    share, scale = successes / trials, 1 + z * z / trials
    middle = (share + z * z / (2 * trials)) / scale
    half = z * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2) / scale
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return Estimate(value=share, low=min(low, share), high=max(high, share), count=trials)


def difference(first: Estimate, second: Estimate) -> Estimate:
    """First less second, of independent estimates; from the same cases it errs on the wide side.

    Source: R. G. Newcombe, Statist. Med. 17, 873 (1998), method 10: the distances to the ends, added in squares.
    """
    value = first.value - second.value
    count = min(first.count, second.count)
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return Estimate(value=value, low=None, high=None, count=count)
    down = math.hypot(first.value - first.low, second.high - second.value)
    up = math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value=value, low=value - down, high=value + up, count=count)


def rank_correlation(x: ArrayLike, y: ArrayLike, level: float = 0.95) -> Estimate:
    """Spearman's coefficient with Fisher's transformation; needs 5 pairs, and two different values on both sides.

    Source: D. G. Bonett, T. A. Wright, Psychometrika 65, 23 (2000), for the variance (1 + r^2 / 2) / (n - 3).

    Raises:
        ValueError: The lengths differ, or one side has fewer than two values.
    """
    first, second = rankdata(np.asarray(x, dtype=float)), rankdata(np.asarray(y, dtype=float))
    if len(first) != len(second) or min(len(set(first)), len(set(second))) < 2:
        raise ValueError("Arguments `x` and `y` must have one length and two different values each.")
    value, count = float(np.corrcoef(first, second)[0, 1]), len(first)
    if count < 5:
        return Estimate(value=value, low=None, high=None, count=count, needs=5)
    centre = math.atanh(min(max(value, -1 + 1e-12), 1 - 1e-12))
    half = float(ndtri((1 + checked_level(level)) / 2)) * math.sqrt((1 + value * value / 2) / (count - 3))
    return Estimate(value=value, low=math.tanh(centre - half), high=math.tanh(centre + half), count=count)


def stored(estimate: Estimate) -> dict[str, Any]:
    """Plain values for a row."""
    return asdict(estimate)


def restored(values: Mapping[str, Any]) -> Estimate:
    """The estimate that a row holds."""
    return Estimate(**values)
