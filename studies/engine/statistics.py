"""Numbers with intervals. An interval that the samples cannot carry is None, never a guess."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, stdtrit


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value, the ends of its interval and the number of samples; prints as `1.23 [1.10, 1.35] (n=12)`.

    `low` and `high` are None when there are fewer than `needs` samples; with `high` alone it is an upper bound.
    """

    value: float
    low: float | None
    high: float | None
    count: int
    needs: int = 2

    def __str__(self) -> str:
        if self.low is None and self.high is not None:
            return f"at most {self.high:.3g} (n={self.count})"
        if self.low is None or self.high is None:
            return f"{self.value:.3g} (n={self.count}, an interval needs {self.needs})"
        value, low, high = _rounded_together(self.value, self.low, self.high)
        return f"{value} [{low}, {high}] (n={self.count})"


@dataclass(frozen=True, kw_only=True)
class LineFit:
    """A straight line through points: `y = intercept + slope * x`, with an interval of the slope."""

    slope: Estimate
    intercept: float
    residual: float
    """Root mean square of the residuals, divided by n - 2; in units of y (for a log-log fit: of ln y)."""


def mean(samples: ArrayLike, level: float = 0.95) -> Estimate:
    """The mean with the Student-t interval `m ± t * s / sqrt(n)`; needs 2 samples.

    Exact for normal samples; the larger the sample and the less skew, the closer otherwise.
    """
    values = _samples(samples)
    centre = float(np.mean(values))
    if values.size < 2:
        return Estimate(value=centre, low=None, high=None, count=values.size)
    half = _student(level, values.size - 1) * float(np.std(values, ddof=1)) / math.sqrt(values.size)
    return Estimate(value=centre, low=centre - half, high=centre + half, count=values.size)


def geometric_mean(samples: ArrayLike, level: float = 0.95) -> Estimate:
    """The geometric mean with the Student-t interval of the logarithms; samples must be positive."""
    values = _positive(_samples(samples), "samples")
    logs = mean(np.log(values), level)
    if logs.low is None or logs.high is None:
        return Estimate(value=math.exp(logs.value), low=None, high=None, count=logs.count)
    return Estimate(
        value=math.exp(logs.value), low=math.exp(logs.low), high=math.exp(logs.high), count=logs.count
    )


def median(samples: ArrayLike, level: float = 0.95) -> Estimate:
    """The median with the interval between two order statistics; needs 6 samples at level 0.95.

    The interval [x_(k), x_(n+1-k)] holds the median with probability 1 - 2 P(Binomial(n, 1/2) < k), whatever
    the distribution; k is the largest that keeps the level, so the interval errs on the wide side.
    """
    values = np.sort(_samples(samples))
    needs = math.ceil(1 - math.log2(1 - checked_level(level)))
    centre, count = float(np.median(values)), values.size
    if count < needs:
        return Estimate(value=centre, low=None, high=None, count=count, needs=needs)
    ranks = np.arange(1, count // 2 + 1)
    k = int(ranks[2 * bdtr(ranks - 1.0, count, 0.5) <= 1 - level].max())
    return Estimate(
        value=centre, low=float(values[k - 1]), high=float(values[count - k]), count=count, needs=needs
    )


def fit_line(
    x: ArrayLike,
    y: ArrayLike,
    weights: ArrayLike | None = None,
    level: float = 0.95,
    groups: Sequence[object] | None = None,
) -> LineFit:
    """The least-squares line with the Student-t interval of its slope; the interval needs 3 points.

    Args:
        x: at least two different places.
        y: values, with independent normal errors of equal variance, or of variance proportional to 1 /
            weights.
        weights: one positive number a point. Only their ratios matter: the scale of the errors comes from the
            scatter about the line.
        level: probability that the interval holds the slope.
        groups: a name for each point; lines of different groups share the slope, not the intercept, of which the
            weighted mean is given.
    """
    places, values = _samples(x, "x"), _samples(y, "y")
    loads = np.ones_like(places) if weights is None else _positive(_samples(weights, "weights"), "weights")
    if not places.size == values.size == loads.size:
        raise ValueError(
            f"Arguments `x`, `y` and `weights` must be of one length, but are of {places.size}, "
            f"{values.size} and {loads.size}."
        )
    names = ["all"] * places.size if groups is None else [str(name) for name in groups]
    if len(names) != places.size:
        raise ValueError(
            f"Argument `groups` must have one name for each of {places.size} points, but has {len(names)}."
        )
    loads = loads / loads.mean()
    _, group = np.unique(names, return_inverse=True)
    weight = np.bincount(group, loads)
    apart = places - (np.bincount(group, loads * places) / weight)[group]
    above = values - (np.bincount(group, loads * values) / weight)[group]
    spread = float(np.sum(loads * apart**2))
    if spread == 0:
        raise ValueError(
            "Argument `x` must hold at least two different places in a group, but holds one in each."
        )
    slope = float(np.sum(loads * apart * above)) / spread
    free = places.size - 1 - weight.size
    squares = float(np.sum(loads * (above - slope * apart) ** 2))
    variance = squares / free if free > 0 else 0.0
    half = None if free < 1 else _student(level, free) * math.sqrt(variance / spread)
    return LineFit(
        slope=Estimate(
            value=slope,
            low=None if half is None else slope - half,
            high=None if half is None else slope + half,
            count=places.size,
            needs=2 + weight.size,
        ),
        intercept=float(np.average(values - slope * places, weights=loads)),
        residual=math.sqrt(variance),
    )


def fit_power(
    x: ArrayLike,
    y: ArrayLike,
    weights: ArrayLike | None = None,
    level: float = 0.95,
    groups: Sequence[object] | None = None,
) -> LineFit:
    """The exponent of `y = c * x**exponent` by a line through (ln x, ln y); x and y must be positive.

    The errors are taken to be independent and normal in ln y; give `weights` = 1 / variance of ln y when
    known. `groups` share the exponent, each with a factor of its own.
    """
    places, values = _positive(_samples(x, "x"), "x"), _positive(_samples(y, "y"), "y")
    return fit_line(np.log(places), np.log(values), weights, level, groups)


def ratio(above: ArrayLike, below: ArrayLike, level: float = 0.95) -> Estimate:
    """The ratio of two paired means, sum(above) / sum(below), with a linearised Student-t interval; needs 10.

    To first order in 1/n, unlike the mean of ratios, which a small denominator here and there pulls up.
    Source: Cochran 1977, Sampling Techniques, 3rd edition, section 6.3.
    """
    tops, bottoms = _samples(above, "above"), _positive(_samples(below, "below"), "below")
    if tops.size != bottoms.size:
        raise ValueError(
            f"Arguments `above` and `below` must be of one length, but are of {tops.size} and {bottoms.size}."
        )
    count = tops.size
    value = float(tops.sum() / bottoms.sum())
    if count < 10:
        return Estimate(value=value, low=None, high=None, count=count, needs=10)
    spread = float(np.sqrt(np.sum((tops - value * bottoms) ** 2) * count / (count - 1)) / bottoms.sum())
    half = _student(level, count - 1) * spread
    return Estimate(value=value, low=value - half, high=value + half, count=count, needs=10)


def _samples(samples: ArrayLike, name: str = "samples") -> NDArray[np.float64]:
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(
            f"Argument `{name}` must be a list of at least one number, but has shape {values.shape}."
        )
    if not np.isfinite(values).all():
        raise ValueError(
            f"Argument `{name}` must hold finite numbers, but holds {values[~np.isfinite(values)][0]}."
        )
    return values


def _positive(values: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    if values.min() <= 0:
        raise ValueError(f"Argument `{name}` must hold positive numbers, but holds {values.min():g}.")
    return values


def _student(level: float, degrees: int) -> float:
    """The quantile of Student's t that leaves (1 - level) / 2 above it."""
    return float(stdtrit(degrees, (1 + checked_level(level)) / 2))


def checked_level(level: float) -> float:
    """The probability of an interval. Raises ValueError outside 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"Argument `level` must lie between 0 and 1, but is {level}.")
    return level


def _rounded_together(*values: float) -> list[str]:
    """The numbers with as many digits as the widest distance between them deserves: two."""
    width = max(values) - min(values)
    top = max(abs(value) for value in values)
    if width == 0 or top == 0 or not 1e-3 <= top < 1e5:
        digits = 4 if width == 0 else max(3, 2 + math.ceil(math.log10(top / width)))
        return [f"{value:.{min(digits, 15)}g}" for value in values]
    places = max(0, 1 - math.floor(math.log10(width)))
    return [f"{value:.{places}f}" for value in values]
