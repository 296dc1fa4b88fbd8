"""Entries in another order, with a gradient that is read in order too."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def permuted(values: Tensor, places: Tensor) -> Tensor:
    """The last axis by `places`, a permutation: values[..., places].

    The derivative of `index_select`, which knows of no permutation, adds into place, and that takes several times as
    long as to read in the inverse order.
    """
    # A function of one's own takes as long as a small layer, and torch.compile traces none with a forward derivative.
    if not (values.requires_grad and torch.is_grad_enabled()) or torch.compiler.is_compiling():
        return _taken(values, places)
    return _Permuted.apply(values, places)  # pyright: ignore[reportReturnType]


def _taken(values: Tensor, places: Tensor) -> Tensor:
    """As rows: of three axes torch takes entries eight times as slowly as of two."""
    rows = values.reshape(-1, values.shape[-1]) if values.ndim > 2 else values
    return rows.index_select(-1, places).reshape(values.shape)


class _Permuted(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, places: Tensor) -> Tensor:
        return _taken(values, places)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])
        ctx.save_for_forward(inputs[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (places,) = ctx.saved_tensors
        return permuted(gradient, places.argsort()), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (places,) = ctx.saved_tensors
        return permuted(tangent, places)
