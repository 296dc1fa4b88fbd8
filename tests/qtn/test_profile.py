"""Predicted losses of whole models, and what the models then really lose."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from qtn import LayerStatistics, collect, profile, sampled_loss
from qtn.compression.probe import probe, rank_correlation
from tests.qtn.cases import make_linear


class _Pooled(nn.Module):
    """A layer that sees every row, and one that sees their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.every, self.pooled = make_linear(6, 6, seed=1), make_linear(6, 5, seed=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.pooled(self.every(x).mean(1))


class _Classifier(nn.Module):
    """Of so small weights that all rows have nearly one Fisher matrix, that of the bias."""

    def __init__(self) -> None:
        super().__init__()
        self.head = make_linear(5, 4, seed=2)
        with torch.no_grad():
            self.head.weight.mul_(1e-3)

    def forward(self, x: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.head(x))


def _rows(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def test_losses_and_operations_are_in_rows_of_the_layer_with_fewest() -> None:
    model = _Pooled()
    statistics = collect(model, [_rows(20, 3, 6)], sampled_loss(torch.Generator().manual_seed(0)))
    profiled = profile(model, statistics, ["pivoted"], 1e-2)
    assert profiled.scales == {"every": 3.0, "pooled": 1.0}
    candidates = profiled.candidates()
    for name, scale in profiled.scales.items():
        for candidate in candidates[name]:
            form = profiled.forms[name][candidate.name]
            assert candidate.loss == profiled.loss(name, form.name) == scale * form.loss
            assert candidate.costs["operations"] == scale * form.costs["operations"]
            assert candidate.costs["parameters"] == form.costs["parameters"]
    assert candidates["pooled"][0].name == "dense"


def test_a_weight_that_is_not_finite_is_named() -> None:
    model = _Pooled()
    statistics = collect(model, [_rows(20, 3, 6)], sampled_loss(torch.Generator().manual_seed(0)))
    with torch.no_grad():
        model.pooled.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"Layer `pooled` cannot be compressed: .* must be finite"):
        profile(model, statistics, ["pivoted"], 1e-2)


def test_the_change_of_values_is_what_was_predicted() -> None:
    """One layer with values as outputs: the prediction is exact at any size of the change."""
    model, x = nn.Sequential(make_linear(8, 6)), _rows(300, 8)
    moments = LayerStatistics(inputs=x.T @ x / 300, outputs=torch.eye(6, dtype=torch.float64), num_rows=300)
    profiled = profile(model, {"0": moments}, ["pivoted", "low_rank"], 0.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for form in profiled.forms["0"]:
        measured = probe(model, profiled, [x[:100], x[100:]], {"0": form}, damping=0.0)
        assert measured["0"] == pytest.approx(profiled.loss("0", form), rel=1e-5, abs=1e-12)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model[0]._forward_hooks


def test_the_divergence_of_predictions_is_what_was_predicted() -> None:
    model, x = _Classifier(), _rows(300, 5)
    p = model.head.bias.detach().softmax(-1)
    moments = LayerStatistics(inputs=x.T @ x / 300, outputs=p.diag() - torch.outer(p, p), num_rows=300)
    profiled = profile(model, {"head": moments}, ["pivoted"], 1e-6)
    for rank in (1, 2):
        form = f"pivoted {rank}"
        measured = probe(model, profiled, [x], {"head": form}, damping=1e-6)["head"]
        assert measured == pytest.approx(profiled.loss("head", form), rel=0.02)
    assert probe(model, profiled, [x], {"head": "dense"})["head"] == 0.0


def test_layers_are_probed_one_by_one() -> None:
    model, x = _Pooled(), _rows(20, 3, 6)
    statistics = collect(model, [x], sampled_loss(torch.Generator().manual_seed(0)))
    profiled = profile(model, statistics, ["pivoted"], 1e-2)
    forms = {"every": "pivoted 2", "pooled": "pivoted 1"}
    both = probe(model, profiled, [x], forms)
    for name, form in forms.items():
        assert probe(model, profiled, [x], {name: form})[name] == both[name] > 0.0
        changed = _Pooled()
        layer = changed.get_submodule(name)
        fitted = profiled.forms[name][form].fit(layer, statistics[name].metric())  # pyright: ignore
        changed.set_submodule(name, fitted)
        expected = 0.5 * (changed(x) - model(x)).square().sum(1).mean().item()
        assert both[name] == pytest.approx(expected, rel=1e-9)
    with pytest.raises(
        ValueError, match=r"`forms` must name layers and forms .* \[\('every', 'tree 0.1'\)\]"
    ):
        probe(model, profiled, [x], {"every": "tree 0.1"})
    with pytest.raises(ValueError, match="`batches` must give the model at least one row"):
        probe(model, profiled, [], forms)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(pairs=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=4, max_size=12))
def test_rank_correlation_is_that_of_the_mean_ranks(pairs: list[tuple[int, int]]) -> None:
    def ranks(numbers: list[float]) -> list[float]:
        places = sorted(numbers)
        return [places.index(number) + (places.count(number) - 1) / 2 for number in numbers]

    first, second = ([float(value) for value in each] for each in zip(*pairs, strict=True))
    if len(set(first)) == 1 or len(set(second)) == 1:
        with pytest.raises(ValueError, match="must each differ somewhere"):
            rank_correlation(first, second)
        return
    found, low, high = rank_correlation(first, second)
    assert found == pytest.approx(np.corrcoef(ranks(first), ranks(second))[0, 1], abs=1e-12)
    assert -1.0 <= low <= found <= high <= 1.0


def test_the_interval_of_a_rank_correlation_is_known() -> None:
    assert rank_correlation([1, 2, 3, 4], [10, 20, 30, 40]) == (1.0, 1.0, 1.0)
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]) == (-1.0, -1.0, -1.0)
    found, low, high = rank_correlation(range(7), [0, 1, 2, 3, 6, 5, 4])
    assert found == pytest.approx(1 - 6 * 8 / (7 * 48))
    # artanh(6 / 7) = 1.282475 and 1.959964 sqrt(1.06 / 4) = 1.008958.
    assert (low, high) == (pytest.approx(0.26690, abs=1e-5), pytest.approx(0.97976, abs=1e-5))
    with pytest.raises(ValueError, match="one length of at least 4, but have 3 and 3"):
        rank_correlation([1, 2, 3], [1, 2, 3])
    with pytest.raises(ValueError, match="but hold NaN"):
        rank_correlation([1, 2, 3, float("nan")], [1, 2, 3, 4])
