"""Shift rules: derivatives of a function of known frequencies as weighted sums of its values."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ShiftRule:
    """f'(0) = sum over m of `weights[m] * f(shifts[m])`."""

    shifts: tuple[float, ...]
    weights: tuple[float, ...]

    def noise(self, *, favours_few_circuits: bool) -> float:
        """Variance of the derivative for one shot in all and unit variance: at shots by weight, or at equal shots."""
        if favours_few_circuits:
            return sum(map(abs, self.weights)) ** 2
        return len(self.weights) * sum(weight**2 for weight in self.weights)


def two_term(frequency: float, shift: float = math.pi / 2) -> ShiftRule:
    """One frequency: Omega (f(s / Omega) - f(-s / Omega)) / (2 sin s).

    Source: Mitarai et al. 2018, arXiv:1803.00745; general s: Mari, Bromley and Killoran 2021, arXiv:2008.06517, eq. 9.
    """
    weight = frequency / (2 * math.sin(shift))
    return ShiftRule(shifts=(shift / frequency, -shift / frequency), weights=(weight, -weight))


def equidistant(multiples: int, base: float = 1.0) -> ShiftRule:
    """Frequencies `base`, 2 `base`, ... R `base`: 2R values.

    Shifts (2m - 1) pi / (2R), weights (-1)^(m-1) / (4R sin^2((2m - 1) pi / (4R))), m = 1 ... 2R, whose sizes sum to
    R, the least that is possible. Source: Wierichs et al. 2022, arXiv:2107.12390, eq. 15.
    """
    places = [(2 * m - 1) * math.pi / (2 * multiples) for m in range(1, 2 * multiples + 1)]
    # The rule has period 2 pi: shifts beyond pi go back by it, so that they are as small as can be.
    near = [place if place <= math.pi else place - 2 * math.pi for place in places]
    weights = [(-1) ** m / (4 * multiples * math.sin(place / 2) ** 2) for m, place in enumerate(places)]
    return ShiftRule(
        shifts=tuple(place / base for place in near), weights=tuple(base * weight for weight in weights)
    )
