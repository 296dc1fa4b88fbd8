"""What Lie-algebraic theory refuses."""

from __future__ import annotations


class AlgebraTooLarge(ValueError):
    """The closure has more elements than are wanted."""


class OutsideTheAlgebra(ValueError):
    """The observable, a generator or a circuit is none that the theory speaks of."""


class RankUndecided(ValueError):
    """Rounding hides whether two numbers are equal: a rank would be a guess."""


def check_kind(algebra: object, kind: type, maker: str) -> None:
    """Raises TypeError for an algebra of the other kind."""
    if not isinstance(algebra, kind):
        raise TypeError(
            f"Argument `algebra` must be a {kind.__name__}, as of {maker}, but is a {type(algebra).__name__}."
        )
