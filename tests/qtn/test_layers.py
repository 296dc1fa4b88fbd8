"""What belongs to single layers: sites, bonds, degenerate shapes, contraction orders."""

from __future__ import annotations

from itertools import product
from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qtn import LowRankLinear, MPOLinear, balanced_sites
from qtn.layers import bonds_for_keep, full_bonds, train_params
from tests.qtn.cases import make_linear


@pytest.mark.parametrize(
    ("features", "num_sites", "expected"),
    [
        (64, 2, (8, 8)),
        (64, 3, (4, 4, 4)),
        (576, 2, (24, 24)),
        (1536, 2, (48, 32)),
        (784, 4, (7, 7, 4, 4)),
        (17, 2, (17, 1)),
        (17, 4, (17, 1, 1, 1)),
        (1, 3, (1, 1, 1)),
        (30, 1, (30,)),
    ],
)
def test_balanced_sites_are_known(features: int, num_sites: int, expected: tuple[int, ...]) -> None:
    assert balanced_sites(features, num_sites) == expected


@given(features=st.integers(1, 120), num_sites=st.integers(1, 3))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_balanced_sites_have_the_least_sum(features: int, num_sites: int) -> None:
    divisors = [d for d in range(1, features + 1) if features % d == 0]
    least = min(sum(sites) for sites in product(divisors, repeat=num_sites) if prod(sites) == features)
    sites = balanced_sites(features, num_sites)
    assert sum(sites) == least
    assert prod(sites) == features
    assert list(sites) == sorted(sites, reverse=True)


@given(
    out_features=st.integers(1, 40),
    in_features=st.integers(1, 40),
    num_sites=st.integers(2, 4),
    bias=st.booleans(),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_shape_has_a_lossless_mpo(
    out_features: int, in_features: int, num_sites: int, bias: bool
) -> None:
    linear = make_linear(in_features, out_features, bias=bias)
    layer = MPOLinear.from_dense(linear, num_sites=num_sites)
    x = make_linear(in_features, 5, seed=1).weight
    assert layer.discarded == 0.0
    torch.testing.assert_close(layer(x), linear(x), rtol=1e-10, atol=1e-10)


@given(
    sizes=st.lists(st.integers(1, 12), min_size=2, max_size=4),
    share=st.floats(0.0, 1.0),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_bonds_for_a_budget_are_the_nearest_there_are(sizes: list[int], share: float) -> None:
    full = full_bonds(sizes)
    least, most = train_params(sizes, [1] * len(full)), train_params(sizes, full)
    target = least + share * (most - least)
    bonds = bonds_for_keep(sizes, target / prod(sizes))
    assert all(1 <= bond <= limit for bond, limit in zip(bonds, full, strict=True))
    assert all(
        right <= left * size for left, size, right in zip((1, *bonds), sizes, (*bonds, 1), strict=True)
    )
    miss = abs(train_params(sizes, bonds) - target)
    if miss > 0.02 * target and len(sizes) < 4:
        nearest = min(
            abs(train_params(sizes, other) - target)
            for other in product(*(range(1, limit + 1) for limit in full))
            if all(b <= a * n for a, n, b in zip((1, *other), sizes, other, strict=False))
            and all(a <= n * b for a, n, b in zip(other, sizes[1:], (*other[1:], 1), strict=True))
        )
        assert miss == pytest.approx(nearest)


def test_bonds_of_a_budget_are_nearly_equal() -> None:
    bonds = bonds_for_keep((36 * 36,) * 3, 0.3)
    assert max(bonds) - min(bonds) <= 2


def test_a_train_of_full_bonds_costs_what_its_cores_hold() -> None:
    layer = MPOLinear.from_dense(make_linear(12, 12, bias=False), num_sites=3)
    sizes = [j * i for j, i in zip(layer.out_sites, layer.in_sites, strict=True)]
    assert layer.ranks == full_bonds(sizes)
    assert layer.num_params == train_params(sizes, layer.ranks)


def test_an_mpo_split_into_rows_and_columns_is_the_low_rank_pair() -> None:
    linear = make_linear(9, 6)
    pair = LowRankLinear.from_dense(linear, rank=2)
    mpo = MPOLinear.from_dense(linear, out_sites=(6, 1), in_sites=(1, 9), max_bond=2)
    torch.testing.assert_close(mpo.to_dense(), pair.to_dense(), rtol=1e-12, atol=1e-12)
    assert mpo.discarded == pytest.approx(pair.discarded, rel=1e-12)
    assert (mpo.ranks, mpo.num_params, mpo.flops(5)) == (pair.ranks, pair.num_params, pair.flops(5))


def test_prime_sizes_become_the_low_rank_pair_by_default() -> None:
    mpo = MPOLinear.from_dense(make_linear(31, 17), max_bond=3)
    assert (mpo.out_sites, mpo.in_sites) == ((17, 1), (1, 31))
    pair = LowRankLinear.from_dense(make_linear(31, 17), rank=3)
    torch.testing.assert_close(mpo.to_dense(), pair.to_dense(), rtol=1e-12, atol=1e-12)


def test_a_kronecker_product_has_bond_one() -> None:
    a, b = make_linear(3, 4).weight.detach(), make_linear(5, 2, seed=1).weight.detach()
    layer = MPOLinear.from_dense(torch.kron(a, b), out_sites=(4, 2), in_sites=(3, 5), max_bond=1)
    assert layer.discarded is not None and layer.discarded < 1e-28
    torch.testing.assert_close(layer.to_dense(), torch.kron(a, b), rtol=1e-12, atol=1e-12)
    first, second = (core[0, :, :, 0] for core in layer.cores)
    torch.testing.assert_close(torch.kron(first, second), torch.kron(a, b), rtol=1e-12, atol=1e-12)


def test_two_balanced_sites_follow_the_cost_formulas() -> None:
    """Parameters chi (J1 I1 + J2 I2); products chi J1 I2 (I1 + J2) from the first."""
    chi = 3
    for out_sites, in_sites, starts_last in [((4, 8), (6, 2), False), ((8, 4), (2, 6), True)]:
        layer = MPOLinear.from_dense(
            make_linear(12, 32, bias=False), out_sites=out_sites, in_sites=in_sites, max_bond=chi
        )
        layer.dense_from = None
        (j1, j2), (i1, i2) = out_sites, in_sites
        assert layer.num_params == chi * (j1 * i1 + j2 * i2)
        assert layer.starts_last is starts_last
        assert layer.flops(1) == 2 * chi * min(j1 * i2 * (i1 + j2), i1 * j2 * (i2 + j1))


def test_a_layer_can_be_exported() -> None:
    layer = MPOLinear.from_dense(make_linear(36, 24, dtype=torch.float32), num_sites=3, max_bond=4)
    traced = torch.export.export(layer, (torch.zeros(3, 36),)).module()
    x = make_linear(36, 3, seed=2, dtype=torch.float32).weight.detach()
    torch.testing.assert_close(traced(x), layer(x))


def test_sites_and_ranks_that_do_not_fit_are_refused() -> None:
    linear = make_linear(12, 10)
    with pytest.raises(ValueError, match=r"`out_sites` must multiply to out_features = 10, but is \(5, 3\)"):
        MPOLinear.from_dense(linear, out_sites=(5, 3))
    with pytest.raises(ValueError, match=r"`in_sites` must multiply to in_features = 12, but is \(-3, -4\)"):
        MPOLinear.from_dense(linear, in_sites=(-3, -4))
    with pytest.raises(ValueError, match=r"must agree on the number of sites, but are \(5, 2\), \(3, 2, 2\)"):
        MPOLinear.from_dense(linear, out_sites=(5, 2), in_sites=(3, 2, 2))
    with pytest.raises(ValueError, match=r"must agree on the number of sites, but are \(5, 2\), None and 3"):
        MPOLinear.from_dense(linear, out_sites=(5, 2), num_sites=3)
    with pytest.raises(ValueError, match="`num_sites` must be at least 2, but is 1"):
        MPOLinear.from_dense(linear, num_sites=1)
    with pytest.raises(
        ValueError, match="`keep` must stand without `max_bond` and `cutoff`, but one is given"
    ):
        MPOLinear.from_dense(linear, keep=0.5, max_bond=3)
    with pytest.raises(ValueError, match="`keep` must stand without `rank` and `cutoff`, but one is given"):
        LowRankLinear.from_dense(linear, keep=0.5, rank=3)
    generator = torch.Generator()
    for rank in (0, 11):
        with pytest.raises(ValueError, match=rf"`rank` must be between 1 .* = 10, but is {rank}"):
            LowRankLinear.from_dense(linear, rank=rank)
        with pytest.raises(ValueError, match=rf"`rank` must be between 1 .* = 10, but is {rank}"):
            LowRankLinear.random(12, 10, rank=rank, generator=generator)
    with pytest.raises(ValueError, match="`max_bond` must be at least 1, but is 0"):
        MPOLinear.random(12, 10, max_bond=0, generator=generator)
    for features, num_sites, name in [(0, 2, "features"), (4, 0, "num_sites")]:
        with pytest.raises(ValueError, match=f"`{name}` must be at least 1, but is 0"):
            balanced_sites(features, num_sites)


def test_factors_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`left` and `right` must have shapes .* \(4, 2\) and \(3, 5\)"):
        LowRankLinear(torch.zeros(4, 2), torch.zeros(3, 5))
    with pytest.raises(ValueError, match=r"`bias` must have shape \(4,\), but has shape \(5,\)"):
        LowRankLinear(torch.zeros(4, 2), torch.zeros(2, 5), torch.zeros(5))
    with pytest.raises(ValueError, match=r"`cores` must hold at least two tensors of shape"):
        MPOLinear([torch.zeros(1, 2, 2, 1)])
    for shapes in [((1, 2, 2, 3), (2, 2, 2, 1)), ((1, 2, 2, 3), (3, 2, 2, 2)), ((2, 2, 2, 3), (3, 2, 2, 1))]:
        with pytest.raises(
            ValueError, match=r"`cores` must have equal bonds between neighbours and 1 at both"
        ):
            MPOLinear([torch.zeros(shape) for shape in shapes])
