"""Values that the literature's random circuits must have: how deep is deep, and what a fit to deep values gives."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from classical.angle_laws import RandomAxis
from classical.pauli_walk import second_moments
from classical.variance_theory import deep_first, deep_middle, product_global_kurtosis
from tests.classical.test_pauli_walk import random_circuit


@cache
def _excess(num_qubits: int, layers: int) -> float:
    """By how much the variance by the first parameter lies above its deep limit, relatively."""
    program = random_circuit(num_qubits, layers)
    terms = [("ZZ" + "I" * (num_qubits - 2), 1.0)]
    found = second_moments(program, terms, laws=[RandomAxis()] * program.num_params)
    return float(found.derivatives[0]) / deep_first(num_qubits) - 1


@pytest.mark.parametrize(("num_qubits", "depths"), [(3, (18, 22, 32)), (4, (31, 37, 51)), (5, (45, 52, 68))])
def test_depths_at_which_the_limit_is_near(num_qubits: int, depths: tuple[int, int, int]) -> None:
    for near, layers in zip((0.10, 0.05, 0.01), depths, strict=True):
        assert _excess(num_qubits, layers) <= near < _excess(num_qubits, layers - 1)


@pytest.mark.parametrize(("layers", "excess"), [(80, 2.8e-4), (160, 1.9e-8)])
def test_the_limit_is_approached_exponentially(layers: int, excess: float) -> None:
    assert _excess(4, layers) == pytest.approx(excess, rel=0.03)


@pytest.mark.parametrize(
    ("form", "slopes"),
    [(deep_first, (-0.7075, -0.6940, -0.6960)), (deep_middle, (-0.6573, -0.6804, -0.6846))],
)
def test_straight_lines_through_deep_values_are_biased_by_this_much(
    form: Callable[[int], float], slopes: tuple[float, float, float]
) -> None:
    for sizes, slope in zip((range(2, 7), range(4, 9), range(2, 17, 2)), slopes, strict=True):
        fitted = np.polyfit(list(sizes), [np.log(form(n)) for n in sizes], 1)[0]
        assert fitted == pytest.approx(slope, abs=6e-5)


@pytest.mark.parametrize(("num_qubits", "kurtosis"), [(4, 11.0), (6, 41.7), (8, 158), (10, 596), (20, 4.6e5)])
def test_kurtosis_of_a_global_cost(num_qubits: int, kurtosis: float) -> None:
    assert product_global_kurtosis(num_qubits) == pytest.approx(kurtosis, rel=7e-3)
