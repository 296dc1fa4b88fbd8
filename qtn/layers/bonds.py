"""Bonds of a tensor train: what they cost, and which ones meet a budget of parameters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod

_TOLERANCE = 0.02
_MOST_CANDIDATES = 20_000


def train_params(sizes: Sequence[int], bonds: Sequence[int]) -> int:
    """Number of parameters of a train with cores (bond_{k-1}, size_k, bond_k)."""
    return sum(left * size * right for left, size, right in zip((1, *bonds), sizes, (*bonds, 1), strict=True))


def full_bonds(sizes: Sequence[int]) -> tuple[int, ...]:
    """The bonds at which a train represents every tensor of these sizes exactly."""
    return tuple(min(prod(sizes[:k]), prod(sizes[k:])) for k in range(1, len(sizes)))


def bonds_for_keep(sizes: Sequence[int], keep: float) -> tuple[int, ...]:
    """The bonds whose train has nearest to `keep` times the parameters of the dense tensor.

    The bonds are as equal as full bonds allow: the search starts from one common limit and looks in a
    neighbourhood of it, which widens until the count is met within 2 percent. A train has only so many
    counts: those of two sites lie size_1 + size_2 apart. Where none is within 2 percent, the nearest one
    found is taken.

    Args:
        sizes: Sizes of the sites; their product is the number of dense parameters.
        keep: Parameters asked for, as a fraction of the dense ones.

    Returns:
        One bond for each pair of neighbouring sites.

    Raises:
        ValueError: `keep` is out of reach: below the count at bonds of one or above that at full bonds, by
            more than 2 percent. The message says the reach.

    Cost: at most a few ten thousand evaluations of the count.
    """
    dense = prod(sizes)
    full = full_bonds(sizes)
    target = keep * dense
    least, most = train_params(sizes, [1] * len(full)), train_params(sizes, full)
    if not (1.0 - _TOLERANCE) * least <= target <= (1.0 + _TOLERANCE) * most:
        raise ValueError(
            f"Argument `keep` must be between {least / dense:.6g} ({least} of {dense} parameters, bonds 1) "
            f"and {most / dense:.6g} ({most} parameters, full bonds) for sites of sizes {tuple(sizes)}, "
            f"but is {keep}."
        )
    centre = _common_limit(sizes, full, target)
    radius = 1
    while True:
        best = _nearest(sizes, full, target, centre, radius)
        met = abs(train_params(sizes, best) - target) <= _TOLERANCE * target
        radius *= 2
        if met or radius > 2 * max(full) or (2 * radius + 1) ** len(full) > _MOST_CANDIDATES:
            return best


def _common_limit(sizes: Sequence[int], full: Sequence[int], target: float) -> tuple[int, ...]:
    """The largest bonds of the form min(full, limit) that cost no more than `target`; at least ones."""
    low, high = 1, max(full)
    while low < high:
        middle = (low + high + 1) // 2
        if train_params(sizes, [min(bond, middle) for bond in full]) <= target:
            low = middle
        else:
            high = middle - 1
    return tuple(min(bond, low) for bond in full)


def _nearest(
    sizes: Sequence[int], full: Sequence[int], target: float, centre: Sequence[int], radius: int
) -> tuple[int, ...]:
    """The bonds within `radius` of the centre that come nearest to `target`; the cheaper of equals."""
    ranges = [
        range(max(1, middle - radius), min(bond, middle + radius) + 1)
        for middle, bond in zip(centre, full, strict=True)
    ]
    candidates = (bonds for bonds in product(*ranges) if _reachable(sizes, bonds))
    return min(candidates, key=lambda bonds: (abs(train_params(sizes, bonds) - target), bonds))


def _reachable(sizes: Sequence[int], bonds: Sequence[int]) -> bool:
    """Whether no bond is larger than its neighbours can feed."""
    padded = (1, *bonds, 1)
    return all(
        padded[k] <= padded[k - 1] * sizes[k - 1] and padded[k] <= sizes[k] * padded[k + 1]
        for k in range(1, len(sizes))
    )
