"""Linear and convolutional layers as matrices that act on rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MatrixLayer: TypeAlias = nn.Linear | nn.Conv2d


def is_matrix_layer(module: nn.Module) -> bool:
    """Whether a module is of the very type `torch.nn.Linear`, or a `torch.nn.Conv2d` of one group, padded by zeros."""
    if type(module) is nn.Conv2d:
        return module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return type(module) is nn.Linear


def as_matrix_layer(module: nn.Module) -> MatrixLayer:
    """The module, known to be one.

    Raises:
        TypeError: It is none; see `is_matrix_layer`.
    """
    if not is_matrix_layer(module):
        raise TypeError(
            f"A layer to compress must be a torch.nn.Linear or a plain Conv2d, but is a {type(module).__name__}."
        )
    return cast("MatrixLayer", module)


def matrix_layers(model: nn.Module, names: Sequence[str] | None) -> dict[str, MatrixLayer]:
    """The layers that `names` means, each once, under its first name.

    Args:
        model: Any module.
        names: Layers, or modules that stand for all layers inside. None takes all whose weight no other
            module shares, as an output head does with its embedding, and that have one name only.

    Raises:
        ValueError: A name is not that of a module with such layers, or means a layer that shares its weight.
    """
    found = {name: as_matrix_layer(m) for name, m in model.named_modules() if is_matrix_layer(m)}
    everywhere = model.named_modules(remove_duplicate=False)
    owners = Counter(id(p) for _, module in everywhere for p in module.parameters(recurse=False))
    shared = {name for name, module in found.items() if owners[id(module.weight)] > 1}
    if names is None:
        return {name: module for name, module in found.items() if name not in shared}
    modules = dict(model.named_modules(remove_duplicate=False))
    inside: set[nn.Module] = set()
    for name in names:
        here = [each for each in modules[name].modules() if is_matrix_layer(each)] if name in modules else []
        if not here:
            raise ValueError(
                "Argument `names` must name linear or convolutional layers of the model, or modules that hold some, "
                f"such as {list(found)[:8]}, but names {name!r}."
            )
        inside.update(here)
    chosen = {name: module for name, module in found.items() if module in inside}
    if tied := [name for name in chosen if name in shared]:
        raise ValueError(
            f"Argument `names` must leave out {tied}, whose weights other modules share: "
            "a smaller copy would come on top."
        )
    return chosen


def matrix_of(layer: MatrixLayer) -> Tensor:  # shape: (out_features, in_features)
    """The weight as a matrix; of a convolution, with a column for each entry of a patch."""
    return layer.weight.flatten(1)


def input_rows(layer: MatrixLayer, given: Tensor) -> Tensor:  # shape: (rows, in_features)
    """What the matrix acts on: the rows of an input, or the patches of images."""
    if isinstance(layer, nn.Linear):
        return given.reshape(-1, given.shape[-1])
    images = given if given.ndim == 4 else given[None]
    window = (layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    patches = F.unfold(images, *cast("tuple[tuple[int, int], ...]", window))
    return patches.transpose(1, 2).reshape(-1, patches.shape[1])


def output_rows(layer: MatrixLayer, output: Tensor) -> Tensor:  # shape: (rows, out_features)
    """An output, or its gradient, row by row as `input_rows` has them."""
    if isinstance(layer, nn.Linear):
        return output.reshape(-1, output.shape[-1])
    return output.movedim(-3, -1).reshape(-1, output.shape[-3])


def with_matrix(layer: MatrixLayer, matrix: Tensor) -> MatrixLayer:
    """A layer of the same kind, and with the same bias, that has another weight."""
    weight = nn.Parameter(matrix.reshape(layer.weight.shape).to(layer.weight.dtype))
    with torch.device("meta"):
        if isinstance(layer, nn.Linear):
            changed = nn.Linear(layer.in_features, layer.out_features, bias=False)
        else:
            changed = nn.Conv2d(
                layer.in_channels,
                layer.out_channels,
                layer.kernel_size,  # pyright: ignore
                layer.stride,  # pyright: ignore
                layer.padding,  # pyright: ignore
                layer.dilation,  # pyright: ignore
                bias=False,
            )
    changed.weight = weight
    changed.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone())  # pyright: ignore
    return changed.train(layer.training)
