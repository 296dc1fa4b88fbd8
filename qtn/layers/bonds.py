"""Bonds of a tensor network: what they cost, and which ones meet a budget of parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations, product
from math import prod

_TOLERANCE = 0.02
_MOST_CANDIDATES = 20_000


def train_params(sizes: Sequence[int], bonds: Sequence[int]) -> int:
    """Number of parameters of a train with cores (bond_{k-1}, size_k, bond_k)."""
    return sum(left * size * right for left, size, right in zip((1, *bonds), sizes, (*bonds, 1), strict=True))


def full_bonds(sizes: Sequence[int]) -> tuple[int, ...]:
    """The bonds at which a train represents every tensor of these sizes exactly."""
    return tuple(min(prod(sizes[:k]), prod(sizes[k:])) for k in range(1, len(sizes)))


def reachable_bonds(sizes: Sequence[int], bonds: Sequence[int]) -> bool:
    """Whether no bond of a train is larger than its neighbours can feed."""
    padded = (1, *bonds, 1)
    return all(
        padded[k] <= padded[k - 1] * sizes[k - 1] and padded[k] <= sizes[k] * padded[k + 1]
        for k in range(1, len(sizes))
    )


def bond_limits(
    full: Sequence[int],
    max_bond: int | Sequence[int] | None,
    keep: float | None = None,
    cutoff: float = 0.0,
    *,
    name: str = "max_bond",
) -> tuple[int, ...]:
    """What a layer's `max_bond`, or however it calls it, allows for each bond: no more than full; None is no limit.

    Raises:
        ValueError: A limit is below one, their number is not that of the bonds, or `keep` is given together
            with `max_bond` or `cutoff`.
    """
    if keep is not None and (max_bond is not None or cutoff):
        raise ValueError(f"Argument `keep` must stand without `{name}` and `cutoff`, but one is given.")
    if max_bond is None:
        return tuple(full)
    limits = [max_bond] * len(full) if isinstance(max_bond, int) else list(max_bond)
    if len(limits) != len(full):
        raise ValueError(
            f"Argument `{name}` must have one entry for each of the {len(full)} bonds, but has {len(limits)}."
        )
    if min(limits) < 1:
        raise ValueError(f"Argument `{name}` must be at least 1, but is {max_bond}.")
    return tuple(min(bond, limit) for bond, limit in zip(full, limits, strict=True))


def bonds_for_keep(sizes: Sequence[int], keep: float) -> tuple[int, ...]:
    """The bonds whose train has nearest to `keep` times the parameters of the dense tensor.

    A train has only so many counts: those of two sites lie size_1 + size_2 apart.

    Args:
        sizes: Sizes of the sites; their product is the number of dense parameters.
        keep: Parameters asked for, as a fraction of the dense ones.

    Returns:
        One bond for each pair of neighbouring sites; see `nearest_bonds`.

    Raises:
        ValueError: `keep` is out of reach.
    """
    return nearest_bonds(
        partial(train_params, sizes), full_bonds(sizes), prod(sizes), keep, partial(reachable_bonds, sizes)
    )


def nearest_bonds(
    params: Callable[[Sequence[int]], int],
    full: Sequence[int],
    dense_params: int,
    keep: float,
    reachable: Callable[[Sequence[int]], bool] = lambda bonds: True,
) -> tuple[int, ...]:
    """The bonds at which a network has nearest to `keep` times the parameters of the dense tensor.

    The bonds are as equal as full bonds allow: the search starts from one common limit and looks in a
    neighbourhood of it, which widens until the count is met within 2 percent. Where that has too many members,
    it goes on from the best so far by changes of two bonds at a time, as long as they help. Where none is within
    2 percent, the nearest one found is taken.

    Args:
        params: Number of parameters at given bonds; rises with each.
        full: Largest bonds, at which the network represents every tensor exactly.
        dense_params: Number of parameters of the dense tensor.
        keep: Parameters asked for, as a fraction of the dense ones.
        reachable: Whether bonds can all be of use; must hold where each is min(its full one, a common limit).

    Returns:
        One bond for each of the full ones.

    Raises:
        ValueError: `keep` is out of reach: below the count at bonds of one or above that at full bonds, by
            more than 2 percent. The message says the reach.

    Cost: at most a few ten thousand evaluations of the count, and mostly far fewer.
    """
    target = keep * dense_params
    least, most = params([1] * len(full)), params(full)
    if not (1.0 - _TOLERANCE) * least <= target <= (1.0 + _TOLERANCE) * most:
        raise ValueError(
            f"Argument `keep` must be between {least / dense_params:.6g} ({least} of {dense_params} parameters, "
            f"bonds 1) and {most / dense_params:.6g} ({most} parameters, bonds {tuple(full)}), but is {keep}."
        )
    best = centre = _common_limit(params, full, target)
    radius = 1
    while True:
        ranges = [
            range(max(1, middle - radius), min(bond, middle + radius) + 1)
            for middle, bond in zip(centre, full, strict=True)
        ]
        is_wide = prod(map(len, ranges)) > _MOST_CANDIDATES
        candidates = _pair_moves(best, full) if is_wide else product(*ranges)
        before = best
        best = min(
            (bonds for bonds in (best, *candidates) if reachable(bonds)),
            key=lambda bonds: (abs(params(bonds) - target), bonds),
        )
        met = abs(params(best) - target) <= _TOLERANCE * target
        if met or radius > max(full) or (is_wide and best == before):
            return best
        if not is_wide:
            radius *= 2


def _common_limit(
    params: Callable[[Sequence[int]], int], full: Sequence[int], target: float
) -> tuple[int, ...]:
    """The largest bonds of the form min(full, limit) that cost no more than `target`; at least ones."""
    low, high = 1, max(full)
    while low < high:
        middle = (low + high + 1) // 2
        if params([min(bond, middle) for bond in full]) <= target:
            low = middle
        else:
            high = middle - 1
    return tuple(min(bond, low) for bond in full)


def _pair_moves(bonds: tuple[int, ...], full: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """The bonds of which one or two differ by one."""
    for (k, first), (m, second) in combinations(enumerate(bonds), 2):
        for change, other in product((-1, 0, 1), repeat=2):
            if 1 <= first + change <= full[k] and 1 <= second + other <= full[m]:
                yield (*bonds[:k], first + change, *bonds[k + 1 : m], second + other, *bonds[m + 1 :])
