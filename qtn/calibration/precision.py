"""The precision that sums are taken in."""

from __future__ import annotations

from torch import Tensor


def at_least_single(values: Tensor) -> Tensor:
    """Half precision in single, other values as they are: sums over rows of half precision would overflow."""
    return values if values.dtype.itemsize > 2 else values.float()
