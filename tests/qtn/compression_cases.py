"""Small models of the kinds that are compressed, and batches for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.qtn.cases import make_linear

VOCABULARY = 40


class Block(nn.Module):
    """A residual block of two halves; the first can add to the stream in place, which no gradient survives."""

    def __init__(self, features: int = 8, seed: int = 0, in_place: bool = False) -> None:
        super().__init__()
        self.up = make_linear(features, 12, seed=seed)
        self.activation = nn.Tanh()
        self.down = make_linear(12, features, seed=seed + 1)
        self.last = make_linear(features, features, seed=seed + 2, bias=False)
        self.in_place = in_place
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.mul_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        change = self.down(self.activation(self.up(x)))
        if self.in_place:
            x += change
        else:
            x = x + change
        return x + self.last(x)


class Gated(nn.Module):
    """A product of two layers goes into a third."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up = make_linear(8, 10, seed=1), make_linear(8, 10, seed=2)
        self.activation = nn.SiLU()
        self.down = make_linear(10, 8, seed=3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(self.activation(self.gate(x)) * self.up(x))


class Tied(nn.Module):
    """The head has the weight of the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8, dtype=torch.float64)
        self.inner = make_linear(8, 8)
        self.head = nn.Linear(8, 20, bias=False, dtype=torch.float64)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.inner(self.embedding(tokens)).tanh())


def rows(*shape: int, seed: int = 5) -> Tensor:
    """Normal numbers, of which the last axis is mixed."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
    return drawn @ make_linear(shape[-1], shape[-1], seed=seed).weight.detach() / shape[-1] ** 0.5


def mlp(bias: bool = True) -> nn.Sequential:
    return nn.Sequential(
        make_linear(10, 16, seed=1, bias=bias),
        nn.Tanh(),
        make_linear(16, 14, seed=2, bias=bias),
        nn.Tanh(),
        make_linear(14, 6, seed=3, bias=bias),
    )


def convolutional() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 10, 3, stride=2),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(10 * 3 * 3, 5),
    ).double()


def llama(**options: Any) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=32,
        initializer_range=0.2,
        **options,
    )
    return transformers.LlamaForCausalLM(config).eval()


def bert() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        initializer_range=0.2,
    )
    return transformers.AutoModel.from_config(config).eval()


def token_batches(number: int = 4, seed: int = 0) -> list[Mapping[str, Tensor]]:
    """Sequences of which the second half of each batch ends in padding."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.ones(6, 12, dtype=torch.long)
    mask[3:, 9:] = 0
    return [
        {"input_ids": torch.randint(0, VOCABULARY, (6, 12), generator=generator), "attention_mask": mask}
        for _ in range(number)
    ]
