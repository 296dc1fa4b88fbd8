"""Tucker: full sizes, the error bound, and the sizes of a budget."""

from __future__ import annotations

from itertools import product
from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qtn.layers import LowRankLinear, TuckerLinear, nearest_bonds, tucker_params
from qtn.layers.tucker import full_core
from tests.qtn.cases import in_factors, make_linear


@given(out_features=st.integers(1, 30), in_features=st.integers(1, 30), num_sites=st.integers(2, 3))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_full_sizes_are_lossless(out_features: int, in_features: int, num_sites: int) -> None:
    linear = make_linear(in_features, out_features)
    layer = in_factors(TuckerLinear.from_dense(linear, num_sites=num_sites))
    x = make_linear(in_features, 5, seed=1).weight
    assert layer.discarded == 0.0
    assert layer.ranks == full_core((*layer.out_sites, *layer.in_sites))
    torch.testing.assert_close(layer(x), linear(x), rtol=1e-10, atol=1e-10)


def test_prime_sizes_have_the_weight_of_the_low_rank_pair() -> None:
    linear = make_linear(31, 17)
    layer = TuckerLinear.from_dense(linear, max_bond=3)
    assert (layer.out_sites, layer.in_sites, layer.ranks) == ((17, 1), (1, 31), (3, 1, 1, 3))
    pair = LowRankLinear.from_dense(linear, rank=3)
    torch.testing.assert_close(layer.to_dense(), pair.to_dense(), rtol=1e-12, atol=1e-12)
    assert layer.discarded == pytest.approx(pair.discarded, rel=1e-12)


def test_a_kronecker_product_of_low_rank_matrices_is_found() -> None:
    """Its axes have the ranks of the two matrices."""
    a, b = (make_linear(5, r, seed=1).weight.T @ make_linear(4, r, seed=2).weight for r in (2, 3))
    layer = TuckerLinear.from_dense(torch.kron(a, b), out_sites=(5, 5), in_sites=(4, 4), cutoff=1e-20)
    assert layer.ranks == (2, 3, 2, 3)
    torch.testing.assert_close(layer.to_dense(), torch.kron(a, b), rtol=1e-12, atol=1e-12)


def test_the_error_is_within_its_bounds() -> None:
    """At least the largest, and at most the sum, of what the best approximation of each unfolding discards."""
    weight = make_linear(18, 20, bias=False).weight.detach()
    sites, bonds = (5, 4, 3, 6), (3, 3, 2, 4)
    layer = TuckerLinear.from_dense(weight, out_sites=sites[:2], in_sites=sites[2:], max_bond=bonds)
    tails = []
    for axis, bond in enumerate(bonds):
        unfolding = weight.reshape(sites).movedim(axis, 0).reshape(sites[axis], -1)
        tails.append(float(torch.linalg.svdvals(unfolding)[bond:].square().sum() / weight.square().sum()))
    assert layer.discarded is not None
    assert max(tails) < layer.discarded < sum(tails)


@pytest.mark.parametrize("sites", [(6, 4, 4, 4, 4, 8), (5, 3, 3, 7)])
@pytest.mark.parametrize("keep", [0.1, 0.3, 0.5, 0.7])
def test_sizes_of_a_budget_are_the_nearest_there_are(sites: tuple[int, ...], keep: float) -> None:
    full = full_core(sites)
    target = keep * prod(sites)

    def miss(bonds: tuple[int, ...]) -> float:
        return abs(tucker_params(sites, bonds) - target)

    def useful(bonds: tuple[int, ...]) -> bool:
        return all(bond**2 <= prod(bonds) for bond in bonds)

    layer = TuckerLinear.from_dense(
        make_linear(prod(sites[len(sites) // 2 :]), prod(sites[: len(sites) // 2])),
        out_sites=sites[: len(sites) // 2],
        in_sites=sites[len(sites) // 2 :],
        keep=keep,
    )
    assert useful(layer.ranks)
    if miss(layer.ranks) > 0.02 * target:
        every = product(*(range(1, size + 1) for size in full))
        assert miss(layer.ranks) == min(miss(bonds) for bonds in every if useful(bonds))


def test_budgets_of_very_many_bonds_are_searched_too() -> None:
    sites = (4, 3, 3) * 6
    bonds = nearest_bonds(lambda bonds: tucker_params(sites, bonds), full_core(sites), prod(sites), 0.3)
    assert tucker_params(sites, bonds) == pytest.approx(0.3 * prod(sites), rel=0.1)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="`max_bond` must have one entry for each of the 4 bonds, but has 2"):
        TuckerLinear.from_dense(make_linear(12, 10), max_bond=(2, 3))
    with pytest.raises(ValueError, match=r"must hold one matrix \(site, bond\) for each axis of `core`"):
        TuckerLinear(torch.zeros(2, 3), [torch.zeros(4, 2)], [torch.zeros(5, 2)])
    with pytest.raises(ValueError, match="must be equally many, at least one, but are 2 and 1"):
        TuckerLinear(torch.zeros(2, 2, 2), [torch.zeros(4, 2)] * 2, [torch.zeros(5, 2)])
