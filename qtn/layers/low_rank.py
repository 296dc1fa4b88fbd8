"""The simplest tensor layer: two thin matrices for a wide one."""

from __future__ import annotations

from typing import Self, final

import torch
from torch import Tensor, nn

from qtn.decompositions import truncated_svd, whitened_svd
from qtn.layers.base import AbstractTensorLayer, dense_parts, random_factor
from qtn.layers.bonds import bonds_for_keep
from qtn.layers.children import linear_child
from qtn.metric import LayerMetric


@final
class LowRankLinear(AbstractTensorLayer):
    """weight = left.weight @ right.weight: two linear layers without bias, one after the other.

    Parameters and multiply-adds per row are both rank * (in_features + out_features), so the layer is smaller
    and does less work than the dense one as soon as the rank is below in * out / (in + out). The factors are
    of the type `torch.nn.Linear` and are called as such: what quantises, adapts or shards linear layers works on them.

    Attributes:
        right: From in_features to the rank, applied first.
        left: From the rank to out_features; `bias` is added after it and belongs to the layer.
    """

    def __init__(
        self,
        left: Tensor,  # shape: (out_features, rank)
        right: Tensor,  # shape: (rank, in_features)
        bias: Tensor | None = None,  # shape: (out_features,)
        *,
        discarded: float | None = None,
    ) -> None:
        if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
            raise ValueError(
                "Arguments `left` and `right` must have shapes (out_features, rank) and (rank, in_features), "
                f"but have shapes {tuple(left.shape)} and {tuple(right.shape)}."
            )
        super().__init__(right.shape[1], left.shape[0], bias, discarded)
        self.right = linear_child(right)
        self.left = linear_child(left)

    @classmethod
    def from_dense(
        cls,
        source: nn.Linear | Tensor,
        *,
        rank: int | None = None,
        keep: float | None = None,
        cutoff: float = 0.0,
        metric: LayerMetric | None = None,
    ) -> Self:
        """The layer of a given rank nearest to a dense one, in the Frobenius norm or in a metric.

        Args:
            source: A linear layer, or a weight (out_features, in_features).
            rank: Largest rank, at most min(out_features, in_features).
            keep: Parameters of the factors as a fraction of those of the weight, instead of a rank: the rank
                with the nearest count is taken.
            cutoff: Largest relative weight that may be discarded; not with `keep`.
            metric: What the loss says of the layer, for a real weight: the damped norm then takes the place
                of the Frobenius norm, also in `cutoff` and in the `discarded` of the layer.

        Returns:
            The layer. Without `rank`, `keep` and `cutoff` it has full rank and is equal to the dense one.

        Raises:
            TypeError: See `AbstractTensorLayer.from_dense`.
            ValueError: The same, a bad rank, `keep` together with `rank` or `cutoff`, or a metric of other sizes.

        Cost: one singular value decomposition of the weight.

        Source: C. Eckart, G. Young, Psychometrika 1, 211 (1936), doi:10.1007/BF02288367; with a metric, `whitened_svd`.
        """
        weight, bias = dense_parts(source)
        if keep is not None:
            if rank is not None or cutoff:
                raise ValueError("Argument `keep` must stand without `rank` and `cutoff`, but one is given.")
            (rank,) = bonds_for_keep(tuple(weight.shape), keep)
        if rank is not None:
            _check_rank(rank, *weight.shape)
        if metric is None:
            left, right, discarded = truncated_svd(weight, max_bond=rank, cutoff=cutoff)
        else:
            left, right, discarded, _ = whitened_svd(weight, metric, max_bond=rank, cutoff=cutoff)
        return cls(left, right, bias, discarded=discarded)

    @classmethod
    def random(
        cls,
        in_features: int,
        out_features: int,
        *,
        rank: int,
        generator: torch.Generator,
        bias: bool = True,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> Self:
        """A fresh layer whose dense weight and bias have the variance of a new `torch.nn.Linear`.

        That is 1 / (3 * in_features), for which the factors' entries have variance sqrt(that / rank).

        Raises:
            ValueError: The rank is not between 1 and min(out_features, in_features).
        """
        _check_rank(rank, out_features, in_features)
        dense_variance = 1.0 / (3 * in_features)
        variance = (dense_variance / rank) ** 0.5

        def draw(shape: tuple[int, ...], value: float) -> Tensor:
            return random_factor(shape, value, generator=generator, dtype=dtype, device=device)

        left, right = draw((out_features, rank), variance), draw((rank, in_features), variance)
        return cls(left, right, draw((out_features,), dense_variance) if bias else None)

    def to_dense(self) -> Tensor:
        return self.left.weight @ self.right.weight

    @property
    def ranks(self) -> tuple[int, ...]:
        return (self.left.in_features,)

    def flops(self, batch: int) -> int:
        per_multiply_add = 8 if self.left.weight.is_complex() else 2
        return per_multiply_add * batch * self.ranks[0] * (self.in_features + self.out_features)

    def _multiply(self, x: Tensor) -> Tensor:
        return self.left(self.right(x))


def _check_rank(rank: int, out_features: int, in_features: int) -> None:
    """Refuse a rank that no matrix of this shape has."""
    largest = min(out_features, in_features)
    if not 1 <= rank <= largest:
        raise ValueError(
            f"Argument `rank` must be between 1 and min(out_features, in_features) = {largest}, "
            f"but is {rank}."
        )
