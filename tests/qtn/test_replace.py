"""Replacing linear layers leaves the original alone and says what it cannot do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from qtn import LowRankLinear, replace_linears
from tests.qtn.cases import make_linear


class _Shared(nn.Module):
    """One layer under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = make_linear(4, 4)
        self.second = self.first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x).tanh())


def _model() -> nn.Sequential:
    return nn.Sequential(
        make_linear(6, 5, seed=1),
        nn.ReLU(),
        nn.Sequential(make_linear(5, 5, seed=2, bias=False)),
        nn.Dropout(),
    ).eval()


X = torch.linspace(-1, 1, 18, dtype=torch.float64).reshape(3, 6)


def test_named_layers_are_replaced_in_a_copy() -> None:
    model = _model()
    before = model(X)
    replaced = replace_linears(
        model, {"0": lambda linear: LowRankLinear.from_dense(linear, rank=1), "2.0": LowRankLinear.from_dense}
    )
    assert isinstance(replaced[0], LowRankLinear)  # pyright: ignore[reportIndexIssue]
    assert isinstance(replaced.get_submodule("2.0"), LowRankLinear)
    assert not any(module.training for module in replaced.modules())
    assert [type(module) for module in model] == [nn.Linear, nn.ReLU, nn.Sequential, nn.Dropout]
    assert torch.equal(model(X), before)
    assert not torch.allclose(replaced(X), before)
    with torch.no_grad():
        for parameter in replaced.parameters():
            parameter.zero_()
    assert torch.equal(model(X), before)


def test_lossless_factors_leave_the_function_unchanged() -> None:
    model = _model()
    replaced = replace_linears(model, {"0": LowRankLinear.from_dense, "2.0": LowRankLinear.from_dense})
    torch.testing.assert_close(replaced(X), model(X), rtol=1e-12, atol=1e-12)


def test_a_failing_factory_leaves_the_original_untouched() -> None:
    model = _model()
    before = model(X)

    def destroy(linear: nn.Linear) -> nn.Module:
        nn.init.zeros_(linear.weight)
        raise RuntimeError("no such luck")

    with pytest.raises(RuntimeError, match="no such luck"):
        replace_linears(model, {"0": LowRankLinear.from_dense, "2.0": destroy})
    assert torch.equal(model(X), before)


def test_a_layer_with_two_names_is_replaced_under_both() -> None:
    model = _Shared()
    replaced = replace_linears(model, {"second": lambda linear: LowRankLinear.from_dense(linear, rank=2)})
    assert isinstance(replaced.first, LowRankLinear)
    assert replaced.first is replaced.second
    with pytest.raises(
        ValueError, match=r"must name each layer once, but two of \['first', 'second'\] are one"
    ):
        replace_linears(model, dict.fromkeys(("first", "second"), LowRankLinear.from_dense))


def test_a_model_that_is_one_linear_layer_can_be_replaced() -> None:
    model = make_linear(6, 5)
    replaced = replace_linears(model, {"": LowRankLinear.from_dense})
    assert isinstance(replaced, LowRankLinear)
    torch.testing.assert_close(replaced(X), model(X))


def test_unknown_names_and_bad_factories_are_refused() -> None:
    for name in ("1", "9", "2"):
        with pytest.raises(ValueError, match=rf"which are \['0', '2.0'\], but names \['{name}'\]"):
            replace_linears(_model(), {name: LowRankLinear.from_dense})
    with pytest.raises(
        TypeError, match=r"factory of `0` must return a torch.nn.Module, but returned a Tensor"
    ):
        replace_linears(_model(), {"0": lambda linear: linear.weight.detach()})  # pyright: ignore
    attention = nn.MultiheadAttention(4, 2)
    with pytest.raises(ValueError, match=r"which are \[\], but names \['out_proj'\]"):
        replace_linears(attention, {"out_proj": LowRankLinear.from_dense})
