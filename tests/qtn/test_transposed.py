"""GPT-2 and others that store weights transposed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import qtn


@pytest.fixture(scope="module")
def gpt2() -> Any:
    transformers = pytest.importorskip("transformers", reason="the extra llm is not installed")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_layer=2, n_embd=32, n_head=2, vocab_size=61, n_positions=24, attn_pdrop=0.0, use_cache=False
    )
    return transformers.GPT2LMHeadModel(config).eval()


@pytest.fixture(scope="module")
def tokens() -> torch.Tensor:
    return torch.randint(0, 61, (12, 8, 16), generator=torch.Generator().manual_seed(1))


def test_logits_are_the_same(gpt2: Any, tokens: torch.Tensor) -> None:
    before = gpt2(tokens[0]).logits
    copy = qtn.with_linears(gpt2)
    torch.testing.assert_close(copy(tokens[0]).logits, before)
    torch.testing.assert_close(gpt2(tokens[0]).logits, before, rtol=0, atol=0)
    assert type(copy.get_submodule("transformer.h.0.attn.c_attn")) is nn.Linear
    assert type(gpt2.transformer.h[0].attn.c_attn) is not nn.Linear
    head, embedding = copy.get_parameter("lm_head.weight"), copy.get_parameter("transformer.wte.weight")
    assert head is embedding


def test_gpt2_is_compressed_saved_and_loaded(gpt2: Any, tokens: torch.Tensor, tmp_path: Path) -> None:
    model = qtn.with_linears(gpt2)
    small, report = qtn.compress(model, budget=0.6, calibration=list(tokens))
    assert len(report.layers) == 8
    assert report.kept == pytest.approx(0.6, abs=0.02)
    qtn.save(small, tmp_path / "small.safetensors")
    again = qtn.load(qtn.with_linears(gpt2), tmp_path / "small.safetensors")
    torch.testing.assert_close(again(tokens[0]).logits, small(tokens[0]).logits, rtol=0, atol=0)
    qtn.heal(small, gpt2, list(tokens), steps=2)


def test_compression_says_how_to_convert(gpt2: Any, tokens: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="with_linears"):
        qtn.compress(gpt2, budget=0.6, calibration=list(tokens))


def test_layers_and_weights_that_are_shared_stay_shared() -> None:
    conv1d = pytest.importorskip("transformers.pytorch_utils").Conv1D
    shared, other = conv1d(5, 3), conv1d(5, 3)
    other.weight = shared.weight
    shared.weight.requires_grad_(False)
    model = nn.ModuleDict({"a": shared, "b": shared, "c": other})
    copy = qtn.with_linears(model)
    assert copy["a"] is copy["b"] is not copy["c"]  # pyright: ignore[reportIndexIssue]
    assert copy.get_parameter("a.weight") is copy.get_parameter("c.weight")
    assert not copy.get_parameter("a.weight").requires_grad
    assert type(qtn.with_linears(shared)) is nn.Linear
