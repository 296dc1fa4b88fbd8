"""Which modules of a model have to be built anew, and how, in words that JSON can hold."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import qtn.layers
from qtn.layers import AbstractTensorLayer
from qtn.storage.linears import TENSOR_LAYERS
from qtn.storage.quantized_linear import QuantizedCores, QuantizedLinear

KINDS: dict[str, type[nn.Module]] = {
    **TENSOR_LAYERS,
    **{kind.__name__: kind for kind in (QuantizedLinear, QuantizedCores)},
}
"""The modules that are built anew, and no others, by the names of their classes.

Each takes its tensors in the constructor and keeps every argument of it under the argument's name: a tensor, a module
that has it as `weight`, a list of either, one of `RECORDS`, or what JSON holds.
"""

RECORDS: dict[str, type] = {
    name: kind for name, kind in vars(qtn.layers).items() if isinstance(kind, type) and is_dataclass(kind)
}
"""Plain data that constructors take."""

_SIZES = ("in_features", "out_features", "in_channels", "out_channels", "num_embeddings", "embedding_dim")


def module_records(model: nn.Module) -> list[dict[str, Any]]:
    """Names, kind and constructor arguments of every module whose kind is in `KINDS`, outer ones first.

    Raises:
        TypeError: A tensor layer is of another kind, or a kind does not keep its arguments.
    """
    records: dict[nn.Module, dict[str, Any]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        kind = type(module)
        if kind not in KINDS.values():
            if isinstance(module, AbstractTensorLayer):
                raise TypeError(
                    f"The kind of layer `{name}` must be one of {list(KINDS)}, but is {kind.__name__}."
                )
            continue
        if module not in records:
            arguments = inspect.signature(kind).parameters
            lacking = [argument for argument in arguments if not hasattr(module, argument)]
            if lacking:
                raise TypeError(
                    f"A {kind.__name__} must keep the arguments of its constructor under their names to be saved, "
                    f"but `{name}` lacks {lacking}."
                )
            described = {argument: _describe(getattr(module, argument)) for argument in arguments}
            records[module] = {"names": [], "kind": kind.__name__, "arguments": described}
        records[module]["names"].append(name)
    return list(records.values())


def _describe(value: Any) -> Any:
    """A constructor argument in JSON: tensors as shape and dtype, for their values are in the file."""
    if isinstance(value, nn.Module) and isinstance(getattr(value, "weight", None), Tensor):
        value = value.weight
    if isinstance(value, Tensor):
        return {"shape": list(value.shape), "dtype": _name(value.dtype)}
    if isinstance(value, torch.dtype):
        return {"dtype": _name(value)}
    if type(value) in RECORDS.values():
        described = {name: _describe(each) for name, each in vars(value).items()}
        return {"record": type(value).__name__, "arguments": described}
    if isinstance(value, (nn.ParameterList, nn.ModuleList, QuantizedCores, tuple, list)):
        return [_describe(each) for each in value]
    return value


def _revive(value: Any) -> Any:
    """The argument that was described, tensors filled with zeros."""
    if isinstance(value, list):
        return tuple(_revive(each) for each in value)
    if not isinstance(value, dict):
        return value
    if "record" in value:
        return RECORDS[value["record"]](**{name: _revive(each) for name, each in value["arguments"].items()})
    dtype = getattr(torch, value["dtype"])
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"{value['dtype']!r} is no dtype")
    return torch.zeros(value["shape"], dtype=dtype) if "shape" in value else dtype


def rebuild(model: nn.Module, record: Mapping[str, Any], path: Path) -> nn.Module:
    """The model with one module of a record in all its places, its tensors zero; changed unless it is that module.

    Nothing named in the record is run but the constructor of one of `KINDS` and `RECORDS`.

    Args:
        model: Holds a module of the same sizes wherever the record says.
        record: One of `module_records`.
        path: The file it came from, for messages.

    Raises:
        ValueError: The kind is not in `KINDS`, its constructor refuses the arguments, or a place is missing or of
            other sizes.
    """
    kind, names = record["kind"], record["names"]
    if kind not in KINDS:
        raise ValueError(
            f"Argument `path` must be a file of the kinds {list(KINDS)}, but {path} has a {kind!r} at {names}."
        )
    try:
        new = KINDS[kind](**{name: _revive(value) for name, value in record["arguments"].items()})
        for name in names:
            old = model.get_submodule(name)
            for size in _SIZES:
                wanted, found = getattr(new, size, None), getattr(old, size, None)
                if None not in (wanted, found) and wanted != found:
                    raise ValueError(f"{size} is {found} in the model and {wanted} in the file")
            device = next((real_device(tensor) for tensor in old.state_dict().values()), None)
            new.to(device).train(old.training)
            if not name:
                return new
            model.set_submodule(name, new)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"Argument `model` must have the architecture saved in {path}, but no {kind} fits at "
            f"{few(names)}: {error}."
        ) from error
    return model


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def real_device(tensor: Tensor) -> torch.device:
    """Where the values for a tensor go: a model on the meta device is filled on the CPU."""
    return torch.device("cpu") if tensor.is_meta else tensor.device


def few(names: Sequence[str]) -> str:
    """The first names of a list, and how many there are."""
    return f"{list(names[:3])}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")
