"""Compressed models in one safetensors file, and back into models without running code from the file."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from qtn.storage.module_records import few, module_records, real_device, rebuild
from qtn.storage.tensor_files import fingerprint

FORMAT = "qtn"
VERSION = 1


def save(model: nn.Module, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a model, compressed or not, to one safetensors file.

    The file holds all parameters and persistent buffers, tied ones once, and as metadata the format version,
    the kind and the constructor arguments of every tensor layer and quantised module, which names are tied, and
    a SHA-256 over all that, which tells damage but not who wrote the file. It appears under its name only when it
    is whole and on disk: until then an older file stays as it was, whatever happens.

    Args:
        model: Any module; left as it is.
        path: Where to; the folder must exist.
        overwrite: Whether a file may be there already.

    Raises:
        FileExistsError: There is a file, and `overwrite` is not set.
        FileNotFoundError: The folder does not exist.
        TypeError: The state holds something else than plain tensors, or a tensor layer is of an unknown kind.
        OSError: The disk does not take the file.

    Cost: one copy of all tensors in memory, and their bytes on disk.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"Argument `path` must be free, but {path} exists; pass overwrite=True to replace it."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"Argument `path` must lie in a folder, but {path.parent} is none; make it first."
        )
    tensors, tied = _tensors(model)
    # safetensors has no complex numbers of double precision.
    wide = [name for name, tensor in tensors.items() if tensor.is_complex()]
    tensors.update({name: torch.view_as_real(tensors[name]) for name in wide})
    about = {"modules": module_records(model), "tied": tied, "complex": wide}
    version, structure = str(VERSION), json.dumps(about, sort_keys=True)
    digest = fingerprint(tensors, version, structure)
    metadata = {"format": FORMAT, "version": version, "structure": structure, "sha256": digest}
    with TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        part = Path(folder) / "part"
        save_file(tensors, part, metadata)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)


def load(model: nn.Module, path: str | Path) -> nn.Module:
    """A copy of a freshly built model with the compressed modules and all tensors of a file.

    Modules of the file are rebuilt by their constructors, which are looked up in the fixed list `KINDS` of
    `module_records`: nothing in the file is run. Tensors keep the dtype they were saved in and go to the
    device of those they replace, from the meta device to the CPU; names that were tied are tied again.
    Buffers that are not persistent, modes and frozen parameters are those of the given model; the parameters of
    rebuilt modules are trainable.

    Args:
        model: The architecture before compression, with any values; left as it is.
        path: A file that `save` wrote.

    Returns:
        The copy. It holds nothing of the file open.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is truncated or none of `save`, of a newer version, changed since it was
            written, of an unknown kind, or of another architecture; the message says which.

    Cost: one deep copy of the model, and the tensors of the file.
    """
    path = Path(path)
    tensors, structure = _read(path)
    loaded = copy.deepcopy(model)
    for record in structure["modules"]:
        loaded = rebuild(loaded, record, path)
    tied: dict[str, str] = structure["tied"]
    stored = {**tensors, **{name: tensors[first] for name, first in tied.items()}}
    state = loaded.state_dict(keep_vars=True)
    _check_fit(state, stored, path)
    parameters: dict[str, nn.Parameter] = {}
    for name, tensor in stored.items():
        old = state[name]
        new = tensor.to(real_device(old))
        if isinstance(old, nn.Parameter):
            new = parameters.setdefault(
                tied.get(name, name), nn.Parameter(new, requires_grad=old.requires_grad)
            )
        owner, _, attribute = name.rpartition(".")
        setattr(loaded.get_submodule(owner), attribute, new)
    empty = [name for name, tensor in loaded.named_buffers() if tensor.is_meta]
    if empty:
        raise ValueError(
            f"Argument `model` must hold values for the buffers that no file stores, but {few(empty)} are on "
            "the meta device; build it on another."
        )
    return loaded


def _check_fit(state: Mapping[str, Tensor], stored: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that are not those of the model by name and shape."""
    foreign, unfilled = sorted(stored.keys() - state.keys()), sorted(state.keys() - stored.keys())
    if foreign or unfilled:
        raise ValueError(
            f"Argument `model` must have the architecture saved in {path}, but the file alone has "
            f"{few(foreign)} and the model alone has {few(unfilled)}."
        )
    for name, tensor in stored.items():
        if state[name].shape != tensor.shape:
            raise ValueError(
                f"Argument `model` must have the architecture saved in {path}, but `{name}` has shape "
                f"{tuple(state[name].shape)} in the model and {tuple(tensor.shape)} in the file."
            )


def _tensors(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors to store by name, and for each further name of one of them its first."""
    tensors: dict[str, Tensor] = {}
    firsts: dict[Any, str] = {}
    tied: dict[str, str] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if type(tensor) not in (Tensor, nn.Parameter) or tensor.layout != torch.strided or tensor.is_meta:
            raise TypeError(
                f"Argument `model` must hold plain dense tensors with values, but `{name}` is of type "
                f"{type(tensor).__name__}, sparse or on the meta device."
            )
        view = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        first = firsts.setdefault(view if tensor.numel() else id(tensor), name)
        if first == name:
            tensors[name] = tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        else:
            tied[name] = first
    return dict(sorted(tensors.items())), tied


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the structure of a file, verified."""
    if not path.is_file():
        raise FileNotFoundError(f"Argument `path` must be a file that `save` wrote, but {path} is none.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # Copies: what was verified must not change with the file.
            tensors = {name: file.get_tensor(name).clone() for name in sorted(file.keys())}
    except SafetensorError as error:
        raise ValueError(
            f"Argument `path` must be a whole safetensors file, but {path} is truncated or of another format: "
            f"{error}."
        ) from error
    if metadata.get("format") != FORMAT or not {"version", "structure", "sha256"} <= metadata.keys():
        raise ValueError(
            f"Argument `path` must be a file that `save` wrote, but {path} is that of another program."
        )
    version, structure = metadata["version"], metadata["structure"]
    if version.isdecimal() and int(version) > VERSION:
        raise ValueError(
            f"Argument `path` must be of format version {VERSION} or older, but {path} is of version {version}; "
            "update the package."
        )
    if fingerprint(tensors, version, structure) != metadata["sha256"]:
        raise ValueError(
            f"Argument `path` must be a file as `save` left it, but {path} was changed since: its SHA-256 is "
            "another."
        )
    known = json.loads(structure)
    for name in known["complex"]:
        tensors[name] = torch.view_as_complex(tensors[name])
    return tensors, known
