"""How parameters are drawn, as far as first and second moments need it."""

from __future__ import annotations

import cmath
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
    def wave(self, coefficient: float) -> complex:
        """E[exp(i coefficient t)], the characteristic function."""

    @property
    def redraws_axis(self) -> bool:
        """Whether the rotation's axis is drawn too."""
        return False

    def means(self, coefficient: float, offset: float) -> tuple[float, float]:
        """E[cos a] and E[sin a]."""
        wave = self.wave(coefficient) * cmath.exp(1j * offset)
        return tuple(0.0 if abs(part) < _EQUAL else part for part in (wave.real, wave.imag))  # pyright: ignore

    def kills_cross_terms(self, coefficient: float) -> bool:
        """Whether E[cos a] and E[sin a] are zero, so that products of two strings of which one turns vanish."""
        return abs(self.wave(coefficient)) < _EQUAL


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

    def wave(self, coefficient: float) -> complex:
        turn = 2j * math.pi * coefficient
        return (cmath.exp(turn) - 1) / turn


@dataclass(frozen=True)
class RandomAxis(Uniform):
    """A uniform angle about X, Y or Z, drawn anew each time; the circuit's own axis only marks the place.

    Source: McClean et al. 2018, arXiv:1803.11173, whose random circuits are made of these.
    """

    @property
    def redraws_axis(self) -> bool:
        return True

    def kills_cross_terms(self, coefficient: float) -> bool:
        # One axis in three may leave both strings alone.
        return False


@dataclass(frozen=True)
class Gaussian(AbstractAngleLaw):
    """Normal around 0 with standard deviation `deviation`, radians; a deviation of 0 holds the parameter at 0."""

    deviation: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.deviation) and self.deviation >= 0):
            raise ValueError(
                f"Argument `deviation` must be a finite number of at least 0, but is {self.deviation}."
            )

    def cosine_square(self, coefficient: float, offset: float) -> float:
        if abs(offset / (math.pi / 2) - round(offset / (math.pi / 2))) > _EQUAL:
            raise OutsideTheWalk(
                f"An angle is Gaussian around {offset:g}, about which sine and cosine are correlated: strings mix. "
                "Only multiples of pi/2 stay in the walk; sample others."
            )
        even = 0.5 * (1 + math.exp(-2 * (coefficient * self.deviation) ** 2))
        return even if round(offset / (math.pi / 2)) % 2 == 0 else 1 - even

    def wave(self, coefficient: float) -> complex:
        return complex(math.exp(-((coefficient * self.deviation) ** 2) / 2))


@dataclass(frozen=True)
class Fixed(AbstractAngleLaw):
    """Held at `value`, radians; its angle must come out as a multiple of pi/2."""

    value: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"Argument `value` must be a finite angle, but is {self.value}.")

    def cosine_square(self, coefficient: float, offset: float) -> float:
        angle = coefficient * self.value + offset
        if abs(math.sin(2 * angle)) > _EQUAL:
            raise OutsideTheWalk(
                f"An angle is held at {angle:g}, which is no multiple of pi/2: strings mix. Sample it instead."
            )
        return round(math.cos(angle) ** 2)

    def wave(self, coefficient: float) -> complex:
        return cmath.exp(1j * coefficient * self.value)
