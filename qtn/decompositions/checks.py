"""What every decomposition asks of its input."""

from __future__ import annotations

import torch
from torch import Tensor

_WORKING_DTYPES = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
    torch.complex64: torch.complex64,
    torch.complex128: torch.complex128,
}


def working_copy(tensor: Tensor, name: str) -> Tensor:
    """The tensor in the dtype in which it is decomposed: float32 for half precision, otherwise its own.

    Raises:
        TypeError: The dtype is not floating or complex.
        ValueError: The tensor has no elements, or holds NaN or infinity; `name` is the argument blamed.
    """
    if tensor.dtype not in _WORKING_DTYPES:
        raise TypeError(
            f"Argument `{name}` must have one of the dtypes {[str(dtype) for dtype in _WORKING_DTYPES]}, "
            f"but has {tensor.dtype}."
        )
    if tensor.numel() == 0:
        raise ValueError(f"Argument `{name}` must have elements, but has shape {tuple(tensor.shape)}.")
    num_bad = tensor.numel() - int(torch.isfinite(tensor).sum())
    if num_bad:
        raise ValueError(
            f"Argument `{name}` must be finite, but holds {num_bad} values that are NaN or infinite."
        )
    return tensor.to(_WORKING_DTYPES[tensor.dtype])


def check_cutoff(cutoff: float) -> None:
    """Refuse a `cutoff` that is not a relative weight.

    Raises:
        ValueError: `cutoff` lies outside [0, 1).
    """
    if not 0.0 <= cutoff < 1.0:
        raise ValueError(f"Argument `cutoff` must be at least 0 and below 1, but is {cutoff}.")


def check_max_bond(max_bond: int | None) -> None:
    """Refuse a `max_bond` below one.

    Raises:
        ValueError: `max_bond` is below one.
    """
    if max_bond is not None and max_bond < 1:
        raise ValueError(f"Argument `max_bond` must be at least 1, but is {max_bond}.")
