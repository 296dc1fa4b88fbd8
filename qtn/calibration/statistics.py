"""What calibration data say about the linear and convolutional layers of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from qtn.calibration.batches import without_padding
from qtn.calibration.matrices import MatrixLayer, input_rows, is_matrix_layer, matrix_of, output_rows
from qtn.calibration.precision import at_least_single
from qtn.calibration.recording import evaluation
from qtn.metric import LayerMetric

Batch = TypeVar("Batch")


@dataclass(frozen=True, kw_only=True)
class LayerStatistics:
    """Second moments of one layer over calibration rows, not centred; the rows of a convolution are patches.

    Attributes:
        inputs: E[x x^T] of shape (in_features, in_features), float64.
        outputs: E[g g^T] of shape (out_features, out_features), float64; g is the gradient of the loss with
            respect to one row of the output.
        num_rows: Number of rows in both means.
    """

    inputs: Tensor
    outputs: Tensor
    num_rows: int

    def metric(self, damping: float = 1e-2) -> LayerMetric:
        """The metric of these moments; see `LayerMetric` for what it raises."""
        return LayerMetric(self.inputs, self.outputs, damping)


@torch.inference_mode(False)
@torch.enable_grad()
def collect(
    model: nn.Module,
    batches: Iterable[Batch],
    loss: Callable[[nn.Module, Batch], Tensor],
    names: Sequence[str] | None = None,
) -> dict[str, LayerStatistics]:
    """The second moments of inputs and output gradients of layers, over batches of calibration data.

    The model is run in evaluation mode, so that dropout draws nothing and running means stay; parameters,
    their gradients, hooks and modes are afterwards as they were, whatever happens. Frozen parameters are
    no hindrance. A row is one index of all axes but the last: a token, where inputs have shape (batch, length,
    features). Padding, by the `attention_mask` of a batch, is left out where a layer has its rows; other rows whose
    output does not enter the loss count with gradient zero. A layer that is called
    several times sees the rows of all calls; one that stands in the model under several names has the same
    statistics under all of them.

    Args:
        model: Any module.
        batches: Whatever `loss` understands; read once, one batch at a time.
        loss: Given the model and a batch, the *sum* of the loss over the rows, a scalar; a mean over n rows
            would make gradients n times too small. For `outputs` to be the Fisher matrix, labels must be drawn
            from the model's own predictions, which is up to this function.
        names: Layers, as in `model.named_modules()`; of the very type `torch.nn.Linear`, as `replace_linears`
            takes them, or convolutions, see `is_matrix_layer`. None takes all.

    Returns:
        For each name, statistics on the device of the layer.

    Raises:
        ValueError: A name is not that of a linear layer, there is none, the loss is not a real scalar, an
            input, output or gradient holds NaN or infinity, or no row or no gradient reached a layer; the
            message names the layers.

    Cost: a forward and a backward pass for each batch; in_features^2 + out_features^2 multiply-adds for each row and
    layer, in the precision of the model, those of inputs once where layers share them; memory for the same number
    of float64 values for each layer, and twice the outputs of the layers for one batch.
    """
    linears = {
        name: module
        for name, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, MatrixLayer) and is_matrix_layer(module)
    }
    chosen = list(linears) if names is None else list(names)
    unknown = [name for name in chosen if name not in linears]
    if unknown or not chosen:
        raise ValueError(
            f"Argument `names` must name torch.nn.Linear layers of the model, which are {list(linears)}, "
            f"but names {unknown}."
        )
    sums: dict[MatrixLayer, _Sums] = {}
    for name in chosen:
        sums.setdefault(linears[name], _Sums(name, linears[name]))
    with evaluation(model):
        for batch in batches:
            _add_batch(model, batch, loss, list(sums.values()))
    for wanted, reached in (("rows", "num_rows"), ("gradient", "has_gradient")):
        missed = [name for name in chosen if not getattr(sums[linears[name]], reached)]
        if missed:
            raise ValueError(
                f"Argument `batches` must reach every layer, but no {wanted} reached {missed}; "
                "give more batches, or leave these out of `names`."
            )
    done: dict[MatrixLayer, LayerStatistics] = {}
    for layer, each in sums.items():
        mean = each.mean()
        before = next(reversed(done.values()), mean)
        # Of layers side by side one copy is enough.
        if before.inputs.device == mean.inputs.device and torch.equal(before.inputs, mean.inputs):
            mean = replace(mean, inputs=before.inputs)
        done[layer] = mean
    return {name: done[linears[name]] for name in chosen}


class _Sums:
    """Running sums of one layer."""

    def __init__(self, name: str, layer: MatrixLayer) -> None:
        def zeros(size: int) -> Tensor:
            return torch.zeros(size, size, dtype=torch.float64, device=layer.weight.device)

        self.name = name
        self.layer = layer
        out_features, in_features = matrix_of(layer).shape
        self.inputs = zeros(in_features)
        self.outputs = zeros(out_features)
        self.num_rows = 0
        self.has_gradient = False

    def add_inputs(self, moments: Tensor, num_rows: int) -> None:
        self.inputs += moments
        self.num_rows += num_rows

    def add_gradients(self, values: Tensor) -> None:
        self.check_finite(values, "output gradient")
        self.outputs += _moments(output_rows(self.layer, values))
        self.has_gradient = True

    def mean(self) -> LayerStatistics:
        return LayerStatistics(
            inputs=self.inputs.div_(self.num_rows),
            outputs=self.outputs.div_(self.num_rows),
            num_rows=self.num_rows,
        )

    def check_finite(self, values: Tensor, kind: str) -> None:
        num_bad = values.numel() - int(torch.isfinite(values).sum())
        if num_bad:
            raise ValueError(
                f"The {kind} of layer `{self.name}` must be finite, but holds {num_bad} values that are NaN "
                "or infinite."
            )


def _moments(rows: Tensor) -> Tensor:  # shapes: (rows, features) -> (features, features)
    """Sum over the rows of x x^T, in single precision if the values are of it: its rounding averages out."""
    rows = at_least_single(rows.detach())
    with torch.autocast(rows.device.type, enabled=False):  # the loss may run the model in half precision
        return rows.T @ rows


def _add_batch(
    model: nn.Module, batch: Batch, loss: Callable[[nn.Module, Batch], Tensor], sums: Sequence[_Sums]
) -> None:
    """Add the rows of one batch; hooks are there for the forward pass only."""
    calls: list[tuple[_Sums, Tensor]] = []
    last: list[tuple[Tensor, int, Tensor, int]] = []  # one input, its version, its moments and number of rows

    def hook_of(each: _Sums) -> Callable[..., Tensor]:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
            given = args[0] if args else kwargs["input"]
            # Layers side by side, such as those of queries, keys and values, are given one and the same tensor.
            # Convolutions may differ in their patches of it.
            if isinstance(each.layer, nn.Conv2d) or not (
                last and last[0][0] is given and last[0][1] == given._version
            ):
                each.check_finite(given, "input")
                rows = without_padding(input_rows(each.layer, given), given, batch)
                last[:] = [(given, given._version, _moments(rows), len(rows))]
            each.add_inputs(*last[0][2:])
            if isinstance(each.layer, nn.Conv2d):
                last.clear()
            each.check_finite(output, "output")
            kept = output if output.requires_grad else output.detach().requires_grad_()
            calls.append((each, kept))
            # The model goes on with a copy, for it may change its output in place.
            return kept.clone()

        return hook

    handles = [each.layer.register_forward_hook(hook_of(each), with_kwargs=True) for each in sums]
    try:
        with torch.enable_grad():
            value = loss(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.is_floating_point():
        raise ValueError(f"Argument `loss` must return a real scalar tensor, but returned {value!r}.")
    if not (calls and value.requires_grad):
        return
    gradients = torch.autograd.grad(value, [kept for _, kept in calls], allow_unused=True)
    for (each, _), gradient in zip(calls, gradients, strict=True):
        if gradient is not None:
            each.add_gradients(gradient)
