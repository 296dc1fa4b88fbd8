"""A small teacher, its students, and what to compare of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qtn import LowRankLinear, replace_linears
from tests.qtn.cases import make_linear


class Narrow(nn.Module):
    """A layer whose memory ends at so many examples."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.seen: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        if len(x) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return x


class Stop(Exception):
    pass


def teacher() -> nn.Sequential:
    """Its first layer has rank 2."""
    first, last = make_linear(6, 8), make_linear(8, 5, seed=1)
    with torch.no_grad():
        first.weight.copy_(make_linear(2, 8).weight @ make_linear(6, 2).weight / 2)
        last.weight.mul_(0.3)
    return nn.Sequential(first, nn.LayerNorm(8, dtype=torch.float64), nn.Tanh(), nn.Dropout(0.5), last)


def batches(number: int = 5, rows: int = 16) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(rows, 6, generator=generator, dtype=torch.float64) for _ in range(number)]


def student(model: nn.Module | None = None, *, rank: int = 2, shift: float = 0.2) -> nn.Module:
    """A copy whose first layer is low rank, its factors moved off."""
    made = replace_linears(
        model or teacher(), {"0": lambda linear: LowRankLinear.from_dense(linear, rank=rank)}
    )
    with torch.no_grad():
        for seed, parameter in enumerate(made.get_submodule("0").parameters()):
            generator = torch.Generator().manual_seed(seed)
            parameter.add_(shift * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return made


def parameters_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
