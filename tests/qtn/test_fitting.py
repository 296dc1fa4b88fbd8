"""The fit of all factors of a layer in the metric of the loss."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import functional_call, jacrev

from qtn import AbstractTensorLayer, LayerMetric, LowRankLinear, MPOLinear, PivotedLinear, whitened_svd
from qtn.compression.fitting import fit_in_metric
from tests.qtn.cases import LAYERS, LayerCase, make_linear

SIDES = ["both", "inputs", "outputs", "neither"]

every_layer = pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _covariance(size: int, seed: int) -> Tensor:
    """With a spread of scales, so that the metric differs much from the Frobenius norm."""
    mixed = _random(3 * size, size, seed=seed) * torch.logspace(0, -1.5, size, dtype=torch.float64)
    mixed = mixed @ _random(size, size, seed=seed + 1)
    return mixed.T @ mixed / len(mixed)


def _metric(num_out: int, num_in: int, sides: str = "both", damping: float = 1e-2) -> LayerMetric:
    inputs = _covariance(num_in, 1) if sides in ("both", "inputs") else None
    return LayerMetric(inputs, _covariance(num_out, 5) if sides in ("both", "outputs") else None, damping)


def _distance(layer: AbstractTensorLayer, weight: Tensor, metric: LayerMetric) -> float:
    wide = copy.deepcopy(layer).double()
    return metric.whiten(weight.double() - wide.to_dense().detach()).square().sum().item()


@every_layer
@pytest.mark.parametrize("sides", SIDES)
def test_the_distance_falls_with_every_step_and_is_the_one_reported(case: LayerCase, sides: str) -> None:
    linear = case.linear()
    weight = linear.weight.detach()
    layer = case.compressed(linear)
    metric = _metric(case.out_features, case.in_features, sides)
    before = _distance(layer, weight, metric)
    losses = fit_in_metric(layer, weight, metric, steps=25)
    after = _distance(layer, weight, metric)
    assert losses[0] == pytest.approx(before, rel=1e-12)
    assert losses[-1] == pytest.approx(after, rel=1e-12)
    assert all(earlier >= later for earlier, later in pairwise(losses))
    assert len(losses) <= 26
    if sides != "neither":
        assert after < 0.95 * before
        norms = [factor.norm().item() for factor in layer.parameters() if factor is not layer.bias]
        assert max(norms) == pytest.approx(min(norms)) or case.kind is PivotedLinear
    if len(losses) > 1:
        assert layer.discarded == pytest.approx(
            after / metric.whiten(weight).square().sum().item(), rel=1e-12
        )
    assert layer.bias is not None and torch.equal(layer.bias, linear.bias)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    case=st.sampled_from(LAYERS),
    sides=st.sampled_from(SIDES),
    scale=st.sampled_from([1e-8, 1.0, 1e8]),
    damping=st.sampled_from([0.0, 1e-2, 1.0]),
    dtype=st.sampled_from([torch.bfloat16, torch.float32, torch.float64]),
)
def test_no_start_is_made_worse(
    seed: int, case: LayerCase, sides: str, scale: float, damping: float, dtype: torch.dtype
) -> None:
    layer = case.random(torch.Generator().manual_seed(seed), True).to(dtype)
    weight = scale * _random(case.out_features, case.in_features, seed=seed)
    metric = _metric(case.out_features, case.in_features, sides, damping)
    before, parameters = _distance(layer, weight, metric), copy.deepcopy(layer.state_dict())
    losses = fit_in_metric(layer, weight, metric, steps=4)
    after = _distance(layer, weight, metric)
    assert after < before or (len(losses) == 1 and after == before)
    assert {parameter.dtype for parameter in layer.parameters()} == {dtype}
    if len(losses) == 1:
        assert all(torch.equal(value, parameters[name]) for name, value in layer.state_dict().items())


@every_layer
def test_one_factor_alone_reaches_its_least_squares_solution(case: LayerCase) -> None:
    """Against the explicit design matrix, for each factor in turn with the others frozen."""
    weight = case.linear().weight.detach()
    metric = _metric(case.out_features, case.in_features, damping=0.1)
    target = metric.whiten(weight).flatten()
    start = case.compressed(case.linear(seed=1, bias=False))
    for name, _ in start.named_parameters():
        layer = copy.deepcopy(start)
        for other, factor in layer.named_parameters():
            factor.requires_grad_(other == name)
        parameters = {other: factor.detach().clone() for other, factor in layer.named_parameters()}

        def whitened(value: Tensor, name: str = name, parameters: dict[str, Tensor] = parameters) -> Tensor:
            return metric.whiten(
                functional_call(_Dense(start), _prefixed(parameters | {name: value}), ())
            ).flatten()

        design = jacrev(whitened)(parameters[name]).reshape(len(target), -1)
        aim = target - whitened(torch.zeros_like(parameters[name]))
        solution = torch.linalg.lstsq(design, aim, driver="gelsd").solution
        least = (design @ solution - aim).square().sum().item()
        losses = fit_in_metric(layer, weight, metric, steps=400, tolerance=0.0)
        assert losses[-1] == pytest.approx(least, rel=1e-8)
        assert losses[0] > 1.001 * least
        for other, factor in layer.named_parameters():
            assert torch.equal(factor, parameters[other]) is (other != name)


class _Dense(torch.nn.Module):
    """A module whose call is `to_dense`, as `functional_call` wants one."""

    def __init__(self, layer: AbstractTensorLayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self) -> Tensor:
        return self.layer.to_dense()


def _prefixed(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"layer.{name}": value for name, value in parameters.items()}


@every_layer
def test_a_weight_that_the_layer_can_be_is_recovered(case: LayerCase) -> None:
    layer = case.random(torch.Generator().manual_seed(1), False)
    weight = layer.to_dense().detach()
    metric = _metric(case.out_features, case.in_features, damping=1.0)
    with torch.no_grad():
        for k, factor in enumerate(layer.parameters()):
            factor.add_(0.1 * factor.norm() / factor.numel() ** 0.5 * _random(*factor.shape, seed=k))
    losses = fit_in_metric(layer, weight, metric, steps=200, tolerance=0.0)
    assert losses[-1] < 1e-7 * losses[0]
    torch.testing.assert_close(layer.to_dense().detach(), weight, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("sides", SIDES[:3])
def test_low_rank_pairs_reach_the_whitened_optimum(sides: str) -> None:
    linear = make_linear(13, 11)
    weight, metric = linear.weight.detach(), _metric(11, 13, sides, damping=0.1)
    _, _, least, _ = whitened_svd(weight, metric, max_bond=3)
    for layer in (
        LowRankLinear.from_dense(linear, rank=3),
        MPOLinear.from_dense(linear, out_sites=(11, 1), in_sites=(1, 13), max_bond=3),
    ):
        fit_in_metric(layer, weight, metric, steps=300, tolerance=0.0)
        assert layer.discarded == pytest.approx(least, rel=1e-8)
    best = LowRankLinear.from_dense(linear, rank=3, metric=metric)
    losses = fit_in_metric(best, weight, metric)
    assert losses[-1] == pytest.approx(losses[0], rel=1e-10)


def test_damping_makes_a_singular_covariance_good_enough() -> None:
    """Two rows span two of six directions: the layer of rank 2 is exact on them, and finite elsewhere."""
    rows, linear = _random(2, 6), make_linear(6, 5)
    weight, metric = linear.weight.detach(), LayerMetric(rows.T @ rows, None, 1e-6)
    layer = LowRankLinear.from_dense(linear, rank=2)
    fit_in_metric(layer, weight, metric, steps=300, tolerance=0.0)
    change = metric.loss_change(weight - layer.to_dense())
    assert change < 1e-5 * metric.loss_change(weight)
    assert layer.to_dense().norm() < 10 * weight.norm()


def test_units_of_the_covariances_do_not_matter() -> None:
    linear = make_linear(12, 10, dtype=torch.float32)
    weight = linear.weight.detach()
    inputs, outputs = _covariance(12, 1), _covariance(10, 5)
    layers = []
    for unit in (1.0, 1e-24):
        layer = MPOLinear.from_dense(linear, max_bond=4)
        losses = fit_in_metric(layer, weight, LayerMetric(inputs, unit * outputs), steps=5)
        layers.append((layer.to_dense().detach(), losses[-1] / unit))
    torch.testing.assert_close(layers[0][0], layers[1][0], rtol=1e-4, atol=1e-4)
    assert layers[0][1] == pytest.approx(layers[1][1], rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_lower_precision_comes_as_near_as_its_rounding_allows(dtype: torch.dtype) -> None:
    linear = make_linear(12, 10)
    weight, metric = linear.weight.detach(), _metric(10, 12)
    exact, rounded = (MPOLinear.from_dense(linear, max_bond=4) for _ in range(2))
    rounded = rounded.to(dtype)
    fit_in_metric(exact, weight, metric, steps=30)
    fit_in_metric(rounded, weight.to(dtype), metric, steps=30)
    assert {parameter.dtype for parameter in rounded.parameters()} == {dtype}
    assert exact.discarded is not None and rounded.discarded is not None
    assert rounded.discarded < 1.02 * exact.discarded + 30 * torch.finfo(dtype).eps ** 2


def test_draws_come_from_the_generator_alone() -> None:
    weight, metric = make_linear(12, 10).weight.detach(), _metric(10, 12)
    state, found = torch.get_rng_state(), []
    for generator in (None, None, torch.Generator().manual_seed(0), torch.Generator().manual_seed(7)):
        layer = MPOLinear.from_dense(weight, max_bond=4)
        fit_in_metric(layer, weight, metric, steps=5, generator=generator)
        found.append(layer.to_dense())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[3])


def test_it_works_without_gradients_and_leaves_none_behind() -> None:
    weight, metric = make_linear(12, 10).weight.detach(), _metric(10, 12)
    layer, same = (MPOLinear.from_dense(weight, max_bond=4) for _ in range(2))
    with torch.no_grad():
        fit_in_metric(layer, weight, metric, steps=5)
    fit_in_metric(same, weight, metric, steps=5)
    assert torch.equal(layer.to_dense(), same.to_dense())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in layer.parameters())


def test_zero_factors_and_zero_weights_do_no_harm() -> None:
    metric = _metric(10, 12)
    silent = LowRankLinear(torch.zeros(10, 2), torch.zeros(2, 12))
    assert len(fit_in_metric(silent, torch.ones(10, 12), metric)) == 1
    half = LowRankLinear(torch.zeros(10, 2), torch.ones(2, 12))
    losses = fit_in_metric(half, torch.ones(10, 12), metric)
    assert losses[-1] < 1e-3 * losses[0]
    layer = MPOLinear.from_dense(make_linear(12, 10), max_bond=4)
    losses = fit_in_metric(layer, torch.zeros(10, 12), metric)
    assert losses[-1] < losses[0]
    assert layer.discarded == 0.0


def test_bad_arguments_are_refused_by_name_and_change_nothing() -> None:
    layer = MPOLinear.from_dense(make_linear(12, 10), max_bond=4)
    before, weight, metric = copy.deepcopy(layer.state_dict()), torch.ones(10, 12), _metric(10, 12)
    with pytest.raises(ValueError, match=r"`weight` must have shape \(10, 12\), but has shape \(12, 10\)"):
        fit_in_metric(layer, weight.T, metric)
    with pytest.raises(ValueError, match=r"`weight` must have shape \(6, 4\), but has shape \(10, 12\)"):
        fit_in_metric(layer, weight, _metric(6, 4))
    with pytest.raises(ValueError, match="`weight` must be finite, but holds 120 values that are NaN"):
        fit_in_metric(layer, weight * float("nan"), metric)
    with pytest.raises(TypeError, match=r"`weight` must be real, but has torch.complex64"):
        fit_in_metric(layer, weight.to(torch.complex64), metric)
    with pytest.raises(ValueError, match="`steps` must be at least 1, but is 0"):
        fit_in_metric(layer, weight, metric, steps=0)
    for tolerance in (-1.0, float("nan")):
        with pytest.raises(ValueError, match=f"`tolerance` must be at least 0, but is {tolerance}"):
            fit_in_metric(layer, weight, metric, tolerance=tolerance)
    complex_layer = LowRankLinear(torch.ones(10, 2) * 1j, torch.ones(2, 12) * 1j)
    with pytest.raises(TypeError, match=r"`layer` must be real, but has torch.complex64"):
        fit_in_metric(complex_layer, weight, metric)
    with pytest.raises(ValueError, match="`layer` must have a factor that requires gradients, but all are"):
        fit_in_metric(copy.deepcopy(layer).requires_grad_(False), weight, metric)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
