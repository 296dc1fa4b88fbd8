"""The best approximation of a layer's weight by one of lower rank, as the loss sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qtn.decompositions.checks import check_cutoff, check_max_bond, working_copy
from qtn.decompositions.svd import leading_svd, truncated_svd

if TYPE_CHECKING:
    from qtn.metric import LayerMetric


def whitened_svd(
    weight: Tensor,  # shape: (out_features, in_features)
    metric: LayerMetric,
    *,
    max_bond: int | None = None,
    cutoff: float = 0.0,
) -> tuple[Tensor, Tensor, float, Tensor]:
    """Two factors whose product is, at their rank, nearest to a weight in the damped metric of its layer.

    The truncated singular value decomposition of the whitened weight, brought back. The two factors are
    balanced: left^T left = right right^T, as of `truncated_svd`.

    Args:
        weight: Real, on the device of the metric. Half precision is decomposed in float32 and cast back;
            whitening and its inverse are done in float64.
        metric: What whitens it; `LayerMetric(None, None)` gives the best approximation in the Frobenius norm.
        max_bond: Largest rank. None sets no limit.
        cutoff: Largest relative weight, in the metric, that may be discarded. At least rank 1 is kept.

    Returns:
        `left` (out_features, rank) and `right` (rank, in_features) in the dtype of the weight; `discarded`, the
        squared distance over the squared norm of the weight, in the damped metric and before any casting
        back; and all singular values (min(out_features, in_features),) of the whitened weight in falling
        order and float64. These predict every rank: `values[rank:].square().sum() / 2` is the loss change per
        row at that rank, with the damping counted in, and so a bound on `metric.loss_change`.

    Raises:
        TypeError: The weight is complex or not of floating dtype.
        ValueError: Its shape is not that of the layer, NaN or infinity, or a bad `max_bond` or `cutoff`.

    Cost: one thin singular value decomposition of the weight, one of (rank, rank), and triangular solves.

    Source: the theorem of Eckart and Young (see `leading_svd`) in transformed coordinates. For the inputs X. Wang et
    al., SVD-LLM, ICLR 2025, arXiv:2403.07378; for both sides compare IO-SVD, arXiv:2605.15626.
    """
    check_max_bond(max_bond)
    check_cutoff(cutoff)
    whitened = metric.whiten(weight).to(working_copy(weight, "weight").dtype)
    left, values, right, _ = leading_svd(whitened)
    weights = values.detach().double().square()
    # tails[r] is the weight discarded at rank r; summed from the smallest up.
    tails = weights.flip(0).cumsum(0).flip(0)
    total = float(tails[0])
    bond = int((tails > cutoff * total).sum()) if cutoff > 0.0 else len(values)
    bond = max(min(bond, len(values) if max_bond is None else max_bond), 1)
    discarded = float(tails[bond]) / total if bond < len(values) and total > 0.0 else 0.0
    factors = _balanced(
        metric.unwhiten_outputs(left[:, :bond] * values[:bond]), metric.unwhiten_inputs(right[:bond])
    )
    return factors[0].to(weight.dtype), factors[1].to(weight.dtype), discarded, values.detach().double()


def _balanced(
    left: Tensor,  # shape: (rows, rank)
    right: Tensor,  # shape: (rank, columns)
) -> tuple[Tensor, Tensor]:
    """Factors of the same product with left^T left = right right^T."""
    rows, left_core = torch.linalg.qr(left)
    columns, right_core = torch.linalg.qr(right.T)
    first, second, _ = truncated_svd(left_core @ right_core.T)
    return rows @ first, second @ columns.T
