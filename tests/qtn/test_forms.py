"""What forms promise of a layer, held against the layer that they make."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from qtn import LayerMetric, resident_bytes
from qtn.calibration.matrices import MatrixLayer, matrix_of
from qtn.compression.forms import DENSE, STRUCTURES, Form, forms_of
from qtn.layers import AbstractTensorConv2d, AbstractTensorLayer
from tests.qtn.cases import make_linear


def _covariance(size: int) -> torch.Tensor:
    rows = make_linear(size, 2 * size, seed=size).weight.detach() * torch.logspace(0, -1, size)
    return rows.T @ rows / len(rows)


def _layer(kind: str) -> MatrixLayer:
    if kind == "linear":
        return make_linear(16, 12)
    layer = nn.Conv2d(4, 6, 3, stride=2, padding=1, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(make_linear(36, 6).weight.reshape(6, 4, 3, 3))
    return layer


def _metric(layer: MatrixLayer, damping: float = 1e-2) -> LayerMetric:
    out_features, in_features = matrix_of(layer).shape
    return LayerMetric(_covariance(in_features), _covariance(out_features), damping)


def _squared_distance(layer: MatrixLayer, fitted: nn.Module, metric: LayerMetric) -> float:
    dense = fitted.weight if isinstance(fitted, nn.Linear | nn.Conv2d) else fitted.to_dense()  # pyright: ignore
    return float(metric.whiten((layer.weight - dense).detach().flatten(1)).square().sum())


def _assert_costs(form: Form, fitted: nn.Module) -> None:
    bias: torch.Tensor = fitted.bias  # pyright: ignore
    numbers = sum(each.numel() for each in fitted.parameters()) - bias.numel()
    index = sum(each.numel() for each in fitted.buffers())
    assert form.costs["parameters"] == numbers + index
    assert form.costs["bytes"] == resident_bytes(fitted) - bias.numel() * bias.itemsize
    assert form.costs["communicated_bytes"] == 2 * numbers * bias.itemsize
    if isinstance(fitted, AbstractTensorLayer):
        assert form.costs["operations"] == fitted.flops(1) / 2
    elif isinstance(fitted, AbstractTensorConv2d):
        assert form.costs["operations"] == sum(link.weight.numel() for link in fitted.links)  # pyright: ignore


@pytest.mark.parametrize("kind", ["linear", "convolution"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_losses_and_costs_are_those_of_the_layer_made(structure: str, kind: str) -> None:
    layer = _layer(kind)
    before = layer.weight.detach().clone()
    metric = _metric(layer)
    whole = 0.5 * float(metric.whiten(before.flatten(1)).square().sum())
    forms = forms_of(layer, metric, [structure])
    assert forms.pop(DENSE).loss == 0.0
    assert bool(forms) == (kind == "linear" or structure in ("pivoted", "low_rank", "tucker"))
    for name, form in list(forms.items())[::2]:
        assert form.name == name
        fitted = form.fit(layer, metric)
        expected = 0.5 * _squared_distance(layer, fitted, metric)
        assert form.loss == pytest.approx(expected, rel=1e-4, abs=1e-6 * whole)
        assert fitted.bias is not layer.bias and torch.equal(fitted.bias, layer.bias)  # pyright: ignore
        _assert_costs(form, fitted)
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("kind", ["linear", "convolution"])
@pytest.mark.parametrize("structure", ["pivoted", "low_rank"])
def test_losses_fall_in_rank_and_costs_rise_below_dense(structure: str, kind: str) -> None:
    layer = _layer(kind)
    forms = list(forms_of(layer, _metric(layer), [structure]).values())
    dense, ranked = forms[0], forms[1:]
    assert len(ranked) > 1
    for low, high in pairwise(ranked):
        assert low.loss > high.loss > 0.0
        assert low.costs["parameters"] < high.costs["parameters"]
    assert ranked[-1].costs["parameters"] < dense.costs["parameters"] == layer.weight.numel()
    if kind == "linear" and structure == "pivoted":
        assert [form.name for form in ranked] == [f"pivoted {rank}" for rank in range(1, 10)]


def test_at_equal_parameters_the_pivoted_form_is_nearer() -> None:
    layer = _layer("linear")
    forms = forms_of(layer, _metric(layer), ["pivoted", "low_rank"])
    for name, pair in forms.items():
        if name.startswith("low_rank"):
            within = [
                form.loss
                for other, form in forms.items()
                if other.startswith("pivoted") and form.costs["operations"] <= pair.costs["operations"]
            ]
            assert min(within) <= pair.loss


def test_the_dense_form_is_the_layer() -> None:
    for kind in ("linear", "convolution"):
        layer = _layer(kind).eval()
        form = forms_of(layer, _metric(layer), [])[DENSE]
        fitted = form.fit(layer, _metric(layer))
        assert type(fitted) is type(layer) and repr(fitted) == repr(layer) and not fitted.training
        x = torch.ones(2, 16, dtype=torch.float64) if kind == "linear" else torch.ones(2, 4, 5, 7).double()
        assert torch.equal(fitted(x), layer(x))
        _assert_costs(form, fitted)
        assert fitted.weight.data_ptr() != layer.weight.data_ptr()  # pyright: ignore


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_bytes_follow_the_dtype(dtype: torch.dtype) -> None:
    layer = make_linear(16, 12, dtype=dtype)
    metric = _metric(layer)
    for form in forms_of(layer, metric, ["pivoted", "low_rank"]).values():
        fitted = form.fit(layer, metric)
        assert {each.dtype for each in fitted.parameters()} == {dtype}
        _assert_costs(form, fitted)


def test_a_matrix_with_one_row_stays_dense() -> None:
    layer = make_linear(5, 1)
    assert list(forms_of(layer, _metric(layer), ["pivoted", "low_rank"])) == [DENSE]


@pytest.mark.parametrize("structure", ["pivoted", "low_rank"])
def test_a_weight_that_is_not_finite_is_refused(structure: str) -> None:
    layer = make_linear(5, 4)
    with torch.no_grad():
        layer.weight[0, 0] = float("inf")
    with pytest.raises(ValueError, match="`weight` must be finite, but holds 1 values"):
        forms_of(layer, _metric(layer), [structure])
