"""Linear layers that store their weight transposed, made ordinary ones."""

from __future__ import annotations

import copy

from torch import nn

_KINDS = ("transformers.pytorch_utils.Conv1D", "transformers.modeling_utils.Conv1D")


def with_linears(model: nn.Module) -> nn.Module:
    """A copy of a model in which every `Conv1D` of transformers, as in GPT-2, is a `torch.nn.Linear`.

    Values are the same but for rounding. Compression, quantization and all else here know `torch.nn.Linear`; give
    them, and `load`, the copy. A layer that stands in the model under several names stays one; converted layers go on
    sharing what weights they shared.

    Cost: a deep copy of the model, and one transposed copy of each such weight.
    """
    converted = copy.deepcopy(model)
    linears: dict[nn.Module, nn.Linear] = {}
    weights: dict[nn.Parameter, nn.Parameter] = {}
    for name, module in list(converted.named_modules(remove_duplicate=False)):
        if not is_transposed(module):
            continue
        if module not in linears:
            linears[module] = _linear(module, weights)
        if not name:
            return linears[module]
        converted.set_submodule(name, linears[module])
    return converted


def is_transposed(module: nn.Module) -> bool:
    """Whether a module is a linear layer with a weight of shape (in_features, out_features)."""
    return f"{type(module).__module__}.{type(module).__qualname__}" in _KINDS


def _linear(module: nn.Module, weights: dict[nn.Parameter, nn.Parameter]) -> nn.Linear:
    weight, bias = module.get_parameter("weight"), module.get_parameter("bias")
    if weight not in weights:
        transposed = weight.detach().T.contiguous()
        weights[weight] = nn.Parameter(transposed, requires_grad=weight.requires_grad)
    in_features, out_features = weight.shape
    linear = nn.Linear(in_features, out_features, device="meta", dtype=weight.dtype)
    linear.weight, linear.bias = weights[weight], bias
    return linear.train(module.training)
