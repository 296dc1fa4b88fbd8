"""Defects that other libraries of tensor layers have shown, held against every layer here."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from qtn.layers import (
    AbstractTensorLayer,
    BlockLowRankLinear,
    LowRankLinear,
    MPOLinear,
    TensorRingLinear,
    TreeLinear,
    TuckerLinear,
)
from tests.qtn.cases import in_factors, make_linear

KINDS = [BlockLowRankLinear, LowRankLinear, MPOLinear, TensorRingLinear, TreeLinear, TuckerLinear]

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@every_kind
def test_a_layer_without_bias_stays_without(kind: type[AbstractTensorLayer]) -> None:
    linear = make_linear(24, 24, bias=False)
    layer = kind.from_dense(linear, keep=0.5)
    assert layer.bias is None
    assert not layer(torch.zeros(3, 24, dtype=torch.float64)).any()


@every_kind
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_decomposes_as_well_as_it_rounds(
    kind: type[AbstractTensorLayer], dtype: torch.dtype
) -> None:
    linear = make_linear(24, 24, dtype=dtype)
    half = kind.from_dense(linear, keep=0.5)
    single = kind.from_dense(linear.weight.detach().float(), keep=0.5)
    assert half.ranks == single.ranks
    assert half.discarded == pytest.approx(single.discarded, rel=1e-5)
    error = (half.to_dense().float() - single.to_dense()).norm() / single.to_dense().norm()
    assert error < 10 * torch.finfo(dtype).eps


@every_kind
def test_prime_sizes_work_by_default(kind: type[AbstractTensorLayer]) -> None:
    linear = make_linear(31, 17)
    for keep in (None, 0.5):
        layer = kind.from_dense(linear, keep=keep)
        assert layer.to_dense().shape == (17, 31)
        if keep is None:
            torch.testing.assert_close(layer.to_dense(), linear.weight, rtol=1e-11, atol=1e-11)


@every_kind
@pytest.mark.parametrize("keep", [0.1, 0.3, 0.6])
def test_the_budget_is_met(kind: type[AbstractTensorLayer], keep: float) -> None:
    layer = kind.from_dense(make_linear(192, 160), keep=keep)
    counted = sum(parameter.numel() for name, parameter in layer.named_parameters() if name != "bias")
    assert layer.kept == counted / (192 * 160)
    # A grid of 4 x 4 blocks has counts 4 * (192 + 160) apart, which is 4.6 percent of the weight.
    assert layer.kept == pytest.approx(keep, rel=0.02, abs=0.023 if kind is BlockLowRankLinear else 0.006)


@every_kind
def test_the_lossless_option_is_lossless(kind: type[AbstractTensorLayer]) -> None:
    linear = make_linear(36, 30)
    layer = kind.from_dense(linear)
    assert layer.discarded == 0.0
    torch.testing.assert_close(layer.to_dense(), linear.weight, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kind", [MPOLinear, TensorRingLinear, TuckerLinear], ids=lambda kind: kind.__name__)
def test_there_are_sites_beyond_the_letters_of_the_alphabet(kind: Any) -> None:
    """Fourteen sites: 28 axes of the weight, 13 or 14 bonds or 28 of them."""
    sites: dict[str, Any] = {"out_sites": (2, 2, 2) + (1,) * 11, "in_sites": (1,) * 11 + (2, 2, 2)}
    linear = make_linear(8, 8)
    for max_bond in (None, 2):
        layer = in_factors(kind.from_dense(linear, **sites, max_bond=max_bond))
        x = make_linear(8, 3, seed=1).weight.detach()
        expected = x @ layer.to_dense().T + linear.bias
        torch.testing.assert_close(layer(x), expected, rtol=1e-11, atol=1e-11)
    nine = kind.from_dense(make_linear(512, 512), num_sites=9, max_bond=2)
    assert nine.out_sites == nine.in_sites == (2,) * 9
