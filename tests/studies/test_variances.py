"""Intervals of variances and second moments hold the truth as often as they say, or are not given."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from studies.engine.variances import second_moment, variance

Draw = Callable[[np.random.Generator, int], np.ndarray]


def normal(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.normal(2.0, 1.0, count)


def haar_loss(rng: np.random.Generator, count: int) -> np.ndarray:
    """<P> in a random state of four qubits: variance 1/(d + 1)."""
    weights = rng.gamma(8, 1, (2, count))
    return (weights[0] - weights[1]) / weights.sum(0)


def product_global(qubits: int) -> Draw:
    """dC_G/dt of one RY per qubit: sin(t)/2 times cos^2 of the other half angles."""

    def draw(rng: np.random.Generator, count: int) -> np.ndarray:
        values = np.sin(rng.uniform(0, 2 * np.pi, count)) / 2
        for _ in range(qubits - 1):
            values *= np.cos(rng.uniform(0, np.pi, count)) ** 2
        return values

    return draw


def global_variance(qubits: int) -> float:
    return (3 / 8) ** (qubits - 1) / 8


def global_kurtosis(qubits: int) -> float:
    return 1.5 * (35 / 18) ** (qubits - 1)


def coverage(
    draw: Draw, truth: float, count: int, repeats: int, known: float | None = None
) -> tuple[int, int]:
    """How many of the samples get an interval, and how many of those hold the truth."""
    rng = np.random.default_rng(20_26)
    given = held = 0
    for _ in range(repeats):
        found = variance(draw(rng, count), kurtosis=known)
        if found.low is not None and found.high is not None:
            given += 1
            held += found.low <= truth <= found.high
    return given, held


# Sizes of 60 to 150 times the kurtosis, at which most samples get an interval.
_CASES = {
    "normal": (normal, 1.0, 200),
    "normal, many": (normal, 1.0, 1000),
    "loss of random states": (haar_loss, 1 / 17, 200),
    "global cost, 2 qubits": (product_global(2), global_variance(2), 250),
    "global cost, 4 qubits": (product_global(4), global_variance(4), 1000),
    "global cost, 6 qubits": (product_global(6), global_variance(6), 4000),
    "global cost, 8 qubits": (product_global(8), global_variance(8), 16_000),
}


@pytest.mark.parametrize("name", _CASES)
def test_an_interval_holds_the_variance_in_93_to_97_of_100_cases(name: str) -> None:
    draw, truth, count = _CASES[name]
    repeats = 4_000 if count < 2_000 else 1_000
    given, held = coverage(draw, truth, count, repeats)
    assert given > 0.9 * repeats
    # Three standard errors of the count on either side.
    slack = 3 * math.sqrt(0.05 * 0.95 / given)
    assert 0.93 - slack / 2 < held / given < 0.97 + slack / 2


@pytest.mark.parametrize("qubits", [2, 4, 8])
def test_a_known_kurtosis_needs_fewer_samples(qubits: int) -> None:
    kappa = global_kurtosis(qubits)
    count = math.ceil(3 * 1.96**2 * kappa)
    given, held = coverage(product_global(qubits), global_variance(qubits), count, 2_000, known=kappa)
    assert given == 2_000
    assert 0.93 < held / given < 0.975


@pytest.mark.parametrize(("qubits", "count"), [(4, 100), (6, 400), (8, 1000), (8, 4000)])
def test_few_samples_of_a_heavy_tail_say_how_many_are_wanted(qubits: int, count: int) -> None:
    rng = np.random.default_rng(5)
    found = [variance(product_global(qubits)(rng, count)) for _ in range(200)]
    assert sum(each.low is not None or each.high is not None for each in found) <= 4
    wanted = np.median([each.needs for each in found])
    assert count < wanted < 200 * global_kurtosis(qubits)


def test_what_is_wrongly_given_is_rare_at_every_size() -> None:
    """Around the size wanted, samples that miss the tail pass: few, and few of all."""
    for count in (400, 550, 700):
        given, held = coverage(product_global(4), global_variance(4), count, 2_000)
        assert (given - held) / 2_000 < 0.065


def test_a_second_moment_does_not_subtract_the_mean() -> None:
    rng = np.random.default_rng(1)
    samples = rng.normal(2.0, 1.0, 4000)
    spread, whole = variance(samples), second_moment(samples)
    assert whole.value == pytest.approx(spread.value * 3999 / 4000 + samples.mean() ** 2, rel=1e-12)
    assert spread.low is not None and spread.high is not None and spread.low < 1 < spread.high
    assert whole.low is not None and whole.high is not None and whole.low < 5 < whole.high


def test_the_interval_of_a_second_moment_is_by_the_kurtosis_about_zero() -> None:
    """Of a normal around 2: E x^2 = 5 and E x^4 = 43, so the relative error is sqrt(18 / 25 / M)."""
    samples = np.random.default_rng(2).normal(2.0, 1.0, 40_000)
    found = second_moment(samples)
    assert found.low is not None and found.high is not None
    half = (1 / found.low - 1 / found.high) / 2 * found.value
    assert half == pytest.approx(1.96 * math.sqrt(18 / 25 / 40_000), rel=0.05)


def test_shot_noise_is_subtracted_and_its_error_carried() -> None:
    """Samples of variance 1 with known noise 0.5, and a noise that is itself off by 0.15."""
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(2_000):
        samples = rng.normal(0, 1.0, 400) + rng.normal(0, math.sqrt(0.5), 400)
        found = variance(samples, noise=0.5 + 0.15 * rng.normal(), noise_error=0.15)
        assert found.high is not None
        held += (found.low or 0.0) <= 1.0 <= found.high
    assert 0.93 < held / 2_000 < 0.97


def test_a_variance_that_drowns_in_noise_is_an_upper_bound() -> None:
    rng = np.random.default_rng(4)
    found = [variance(rng.normal(0, 1.0, 500), noise=1.0) for _ in range(1_000)]
    assert min(each.value for each in found) < 0
    bounds = [each for each in found if each.low is None]
    assert len(bounds) > 900
    assert all(each.high is not None and each.high >= 0 for each in bounds)
    assert str(bounds[0]) == f"at most {bounds[0].high:.3g} (n=500)"
    tiny = 0.02
    above = [variance(rng.normal(0, math.sqrt(1 + tiny), 500), noise=1.0).high or 0.0 for _ in range(1_000)]
    assert np.mean(np.array(above) >= tiny) > 0.95


def test_samples_without_spread_have_no_interval() -> None:
    found = variance(np.full(100, 0.3))
    assert (found.value, found.low, found.high) == (0, None, None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"samples": []}, "`samples`"),
        ({"samples": [1.0]}, "at least 2"),
        ({"samples": [1.0, math.nan]}, "finite"),
        ({"samples": [1.0, 2.0], "level": 1.0}, "`level`"),
        ({"samples": [1.0, 2.0], "kurtosis": 0.5}, "`kurtosis`"),
        ({"samples": [1.0, 2.0], "noise": -1.0}, "`noise`"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        variance(**arguments)
