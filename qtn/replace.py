"""Swap the linear layers of a model for others."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

from torch import nn


def replace_linears(model: nn.Module, factories: Mapping[str, Callable[[nn.Linear], nn.Module]]) -> nn.Module:
    """A copy of a model in which the named linear layers are replaced.

    The original is never touched, not even when a factory fails. A layer that stands in the model under
    several names is replaced under all of them. A parameter that a replaced layer shares with another module,
    as an output head does with its embedding, stays with the other module; the two are then no longer tied.
    Hooks of a replaced layer go with it.

    Only layers of the very type `torch.nn.Linear` can be named: subclasses have reasons of their own, such as
    the output projection of `torch.nn.MultiheadAttention`, whose weight the parent reads directly.

    Args:
        model: Any module.
        factories: For each name, as in `model.named_modules()`, what makes the new layer from a copy of the
            old: `{"fc1": lambda linear: LowRankLinear.from_dense(linear, keep=0.5)}`.

    Returns:
        The copy. New layers are in training or evaluation mode as the old ones were.

    Raises:
        ValueError: A name is not that of a linear layer (the message lists those that are), or two names of
            one layer are given.
        TypeError: A factory returned something else than a module.

    Cost: one deep copy of the model, and the factories.
    """
    replaced = copy.deepcopy(model)
    linears = {
        name: module
        for name, module in replaced.named_modules(remove_duplicate=False)
        if type(module) is nn.Linear
    }
    unknown = [name for name in factories if name not in linears]
    if unknown:
        raise ValueError(
            f"Argument `factories` must name torch.nn.Linear layers of the model, which are {list(linears)}, "
            f"but names {unknown}."
        )
    if len({id(linears[name]) for name in factories}) < len(factories):
        raise ValueError(
            f"Argument `factories` must name each layer once, but two of {list(factories)} are one layer."
        )
    for name, factory in factories.items():
        old = linears[name]
        new = factory(old)
        if not isinstance(new, nn.Module):
            raise TypeError(
                f"The factory of `{name}` must return a torch.nn.Module, but returned a {type(new).__name__}."
            )
        new.train(old.training)
        if old is replaced:
            return new
        for alias in [alias for alias, module in linears.items() if module is old]:
            replaced.set_submodule(alias, new)
    return replaced
