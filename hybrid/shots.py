"""Spreading a shot budget over circuits."""

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


def balanced_reach(shots: Tensor) -> float:
    """Step of a central difference times the frequency, at which truncation and shot noise balance.

    (9 / N)^(1/6) for N shots an evaluation: h^4 f'''^2 / 36 + s^2 / (2 N h^2) is least at h^6 = 9 s^2 / (N f'''^2),
    with s^2 = f'''^2 / Omega^6, which holds for one Pauli term of one frequency Omega.
    """
    return float((9 / shots.to(torch.float64).mean()) ** (1 / 6))


def spread_shots(total_shots: int | None, num_circuits: int, num_groups: int) -> Tensor | None:
    """Returns shots for each circuit and basis, shape (circuits, groups), int64, that sum to the budget.

    As even as integers allow; the remainder goes to the first ones. `None` stays `None`: exact values.

    Raises:
        BudgetTooSmall: when a circuit would get fewer than two shots in some basis.
    """
    if total_shots is None:
        return None
    if isinstance(total_shots, bool):
        raise TypeError("Argument `total_shots` must be a whole number, but is a bool.")
    try:
        total = operator.index(total_shots)
    except TypeError:
        raise TypeError(f"Argument `total_shots` must be a whole number, but is {total_shots!r}.") from None
    if total > MOST_SHOTS:
        raise ValueError(f"Argument `total_shots` must be at most {MOST_SHOTS:,}, but is {total:,}.")
    pieces = num_circuits * num_groups
    if pieces == 0:
        return torch.zeros(num_circuits, num_groups, dtype=torch.int64)
    if total < LEAST_SHOTS * pieces:
        raise BudgetTooSmall(
            f"Argument `total_shots` must be at least {LEAST_SHOTS * pieces:,} ({num_circuits:,} circuits, "
            f"{num_groups} measurement bases, {LEAST_SHOTS} shots each), but is {total:,}."
        )
    shots = torch.full((pieces,), total // pieces)
    shots[: total % pieces] += 1
    return shots.reshape(num_circuits, num_groups)
