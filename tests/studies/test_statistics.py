from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from studies.engine.statistics import (
    Estimate,
    fit_line,
    fit_power,
    geometric_mean,
    mean,
    median,
    ratio,
)

REPEATS = 2000


def coverage(estimate: Callable[[np.random.Generator], Estimate], truth: float) -> float:
    """How often the interval holds the truth."""
    rng = np.random.default_rng(20_26)
    hits = 0
    for _ in range(REPEATS):
        found = estimate(rng)
        assert found.low is not None and found.high is not None
        hits += found.low <= truth <= found.high
    return hits / REPEATS


def z_score(share: float, level: float) -> float:
    return (share - level) / math.sqrt(level * (1 - level) / REPEATS)


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("count", [2, 5])
def test_interval_of_the_mean_holds_as_often_as_it_says(count: int, level: float) -> None:
    share = coverage(lambda rng: mean(rng.normal(3.0, 2.0, count), level), 3.0)
    assert abs(z_score(share, level)) < 4.5


def test_interval_of_the_geometric_mean_holds_as_often_as_it_says() -> None:
    share = coverage(lambda rng: geometric_mean(np.exp(rng.normal(1.0, 0.7, 6))), math.e)
    assert abs(z_score(share, 0.95)) < 4.5


@pytest.mark.parametrize("count", [6, 8, 9, 20])
def test_interval_of_the_median_holds_at_least_as_often_as_it_says(count: int) -> None:
    share = coverage(lambda rng: median(rng.exponential(1.0, count)), math.log(2))
    exact = {6: 1 - 2 / 2**6, 8: 1 - 2 / 2**8, 9: 1 - 2 * 10 / 2**9, 20: 0.95861}[count]
    assert exact >= 0.95
    assert abs(z_score(share, exact)) < 4.5


def test_interval_of_the_slope_holds_as_often_as_it_says() -> None:
    x = np.array([1.0, 2.0, 4.0, 8.0, 9.0])
    sigma = np.array([1.0, 2.0, 0.5, 1.0, 3.0])

    def fit(rng: np.random.Generator) -> Estimate:
        return fit_line(x, 1.0 - 0.5 * x + sigma * rng.normal(size=5), weights=sigma**-2).slope

    assert abs(z_score(coverage(fit, -0.5), 0.95)) < 4.5


def test_interval_of_a_shared_slope_holds_as_often_as_it_says() -> None:
    x = np.tile(np.arange(4.0), 3)
    groups = np.repeat(["a", "b", "c"], 4).tolist()
    offsets = np.repeat([0.0, 10.0, -3.0], 4)

    def fit(rng: np.random.Generator) -> Estimate:
        return fit_line(x, offsets + 0.7 * x + rng.normal(size=12), groups=groups).slope

    assert abs(z_score(coverage(fit, 0.7), 0.95)) < 4.5


def test_interval_of_a_ratio_of_means_is_near_its_level() -> None:
    def estimate(rng: np.random.Generator) -> Estimate:
        below = rng.uniform(1, 3, 100)
        return ratio(1.5 * below * rng.chisquare(4, 100) / 4, below)

    assert 0.93 < coverage(estimate, 1.5) < 0.96


def test_mean_is_the_textbook_one() -> None:
    # Student's sleep data, second drug. Source: R 4, t.test on `extra` of group 2 of the data set `sleep`.
    found = mean([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    assert (found.value, found.low, found.high) == pytest.approx((2.33, 0.8976775, 3.7623225), abs=1e-6)
    assert str(found) == "2.3 [0.9, 3.8] (n=10)"


def test_power_law_without_noise_is_found_exactly() -> None:
    x = np.array([1.0, 2.0, 4.0, 16.0])
    fit = fit_power(x, 5.0 * x**-1.5)
    assert fit.slope.value == pytest.approx(-1.5, abs=1e-12)
    assert math.exp(fit.intercept) == pytest.approx(5.0)
    assert fit.slope.low == pytest.approx(-1.5, abs=1e-9) and fit.residual < 1e-12


def test_weight_two_is_a_point_twice() -> None:
    x, y = [1.0, 2.0, 3.0, 5.0], [1.0, 2.5, 2.0, 4.0]
    twice = fit_line([*x, 2.0], [*y, 2.5])
    weighted = fit_line(x, y, [1.0, 2.0, 1.0, 1.0])
    assert (weighted.slope.value, weighted.intercept) == pytest.approx((twice.slope.value, twice.intercept))


def test_slope_does_not_depend_on_the_scale_of_the_weights() -> None:
    x, y, weights = [1.0, 2.0, 3.0, 5.0], [1.0, 2.5, 2.0, 4.0], np.array([1.0, 2.0, 3.0, 1.0])
    assert str(fit_line(x, y, weights).slope) == str(fit_line(x, y, 100 * weights).slope)


@pytest.mark.parametrize(
    ("found", "needs"),
    [
        (mean([1.0]), 2),
        (geometric_mean([2.0]), 2),
        (median([1.0, 2.0, 3.0, 4.0, 5.0]), 6),
        (fit_line([1.0, 2.0], [1.0, 3.0]).slope, 3),
        (ratio([1.0] * 9, [2.0] * 9), 10),
    ],
)
def test_too_few_samples_have_no_interval_and_say_so(found: Estimate, needs: int) -> None:
    assert found.low is None and found.high is None
    assert str(found).endswith(f"(n={found.count}, an interval needs {needs})")


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((1.2345, 1.1, 1.35), "1.23 [1.10, 1.35] (n=12)"),
        ((-1.5, -1.52, -1.48), "-1.500 [-1.520, -1.480] (n=12)"),
        ((12345.0, 12000.0, 12700.0), "12345 [12000, 12700] (n=12)"),
        ((1.2e-7, 1.0e-7, 1.4e-7), "1.2e-07 [1e-07, 1.4e-07] (n=12)"),
        ((2.0, 2.0, 2.0), "2 [2, 2] (n=12)"),
        ((0.0, 0.0, 0.0), "0 [0, 0] (n=12)"),
    ],
)
def test_estimates_print_their_interval_and_count(numbers: tuple[float, float, float], text: str) -> None:
    value, low, high = numbers
    assert str(Estimate(value=value, low=low, high=high, count=12)) == text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean([]), r"`samples` must be a list of at least one number, but has shape \(0,\)"),
        (lambda: mean([[1.0]]), r"but has shape \(1, 1\)"),
        (lambda: mean([1.0, math.nan]), "`samples` must hold finite numbers, but holds nan"),
        (lambda: mean([1.0, 2.0], level=1.0), r"`level` must lie between 0 and 1, but is 1\.0"),
        (lambda: geometric_mean([1.0, 0.0]), "`samples` must hold positive numbers, but holds 0"),
        (lambda: fit_line([1.0, 1.0], [1.0, 2.0]), "at least two different places"),
        (lambda: fit_line([1.0, 2.0], [1.0]), "must be of one length, but are of 2, 1 and 2"),
        (lambda: fit_power([1.0, 2.0], [1.0, -2.0]), "`y` must hold positive numbers, but holds -2"),
        (lambda: fit_line([1.0, 2.0], [1.0, 2.0], [1.0, 0.0]), "`weights` must hold positive numbers"),
    ],
)
def test_unfit_samples_are_refused_by_name(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
