"""Which layers of a model a method works on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from torch import nn

import qtn.layers

TENSOR_LAYERS: dict[str, type[nn.Module]] = {
    name: kind
    for name, kind in vars(qtn.layers).items()
    if isinstance(kind, type) and issubclass(kind, nn.Module) and getattr(kind, "__final__", False)
}
"""Every concrete kind of layer that `qtn.layers` exports, by the name of its class."""


def chosen_linears(model: nn.Module, names: Sequence[str] | None) -> dict[str, nn.Linear]:
    """The linear layers that `names` means, factors of tensor layers included; each once, under its first name.

    They are of the very type `torch.nn.Linear`, as `replace_linears` takes them.

    Args:
        model: Any module.
        names: Linear layers, or modules that stand for all linear layers inside. None takes all but those
            whose weight another module shares, as an output head does with its embedding: a change of the one
            would untie or harm the other.

    Returns:
        Layers of the model itself by name, in the order of the model.

    Raises:
        ValueError: A name is not that of a module of the model.
    """
    linears = {name: module for name, module in model.named_modules() if type(module) is nn.Linear}
    if names is None:
        owners = Counter(id(p) for module in model.modules() for p in module.parameters(recurse=False))
        return {name: linear for name, linear in linears.items() if owners[id(linear.weight)] == 1}
    inside = set(modules_inside(model, names))
    return {name: linear for name, linear in linears.items() if linear in inside}


def chosen_cores(model: nn.Module, names: Sequence[str] | None) -> dict[str, nn.ParameterList]:
    """The lists of cores that tensor layers hold; `names` is as in `chosen_linears`.

    Raises:
        ValueError: A name is not that of a module of the model.
    """
    inside = set(model.modules() if names is None else modules_inside(model, names))
    return {
        f"{name}.{child}" if name else child: cores
        for name, module in model.named_modules()
        if type(module) in TENSOR_LAYERS.values()
        for child, cores in module.named_children()
        if type(cores) is nn.ParameterList and len(cores) and cores in inside
    }


def modules_inside(model: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """The named modules and all modules in them.

    Raises:
        ValueError: A name is not that of a module of the model; the message lists the linear layers.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    unknown = [name for name in names if name not in modules]
    if unknown:
        linears = [name for name, module in modules.items() if type(module) is nn.Linear]
        raise ValueError(
            f"Argument `names` must name modules of the model, such as its torch.nn.Linear layers {linears}, "
            f"but names {unknown}."
        )
    return [module for name in names for module in modules[name].modules()]
