"""Exponential or power law: closed forms are told apart, noise is not, and wrong verdicts are rare."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.engine.growth import fit_growth, growth_of
from studies.engine.statistics import Estimate
from studies.engine.variances import variance

SIZES = np.arange(2.0, 13.0, 2.0)


def deep(qubits: np.ndarray) -> np.ndarray:
    """Variance of the first derivative in McClean's deep random circuits, d / (3 (d^2 - 1))."""
    d = 2.0**qubits
    return d / (3 * (d**2 - 1))


def local(qubits: np.ndarray) -> np.ndarray:
    """Of a local cost on a product of RY, 1 / (8 n^2)."""
    return 1 / (8 * qubits**2)


def test_exact_values_are_told_apart() -> None:
    barren, product = fit_growth(SIZES, deep(SIZES)), fit_growth(SIZES, local(SIZES))
    assert barren.verdict == "exponential"
    assert barren.exponential.slope.low is not None and barren.exponential.slope.high is not None
    assert barren.exponential.slope.low < -math.log(2) < barren.exponential.slope.high + 0.02
    assert product.verdict == "power law"
    assert product.power.slope.value == pytest.approx(-2, abs=1e-12)


def test_the_slope_of_the_deep_limit_has_the_known_bias() -> None:
    """Least squares through the exact values of n = 2 to 16."""
    even = np.arange(2.0, 17.0, 2.0)
    assert fit_growth(even, deep(even)).exponential.slope.value == pytest.approx(-0.6960, abs=5e-5)


def verdicts(truth: np.ndarray, error: float, repeats: int = 1000) -> Counter[str]:
    rng = np.random.default_rng(7)
    noise = np.exp(error * rng.normal(size=(repeats, SIZES.size)))
    return Counter(fit_growth(SIZES, truth * each, np.full(SIZES.size, error)).verdict for each in noise)


@pytest.mark.parametrize("error", [0.05, 0.2])
def test_noisy_points_are_told_apart(error: float) -> None:
    assert verdicts(deep(SIZES), error)["exponential"] > 950
    assert verdicts(local(SIZES), error)["power law"] > 500


@pytest.mark.parametrize("error", [0.05, 0.2, 0.4, 0.8, 1.5])
def test_wrong_verdicts_are_rare_at_every_error(error: float) -> None:
    assert verdicts(deep(SIZES), error)["power law"] <= 10
    assert verdicts(local(SIZES), error)["exponential"] <= 10


@pytest.mark.parametrize("error", [0.05, 0.5])
def test_noise_alone_is_undecided(error: float) -> None:
    found = verdicts(np.ones(SIZES.size), error)
    assert found["undecided"] > 970


def test_the_interval_of_the_slope_holds_it() -> None:
    rng = np.random.default_rng(8)
    errors = np.array([0.05, 0.1, 0.1, 0.2, 0.2, 0.4])
    held = 0
    for _ in range(2000):
        values = np.exp(-0.7 * SIZES + errors * rng.normal(size=6))
        slope = fit_growth(SIZES, values, errors).exponential.slope
        assert slope.low is not None and slope.high is not None
        held += slope.low <= -0.7 <= slope.high
    assert 0.94 < held / 2000 < 0.985


def test_points_that_scatter_beyond_their_errors_widen_the_interval() -> None:
    rng = np.random.default_rng(9)
    held = 0
    for _ in range(2000):
        values = np.exp(-0.7 * SIZES + 0.3 * rng.normal(size=6))
        slope = fit_growth(SIZES, values, np.full(6, 0.03)).exponential.slope
        assert slope.low is not None and slope.high is not None
        held += slope.low <= -0.7 <= slope.high
    assert 0.93 < held / 2000 < 0.97


def test_scatter_beyond_the_errors_does_not_decide() -> None:
    """Points that scatter by 1 are told to have errors of 0.03: their chi^2 differ by hundreds, and mean nothing."""
    rng = np.random.default_rng(12)
    noise = np.exp(rng.normal(size=(500, 6)))
    found = Counter(fit_growth(SIZES, local(SIZES) * each, np.full(6, 0.03)).verdict for each in noise)
    assert found["exponential"] <= 10


def test_the_criterion_is_the_corrected_one() -> None:
    """chi^2 + 2 k + 2 k (k + 1) / (n - k - 1), for 6 points and 2 parameters chi^2 + 8."""
    rng = np.random.default_rng(13)
    law = fit_growth(SIZES, np.exp(-0.5 * SIZES + 0.1 * rng.normal(size=6)), np.full(6, 0.2)).exponential
    assert law.criterion == pytest.approx(4 * law.misfit + 8, rel=1e-12)


def test_the_bias_of_heavy_tails_is_corrected() -> None:
    """Mean slope from 100 samples a point with a relative error that grows with n: without correction -0.73."""
    rng = np.random.default_rng(10)
    errors = np.linspace(0.1, 0.7, 6)
    slopes = []
    for _ in range(1500):
        values = np.exp(-0.65 * SIZES - errors**2 / 2 + errors * rng.normal(size=6))
        estimates = [
            Estimate(value=v, low=v * math.exp(-1.96 * e), high=v * math.exp(1.96 * e), count=100)
            for v, e in zip(values, errors, strict=True)
        ]
        found = growth_of(SIZES, estimates)
        assert found is not None
        slopes.append(found.exponential.slope.value)
    error = np.std(slopes) / math.sqrt(len(slopes))
    assert abs(np.mean(slopes) + 0.65) < 4.5 * error
    assert error < 0.003


def test_bounds_and_points_without_interval_are_left_out_and_counted() -> None:
    points = [Estimate(value=v, low=0.9 * v, high=1.1 * v, count=500) for v in deep(SIZES)]
    bound = Estimate(value=1e-3, low=None, high=2e-3, count=500)
    short = Estimate(value=1e-9, low=None, high=None, count=20, needs=4000)
    below = Estimate(value=-1e-3, low=None, high=2e-3, count=500)
    found = growth_of([*SIZES, 14, 16, 18], [*points, bound, short, below])
    assert found is not None
    assert (found.count, found.left_out, found.verdict) == (6, 3, "exponential")
    assert "3 without an interval left out" in found.sentence()
    assert growth_of([2, 4], [bound, short]) is None


def test_measured_points_of_a_global_cost_fall_by_three_eighths() -> None:
    rng = np.random.default_rng(11)
    estimates = []
    for n in (1, 2, 3, 4, 5):
        samples = np.sin(rng.uniform(0, 2 * np.pi, 4000)) / 2
        for _ in range(n - 1):
            samples *= np.cos(rng.uniform(0, np.pi, 4000)) ** 2
        estimates.append(variance(samples))
    found = growth_of([1, 2, 3, 4, 5], estimates)
    assert found is not None and found.verdict == "exponential"
    slope = found.exponential.slope
    assert slope.low is not None and slope.high is not None
    assert slope.low < math.log(3 / 8) < slope.high
    assert slope.high - slope.low < 0.2


def test_too_few_points_are_undecided_and_say_so() -> None:
    found = fit_growth([2, 4, 6], deep(np.array([2.0, 4.0, 6.0])), [0.01, 0.01, 0.01])
    assert found.verdict == "undecided"
    assert "3 points are too few, 4 are wanted" in found.sentence()


def test_sentences_name_the_law_and_its_numbers() -> None:
    assert (
        "falls exponentially with every qubit, by the factor 0.50"
        in fit_growth(SIZES, deep(SIZES)).sentence()
    )
    assert "falls as a power -2.00 [-2.00, -2.00] of the number of layers" in fit_growth(
        SIZES, local(SIZES)
    ).sentence("layer")
    flat = fit_growth(SIZES, np.exp([0.1, -0.1, 0.05, -0.1, 0.1, 0.0]), np.full(6, 0.1))
    assert "neither law: the interval of the slope holds zero" in flat.sentence()
    assert flat.flat and not fit_growth(SIZES, local(SIZES)).flat
    bent = fit_growth(SIZES, np.exp(-0.1 * SIZES**2), np.full(6, 0.01))
    assert "two laws that do not fit" in bent.sentence()


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-8, 1e8), st.floats(0.1, 10), st.integers(0, 1000))
def test_units_do_not_matter(scale: float, stretch: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, errors = np.exp(-0.4 * SIZES + 0.2 * rng.normal(size=6)), rng.uniform(0.05, 0.3, 6)
    plain, scaled = fit_growth(SIZES, values, errors), fit_growth(stretch * SIZES, scale * values, errors)
    assert scaled.verdict == plain.verdict or abs(abs(plain.difference) - 6) < 1e-6
    assert scaled.power.slope.value == pytest.approx(plain.power.slope.value, rel=1e-8, abs=1e-10)
    assert scaled.exponential.slope.value * stretch == pytest.approx(plain.exponential.slope.value, rel=1e-8)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sizes": [1, 2], "values": [1, -1]}, "`values`"),
        ({"sizes": [0, 2], "values": [1, 1]}, "`sizes`"),
        ({"sizes": [2, 2], "values": [1, 1]}, "two different"),
        ({"sizes": [1, 2, 3], "values": [1, 1]}, "one length"),
        ({"sizes": [1, 2], "values": [1, 1], "relative_errors": [0, 1]}, "`relative_errors`"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fit_growth(**arguments)
