"""Weights in 8 or 4 bits after training: round to nearest, or GPTQ where there are statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from qtn.calibration.statistics import LayerStatistics
from qtn.decompositions.checks import working_copy
from qtn.layers import PivotedLinear
from qtn.layers.children import linear_child
from qtn.metric import LayerMetric
from qtn.replace import replace_linears
from qtn.storage.linears import chosen_cores, chosen_linears, modules_inside
from qtn.storage.quantized_linear import (
    QuantizedCores,
    QuantizedLinear,
    check_bits_and_group,
    pack,
)

_DAMPING = 1e-2  # of the mean diagonal of C, as in GPTQ

_SHIFT = 1e-6  # of the mean diagonal: draws coefficients to what they were where the rows say nothing

Codes = tuple[Tensor, Tensor, Tensor]  # codes (rows, columns), scales and zero points (rows, groups)


def quantize(
    model: nn.Module,
    bits: int = 8,
    group: int = 64,
    names: Sequence[str] | None = None,
    statistics: Mapping[str, LayerStatistics] | None = None,
) -> nn.Module:
    """A copy of a model whose linear layers store their weights in 8 or 4 bits; the original stays as it is.

    Each group of neighbouring weights of a row has a grid of 2^bits points, which reaches over the smallest and
    the largest weight and zero. Rounding to nearest then errs by at most half a step, and keeps zeros. With
    24 bits for each grid, groups of 64 take 8.375 or 4.375 bits a weight where rows are multiples of 64.

    The factors of tensor layers that are linear layers are stored so too, and so is each list of cores, as one
    row; factors that are other parameters stay as they are. Biases stay, and so does what is no linear
    layer: see `resident_bytes` for the outcome. It saves bytes and no time, see `QuantizedLinear`. For
    devices on which torchao has faster kernels, its `quantize_` with `Int8WeightOnlyConfig` takes linear factors
    as they are.

    Args:
        model: Any module.
        bits: 8 or 4.
        group: Weights that share a grid; the last group of a row may be shorter.
        names: Linear layers, or modules that stand for all inside. None takes all but those whose weight is
            shared with another module, which would no longer be tied.
        statistics: Of layers by name, as `collect` returns them. A linear layer in it is quantised by GPTQ in
            the metric of its inputs, and so are the factors of a low-rank layer in it, see
            `factor_statistics`; all others are rounded to nearest, cores too.

    Returns:
        The copy. Layers that were quantised before are left as they were.

    Raises:
        TypeError: A weight is complex.
        ValueError: `bits`, `group` or a name is bad, statistics are of no layer or of another size, or
            a weight holds NaN or infinity.

    Cost: one deep copy; with statistics in_features^2 * (in_features + out_features) multiply-adds for each layer.
    """
    check_bits_and_group(bits, group)
    known = {} if statistics is None else factor_statistics(model, statistics)

    def factory(name: str) -> Callable[[nn.Linear], nn.Module]:
        inputs = known[name].inputs if name in known else None
        return lambda linear: quantize_linear(linear, bits, group, inputs)

    chosen = chosen_linears(model, names)
    pivoted = {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, PivotedLinear) and {layer.rows, layer.coefficients} <= set(chosen.values())
    }
    apart = {factor for layer in pivoted.values() for factor in (layer.rows, layer.coefficients)}
    copied = replace_linears(
        model, {name: factory(name) for name, linear in chosen.items() if linear not in apart}
    )
    for name, layer in pivoted.items():
        inputs = statistics[name].inputs if statistics is not None and name in statistics else None
        rows, coefficients = _quantize_pivoted(layer, bits, group, inputs)
        copied.set_submodule(f"{name}.rows".removeprefix("."), rows)
        copied.set_submodule(f"{name}.coefficients".removeprefix("."), coefficients)
    for name, cores in chosen_cores(model, names).items():
        copied.set_submodule(name, _quantize_cores(list(cores), bits, group))
    return copied


def quantize_linear(
    linear: nn.Linear,
    bits: int = 8,
    group: int = 64,
    inputs: Tensor | None = None,  # shape: (in_features, in_features)
) -> QuantizedLinear:
    """One quantised layer: rounded to nearest, or by GPTQ if the covariance of its inputs is given.

    GPTQ rounds one column after the other and moves the error of each to the columns still to come, in the
    way that costs least in the metric C. A row where that turns out worse than rounding to nearest is
    rounded to nearest, so that tr(D C D^T) of the error D is at most that of rounding, in every row.

    Raises:
        TypeError: The weight is complex.
        ValueError: `bits` or `group` is bad, the weight is not finite, or C is not a covariance of this size.

    Source: E. Frantar, S. Ashkboos, T. Hoefler, D. Alistarh, GPTQ, ICLR 2023, arXiv:2210.17323, algorithm 1,
    with grids fitted to each group when its turn comes.
    """
    check_bits_and_group(bits, group)
    weight = _real(linear.weight.detach())
    parts = _round_to_nearest(weight, bits, group)
    if inputs is not None:
        parts = _better_rows(weight, parts, _gptq(weight, inputs, bits, group), inputs, group)
    codes, scales, zero_points = parts
    return QuantizedLinear(
        pack(codes, bits),
        scales,
        zero_points,
        linear.bias,
        in_features=linear.in_features,
        bits=bits,
        group=group,
        dtype=linear.weight.dtype,
    )


def factor_statistics(
    model: nn.Module, statistics: Mapping[str, LayerStatistics]
) -> dict[str, LayerStatistics]:
    """The given statistics, and those that follow for the factors of low-rank layers.

    A layer `name` with weight = L R, inputs x and output gradients g has factors `name.right` with inputs x and
    gradients L^T g, and `name.left` with inputs R x and gradients g. So statistics of the dense model serve
    the compressed one: the moments of `name.right` are C and L^T G L, those of `name.left` R C R^T and G.
    Factors of other layers are met by `collect` on the compressed model. Given ones are kept.

    Raises:
        ValueError: A name is not that of a module of the model, or the sizes of a low-rank layer are others.
    """
    modules_inside(model, list(statistics))
    derived: dict[str, LayerStatistics] = {}
    for name, each in statistics.items():
        layer = model.get_submodule(name)
        left, right = getattr(layer, "left", None), getattr(layer, "right", None)
        if not (type(left) is nn.Linear and type(right) is nn.Linear):
            continue
        sizes = (left.out_features, right.in_features)
        if (len(each.outputs), len(each.inputs)) != sizes:
            raise ValueError(
                f"Argument `statistics` must have outputs and inputs of sizes {sizes} for `{name}`, "
                f"but has {(len(each.outputs), len(each.inputs))}."
            )
        outer, inner = left.weight.detach().double(), right.weight.detach().double()
        prefix = f"{name}." if name else ""
        derived[f"{prefix}right"] = replace(each, outputs=outer.T @ each.outputs @ outer)
        derived[f"{prefix}left"] = replace(each, inputs=inner @ each.inputs @ inner.T)
    return {**derived, **statistics}


def _quantize_pivoted(
    layer: PivotedLinear, bits: int, group: int, inputs: Tensor | None
) -> tuple[QuantizedLinear, QuantizedLinear]:
    """The rows, and coefficients fitted anew to the rows as they are stored.

    What rounding does to a row would reach every output that is made of it. The least squares of those outputs on the
    stored rows, in the metric of the inputs, take back all of it that lies in the span of the rows.
    """
    rows = quantize_linear(layer.rows, bits, group, inputs)
    before, stored = layer.rows.weight.detach().double(), rows.weight.double()
    weighted = stored if inputs is None else stored @ inputs.double()
    gram = weighted @ stored.T
    size = gram.diagonal().mean()
    shift = (
        _SHIFT * torch.where(size > 0, size, 1.0) * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    )
    old = layer.coefficients.weight.detach().double()
    fitted = torch.linalg.solve(gram + shift, (old @ (before @ weighted.T + shift)).T).T
    again = linear_child(fitted.to(layer.coefficients.weight.dtype))
    return rows, quantize_linear(again, bits, group, None if inputs is None else gram)


def _quantize_cores(cores: Sequence[Tensor], bits: int, group: int) -> QuantizedCores:
    """The cores one after the other in one row."""
    row = torch.cat([_real(core.detach()).flatten() for core in cores])[None]
    codes, scales, zero_points = _round_to_nearest(row, bits, group)
    return QuantizedCores(
        pack(codes, bits),
        scales,
        zero_points,
        shapes=[tuple(core.shape) for core in cores],
        bits=bits,
        group=group,
        dtype=cores[0].dtype,
    )


def _real(weight: Tensor) -> Tensor:
    """The finite real weight in float64."""
    working = working_copy(weight, "weight")
    if working.is_complex():
        raise TypeError(f"Argument `weight` must be real to be quantised, but has {weight.dtype}.")
    return working.double()


def _round_to_nearest(weight: Tensor, bits: int, group: int) -> Codes:
    parts = []
    for block in weight.split(group, dim=1):
        scale, zero_point = _grid(block, bits)
        parts.append((_codes(block, scale, zero_point, bits), scale, zero_point))
    codes, scales, zero_points = zip(*parts, strict=True)
    return torch.cat(codes, dim=1), torch.cat(scales, dim=1), torch.cat(zero_points, dim=1)


def _gptq(weight: Tensor, inputs: Tensor, bits: int, group: int) -> Codes:
    """GPTQ, a group at a time: errors reach later groups in one product, the lazy batches of the paper."""
    size = weight.shape[1]
    if inputs.shape != (size, size):
        raise ValueError(
            f"Argument `inputs` must have shape ({size}, {size}), but has shape {tuple(inputs.shape)}."
        )
    damped = LayerMetric(inputs, None, _DAMPING).whiten(
        torch.eye(size, dtype=torch.float64, device=weight.device)
    )
    inverse = torch.cholesky_inverse(damped)
    factor = torch.linalg.cholesky(inverse, upper=True)
    rest = weight.clone()
    parts = []
    for start in range(0, size, group):
        stop = min(start + group, size)
        scale, zero_point = _grid(rest[:, start:stop], bits)
        codes, errors = [], []
        for column in range(start, stop):
            value = rest[:, column : column + 1]
            code = _codes(value, scale, zero_point, bits)
            error = (value - _values(code, scale, zero_point)) / factor[column, column]
            rest[:, column:stop] -= error * factor[column, column:stop]
            codes.append(code)
            errors.append(error)
        rest[:, stop:] -= torch.cat(errors, dim=1) @ factor[start:stop, stop:]
        parts.append((torch.cat(codes, dim=1), scale, zero_point))
    codes, scales, zero_points = zip(*parts, strict=True)
    return torch.cat(codes, dim=1), torch.cat(scales, dim=1), torch.cat(zero_points, dim=1)


def _better_rows(weight: Tensor, one: Codes, other: Codes, inputs: Tensor, group: int) -> Codes:
    """Row by row whichever errs less in the metric of the inputs."""

    def errors(parts: Codes) -> Tensor:
        codes, *grids = parts
        scales, zero_points = (each.repeat_interleave(group, dim=1)[:, : codes.shape[1]] for each in grids)
        difference = weight - _values(codes, scales, zero_points)
        return ((difference @ inputs.double()) * difference).sum(dim=1, keepdim=True)

    better = errors(other) < errors(one)
    codes, scales, zero_points = (torch.where(better, b, a) for a, b in zip(one, other, strict=True))
    return codes, scales, zero_points


def _grid(block: Tensor, bits: int) -> tuple[Tensor, Tensor]:  # shapes: (rows, 1) each
    """The step in bfloat16, rounded up so that no weight is out of reach, and the code of zero."""
    low = block.amin(dim=1, keepdim=True).clamp_max(0.0)
    high = block.amax(dim=1, keepdim=True).clamp_min(0.0)
    exact = (high - low) / (2**bits - 1)
    scale = exact.to(torch.bfloat16)
    scale = torch.where(
        scale.double() < exact, torch.nextafter(scale, torch.full_like(scale, torch.inf)), scale
    )
    scale = torch.where(exact == 0.0, torch.ones_like(scale), scale)
    if not bool(torch.isfinite(scale).all()):
        raise ValueError(
            f"Argument `weight` must have entries that float32 can hold, but has {float(high.max()):.3g}."
        )
    return scale, (-low / scale.double()).round().to(torch.uint8)


def _codes(block: Tensor, scale: Tensor, zero_point: Tensor, bits: int) -> Tensor:
    return ((block / scale.double()).round() + zero_point).clamp(0, 2**bits - 1).to(torch.uint8)


def _values(codes: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    return (codes.double() - zero_point.double()) * scale.double()
