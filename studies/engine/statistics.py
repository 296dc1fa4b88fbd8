"""Numbers with intervals. An interval that the samples cannot carry is None, never a guess."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, stdtrit


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value, the ends of its interval and the number of samples; prints as `1.23 [1.10, 1.35] (n=12)`.

    `low` and `high` are None when there are fewer than `needs` samples.
    """

    value: float
    low: float | None
    high: float | None
    count: int
    needs: int = 2

    def __str__(self) -> str:
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
    needs = math.ceil(1 - math.log2(1 - _checked_level(level)))
    centre, count = float(np.median(values)), values.size
    if count < needs:
        return Estimate(value=centre, low=None, high=None, count=count, needs=needs)
    ranks = np.arange(1, count // 2 + 1)
    k = int(ranks[2 * bdtr(ranks - 1.0, count, 0.5) <= 1 - level].max())
    return Estimate(
        value=centre, low=float(values[k - 1]), high=float(values[count - k]), count=count, needs=needs
    )


def fit_line(x: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None, level: float = 0.95) -> LineFit:
    """The least-squares line with the Student-t interval of its slope; the interval needs 3 points.

    Args:
        x: at least two different places.
        y: values, with independent normal errors of equal variance, or of variance proportional to 1 /
            weights.
        weights: one positive number a point. Only their ratios matter: the scale of the errors comes from the
            scatter about the line.
        level: probability that the interval holds the slope.
    """
    places, values = _samples(x, "x"), _samples(y, "y")
    loads = np.ones_like(places) if weights is None else _positive(_samples(weights, "weights"), "weights")
    if not places.size == values.size == loads.size:
        raise ValueError(
            f"Arguments `x`, `y` and `weights` must be of one length, but are of {places.size}, "
            f"{values.size} and {loads.size}."
        )
    if np.ptp(places) == 0:
        raise ValueError("Argument `x` must hold at least two different places, but all are the same.")
    loads = loads / loads.mean()
    centre, height = np.average(places, weights=loads), np.average(values, weights=loads)
    spread = float(np.sum(loads * (places - centre) ** 2))
    slope = float(np.sum(loads * (places - centre) * (values - height))) / spread
    left = values - height - slope * (places - centre)
    free = places.size - 2
    squares = float(np.sum(loads * left**2))
    variance = squares / free if free > 0 else 0.0
    half = None if free < 1 else _student(level, free) * math.sqrt(variance / spread)
    return LineFit(
        slope=Estimate(
            value=slope,
            low=None if half is None else slope - half,
            high=None if half is None else slope + half,
            count=places.size,
            needs=3,
        ),
        intercept=float(height - slope * centre),
        residual=math.sqrt(variance),
    )


def fit_power(x: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None, level: float = 0.95) -> LineFit:
    """The exponent of `y = c * x**exponent` by a line through (ln x, ln y); x and y must be positive.

    The errors are taken to be independent and normal in ln y; give `weights` = 1 / variance of ln y when
    known.
    """
    places, values = _positive(_samples(x, "x"), "x"), _positive(_samples(y, "y"), "y")
    return fit_line(np.log(places), np.log(values), weights, level)


def bootstrap(
    samples: ArrayLike,
    statistic: Literal["mean", "median"],
    rng: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
) -> Estimate:
    """The mean or median with the percentile bootstrap interval; needs 10 samples, too narrow below 30."""
    values = _samples(samples)
    function = {"mean": np.mean, "median": np.median}[statistic]
    centre, count = float(function(values)), values.size
    if count < 10:
        return Estimate(value=centre, low=None, high=None, count=count, needs=10)
    tail = (1 - _checked_level(level)) / 2
    drawn = function(rng.choice(values, size=(resamples, count)), axis=1)
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Estimate(value=centre, low=float(low), high=float(high), count=count, needs=10)


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
    return float(stdtrit(degrees, (1 + _checked_level(level)) / 2))


def _checked_level(level: float) -> float:
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
