"""A model with all that a checkpoint has to mind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qtn import LowRankLinear, MPOLinear, replace_linears
from qtn.storage.checkpoint import save
from tests.qtn.cases import make_linear


class TiedModel(nn.Module):
    """An embedding whose table is the output head, a block and a layer used twice, and a buffer."""

    counts: Tensor

    def __init__(self, seed: int, *, width: int = 12, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.table = nn.Embedding(
            9, width, dtype=dtype, _weight=make_linear(width, 9, seed=seed, dtype=dtype).weight
        )
        self.block = nn.Sequential(make_linear(width, 20, seed=seed + 1, dtype=dtype), nn.Tanh())
        self.again = self.block
        self.back = make_linear(20, width, seed=seed + 2, dtype=dtype)
        self.twin = self.back
        self.head = nn.Linear(width, 9, bias=False, dtype=dtype)
        self.head.weight = self.table.weight
        self.register_buffer("counts", torch.arange(3) + seed)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.back(self.block(self.table(tokens)))
        return self.head(self.twin(self.again(hidden)))


TOKENS = torch.tensor([[0, 3, 8], [1, 1, 2]])


def compressed(seed: int = 0, **options: Any) -> nn.Module:
    return replace_linears(
        TiedModel(seed, **options),
        {
            "block.0": lambda linear: LowRankLinear.from_dense(linear, rank=4),
            "back": lambda linear: MPOLinear.from_dense(linear, max_bond=3),
        },
    )


def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save(compressed(), path)
    return path
