"""How numbers of features are split into sites."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import Tensor


def balanced_sites(features: int, num_sites: int) -> tuple[int, ...]:
    """The factorisation of a number into factors as equal as can be: the one with the least sum.

    A prime has only one, with factors 1: `balanced_sites(17, 2) == (17, 1)`.

    Args:
        features: The product of the sites, at least 1.
        num_sites: Number of factors, at least 1.

    Returns:
        `num_sites` factors in falling order.

    Raises:
        ValueError: An argument is below one.

    Cost: a search over the divisors of `features`, microseconds to milliseconds.
    """
    if features < 1:
        raise ValueError(f"Argument `features` must be at least 1, but is {features}.")
    if num_sites < 1:
        raise ValueError(f"Argument `num_sites` must be at least 1, but is {num_sites}.")
    return _best(features, num_sites, features)


def matrix_sites(
    out_features: int,
    in_features: int,
    out_sites: Sequence[int] | None,
    in_sites: Sequence[int] | None,
    num_sites: int | None,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The sites of the rows and of the columns of a matrix, balanced where none are asked for.

    Balanced ones of the rows fall and those of the columns rise, so that the products of the pairs are alike
    and a matrix of prime sizes (m, n) gets (m, 1) and (1, n), which is a low-rank pair.

    Args:
        out_features: Number of rows.
        in_features: Number of columns.
        out_sites: Factors of the rows, or None.
        in_sites: Factors of the columns, or None.
        num_sites: Number of sites, at least 2; None takes that of the given sites, or 2.

    Returns:
        `out_sites` and `in_sites`, of equal lengths.

    Raises:
        ValueError: Sites do not multiply to their features, or numbers of sites are below two or disagree.
    """
    given = [len(sites) for sites in (out_sites, in_sites) if sites is not None]
    num = given[0] if given else 2 if num_sites is None else num_sites
    if num < 2:
        raise ValueError(f"Argument `num_sites` must be at least 2, but is {num}.")
    if any(length != num for length in given) or num_sites not in (None, num):
        raise ValueError(
            "Arguments `out_sites`, `in_sites` and `num_sites` must agree on the number of sites, "
            f"but are {out_sites}, {in_sites} and {num_sites}."
        )
    chosen = (
        tuple(out_sites or balanced_sites(out_features, num)),
        tuple(in_sites or balanced_sites(in_features, num)[::-1]),
    )
    for name, features, sites in zip(("out", "in"), (out_features, in_features), chosen, strict=True):
        if prod(sites) != features or min(sites) < 1:
            raise ValueError(
                f"Argument `{name}_sites` must multiply to {name}_features = {features}, but is {sites}."
            )
    return chosen


def paired(
    weight: Tensor,  # shape: (out_features, in_features)
    out_sites: Sequence[int],
    in_sites: Sequence[int],
) -> Tensor:  # shape: (out_1 * in_1, ..., out_d * in_d)
    """The weight as a tensor with one axis for each site, its row index the slower part."""
    num = len(out_sites)
    pairs = [axis for k in range(num) for axis in (k, num + k)]
    sizes = [j * i for j, i in zip(out_sites, in_sites, strict=True)]
    return weight.reshape(*out_sites, *in_sites).permute(pairs).reshape(sizes)


def unpaired(
    tensor: Tensor,  # of prod(out_sites) * prod(in_sites) elements, ordered as those of `paired`
    out_sites: Sequence[int],
    in_sites: Sequence[int],
) -> Tensor:  # shape: (out_features, in_features)
    """The weight of which `paired` made this tensor."""
    sites = [size for pair in zip(out_sites, in_sites, strict=True) for size in pair]
    axes = [*range(0, len(sites), 2), *range(1, len(sites), 2)]
    return tensor.reshape(sites).permute(axes).reshape(prod(out_sites), prod(in_sites))


def _best(features: int, num_sites: int, largest: int) -> tuple[int, ...]:
    """The factorisation of least sum whose factors are at most `largest`; empty if there is none."""
    if num_sites == 1:
        return (features,) if features <= largest else ()
    best: tuple[int, ...] = ()
    for first in range(1, min(features, largest) + 1):
        # The first factor is the largest, so it is at least the num_sites-th root.
        if features % first or first**num_sites < features:
            continue
        if best and first >= sum(best):
            break
        rest = _best(features // first, num_sites - 1, first)
        if rest and (not best or first + sum(rest) < sum(best)):
            best = (first, *rest)
    return best
