"""Products of vectors with tensor networks, as fixed sequences of matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import Tensor

from qtn.layers.path import Product


def sweep(state: Tensor, cores: Sequence[Tensor]) -> Tensor:
    """Contract (batch, i_1, ..., i_d) with the cores of a train from the first on.

    Before step k the matrix `state` has rows (batch j_1 ... j_{k-1} i_{k+1} ... i_d) and columns (bond i_k).
    With d cores the result is (batch j_1 ... j_{d-1}, j_d); with d - 1 it has the elements of
    (batch, j_1, ..., j_{d-1}, bond_{d-1}, i_d) in this order.
    """
    sites = state.shape[1:]
    groups, rest = state.shape[0], prod(sites[1:])
    state = state.reshape(groups, sites[0], rest).transpose(1, 2)
    for k, core in enumerate(cores):
        left, j, i, right = core.shape
        matrix = core.transpose(1, 2).reshape(left * i, j * right)
        state = state.reshape(groups * rest, left * i) @ matrix
        if k + 1 < len(sites):
            following = sites[k + 1]
            rest //= following
            state = state.reshape(groups, following, rest, j, right).permute(0, 3, 2, 4, 1)
            groups *= j
    return state


def multiply_axes(state: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Contract each axis of (batch, n_1 ... n_d) with its matrix (n_k, m_k), to (batch, m_1 ... m_d)."""
    batch, width = state.shape
    for matrix in matrices:
        size, new = matrix.shape
        width //= size
        # The axis at the front comes back at the end: after all steps they stand in order.
        state = state.reshape(batch, size, width).transpose(1, 2).reshape(batch * width, size) @ matrix
        width *= new
        state = state.reshape(batch, width)
    return state


def axes_path(sizes: Sequence[int], new_sizes: Sequence[int], rows: int) -> list[Product]:
    """The products of `multiply_axes` from sizes n_k to sizes m_k."""
    products, width = [], rows * prod(sizes)
    for size, new in zip(sizes, new_sizes, strict=True):
        # The axis is brought to the end, which is no work where it is the only one.
        products.append(Product(width // size, size, new, copied=width if width > rows * size else 0))
        width = width // size * new
    return products
