"""One entry for each kind of tensor layer: what the contract tests run on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from qtn.layers import (
    AbstractTensorLayer,
    BlockLowRankLinear,
    LowRankLinear,
    MPOLinear,
    PivotedLinear,
    TensorRingLinear,
    TreeLinear,
    TuckerLinear,
    pivoted_params,
    ring_params,
    train_params,
    tree_params,
    tucker_params,
)
from qtn.layers.planned import AbstractPlannedLayer

Planned = TypeVar("Planned", bound=AbstractPlannedLayer)


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

    def inputs(self, batch: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Tensor:
        """Random inputs of shape (*batch, in_features)."""
        generator = torch.Generator().manual_seed(5)
        return torch.randn(*batch, self.in_features, generator=generator, dtype=torch.float64).to(dtype)


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


def params_at(layer: AbstractTensorLayer, ranks: Sequence[int]) -> int:
    """Parameters without bias that the layer's structure has at given ranks, by formula."""
    match layer:
        case LowRankLinear():
            return train_params((layer.out_features, layer.in_features), ranks)
        case PivotedLinear():
            return pivoted_params(layer.out_features, layer.in_features, *ranks)
        case BlockLowRankLinear():
            rows, columns = layer.grid
            return ranks[0] * (rows * layer.in_features + columns * layer.out_features)
        case MPOLinear():
            return train_params(site_sizes(layer), ranks)
        case TensorRingLinear():
            return ring_params(site_sizes(layer), ranks)
        case TreeLinear():
            return tree_params(site_sizes(layer), ranks)
        case TuckerLinear():
            return tucker_params((*layer.out_sites, *layer.in_sites), ranks)
    raise TypeError(f"No formula for the parameters of a {type(layer).__name__}.")


def count_step(layer: AbstractTensorLayer) -> int | None:
    """Parameters that one more of the rank adds, for a structure with a single rank; None for any other."""
    sites = [] if isinstance(layer, LowRankLinear | PivotedLinear | BlockLowRankLinear) else site_sizes(layer)
    if isinstance(layer, TuckerLinear):
        sites = [*layer.out_sites, *layer.in_sites]
    if len(sites) == 2 and isinstance(layer, TensorRingLinear):
        return sum(sites)  # only the product of the two bonds counts
    if len(layer.ranks) > 1 and 1 not in sites:
        return None
    # Next to a site of one element, bonds are equal or one.
    ranks = [rank + (rank > 1) for rank in layer.ranks]
    return params_at(layer, ranks) - params_at(layer, layer.ranks)


def site_sizes(layer: Any) -> list[int]:
    """The products of the pairs of sites."""
    return [j * i for j, i in zip(layer.out_sites, layer.in_sites, strict=True)]


def in_factors(layer: Planned) -> Planned:
    """The layer, made to contract its factors for any batch: so small, it would mostly form the dense weight."""
    layer.dense_from = None
    return layer


SiteKind = type[MPOLinear] | type[TensorRingLinear] | type[TuckerLinear] | type[TreeLinear]


def _site_case(
    name: str,
    kind: SiteKind,
    out_sites: tuple[int, ...],
    in_sites: tuple[int, ...],
    max_bond: int,
) -> LayerCase:
    """A layer that splits both sides of its weight into sites."""
    num_out, num_in = prod(out_sites), prod(in_sites)
    # A tree has four sites whatever one asks for; many small axes leave a core of few possible sizes.
    num_sites: dict[str, Any] = {"num_sites": len(out_sites)} if kind in (MPOLinear, TensorRingLinear) else {}
    return LayerCase(
        name=name,
        kind=kind,
        in_features=num_in,
        out_features=num_out,
        compressed=lambda linear: in_factors(
            kind.from_dense(linear, out_sites=out_sites, in_sites=in_sites, max_bond=max_bond)
        ),
        lossless=lambda linear: in_factors(kind.from_dense(linear, out_sites=out_sites, in_sites=in_sites)),
        kept=lambda linear, keep: kind.from_dense(linear, keep=keep, **num_sites),
        random=lambda generator, bias: in_factors(
            kind.random(
                num_in,
                num_out,
                max_bond=max_bond,
                generator=generator,
                bias=bias,
                out_sites=out_sites,
                in_sites=in_sites,
            )
        ),
    )


def _block_case(name: str, out_features: int, in_features: int, **options: Any) -> LayerCase:
    return LayerCase(
        name=name,
        kind=BlockLowRankLinear,
        in_features=in_features,
        out_features=out_features,
        compressed=lambda linear: in_factors(BlockLowRankLinear.from_dense(linear, rank=2, **options)),
        lossless=lambda linear: in_factors(BlockLowRankLinear.from_dense(linear, **options)),
        kept=lambda linear, keep: BlockLowRankLinear.from_dense(linear, keep=keep),
        random=lambda generator, bias: in_factors(
            BlockLowRankLinear.random(
                in_features, out_features, rank=2, generator=generator, bias=bias, **options
            )
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
    LayerCase(
        name="pivoted",
        kind=PivotedLinear,
        in_features=12,
        out_features=10,
        compressed=lambda linear: PivotedLinear.from_dense(linear, rank=3),
        lossless=PivotedLinear.from_dense,
        kept=lambda linear, keep: PivotedLinear.from_dense(linear, keep=keep),
        random=lambda generator, bias: PivotedLinear.random(12, 10, rank=3, generator=generator, bias=bias),
    ),
    _site_case("mpo_2", MPOLinear, (5, 4), (3, 6), 4),
    _site_case("mpo_prime", MPOLinear, (7, 1), (1, 11), 3),
    _site_case("mpo_wide_first", MPOLinear, (2, 7), (3, 4), 5),
    _site_case("mpo_3", MPOLinear, (3, 2, 4), (2, 5, 2), 3),
    _site_case("mpo_4", MPOLinear, (2, 3, 2, 2), (3, 2, 1, 4), 4),
    _site_case("ring_2", TensorRingLinear, (5, 4), (3, 6), 3),
    _site_case("ring_3", TensorRingLinear, (2, 3, 3), (6, 2, 2), 3),
    _site_case("ring_4", TensorRingLinear, (2, 3, 2, 2), (3, 2, 1, 4), 2),
    _site_case("tucker_prime", TuckerLinear, (7, 1), (1, 11), 3),
    _site_case("tucker_2", TuckerLinear, (5, 4), (3, 6), 3),
    _site_case("tucker_3", TuckerLinear, (3, 2, 4), (2, 5, 2), 2),
    _block_case("blocks", 15, 12, grid=(3, 2)),
    _block_case("monarch", 12, 12, grid=(2, 4), strided=True),
    _site_case("tree_prime", TreeLinear, (7, 1, 1, 1), (1, 1, 1, 11), 3),
    _site_case("tree", TreeLinear, (2, 3, 2, 2), (3, 2, 1, 4), 3),
    _site_case("tree_wide_last", TreeLinear, (2, 1, 3, 4), (1, 2, 2, 3), 2),
]
