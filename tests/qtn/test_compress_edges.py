"""Compression where single precision, rounding, shared streams or single outputs would lead astray."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import qtn
from qtn.compression.stack import Call, called, is_chain
from tests.qtn.cases import make_linear
from tests.qtn.compression_cases import Block, bert, mlp, rows, token_batches


def test_inputs_far_from_zero_are_fitted_around_their_mean() -> None:
    model = mlp().float()
    near = [rows(80, 10, seed=k).float() for k in range(3)]
    far = [batch + 1e4 for batch in near]
    with torch.no_grad():
        first = model.get_submodule("0")
        first.bias -= first.weight.sum(1) * 1e4  # pyright: ignore
    small, report = qtn.compress(model, budget=0.7, calibration=far)
    assert report.kept <= 0.7
    errors = [(small(x) - model(x)).norm() / (model(x) - model(x).mean(0)).norm() for x in far]
    assert max(errors) < 0.7  # a fit that the mean has drowned gives more than 1


def test_inputs_that_never_vary_can_be_compressed() -> None:
    model = mlp()
    small, _ = qtn.compress(model, budget=0.7, calibration=[torch.ones(30, 10, dtype=torch.float64)])
    x = torch.ones(1, 10, dtype=torch.float64)
    assert (small(x) - model(x)).norm() < 0.1 * model(x).norm()


def test_a_bias_makes_good_what_rounding_does_to_the_mean() -> None:
    model = nn.Sequential(make_linear(12, 9))
    inputs = rows(300, 12).abs() + 1.0
    small, _ = qtn.compress(model, budget=0.9, calibration=[inputs], bits=4)
    missed = (small(inputs) - model(inputs)).mean(0)
    assert missed.abs().max() < 1e-5


def test_a_batch_of_padding_alone_is_passed_over() -> None:
    batches = token_batches()
    empty = {**batches[0], "attention_mask": torch.zeros_like(batches[0]["attention_mask"])}
    small, _ = qtn.compress(bert(), budget=0.7, calibration=[empty, *batches], names=["encoder"])
    assert all(bool(value.isfinite().all()) for value in small.parameters())


def test_a_refined_block_may_add_in_place() -> None:
    block, x = Block(in_place=True), rows(6, 8)
    before, call = x.clone(), Call.of(x)
    first = called(block, call)
    torch.testing.assert_close(called(block, call), first, rtol=0, atol=0)
    assert torch.equal(x, before)


@pytest.mark.parametrize(("scales", "expected"), [((2.0, 2.0), True), ((2.0, 3.0), False)])
def test_blocks_called_with_other_numbers_are_no_chain(scales: tuple[float, float], expected: bool) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = make_linear(8, 8)

        def forward(self, x: Tensor, scale: float) -> Tensor:
            return self.linear(x) * scale

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([Scaled(), Scaled()])

        def forward(self, x: Tensor) -> Tensor:
            for block, scale in zip(self.blocks, scales, strict=True):
                x = block(x, scale)
            return x

    assert is_chain(Model(), "blocks", rows(4, 8)) is expected


class Scorer(nn.Module):
    """A cross-encoder: one number for each input, called logits."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = make_linear(10, 8), make_linear(8, 1, seed=1)

    def forward(self, x: Tensor) -> Any:
        return SimpleNamespace(logits=self.head(torch.tanh(self.body(x))))


def test_one_logit_is_a_value() -> None:
    model, batches = Scorer(), [rows(60, 10, seed=k) for k in range(2)]
    small, _ = qtn.compress(model, budget=0.6, calibration=batches)
    found = qtn.heal(small, model, batches, steps=20, learning_rate=1e-2)
    assert found.losses[0] > 0.0
    assert found.losses[-1] < found.losses[0]


def test_the_report_counts_integers() -> None:
    model, batches = mlp(), [rows(60, 10, seed=k) for k in range(2)]
    for bits in (None, 8):
        small, report = qtn.compress(model, budget=0.7, calibration=batches, bits=bits)
        assert report.model_parameters == qtn.num_stored_parameters(small)
        assert report.model_parameters > 0.6 * report.model_parameters_before


def test_a_bias_keeps_the_precision_of_autocast() -> None:
    layer = qtn.LowRankLinear.from_dense(nn.Linear(8, 6), rank=3)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(2, 8)).dtype == torch.bfloat16


def test_a_convolution_shows_its_weight() -> None:
    layer = qtn.LowRankConv2d.from_dense(nn.Conv2d(3, 4, 3))
    torch.testing.assert_close(layer.weight, layer.to_dense())


def test_a_pivoted_layer_of_zeros_is_rounded() -> None:
    layer = qtn.PivotedLinear.from_dense(torch.zeros(6, 5))
    coarse = qtn.quantize(nn.Sequential(layer), bits=8)
    assert not coarse(torch.randn(2, 5)).any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"calibration": torch.zeros(3, 4, 10)}, "sequence of batches"),
        ({"calibration": {"x": torch.zeros(4, 10)}}, "sequence of batches"),
        ({"damping": -1.0}, "`damping` must be"),
        ({"operations_cap": float("inf")}, "`operations_cap` must be"),
    ],
)
def test_bad_arguments_are_refused_at_once(options: dict[str, Any], words: str) -> None:
    def progress(*_: object) -> None:
        pytest.fail("work began")

    arguments: dict[str, Any] = {"budget": 0.7, "calibration": [rows(30, 10)], "progress": progress}
    with pytest.raises(ValueError, match=words):
        qtn.compress(mlp(), **(arguments | options))
