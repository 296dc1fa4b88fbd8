"""How much a model weighs: bytes, bits and numbers that are not zero."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor, nn

from qtn.storage.quantized_linear import QuantizedMatrix, unpack


def resident_bytes(model: nn.Module) -> int:
    """Bytes of memory behind all parameters and buffers, memory that several of them share counted once.

    What is counted is the whole of each storage, also where a tensor is a view of a part of it. Temporary
    memory is not: that of activations, or of the weight that a quantised layer forms while it runs.
    """
    storages = {
        (part.device, part.untyped_storage().data_ptr()): part.untyped_storage().nbytes()
        for tensor in chain(model.parameters(), model.buffers())
        for part in _plain_parts(tensor)
    }
    return sum(storages.values())


def bits_per_parameter(model: nn.Module, num_parameters: int | None = None) -> float:
    """Resident bits for each parameter, the buffers of the model included.

    Args:
        model: Any module.
        num_parameters: What to divide by; that of the dense original makes compressed forms of one model
            comparable. None takes the numbers that the model holds, whatever the bits they are stored in.

    Raises:
        ValueError: There are no parameters to divide by.
    """
    count = num_stored_parameters(model) if num_parameters is None else num_parameters
    if count < 1:
        raise ValueError(f"Argument `num_parameters` must be at least 1, but is {count}.")
    return 8.0 * resident_bytes(model) / count


def num_stored_parameters(model: nn.Module) -> int:
    """Number of parameters, tied ones once and those stored as integers included."""
    return sum(tensor.numel() for tensor in _numbers(model))


def nonzero_parameters(model: nn.Module) -> int:
    """Number of parameters that are not zero, tied ones once and those stored as integers included.

    It is what a sparse format would have to store. Dense storage holds the zeros all the same: see
    `resident_bytes`.
    """
    return sum(int(torch.count_nonzero(tensor)) for tensor in _numbers(model))


def _numbers(model: nn.Module) -> Iterator[Tensor]:
    """Every parameter; for quantised ones, their codes less the zero point."""
    yield from model.parameters()
    for module in model.modules():
        if isinstance(module, QuantizedMatrix):
            zero_points = module.zero_points.repeat_interleave(module.group, dim=1)[:, : module.columns]
            yield unpack(module.codes, module.columns, module.bits) != zero_points


def _plain_parts(tensor: Tensor) -> Iterator[Tensor]:
    """The tensors that hold the numbers, also of wrappers such as those of torchao."""
    if hasattr(tensor, "__tensor_flatten__"):
        for name in tensor.__tensor_flatten__()[0]:  # pyright: ignore[reportAttributeAccessIssue]
            yield from _plain_parts(getattr(tensor, name))
    else:
        yield tensor
