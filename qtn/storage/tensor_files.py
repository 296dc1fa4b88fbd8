"""Named tensors in a file, and what tells them from others."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Container, Mapping
from pathlib import Path
from reprlib import repr as short
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn


def fingerprint(tensors: Mapping[str, Tensor], *texts: str) -> str:
    """SHA-256 of the names, dtypes, shapes and bytes of tensors, and of texts, as 64 hexadecimal digits."""
    digest = hashlib.sha256("\0".join(texts).encode())
    for name, tensor in tensors.items():
        digest.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        flat = tensor.detach().reshape(-1).contiguous().cpu()
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def model_fingerprint(model: nn.Module, without: Container[str] = ()) -> str:
    """A hash of the kinds of a model's modules, its buffers, and its parameters less those that are named."""
    kinds = [f"{name} {type(module).__qualname__}" for name, module in model.named_modules()]
    kept = {name: each for name, each in model.named_parameters() if name not in without}
    return fingerprint({**kept, **dict(model.named_buffers())}, *kinds)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """A safetensors file with a description in JSON in its header; readers see the old file or the new.

    Raises:
        OSError: The disk is full, or the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    own = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    try:
        save_file(own, temporary, metadata={"about": json.dumps(about)})
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of such a file, on the CPU, and its description.

    Raises:
        ValueError: The file is damaged, or none that `write_tensors` wrote.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["about"])
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{path} must be a whole file of this toolkit, but is not; delete it.") from error


def differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """The entries in which two descriptions differ, in words; empty if they agree."""
    asked = json.loads(json.dumps(asked))
    return ", ".join(
        f"{name} was {short(stored.get(name))} and is {short(asked.get(name))}"
        for name in sorted({*stored, *asked})
        if stored.get(name) != asked.get(name)
    )
