"""Learning rates over the course of a training."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi
from typing import Protocol, final


class Schedule(Protocol):
    """A factor on the learning rate for every point of a training."""

    def factor(self, progress: float) -> float:
        """The factor, from 0 to 1, where the part `progress` of the budget, from 0 to 1, is used."""
        ...


@final
@dataclass(frozen=True, kw_only=True)
class CosineSchedule:
    """A linear rise to 1, then half a wave of the cosine down.

    Attributes:
        warm_up: Part of the budget in which the rate rises, from 0 to 1.
        last: Factor at the end.

    Source: I. Loshchilov, F. Hutter, SGDR, ICLR 2017, arXiv:1608.03983, equation 5, without restarts.
    """

    warm_up: float = 0.05
    last: float = 0.0

    def __post_init__(self) -> None:
        _check_parts(warm_up=self.warm_up, last=self.last)

    def factor(self, progress: float) -> float:
        if progress < self.warm_up:
            return progress / self.warm_up
        gone = min((progress - self.warm_up) / (1.0 - self.warm_up), 1.0) if self.warm_up < 1.0 else 1.0
        return self.last + (1.0 - self.last) * 0.5 * (1.0 + cos(pi * gone))


@final
@dataclass(frozen=True, kw_only=True)
class WarmUpStableDecay:
    """A linear rise to 1, a plateau, and a linear fall.

    Attributes:
        warm_up: Part of the budget in which the rate rises, from 0 to 1.
        decay: Part of the budget in which it falls.
        last: Factor at the end.

    Source: S. Hu et al., MiniCPM, arXiv:2404.06395, section 4.
    """

    warm_up: float = 0.05
    decay: float = 0.2
    last: float = 0.0

    def __post_init__(self) -> None:
        _check_parts(warm_up=self.warm_up, decay=self.decay, last=self.last)
        if self.warm_up + self.decay > 1.0:
            raise ValueError(
                "Arguments `warm_up` and `decay` must add up to at most 1, "
                f"but are {self.warm_up} and {self.decay}."
            )

    def factor(self, progress: float) -> float:
        if progress < self.warm_up:
            return progress / self.warm_up
        left = 1.0 - progress
        return 1.0 if left >= self.decay else self.last + (1.0 - self.last) * max(left, 0.0) / self.decay


def _check_parts(**parts: float) -> None:
    for name, value in parts.items():
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"Argument `{name}` must be between 0 and 1, but is {value}.")
