"""Where a curve crosses a level, with an interval over replicates."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from studies.engine.statistics import Estimate

Statistic = Callable[[NDArray[np.float64]], float | None]


def crossing(places: ArrayLike, curve: ArrayLike, level: float) -> float | None:
    """The first place where a falling curve goes below `level`, straight between points in log place.

    A point above an earlier one is taken down to that. None where the curve starts below or never gets there.
    """
    logs = np.log(np.asarray(places, dtype=np.float64))
    values = np.minimum.accumulate(np.asarray(curve, dtype=np.float64))
    below = np.flatnonzero(values < level)
    if not len(below) or below[0] == 0:
        return None
    after = int(below[0])
    step = (values[after - 1] - level) / (values[after - 1] - values[after])
    return float(np.exp(logs[after - 1] + step * (logs[after] - logs[after - 1])))


def jackknife(table: ArrayLike, statistic: Statistic, level: float = 0.95) -> Estimate | None:
    """A statistic of replicates (rows) with Student's interval from leaving out one at a time; None where it is none.

    No interval where it is none for some replicates. Source: Efron and Stein 1981, doi:10.1214/aos/1176345462.
    """
    rows = np.asarray(table, dtype=np.float64)
    count = len(rows)
    value = statistic(rows)
    if value is None:
        return None
    without = [statistic(np.delete(rows, i, axis=0)) for i in range(count)] if count > 2 else []
    known = np.array([each for each in without if each is not None])
    if len(known) < max(count, 3):
        return Estimate(value=value, low=None, high=None, count=count, needs=3)
    spread = math.sqrt((count - 1) / count * float(((known - known.mean()) ** 2).sum()))
    half = float(stdtrit(count - 1, (1 + level) / 2)) * spread
    return Estimate(value=value, low=value - half, high=value + half, count=count, needs=3)


def threshold(places: ArrayLike, table: ArrayLike, level: float) -> Estimate | None:
    """Where the mean of curves (replicates, places) goes below `level`, with an interval on the log scale.

    In drawn examples intervals of 95 percent held the truth in 89 to 95: least where it lies on one of few places.
    """

    def log_crossing(rows: NDArray[np.float64]) -> float | None:
        found = crossing(places, rows.mean(0), level)
        return None if found is None else math.log(found)

    return _exponential(jackknife(table, log_crossing))


def threshold_ratio(places: ArrayLike, above: ArrayLike, below: ArrayLike, level: float) -> Estimate | None:
    """One threshold over another, of curves that are paired by replicate."""
    both = np.stack([np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)], axis=1)

    def log_ratio(rows: NDArray[np.float64]) -> float | None:
        first, second = (crossing(places, rows[:, i].mean(0), level) for i in range(2))
        return None if first is None or second is None else math.log(first / second)

    return _exponential(jackknife(both, log_ratio))


def _exponential(estimate: Estimate | None) -> Estimate | None:
    if estimate is None:
        return None
    low, high = (None if end is None else math.exp(end) for end in (estimate.low, estimate.high))
    return replace(estimate, value=math.exp(estimate.value), low=low, high=high)
