"""The product of a vector with a tensor-train matrix, as a fixed sequence of matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import Tensor


def sweep(state: Tensor, cores: Sequence[Tensor]) -> Tensor:
    """Contract (batch, i_1, ..., i_d) with the cores from the first on, to (batch j_1 ... j_{d-1}, j_d).

    Before step k the matrix `state` has rows (batch j_1 ... j_{k-1} i_{k+1} ... i_d) and columns (bond i_k).
    """
    groups, rest = state.shape[0], prod(state.shape[2:])
    state = state.reshape(groups, state.shape[1], rest).transpose(1, 2)
    for k, core in enumerate(cores):
        left, j, i, right = core.shape
        matrix = core.transpose(1, 2).reshape(left * i, j * right)
        state = state.reshape(groups * rest, left * i) @ matrix
        if k + 1 < len(cores):
            following = cores[k + 1].shape[2]
            rest //= following
            state = state.reshape(groups, following, rest, j, right).permute(0, 3, 2, 4, 1)
            groups *= j
    return state


def sweep_products(out_sites: Sequence[int], in_sites: Sequence[int], bonds: Sequence[int]) -> int:
    """Multiply-adds per row of a contraction from the first core on."""
    left, right = (1, *bonds), (*bonds, 1)
    return sum(
        prod(out_sites[: k + 1]) * prod(in_sites[k:]) * left[k] * right[k] for k in range(len(out_sites))
    )


def dense_products(out_sites: Sequence[int], in_sites: Sequence[int], bonds: Sequence[int]) -> int:
    """Multiply-adds that join the cores to the dense matrix, from the first core on."""
    sizes = [j * i for j, i in zip(out_sites, in_sites, strict=True)]
    padded = (*bonds, 1)
    return sum(prod(sizes[: k + 1]) * padded[k - 1] * padded[k] for k in range(1, len(sizes)))
