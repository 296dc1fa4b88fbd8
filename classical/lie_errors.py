"""What Lie-algebraic theory refuses."""

from __future__ import annotations


class AlgebraTooLarge(ValueError):
    """The closure has more elements than are wanted."""


class OutsideTheAlgebra(ValueError):
    """The observable, a generator or a circuit is none that the theory speaks of."""


class RankUndecided(ValueError):
    """Rounding hides whether two numbers are equal: a rank would be a guess."""
