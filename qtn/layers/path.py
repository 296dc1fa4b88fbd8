"""Contraction paths as lists of matrix products, and the batch from which forming the dense weight is faster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from qtn.layers.machine import Machine

Path = Callable[[int], Sequence["Product"]]

_LARGEST_BATCH = 2**20


@dataclass(frozen=True)
class Product:
    """One matrix product (rows, inner) @ (inner, columns), or `count` of them in one call.

    Attributes:
        copied: Numbers that are moved one by one, as in a transposition, to bring the operands into order before
            it or the result after it; where runs of several are moved at a time, count half of them.
    """

    rows: int
    inner: int
    columns: int
    copied: int = 0
    count: int = 1

    @property
    def multiply_adds(self) -> int:
        """Of all `count` products."""
        return self.count * self.rows * self.inner * self.columns

    @property
    def moved(self) -> int:
        """Numbers read and written: operands and result, and those copied, at half the speed twice each."""
        operands = self.rows * self.inner + self.inner * self.columns + self.rows * self.columns
        return self.count * operands + 4 * self.copied


def multiply_adds(products: Sequence[Product]) -> int:
    """Multiply-adds of a path."""
    return sum(product.multiply_adds for product in products)


def sweep_path(
    out_sites: Sequence[int], in_sites: Sequence[int], bonds: Sequence[int], rows: int
) -> list[Product]:
    """The products of `sweep` over a whole train, from the first core on; `bonds` are those between cores."""
    padded = (1, *bonds, 1)
    products, outer, rest = [], rows, prod(in_sites)
    for k, (j, i) in enumerate(zip(out_sites, in_sites, strict=True)):
        rest //= i
        height, inner, columns = outer * rest, padded[k] * i, j * padded[k + 1]
        # The state is permuted before each product, the core where that is no plain reshape.
        copied = height * inner * (k > 0 or rest > 1) + inner * columns * (i > 1 and j > 1)
        products.append(Product(height, inner, columns, copied))
        outer *= j
    return products


def joining_path(sizes: Sequence[int], bonds: Sequence[int]) -> list[Product]:
    """The products that join a train of matrices, from the first core on; each result is permuted, in runs."""
    padded = (*bonds, 1)
    products, joined = [], sizes[0]
    for k, size in enumerate(sizes[1:]):
        columns = size * padded[k + 1]
        products.append(Product(joined, padded[k], columns, copied=joined * columns // 2))
        joined *= size
    return products


def dense_from(factorised: Path, reconstructed: Path, dtype: torch.dtype, machine: Machine) -> int | None:
    """The least batch from which a path through the dense weight is predicted to take less time than another.

    Args:
        factorised: The products of the path that leaves the weight in factors, for a number of rows.
        reconstructed: Those that join the factors and apply the dense weight.
        dtype: Of the factors.
        machine: What predicts the time.

    Returns:
        A number of rows, at least 1, or None if the factors are faster for large batches. Predicted times are affine
        in the number of rows, so that one threshold is all there is; where the dense weight pays for
        small batches alone, which is a matter of microseconds, it is None too.

    Cost: about 20 predictions.
    """

    def pays(rows: int) -> bool:
        seconds = machine.seconds(reconstructed(rows), dtype)
        return seconds < machine.seconds(factorised(rows), dtype)

    if not pays(_LARGEST_BATCH):
        return None
    low, high = 0, _LARGEST_BATCH
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if pays(middle) else (middle, high)
    return high
