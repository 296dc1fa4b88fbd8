"""A low-rank layer that stores no parameter twice."""

from __future__ import annotations

from typing import Self, final

import torch
from torch import Tensor, nn

from qtn.decompositions.checks import working_copy
from qtn.decompositions.pivots import pivot_rows
from qtn.layers.base import AbstractTensorLayer, dense_parts
from qtn.layers.bonds import nearest_bonds
from qtn.layers.children import linear_child
from qtn.layers.low_rank import LowRankLinear
from qtn.layers.permutation import permuted
from qtn.metric import LayerMetric

_ROUNDING = 4.0


def pivoted_params(out_features: int, in_features: int, rank: int) -> int:
    """Parameters of the factors: the dimension of the set of matrices of this rank."""
    return rank * (out_features + in_features - rank)


@final
class PivotedLinear(AbstractTensorLayer):
    """A weight of low rank by `rank` of its own rows and what makes the other rows of them.

    weight = [rows; coefficients @ rows][places]. The bond between two low-rank factors can be transformed at will,
    which fixes rank^2 of their numbers: here these are an identity matrix and not stored. Parameters and
    multiply-adds per row are rank * (in + out - rank), below those of the dense layer at every rank
    below full, where the low-rank pair is larger than dense from rank in * out / (in + out) on.

    The factors are children of the type `torch.nn.Linear`. The places of the outputs are a buffer of out_features int32
    numbers: neither trained nor counted in `num_params`.

    Attributes:
        rows: From in_features to the rank: rows of the weight.
        coefficients: From the rank to the other out_features - rank rows.
        places: For each output, where it stands among those of the two.

    Source: J. Zhao, Y. Zhang, C. V. Cannistraci, Pivoting Factorization, ICML 2025, arXiv:2501.19090. The fit and
    the choice of the rows (`pivot_rows`) differ.
    """

    places: Tensor

    def __init__(
        self,
        rows: Tensor,  # shape: (rank, in_features)
        coefficients: Tensor,  # shape: (out_features - rank, rank)
        places: Tensor,  # shape: (out_features,)
        bias: Tensor | None = None,  # shape: (out_features,)
        *,
        discarded: float | None = None,
    ) -> None:
        if rows.ndim != 2 or coefficients.ndim != 2 or coefficients.shape[1] != len(rows):
            raise ValueError(
                "Arguments `rows` and `coefficients` must have shapes (rank, in_features) and "
                f"(out_features - rank, rank), but have {tuple(rows.shape)} and {tuple(coefficients.shape)}."
            )
        out_features = len(rows) + len(coefficients)
        if places.dtype.is_floating_point or places.shape != (out_features,):
            raise ValueError(
                f"Argument `places` must hold {out_features} integers, but has shape {tuple(places.shape)} "
                f"and dtype {places.dtype}."
            )
        super().__init__(rows.shape[1], out_features, bias, discarded)
        self.rows = linear_child(rows)
        self.coefficients = linear_child(coefficients)
        self.register_buffer("places", places.detach().int().clone())

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

        Args and errors: see `LowRankLinear.from_dense`; `keep` counts the numbers of this form, so that the rank
        is higher at the same count.

        Cost: that of `LowRankLinear.from_dense`, and `pivot_rows`.
        """
        weight, bias = dense_parts(source)
        if keep is not None:
            if rank is not None or cutoff:
                raise ValueError("Argument `keep` must stand without `rank` and `cutoff`, but one is given.")
            rank = pivoted_rank(weight.shape[0], weight.shape[1], keep)
        wide = weight if weight.dtype.itemsize > 2 else weight.float()
        layer = LowRankLinear.from_dense(wide, rank=rank, cutoff=cutoff, metric=metric)
        return cls.from_factors(layer.left.weight, layer.right.weight, bias, layer.discarded, weight.dtype)

    @classmethod
    def from_factors(
        cls,
        left: Tensor,  # shape: (out_features, rank)
        right: Tensor,  # shape: (rank, in_features)
        bias: Tensor | None = None,
        discarded: float | None = None,
        dtype: torch.dtype | None = None,
    ) -> Self:
        """The layer of weight `left` @ `right`, which may have a smaller rank than its factors have columns.

        Raises:
            TypeError: A factor is not of floating or complex dtype.
            ValueError: A factor holds NaN or infinity, or their shapes do not fit.
        """
        if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
            raise ValueError(
                "Arguments `left` and `right` must have shapes (out_features, rank) and (rank, in_features), "
                f"but have shapes {tuple(left.shape)} and {tuple(right.shape)}."
            )
        dtype = dtype or left.dtype
        left, right = working_copy(left.detach(), "left"), working_copy(right.detach(), "right")
        columns, core = torch.linalg.qr(right.mH)
        basis, values, core = torch.linalg.svd(left @ core.mH, full_matrices=False)
        # To the precision of the dtype: below are singular values that rounding makes of zeros.
        rank = int((values > _ROUNDING * len(left) ** 0.5 * torch.finfo(left.dtype).eps * values[0]).sum())
        if rank == 0:  # any row will do, for all are zero
            rank, left, right = 1, torch.ones_like(left[:, :1]), torch.zeros_like(right[:1])
        elif rank < left.shape[1]:
            left, right = basis[:, :rank], values[:rank, None] * core[:rank] @ columns.mH
        order, coefficients = pivot_rows(left)
        rows = left[order[:rank]] @ right
        return cls(rows.to(dtype), coefficients.to(dtype), order.argsort(), bias, discarded=discarded)

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
        """A fresh layer with the weight and bias of a `LowRankLinear.random` of this rank.

        Raises:
            ValueError: The rank is not between 1 and min(out_features, in_features).
        """
        layer = LowRankLinear.random(
            in_features, out_features, rank=rank, generator=generator, bias=bias, dtype=dtype, device=device
        )
        return cls.from_factors(layer.left.weight, layer.right.weight, layer.bias)

    def to_dense(self) -> Tensor:
        rows = self.rows.weight
        return torch.cat([rows, self.coefficients.weight @ rows]).index_select(0, self.places)

    @property
    def ranks(self) -> tuple[int, ...]:
        return (self.rows.out_features,)

    def flops(self, batch: int) -> int:
        per_multiply_add = 8 if self.rows.weight.is_complex() else 2
        return per_multiply_add * batch * pivoted_params(self.out_features, self.in_features, *self.ranks)

    def _multiply(self, x: Tensor) -> Tensor:
        first = self.rows(x)
        return permuted(torch.cat([first, self.coefficients(first)], dim=-1), self.places)


def pivoted_rank(out_features: int, in_features: int, keep: float) -> int:
    """The rank whose count of parameters is nearest to `keep` times that of the dense weight.

    Raises:
        ValueError: `keep` is out of reach; see `nearest_bonds`.
    """
    largest = min(out_features, in_features)
    (rank,) = nearest_bonds(
        lambda ranks: pivoted_params(out_features, in_features, ranks[0]),
        (largest,),
        out_features * in_features,
        keep,
    )
    return rank
