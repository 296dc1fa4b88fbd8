"""Shots as whole numbers: checking a budget, and cutting it into shares that sum to it."""

from __future__ import annotations

import operator

import torch
from torch import Tensor

# A sample variance needs two.
LEAST_SHOTS = 2
# Counts are kept as floating-point numbers, which hold whole numbers up to here.
MOST_SHOTS = 2**53


class BudgetTooSmall(ValueError):
    """`total_shots` does not give every circuit the shots that its error bar needs."""


def balanced_reach(shots_each: float) -> float:
    """Step of a central difference times the frequency, at which truncation and shot noise balance.

    (9 / N)^(1/6) for N shots an evaluation: h^4 f'''^2 / 36 + s^2 / (2 N h^2) is least at h^6 = 9 s^2 / (N f'''^2),
    with s^2 = f'''^2 / Omega^6, which holds for one Pauli term of one frequency Omega.
    """
    return (9 / shots_each) ** (1 / 6)


def whole_shots(shots: int, name: str = "total_shots") -> int:
    """Argument `name` as an int; raises TypeError or ValueError for what is not a whole number of shots."""
    if isinstance(shots, bool):
        raise TypeError(f"Argument `{name}` must be a whole number, but is a bool.")
    try:
        total = operator.index(shots)
    except TypeError:
        raise TypeError(f"Argument `{name}` must be a whole number, but is {shots!r}.") from None
    if total > MOST_SHOTS:
        raise ValueError(f"Argument `{name}` must be at most {MOST_SHOTS:,}, but is {total:,}.")
    return total


def apportion(total: int, sizes: Tensor, least: int) -> Tensor:
    """Returns whole numbers, shape (pieces,), in proportion to `sizes`, none below `least`, that sum to `total`.

    What proportion would put below `least` is raised to it and the others share the rest; fractions go to the
    largest remainders, ties to the first. Sizes that are all zero count as equal.
    """
    shares = sizes.to(torch.float64)
    if not shares.any():
        shares = torch.ones_like(shares)
    raised = torch.zeros_like(shares, dtype=torch.bool)
    while True:
        left = total - least * int(raised.sum())
        wanted = torch.where(raised, 0.0, shares)
        wanted = wanted * (left / wanted.sum()) if wanted.any() else wanted
        below = ~raised & (wanted < least)
        if not below.any():
            break
        raised |= below
    shots = torch.where(raised, float(least), wanted.floor()).to(torch.int64)
    short = total - int(shots.sum())
    remainders = torch.where(raised, -1.0, wanted - wanted.floor())
    first = torch.sort(remainders, descending=True, stable=True).indices[:short]
    shots[first] += 1
    return shots
