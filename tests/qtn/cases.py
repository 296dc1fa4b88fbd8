"""One entry for each kind of tensor layer: what the contract tests run on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from qtn import AbstractTensorLayer, LowRankLinear, MPOLinear


@dataclass(frozen=True, kw_only=True)
class LayerCase:
    name: str
    kind: type[AbstractTensorLayer]
    in_features: int
    out_features: int
    compressed: Callable[[nn.Linear], AbstractTensorLayer]
    lossless: Callable[[nn.Linear], AbstractTensorLayer]
    kept: Callable[[nn.Linear, float], AbstractTensorLayer]
    random: Callable[[torch.Generator, bool], AbstractTensorLayer]

    def linear(self, *, seed: int = 0, bias: bool = True, dtype: torch.dtype = torch.float64) -> nn.Linear:
        """A dense layer with random weights."""
        return make_linear(self.in_features, self.out_features, seed=seed, bias=bias, dtype=dtype)


def make_linear(
    in_features: int,
    out_features: int,
    *,
    seed: int = 0,
    bias: bool = True,
    dtype: torch.dtype = torch.float64,
) -> nn.Linear:
    generator = torch.Generator().manual_seed(seed)
    linear = nn.Linear(in_features, out_features, bias=bias, dtype=dtype, device="meta").to_empty(
        device="cpu"
    )
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return linear


def _mpo_case(name: str, out_sites: tuple[int, ...], in_sites: tuple[int, ...], max_bond: int) -> LayerCase:
    num_out, num_in = (int(torch.tensor(each).prod()) for each in (out_sites, in_sites))
    return LayerCase(
        name=name,
        kind=MPOLinear,
        in_features=num_in,
        out_features=num_out,
        compressed=lambda linear: MPOLinear.from_dense(
            linear, out_sites=out_sites, in_sites=in_sites, max_bond=max_bond
        ),
        lossless=lambda linear: MPOLinear.from_dense(linear, out_sites=out_sites, in_sites=in_sites),
        kept=lambda linear, keep: MPOLinear.from_dense(linear, num_sites=len(out_sites), keep=keep),
        random=lambda generator, bias: MPOLinear.random(
            num_in,
            num_out,
            max_bond=max_bond,
            generator=generator,
            bias=bias,
            out_sites=out_sites,
            in_sites=in_sites,
        ),
    )


LAYERS = [
    LayerCase(
        name="low_rank",
        kind=LowRankLinear,
        in_features=12,
        out_features=10,
        compressed=lambda linear: LowRankLinear.from_dense(linear, rank=3),
        lossless=LowRankLinear.from_dense,
        kept=lambda linear, keep: LowRankLinear.from_dense(linear, keep=keep),
        random=lambda generator, bias: LowRankLinear.random(12, 10, rank=3, generator=generator, bias=bias),
    ),
    _mpo_case("mpo_2", (5, 4), (3, 6), 4),
    _mpo_case("mpo_prime", (7, 1), (1, 11), 3),
    _mpo_case("mpo_wide_first", (2, 7), (3, 4), 5),
    _mpo_case("mpo_3", (3, 2, 4), (2, 5, 2), 3),
    _mpo_case("mpo_4", (2, 3, 2, 2), (3, 2, 1, 4), 4),
]
