"""The tree: full bonds, its parts put together by hand, the error bound, and degenerate shapes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from qtn.layers import LowRankLinear, TreeLinear
from qtn.layers.sites import paired
from qtn.layers.tree import full_tree
from tests.qtn.cases import in_factors, make_linear, site_sizes


@given(out_features=st.integers(1, 40), in_features=st.integers(1, 40))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_any_shape_has_a_lossless_tree(out_features: int, in_features: int) -> None:
    linear = make_linear(in_features, out_features)
    layer = in_factors(TreeLinear.from_dense(linear))
    x = make_linear(in_features, 5, seed=1).weight
    assert layer.discarded == 0.0
    assert layer.ranks == full_tree(site_sizes(layer))
    torch.testing.assert_close(layer(x), linear(x), rtol=1e-10, atol=1e-10)


def test_the_weight_is_what_leaves_transfers_and_root_make() -> None:
    layer = TreeLinear.from_dense(make_linear(24, 24, bias=False), max_bond=(2, 3, 2, 3, 4, 4))
    assert layer.ranks == (2, 3, 2, 3, 4, 4)
    l1, l2, l3, l4 = (leaf.flatten(0, 1) for leaf in layer.leaves)
    upper, lower = layer.transfers
    halves = [
        (torch.kron(first, second) @ transfer.flatten(0, 1))
        for first, second, transfer in ((l1, l2, upper), (l3, l4, lower))
    ]
    narrowed = TreeLinear.from_dense(layer.to_dense().detach(), max_bond=(2, 3, 2, 3, 3, 4))
    assert narrowed.ranks == (2, 3, 2, 3, 3, 3)
    expected = (halves[0] @ layer.root @ halves[1].T).reshape(site_sizes(layer))
    tensor = paired(layer.to_dense(), layer.out_sites, layer.in_sites)
    torch.testing.assert_close(tensor, expected, rtol=1e-12, atol=1e-12)


def test_prime_sizes_have_the_weight_of_the_low_rank_pair() -> None:
    linear = make_linear(31, 17)
    layer = TreeLinear.from_dense(linear, max_bond=3)
    assert layer.ranks == (3, 1, 1, 3, 3, 3)
    pair = LowRankLinear.from_dense(linear, rank=3)
    torch.testing.assert_close(layer.to_dense(), pair.to_dense(), rtol=1e-12, atol=1e-12)
    assert layer.discarded == pytest.approx(pair.discarded, rel=1e-12)


@pytest.mark.parametrize("out_sites", [(2, 1, 3, 4), (3, 4, 2, 1)])
def test_the_two_bonds_of_the_root_may_differ(out_sites: tuple[int, ...]) -> None:
    layer = in_factors(
        TreeLinear.random(
            36,
            24,
            max_bond=(2, 2, 3, 3, 2, 4),
            out_sites=out_sites,
            in_sites=(3, 3, 2, 2),
            generator=torch.Generator().manual_seed(0),
        )
    )
    x = make_linear(layer.in_features, 5).weight.detach()
    torch.testing.assert_close(layer(x), torch.nn.functional.linear(x, layer.to_dense(), layer.bias))
    with FlopCounterMode(display=False) as counter:
        layer(x)
    assert layer.ranks[4:] == (2, 4)
    assert layer.flops(5) == counter.get_total_flops()


def test_a_product_of_four_matrices_has_bonds_one() -> None:
    factors = [make_linear(i, j, seed=k).weight for k, (j, i) in enumerate([(2, 3), (3, 2), (2, 1), (2, 4)])]
    weight = torch.kron(torch.kron(factors[0], factors[1]), torch.kron(factors[2], factors[3])).detach()
    layer = TreeLinear.from_dense(weight, out_sites=(2, 3, 2, 2), in_sites=(3, 2, 1, 4), max_bond=1)
    assert layer.discarded is not None and layer.discarded < 1e-28
    torch.testing.assert_close(layer.to_dense(), weight, rtol=1e-12, atol=1e-12)


def test_the_error_is_within_its_bounds() -> None:
    """At least the largest, and at most the sum, of what the best approximation at each edge discards."""
    weight = make_linear(24, 24, bias=False).weight.detach()
    bonds = (4, 4, 1, 5, 6, 6)
    out_sites, in_sites = (2, 3, 2, 2), (3, 2, 1, 4)
    layer = TreeLinear.from_dense(weight, out_sites=out_sites, in_sites=in_sites, max_bond=bonds)
    tensor = paired(weight, out_sites, in_sites)
    unfoldings = [tensor.movedim(axis, 0).flatten(1) for axis in range(4)]
    unfoldings.append(tensor.flatten(2).flatten(0, 1))
    tails = [
        float(torch.linalg.svdvals(unfolding)[bond:].square().sum() / weight.square().sum())
        for unfolding, bond in zip(unfoldings, bonds, strict=False)
    ]
    assert layer.discarded is not None
    assert max(tails) < layer.discarded < sum(tails)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="`max_bond` must have one entry for each of the 6 bonds, but has 5"):
        TreeLinear.from_dense(make_linear(16, 16), max_bond=(2, 2, 2, 2, 2))
    with pytest.raises(ValueError, match="must agree on the number of sites"):
        TreeLinear.from_dense(make_linear(16, 16), out_sites=(4, 4))
    leaves, transfers = [torch.zeros(2, 2, 3)] * 4, [torch.zeros(3, 3, 2)] * 2
    with pytest.raises(ValueError, match="`leaves` and `transfers` must hold four and two tensors"):
        TreeLinear(leaves[:3], transfers, torch.zeros(2, 2))
    with pytest.raises(ValueError, match="must have equal bonds where they join"):
        TreeLinear(leaves, transfers, torch.zeros(2, 3))
