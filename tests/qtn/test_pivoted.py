"""The low-rank layer that stores no parameter twice, held against the pair of factors."""

from __future__ import annotations

import pytest
import torch

from qtn import LayerMetric, LowRankLinear, PivotedLinear, resident_bytes
from qtn.layers import pivoted_params
from qtn.layers.pivoted import pivoted_rank
from tests.qtn.cases import make_linear

SHAPES = {
    "tall": (31, 7),
    "wide": (8, 29),
    "square": (16, 16),
    "prime": (13, 11),
    "row": (1, 9),
    "column": (9, 1),
}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def _metric(out_features: int, in_features: int) -> LayerMetric:
    inputs, outputs = (make_linear(n, 3 * n, seed=n).weight.detach() for n in (in_features, out_features))
    return LayerMetric(inputs.T @ inputs, outputs.T @ outputs, 1e-2)


@every_shape
@pytest.mark.parametrize("with_metric", [False, True])
def test_it_is_the_low_rank_layer_with_fewer_parameters(shape: tuple[int, int], with_metric: bool) -> None:
    out_features, in_features = shape
    linear = make_linear(in_features, out_features)
    metric = _metric(*shape) if with_metric else None
    x = make_linear(in_features, 5, seed=2).weight.detach()
    for rank in range(1, min(shape) + 1):
        pair = LowRankLinear.from_dense(linear, rank=rank, metric=metric)
        layer = PivotedLinear.from_dense(linear, rank=rank, metric=metric)
        torch.testing.assert_close(layer.to_dense(), pair.to_dense(), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(layer(x), pair(x), rtol=1e-9, atol=1e-9)
        assert layer.ranks == (rank,) and layer.discarded == pair.discarded
        size = rank * (out_features + in_features - rank)
        assert size == pivoted_params(*shape, rank) == layer.num_params - out_features
        assert size == pair.num_params - out_features - rank**2
        # Nothing else is stored but the bias and the places.
        assert resident_bytes(layer) == 8 * (size + out_features) + 4 * out_features
        assert layer.flops(3) == 6 * size
        if rank < out_features:
            assert layer.coefficients.weight.abs().max() <= 2.0 + 1e-9
    torch.testing.assert_close(layer.to_dense(), linear.weight, rtol=1e-9, atol=1e-9)


@every_shape
def test_rows_of_the_weight_are_among_the_factors(shape: tuple[int, int]) -> None:
    linear = make_linear(*reversed(shape))
    layer = PivotedLinear.from_dense(linear, rank=min(shape))
    places = layer.places.long()
    for output, place in enumerate(places.tolist()):
        if place < len(layer.rows.weight):
            torch.testing.assert_close(layer.rows.weight[place], linear.weight[output])
    assert sorted(places.tolist()) == list(range(shape[0]))


@pytest.mark.parametrize("rank", [0, 1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_weight_of_smaller_rank_needs_no_more(rank: int, dtype: torch.dtype) -> None:
    left, right = make_linear(max(rank, 1), 9).weight, make_linear(12, max(rank, 1), seed=1).weight
    weight = (left @ right * (rank > 0)).detach().to(dtype)
    layer = PivotedLinear.from_dense(weight, rank=6)
    assert layer.ranks == (max(rank, 1),)
    tolerance = 100 * torch.finfo(dtype).eps
    torch.testing.assert_close(layer.to_dense(), weight, rtol=tolerance, atol=tolerance)
    pair = PivotedLinear.from_factors(torch.cat([left, left], 1), torch.cat([right, right]))
    assert pair.ranks == (max(rank, 1),)
    torch.testing.assert_close(pair.to_dense(), 2 * left @ right, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_keeps_the_rank(dtype: torch.dtype) -> None:
    """The rounding of the dtype, times the size, is above the least singular values of many matrices."""
    generator = torch.Generator().manual_seed(3)
    layer = PivotedLinear.random(200, 300, rank=100, generator=generator, dtype=dtype)
    assert layer.ranks == (100,)
    weight = PivotedLinear.from_dense(make_linear(200, 300, dtype=dtype), rank=100)
    wide = PivotedLinear.from_dense(make_linear(200, 300, dtype=dtype).double(), rank=100)
    assert weight.ranks == (100,) and weight.rows.weight.dtype == dtype
    error = (weight.to_dense().double() - wide.to_dense()).norm() / wide.to_dense().norm()
    assert error < 20 * torch.finfo(dtype).eps


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("shape", [(211, 150), (150, 211), (180, 180)], ids=str)
def test_a_share_of_the_parameters_is_met(shape: tuple[int, int], keep: float) -> None:
    rank = pivoted_rank(*shape, keep)
    params, target = pivoted_params(*shape, rank), keep * shape[0] * shape[1]
    assert abs(params - target) <= max(0.02 * target, 0.5 * (sum(shape) + 1 - 2 * rank))


def test_a_random_layer_is_the_random_pair() -> None:
    one, same = (
        kind.random(9, 7, rank=3, generator=torch.Generator().manual_seed(4))
        for kind in (PivotedLinear, LowRankLinear)
    )
    torch.testing.assert_close(one.to_dense(), same.to_dense(), rtol=1e-10, atol=1e-10)
    assert one.bias is not None and same.bias is not None and torch.equal(one.bias, same.bias)


def test_factors_that_do_not_fit_are_refused() -> None:
    eye = torch.eye(3)
    with pytest.raises(
        ValueError, match=r"`rows` and `coefficients` must have shapes .* \(3, 3\) and \(2, 2\)"
    ):
        PivotedLinear(eye, torch.zeros(2, 2), torch.arange(5))
    for places in (torch.arange(4), torch.arange(5.0)):
        with pytest.raises(ValueError, match="`places` must hold 5 integers, but has shape"):
            PivotedLinear(eye, torch.zeros(2, 3), places)
    with pytest.raises(ValueError, match=r"`left` and `right` must have shapes .* \(3, 3\) and \(2, 4\)"):
        PivotedLinear.from_factors(eye, torch.ones(2, 4))
    with pytest.raises(ValueError, match="`left` must be finite, but holds 9 values"):
        PivotedLinear.from_factors(eye * float("nan"), eye)
    with pytest.raises(ValueError, match="`keep` must stand without `rank` and `cutoff`"):
        PivotedLinear.from_dense(eye, keep=0.5, rank=1)
    with pytest.raises(ValueError, match=r"`rank` must be between 1 .* = 3, but is 4"):
        PivotedLinear.from_dense(eye, rank=4)
