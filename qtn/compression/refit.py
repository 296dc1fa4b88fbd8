"""Layers fitted one after the other, each to what the dense model gives, on what the compressed model feeds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qtn.calibration.batches import Batch, without_padding
from qtn.calibration.matrices import (
    MatrixLayer,
    as_matrix_layer,
    input_rows,
    matrix_of,
    output_rows,
    with_matrix,
)
from qtn.calibration.precision import at_least_single
from qtn.calibration.statistics import LayerStatistics
from qtn.compression.forms import Form
from qtn.compression.stack import Call, Trace, traced
from qtn.metric import LayerMetric
from qtn.storage.quantization import quantize

_LEAST_RIDGE = 1e-10
_CONSTANT = 1e-12
_EXACT = 1e-3  # relative: single precision through a block leaves less


@dataclass(frozen=True, kw_only=True)
class Target:
    """What one layer aims at."""

    name: str
    weight: Tensor
    """Of the least squares."""
    covariance: Tensor
    """Of the inputs it is given by the compressed model: around their mean if the layer has a bias, else around 0."""
    mean: Tensor
    """Of these inputs."""
    output_mean: Tensor
    """Of the output aimed at, without the bias of the dense layer."""


@torch.no_grad()
def refit_block(
    dense: nn.Module,
    student: nn.Module,
    dense_calls: Sequence[Call],
    student_calls: Sequence[Call],
    forms: Mapping[str, Form],
    outputs: Mapping[str, Tensor],
    *,
    batches: Sequence[Batch],
    damping: float,
    ridge: float,
    bits: int | None = None,
) -> list[Tensor | None]:
    """Put layers of given forms into a copy of a block, and return what the dense block makes of its calls.

    In the order in which the block calls them, each layer aims at what its dense counterpart gave on the inputs of the
    dense model, while it is fed what the compressed model feeds it by then: the weight of least squares, drawn to the
    dense one where inputs say nothing, takes the place of the dense weight in the fit, and a bias takes care of the
    means. Where the output of a layer is added to a stream, it aims at the dense stream. So errors of earlier layers
    are made good as far as a linear map can.

    Args:
        dense: The block as it was.
        student: A copy, changed in place; earlier blocks have been done.
        dense_calls: What the dense model calls the block with, for each batch.
        student_calls: What the compressed model calls it with.
        forms: For layers of the block by name, what they become. One that is called more than once a batch, or not
            at all, is left as it is.
        outputs: For the same layers, E[g g^T] as of `collect`.
        batches: Those of the calls, for their `attention_mask`: rows of padding play no part.
        damping: Of the metric of the fits, as in `LayerMetric`.
        ridge: How strongly the least squares are drawn to the dense weight, in units of the mean variance of the
            inputs.
        bits: 8 or 4 to store each layer in integers once it is fitted, see `quantize`: the layers after it then make
            good what rounding did. None keeps floating point.

    Raises:
        ValueError: As of `LayerMetric` and the fits.

    Cost: a forward pass of the dense block, one of the copy for every group of layers with the same inputs, stopped
    where the group begins or lands, one for each layer on one batch, and for each row and layer about
    in_features * (in_features + 2 out_features) multiply-adds.

    Source: the least squares are those of the methods called AA-SVD and, without a stream, M in J. Zhao et al.,
    arXiv:2501.19090.
    """
    layers = {name: as_matrix_layer(dense.get_submodule(name)) for name in forms}
    names = list(forms)
    landings = _landings(dense, dense_calls[0], names)
    places = sorted({*names, *(place for place in landings.values() if place)})
    traces = [traced(dense, call, places) for call in dense_calls]
    for group in _groups(traces, names, landings):
        for target in _least_squares(layers, student, traces, student_calls, batches, group, landings, ridge):
            name = target.name
            try:
                metric = LayerMetric(target.covariance, outputs[name], damping)
                layer = forms[name].fit(with_matrix(layers[name], target.weight), metric)
            except ValueError as error:
                raise ValueError(f"Layer `{name}` cannot be compressed: {error}") from error
            if bits is not None:
                known = LayerStatistics(inputs=target.covariance, outputs=outputs[name], num_rows=0)
                layer = _quantized(layer, bits, known)
            _shift_bias(layer, target)  # of the weight as it is stored
            layer.train(student.get_submodule(name).training)
            student.set_submodule(name, layer)
    return [trace.result for trace in traces]


def _quantized(layer: nn.Module, bits: int, known: LayerStatistics) -> nn.Module:
    """The layer in integers, in the metric of the inputs that it is given by the compressed model."""
    parts = [part for part, module in layer.named_modules() if type(module) is nn.Linear]
    return quantize(layer, bits, names=parts, statistics={"": known}) if parts else quantize(layer, bits)


def _groups(
    traces: Sequence[Trace], names: Sequence[str], landings: Mapping[str, str | None]
) -> list[list[str]]:
    """The layers in the order of their calls, those that are given one and the same tensor together.

    Not those that land at one place: each would make good the whole error there.
    """
    inputs = traces[0].inputs
    groups: list[list[str]] = []
    for name in (name for name in inputs if name in names and all(name in each.inputs for each in traces)):
        taken = {landings[other] for other in groups[-1]} - {None} if groups else set()
        if groups and inputs[groups[-1][0]] is inputs[name] and landings[name] not in taken:
            groups[-1].append(name)
        else:
            groups.append([name])
    return groups


def _least_squares(
    layers: Mapping[str, MatrixLayer],
    student: nn.Module,
    traces: Sequence[Trace],
    student_calls: Sequence[Call],
    batches: Sequence[Batch],
    group: Sequence[str],
    landings: Mapping[str, str | None],
    ridge: float,
) -> Iterator[Target]:
    """What each layer of a group aims at."""
    first, places = group[0], {landings[name] for name in group} - {None}
    # The block runs no further than needed: to the layers, or to where their output lands.
    stop = None if "" in places or len(places) > 1 else next(iter(places), first)
    centre: Tensor | None = None
    covariance: Tensor | float = 0.0
    crosses: dict[str, Tensor | float] = dict.fromkeys(group, 0.0)
    num_rows = 0
    sums: Tensor | float = 0.0
    means: dict[str, Tensor | float] = dict.fromkeys(group, 0.0)
    for dense_trace, call, batch in zip(traces, student_calls, batches, strict=True):
        trace = traced(student, call, [first, *(place for place in places if place)], stop=stop)
        if first not in trace.inputs or trace.inputs[first].shape != dense_trace.inputs[first].shape:
            return  # rows are routed otherwise: there is no target for each
        fed = trace.inputs[first]
        given = at_least_single(without_padding(input_rows(layers[first], fed), fed, batch))
        if not len(given):
            continue  # nothing but padding
        if centre is None:
            # Any place near the mean: in single precision a large mean would drown what varies.
            centre = given.double().mean(0).to(given.dtype)
        around = given - centre
        num_rows += len(given)
        covariance = (around.T @ around).double() + covariance
        sums = around.double().sum(0) + sums
        for name in group:
            matrix = at_least_single(matrix_of(layers[name]))
            theirs = input_rows(layers[name], dense_trace.inputs[name])
            target = at_least_single(without_padding(theirs, fed, batch)) @ matrix.T
            if (place := landings[name]) is not None:
                # The copy still has the dense weight here.
                change = at_least_single(dense_trace.at(place)) - at_least_single(trace.at(place))
                target = without_padding(output_rows(layers[name], change), fed, batch) + given @ matrix.T
            crosses[name] = (target.T @ around).double() + crosses[name]
            means[name] = target.double().sum(0) + means[name]
    if centre is None:
        return
    assert isinstance(covariance, Tensor) and isinstance(sums, Tensor)
    offset = sums / num_rows
    mean = centre.double() + offset
    for name in group:
        target_mean = means[name] / num_rows
        assert isinstance(target_mean, Tensor)
        spread = covariance / num_rows - torch.outer(offset, offset)
        cross = crosses[name] / num_rows - torch.outer(target_mean, offset)
        # A bias takes care of the means, at no cost: what is left to fit varies around them, if anything varies.
        if layers[name].bias is None or spread.trace() <= _CONSTANT * mean.square().sum():
            spread, cross = spread + torch.outer(mean, mean), cross + torch.outer(target_mean, mean)
        variance = spread.diagonal().mean()
        if variance <= 0:
            continue  # all inputs are zero
        shift = max(ridge, _LEAST_RIDGE) * variance
        damped = spread + shift * torch.eye(len(spread), dtype=spread.dtype, device=spread.device)
        right_side = cross + shift * matrix_of(layers[name]).double()
        weight = torch.cholesky_solve(right_side.T, torch.linalg.cholesky(damped)).T
        yield Target(name=name, weight=weight, covariance=spread, mean=mean, output_mean=target_mean)


def _shift_bias(layer: nn.Module, target: Target) -> None:
    """Move the bias so that the mean of the output is that aimed at."""
    bias = getattr(layer, "bias", None)
    if isinstance(bias, Tensor):
        missed = target.output_mean - _weight_of(layer).detach().flatten(1).double() @ target.mean
        bias.data.add_(missed.to(bias.dtype))


def _weight_of(layer: nn.Module) -> Tensor:
    return layer.to_dense() if hasattr(layer, "to_dense") else layer.weight  # pyright: ignore


def _landings(block: nn.Module, call: Call, names: Sequence[str]) -> dict[str, str | None]:
    """Where the output of each layer lands.

    That is the last module whose input, or "" for the block if its result, is the output plus something else. Found
    by a change of the output: where the same change arrives, it was added. None if there is no such place.
    """
    before = traced(block, call, [name for name, _ in block.named_modules() if name])
    return {name: _landing(block, call, name, before) for name in names}


def _landing(block: nn.Module, call: Call, name: str, before: Trace) -> str | None:
    if name not in before.inputs or before.result is None:
        return None
    with _shifted(block.get_submodule(name)) as shifts:
        after = traced(block, call, list(before.inputs))
    if len(shifts) != 1 or not shifts[0].any():
        return None
    tolerance = max(_EXACT, 16 * torch.finfo(shifts[0].dtype).eps)
    for place in ["", *reversed(list(before.inputs))]:
        old, new = before.at(place), after.at(place) if place == "" or place in after.inputs else None
        if new is None or old.shape != shifts[0].shape or old.dtype != shifts[0].dtype:
            continue
        if (new - old - shifts[0]).norm() <= tolerance * shifts[0].norm():
            return place
    return None


@contextmanager
def _shifted(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Add a change of its own size to the output of a layer; the changes made are in the list."""
    shifts: list[Tensor] = []

    def hook(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor:
        # The output in another order: of the right size, and nothing that a nonlinear function would pass on.
        shifts.append(output.roll(1, -1).flip(-2) if output.ndim > 1 else output.roll(1, -1))
        return output + shifts[-1]

    handle = layer.register_forward_hook(hook)
    try:
        yield shifts
    finally:
        handle.remove()
