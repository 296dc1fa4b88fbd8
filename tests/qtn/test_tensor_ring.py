"""The ring: what it shares with the train, and what closing it changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qtn.layers import MPOLinear, TensorRingLinear
from tests.qtn.cases import in_factors, make_linear


def test_a_ring_with_first_bond_one_is_the_train() -> None:
    linear = make_linear(24, 18)
    sites: dict[str, Any] = {"out_sites": (2, 3, 3), "in_sites": (6, 2, 2)}
    ring = TensorRingLinear.from_dense(linear, max_bond=(1, 4, 3), **sites)
    train = MPOLinear.from_dense(linear, max_bond=(4, 3), **sites)
    torch.testing.assert_close(ring.to_dense(), train.to_dense(), rtol=1e-12, atol=1e-12)
    assert ring.discarded == pytest.approx(train.discarded, rel=1e-12)
    assert ring.ranks == (1, *train.ranks)
    assert ring.num_params == train.num_params
    assert in_factors(ring).flops(7) == in_factors(train).flops(7)


def test_a_ring_of_two_sites_is_the_train_of_the_product_of_its_bonds() -> None:
    linear = make_linear(18, 20)
    ring = TensorRingLinear.from_dense(linear, max_bond=(2, 3))
    train = MPOLinear.from_dense(linear, max_bond=6)
    assert ring.ranks == (2, 3)
    torch.testing.assert_close(ring.to_dense(), train.to_dense(), rtol=1e-12, atol=1e-12)
    assert (ring.num_params, ring.discarded) == (train.num_params, pytest.approx(train.discarded, rel=1e-12))
    for keep in (0.2, 0.37, 0.6):
        assert (
            TensorRingLinear.from_dense(linear, keep=keep).kept
            == MPOLinear.from_dense(linear, keep=keep).kept
        )


def test_the_weight_is_the_trace_of_the_products_of_its_cores() -> None:
    layer = TensorRingLinear.from_dense(make_linear(24, 18, bias=False), num_sites=3, max_bond=2)
    first, second, third = layer.cores
    assert 1 not in layer.ranks
    (_, j2, j3), (_, i2, i3) = layer.out_sites, layer.in_sites
    for j, i in [(0, 0), (7, 11), (17, 23), (4, 13)]:
        product = (
            first[:, j // (j2 * j3), i // (i2 * i3)]
            @ second[:, j // j3 % j2, i // i3 % i2]
            @ third[:, j % j3, i % i3]
        )
        torch.testing.assert_close(layer.to_dense()[j, i], product.trace())


def test_the_bonds_beside_the_first_core_share_the_rank_of_its_site() -> None:
    """The first site has size 15 = 3 * 5; limits of 4 leave 12 of the rank."""
    linear = make_linear(21, 30)
    sites: dict[str, Any] = {"out_sites": (5, 6), "in_sites": (3, 7)}
    assert TensorRingLinear.from_dense(linear, **sites).ranks == (3, 5)
    assert TensorRingLinear.from_dense(linear, **sites, max_bond=4).ranks == (3, 4)
    assert TensorRingLinear.from_dense(linear, **sites, max_bond=3).ranks == (3, 3)


@given(out_features=st.integers(1, 30), in_features=st.integers(1, 30), num_sites=st.integers(2, 4))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_any_shape_has_a_lossless_ring(out_features: int, in_features: int, num_sites: int) -> None:
    linear = make_linear(in_features, out_features)
    layer = in_factors(TensorRingLinear.from_dense(linear, num_sites=num_sites))
    x = make_linear(in_features, 5, seed=1).weight
    assert layer.discarded == 0.0
    torch.testing.assert_close(layer(x), linear(x), rtol=1e-10, atol=1e-10)


def test_limits_and_a_cutoff_go_together() -> None:
    """A cutoff that leaves a rank which the limits cannot split drops the rest, and says so."""
    linear = make_linear(36, 36, bias=False)
    for cutoff in (0.1, 0.2, 0.3, 0.4):
        layer = TensorRingLinear.from_dense(linear, max_bond=(4, 5), cutoff=cutoff)
        error = (linear.weight - layer.to_dense()).square().sum() / linear.weight.square().sum()
        assert layer.discarded == pytest.approx(error.item(), rel=1e-10)
        assert layer.ranks[0] <= 4
        assert layer.ranks[1] <= 5


def test_what_does_not_fit_is_refused() -> None:
    linear = make_linear(12, 10)
    with pytest.raises(ValueError, match="`max_bond` must have one entry for each of the 2 bonds, but has 3"):
        TensorRingLinear.from_dense(linear, max_bond=(1, 2, 3))
    with pytest.raises(ValueError, match="`max_bond` must be at least 1, but is 0"):
        TensorRingLinear.random(12, 10, max_bond=0, generator=torch.Generator())
    with pytest.raises(ValueError, match="`keep` must stand without `max_bond` and `cutoff`"):
        TensorRingLinear.from_dense(linear, max_bond=2, keep=0.5)
    with pytest.raises(ValueError, match=r"`cores` must hold at least two tensors of shape"):
        TensorRingLinear([torch.zeros(2, 2, 2, 2)])
    for shapes in [((2, 2, 2, 3), (3, 2, 2, 1)), ((2, 2, 2, 3), (2, 2, 2, 2))]:
        with pytest.raises(ValueError, match=r"`cores` must have equal bonds .* the last and the first too"):
            TensorRingLinear([torch.zeros(shape) for shape in shapes])
