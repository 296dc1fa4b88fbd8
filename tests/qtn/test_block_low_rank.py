"""Blocks of low rank: optimal block by block, and Monarch matrices as published."""

from __future__ import annotations

import pytest
import torch

from qtn.layers import BlockLowRankLinear, LowRankLinear
from tests.qtn.cases import in_factors, make_linear


def test_one_block_is_the_low_rank_pair() -> None:
    linear = make_linear(12, 10)
    layer = BlockLowRankLinear.from_dense(linear, grid=(1, 1), rank=3)
    pair = LowRankLinear.from_dense(linear, rank=3)
    torch.testing.assert_close(layer.to_dense(), pair.to_dense(), rtol=1e-12, atol=1e-12)
    assert layer.discarded == pytest.approx(pair.discarded, rel=1e-12)
    assert (layer.ranks, layer.num_params) == (pair.ranks, pair.num_params)
    assert in_factors(layer).flops(5) == pair.flops(5)


@pytest.mark.parametrize("strided", [False, True])
def test_every_block_is_the_best_of_its_rank(strided: bool) -> None:
    weight = make_linear(12, 15).weight.detach()
    layer = BlockLowRankLinear.from_dense(weight, grid=(3, 2), rank=2, strided=strided)
    dense, lost = layer.to_dense(), 0.0
    for r in range(3):
        rows = slice(r, None, 3) if strided else slice(5 * r, 5 * r + 5)
        for c in range(2):
            block = weight[rows, 6 * c : 6 * c + 6]
            best = LowRankLinear.from_dense(block, rank=2).to_dense()
            torch.testing.assert_close(dense[rows, 6 * c : 6 * c + 6], best, rtol=1e-12, atol=1e-12)
            lost += float(torch.linalg.svdvals(block)[2:].square().sum())
    assert layer.discarded == pytest.approx(lost / float(weight.square().sum()), rel=1e-12)


@pytest.mark.parametrize("strided", [False, True])
def test_no_change_of_the_factors_comes_nearer(strided: bool) -> None:
    linear = make_linear(12, 12, bias=False)
    layer = BlockLowRankLinear.from_dense(linear, grid=(2, 4), rank=1, strided=strided)
    layer.requires_grad_(False)
    least = (layer.to_dense() - linear.weight).square().sum()
    best = [factor.clone() for factor in layer.parameters()]
    generator = torch.Generator().manual_seed(2)
    for scale in (1e-4, 1e-2, 0.3):
        for _ in range(30):
            for factor, value in zip(layer.parameters(), best, strict=True):
                noise = torch.randn(value.shape, generator=generator, dtype=torch.float64)
                factor.copy_(value + scale * noise)
            assert (layer.to_dense() - linear.weight).square().sum() > least


def test_strided_blocks_of_rank_one_are_the_monarch_matrices_as_published() -> None:
    """M = P L P^T R with block-diagonal L and R, and P the transposition of an n x n index."""
    n = 4
    left, right = (make_linear(n * n, n, seed=seed).weight.reshape(n, n, n).detach() for seed in (1, 2))
    swap = torch.eye(n * n, dtype=torch.float64).reshape(n, n, n * n).transpose(0, 1).reshape(n * n, n * n)
    monarch = swap @ torch.block_diag(*left) @ swap.T @ torch.block_diag(*right)
    layer = BlockLowRankLinear(left, right, strided=True)
    torch.testing.assert_close(layer.to_dense(), monarch, rtol=1e-12, atol=1e-12)
    fitted = BlockLowRankLinear.from_dense(monarch, grid=(n, n), rank=1, strided=True)
    assert fitted.discarded is not None and fitted.discarded < 1e-28
    torch.testing.assert_close(fitted.to_dense(), monarch, rtol=1e-12, atol=1e-12)
    plain = BlockLowRankLinear.from_dense(monarch, grid=(n, n), rank=1)
    assert plain.discarded is not None and plain.discarded > 0.1


def test_a_stride_only_permutes_the_outputs() -> None:
    linear = make_linear(12, 15)
    order = torch.arange(15).reshape(5, 3).T.reshape(-1)
    strided = BlockLowRankLinear.from_dense(linear, grid=(3, 4), rank=1, strided=True)
    plain = BlockLowRankLinear.from_dense(linear.weight[order].detach(), grid=(3, 4), rank=1)
    torch.testing.assert_close(strided.to_dense()[order], plain.to_dense())


def test_the_default_grid_divides_any_size() -> None:
    for shape, grid in [((17, 31), (1, 1)), ((64, 48), (4, 4)), ((10, 12), (2, 4)), ((1, 1), (1, 1))]:
        linear = make_linear(shape[1], shape[0])
        layer = BlockLowRankLinear.from_dense(linear)
        assert layer.grid == grid
        torch.testing.assert_close(layer.to_dense(), linear.weight, rtol=1e-11, atol=1e-11)


def test_parameters_are_multiply_adds() -> None:
    layer = in_factors(BlockLowRankLinear.from_dense(make_linear(24, 12, bias=False), grid=(3, 4), rank=2))
    assert layer.num_params == 2 * (3 * 24 + 4 * 12)
    assert layer.flops(1) == 2 * layer.num_params


def test_a_zero_weight_is_fitted() -> None:
    layer = BlockLowRankLinear.from_dense(torch.zeros(8, 8), rank=1)
    assert layer.discarded == 0.0
    assert not layer.to_dense().any()


def test_what_does_not_fit_is_refused() -> None:
    linear = make_linear(12, 10)
    for grid in [(3, 2), (2, 5), (0, 1)]:
        with pytest.raises(
            ValueError,
            match=r"`grid` must hold divisors of out_features = 10 and in_features = 12, such as \(1, 1\)",
        ):
            BlockLowRankLinear.from_dense(linear, grid=grid)
    with pytest.raises(ValueError, match="`rank` must be at least 1, but is 0"):
        BlockLowRankLinear.from_dense(linear, rank=0)
    with pytest.raises(ValueError, match="`keep` must stand without `rank` and `cutoff`"):
        BlockLowRankLinear.from_dense(linear, rank=1, keep=0.5)
    with pytest.raises(ValueError, match=r"`cutoff` must be at least 0 and below 1, but is 1\.0"):
        BlockLowRankLinear.from_dense(linear, cutoff=1.0)
    for left, right in [((2, 5, 4), (2, 6, 6)), ((2, 5, 3), (2, 3, 6)), ((2, 5), (2, 4, 6))]:
        with pytest.raises(ValueError, match=r"`left` and `right` must have shapes \(rows, height, columns"):
            BlockLowRankLinear(torch.zeros(left), torch.zeros(right))
