"""How parameters are drawn, as far as second moments need it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

_EQUAL = 1e-9


class OutsideTheWalk(ValueError):
    """The circuit's second moment is no Markov chain on Pauli strings."""


class AbstractAngleLaw(ABC):
    """How a parameter is drawn, all of them independently."""

    @abstractmethod
    def cosine_square(self, coefficient: float, offset: float) -> float:
        """E[cos^2 a] of the angle a = coefficient * t + offset.

        Raises:
            OutsideTheWalk: where E[sin 2a] is not zero, so that strings mix with others.
        """

    @abstractmethod
    def kills_cross_terms(self, coefficient: float) -> bool:
        """Whether E[cos a] and E[sin a] are zero, so that products of two strings of which one turns vanish."""


@dataclass(frozen=True)
class Uniform(AbstractAngleLaw):
    """Uniform over 2 pi: E[cos^2] = 1/2 for every whole or half-whole coefficient."""

    def cosine_square(self, coefficient: float, offset: float) -> float:
        if abs(2 * coefficient - round(2 * coefficient)) > _EQUAL or abs(coefficient) < 0.25:
            raise OutsideTheWalk(
                f"An angle is {coefficient:g} times a parameter that is uniform over 2 pi, which covers no "
                "whole number of half turns: the second moment mixes strings. Sample it instead."
            )
        return 0.5

    def kills_cross_terms(self, coefficient: float) -> bool:
        return abs(coefficient - round(coefficient)) < _EQUAL


@dataclass(frozen=True)
class Gaussian(AbstractAngleLaw):
    """Normal around 0 with standard deviation `deviation`, radians."""

    deviation: float

    def cosine_square(self, coefficient: float, offset: float) -> float:
        if abs(offset / (math.pi / 2) - round(offset / (math.pi / 2))) > _EQUAL:
            raise OutsideTheWalk(
                f"An angle is Gaussian around {offset:g}, about which sine and cosine are correlated: strings mix. "
                "Only multiples of pi/2 stay in the walk; sample others."
            )
        even = 0.5 * (1 + math.exp(-2 * (coefficient * self.deviation) ** 2))
        return even if round(offset / (math.pi / 2)) % 2 == 0 else 1 - even

    def kills_cross_terms(self, coefficient: float) -> bool:
        return False
