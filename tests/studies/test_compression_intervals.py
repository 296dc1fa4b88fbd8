"""Intervals of the study of compression: closed forms and coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, spearmanr

from studies.compressing.intervals import difference, rank_correlation, restored, stored, wilson
from studies.engine.statistics import Estimate


@pytest.mark.parametrize(("right", "trials"), [(0, 10), (3, 10), (10, 10), (57, 100)])
def test_wilson_is_that_of_scipy(right: int, trials: int) -> None:
    found, expected = wilson(right, trials), binomtest(right, trials).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert restored(stored(found)) == found


def test_a_difference_is_that_of_newcombes_example() -> None:
    # Newcombe 1998, table II, row (a), method 10: 56/70 less 48/80.
    found = difference(wilson(56, 70), wilson(48, 80))
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    open_end = Estimate(value=1.0, low=None, high=None, count=1)
    assert difference(open_end, wilson(1, 2)).low is None


def test_rank_correlation_and_its_coverage() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2_000, 40))
    y = 0.6 * x + 0.8 * rng.normal(size=x.shape)
    truth = 6 / np.pi * np.arcsin(0.6 / 2)  # of the normal distribution, Pearson 1907
    found = [rank_correlation(a, b) for a, b in zip(x, y, strict=True)]
    assert found[0].value == pytest.approx(spearmanr(x[0], y[0]).statistic)
    held = np.mean([each.low <= truth <= each.high for each in found if each.low and each.high])
    assert held == pytest.approx(0.95, abs=0.02)
    assert rank_correlation([1, 2, 3], [1, 2, 4]).low is None
    with pytest.raises(ValueError, match="two different values"):
        rank_correlation([1, 1], [1, 2])
