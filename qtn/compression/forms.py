"""The forms that the weight of a linear layer can take, what each costs and how far each is from the weight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from qtn.calibration.matrices import MatrixLayer, matrix_of, with_matrix
from qtn.compression.fitting import fit_in_metric
from qtn.compression.whitened_start import whitened_start
from qtn.layers import (
    AbstractTensorLayer,
    BlockLowRankLinear,
    LowRankConv2d,
    LowRankLinear,
    MPOLinear,
    PivotedLinear,
    TensorRingLinear,
    TreeLinear,
    Tucker2Conv2d,
    TuckerLinear,
    pivoted_params,
)
from qtn.metric import LayerMetric

DENSE = "dense"
_NUM_RANKS = 72  # offered of each matrix: what is lost by a coarser choice is below a percent of a budget
_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)

Fit = Callable[[MatrixLayer, LayerMetric], nn.Module]
Structure = Callable[[MatrixLayer, LayerMetric], Iterator["Form"]]


@dataclass(frozen=True, kw_only=True)
class Form:
    """One way to store a weight."""

    name: str
    """The structure, and the rank or share where it has one: "pivoted 96"."""
    loss: float
    """Half the squared distance to the weight in the damped metric: nats per row of the layer."""
    costs: Mapping[str, float]
    """Parameters, bytes, operations (multiply-adds a row) and communicated bytes; the bias is in none."""
    fit: Fit
    """Makes the layer for a weight, which need not be the one that the loss was found for."""


def forms_of(layer: MatrixLayer, metric: LayerMetric, structures: Sequence[str]) -> dict[str, Form]:
    """The dense form of a layer and those of the given structures, by name.

    Args:
        layer: Linear or convolutional; left as it is.
        metric: What the loss says of it, as a matrix.
        structures: Names in `STRUCTURES`. A convolution has "low_rank", which also stands for "pivoted", and "tucker".

    Raises:
        ValueError: The weight holds NaN or infinity.

    Cost: for low ranks one set of singular values of the weight for all ranks together; for each other structure
    eight fits, which take a hundred times as long.
    """
    forms = {DENSE: Form(name=DENSE, loss=0.0, costs=_costs(layer, layer.weight.numel()), fit=_dense)}
    for structure in structures:
        forms |= {form.name: form for form in STRUCTURES[structure](layer, metric)}
    return forms


def _costs(
    layer: MatrixLayer, parameters: int, operations: int | None = None, index: int = 0
) -> dict[str, float]:
    """Costs by name; what is not trained, an index of int32, counts as a parameter and is not communicated."""
    itemsize = layer.weight.dtype.itemsize
    return {
        "parameters": parameters + index,
        "bytes": parameters * itemsize + index * 4,
        "operations": parameters if operations is None else operations,
        "communicated_bytes": 2 * parameters * itemsize,
    }


def _dense(layer: MatrixLayer, metric: LayerMetric) -> nn.Module:
    return with_matrix(layer, matrix_of(layer).detach().clone())


def _tails(layer: MatrixLayer, metric: LayerMetric) -> list[float]:
    """Loss at every rank from 0 to full."""
    # Single precision is enough: the singular values that matter are far above its rounding.
    values = torch.linalg.svdvals(metric.whiten(matrix_of(layer).detach()).float()).double()
    squares = torch.cat([values.square(), values.new_zeros(1)])
    return (0.5 * squares.flip(0).cumsum(0).flip(0)).tolist()


def _ranks(layer: MatrixLayer, parameters: Callable[[int], int]) -> list[int]:
    """Ranks, evenly spaced, at which a form has fewer parameters than the dense weight."""
    full = min(matrix_of(layer).shape)
    step = max(1, full // _NUM_RANKS)
    return [rank for rank in range(step, full, step) if parameters(rank) < layer.weight.numel()]


def _pivoted(layer: MatrixLayer, metric: LayerMetric) -> Iterator[Form]:
    if isinstance(layer, nn.Conv2d):
        yield from _low_rank(layer, metric)
        return
    num_outputs, num_inputs = layer.weight.shape
    tails = _tails(layer, metric)
    for rank in _ranks(layer, lambda rank: pivoted_params(num_outputs, num_inputs, rank) + num_outputs):
        yield Form(
            name=f"pivoted {rank}",
            loss=tails[rank],
            costs=_costs(layer, pivoted_params(num_outputs, num_inputs, rank), index=num_outputs),
            fit=partial(_at_rank, rank, PivotedLinear),
        )


def _low_rank(layer: MatrixLayer, metric: LayerMetric) -> Iterator[Form]:
    size = sum(matrix_of(layer).shape)
    tails = _tails(layer, metric)
    for rank in _ranks(layer, lambda rank: rank * size):
        yield Form(
            name=f"low_rank {rank}",
            loss=tails[rank],
            costs=_costs(layer, rank * size),
            fit=partial(_at_rank, rank, LowRankConv2d if isinstance(layer, nn.Conv2d) else LowRankLinear),
        )


def _at_rank(rank: int, kind: Any, layer: MatrixLayer, metric: LayerMetric) -> nn.Module:
    return kind.from_dense(layer, rank=rank, metric=metric)


def _fitted(name: str, start: Callable[[Any, LayerMetric, float], Any]) -> Structure:
    """The forms of a structure whose fit has no closed form, at shares of the parameters of the dense weight."""

    def fit(share: float, layer: MatrixLayer, metric: LayerMetric) -> nn.Module:
        fitted = start(layer, metric, share)
        if isinstance(fitted, AbstractTensorLayer):
            fit_in_metric(fitted, layer.weight.detach(), metric)
        return fitted

    def forms(layer: MatrixLayer, metric: LayerMetric) -> Iterator[Form]:
        for share in _SHARES:
            try:
                fitted: Any = fit(share, layer, metric)
            except ValueError:
                continue  # for sites of these sizes there is no such share
            missed = matrix_of(layer).detach() - fitted.to_dense().detach().flatten(1)
            yield Form(
                name=f"{name} {share:g}",
                loss=0.5 * float(metric.whiten(missed).square().sum()),
                costs=_costs(layer, round(fitted.kept * layer.weight.numel()), _operations(fitted)),
                fit=partial(fit, share),
            )

    return forms


def _operations(layer: Any) -> int:
    """Multiply-adds a row; of a convolution, for one patch."""
    if isinstance(layer, AbstractTensorLayer):
        return layer.flops(1) // 2
    return sum(link.weight.numel() for link in layer.links)


def _near_degenerate(layer: Any, metric: LayerMetric, share: float) -> nn.Module:
    """Two sites, of which the first holds two inputs and the second two outputs."""
    num_outputs, num_inputs = layer.weight.shape
    if num_outputs % 2 or num_inputs % 2:
        raise ValueError("Sites of two need even numbers of features.")
    sites = {"out_sites": (num_outputs // 2, 2), "in_sites": (2, num_inputs // 2)}
    return whitened_start(MPOLinear, layer, metric, keep=share, **sites)


def _mpo(layer: Any, metric: LayerMetric, share: float) -> nn.Module:
    return whitened_start(MPOLinear, layer, metric, keep=share)


def _tensor_ring(layer: Any, metric: LayerMetric, share: float) -> nn.Module:
    return whitened_start(TensorRingLinear, layer, metric, keep=share)


def _plain(kind: type[AbstractTensorLayer]) -> Callable[[Any, LayerMetric, float], nn.Module]:
    return lambda layer, metric, share: kind.from_dense(layer, keep=share)


def _tucker(layer: Any, metric: LayerMetric, share: float) -> nn.Module:
    kind: Any = Tucker2Conv2d if isinstance(layer, nn.Conv2d) else TuckerLinear
    return kind.from_dense(layer, keep=share)


def _linear_only(structure: Structure) -> Structure:
    return lambda layer, metric: structure(layer, metric) if isinstance(layer, nn.Linear) else iter(())


STRUCTURES: Mapping[str, Structure] = {
    "pivoted": _pivoted,
    "low_rank": _low_rank,
    "mpo": _linear_only(_fitted("mpo", _mpo)),
    "near_degenerate_mpo": _linear_only(_fitted("near_degenerate_mpo", _near_degenerate)),
    "tensor_ring": _linear_only(_fitted("tensor_ring", _tensor_ring)),
    "block_low_rank": _linear_only(_fitted("block_low_rank", _plain(BlockLowRankLinear))),
    "tree": _linear_only(_fitted("tree", _plain(TreeLinear))),
    "tucker": _fitted("tucker", _tucker),
}
"""What makes the forms of each structure, by its name."""
