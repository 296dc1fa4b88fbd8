"""Which parameters of a model are trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, TypeAlias

from torch import nn

from qtn.healing.adapters import LowRankAdapter

Trainable: TypeAlias = Sequence[str] | Callable[[str, nn.Parameter], bool] | Literal["all"] | None


_TENSOR_LAYERS = "qtn.layers."  # linear, convolutional and all other kinds are defined there


def trainable_parameters(model: nn.Module, choice: Trainable = None) -> dict[str, nn.Parameter]:
    """The chosen parameters, by their names in `model.named_parameters()`, where tied ones stand once.

    Args:
        model: Any module.
        choice: Names, a condition on name and parameter, or "all". None: the factors and biases of tensor
            layers, and the parameters of modules whose type has "norm" in its name.

    Raises:
        ValueError: A name is unknown, or nothing that has a real floating dtype is chosen.
    """
    parameters = dict(model.named_parameters())
    if choice is None:
        kinds = _owners(model)
        chosen = [name for name in parameters if kinds[name] in ("factor", "norm")]
    elif choice == "all":
        chosen = list(parameters)
    elif callable(choice):
        chosen = [name for name, parameter in parameters.items() if choice(name, parameter)]
    else:
        chosen = [choice] if isinstance(choice, str) else list(dict.fromkeys(choice))
    unknown = [name for name in chosen if name not in parameters]
    if unknown:
        raise ValueError(f"Argument `trainable` must name parameters of the model, but names {unknown}.")
    found = {name: parameters[name] for name in chosen if parameters[name].is_floating_point()}
    if not found:
        raise ValueError(
            "Argument `trainable` must choose at least one real parameter, but chooses none; compress a "
            'layer first, or name parameters, or give "all".'
        )
    return found


def undecayed_names(model: nn.Module) -> list[str]:
    """Parameters that weight decay must leave alone: factors, adapters, norms and vectors.

    Decay of factors is a pull of their product towards lower rank, not towards zero alone.
    """
    kinds = _owners(model)
    return [name for name, each in model.named_parameters() if kinds[name] != "other" or each.ndim < 2]


@contextmanager
def only_trained(model: nn.Module, trained: Mapping[str, nn.Parameter]) -> Iterator[None]:
    """No autograd graph but for the trained parameters; the flags of all are afterwards as they were."""
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    chosen = {id(parameter) for parameter in trained.values()}
    try:
        for parameter, _ in flags:
            parameter.requires_grad_(id(parameter) in chosen)
        yield
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def _owners(model: nn.Module) -> dict[str, str]:
    """For every parameter name, also of tied ones: factor, adapter, norm or other."""
    kinds = dict.fromkeys((name for name, _ in model.named_parameters(remove_duplicate=False)), "other")
    for prefix, module in model.named_modules(remove_duplicate=False):
        if type(module).__module__.startswith(_TENSOR_LAYERS):
            kind, deep = "factor", True
        elif isinstance(module, LowRankAdapter):
            kind, deep = "adapter", False
        elif "norm" in type(module).__name__.lower():
            kind, deep = "norm", False
        else:
            continue
        for name, _ in module.named_parameters(recurse=deep, remove_duplicate=False):
            kinds[f"{prefix}.{name}" if prefix else name] = kind
    return kinds
