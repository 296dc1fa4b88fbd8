"""Weights stored as integers of 4 or 8 bits, and the layers that hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any, Self, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qtn.layers.base import own_parameter

BITS = (4, 8)


class QuantizedMatrix(nn.Module):
    """A real matrix on grids of 2^bits points: weight = scale * (code - zero point), group by group in a row.

    A group is `group` neighbouring entries of a row; the last one of a row may be shorter. Codes are stored
    one to a byte, or for 4 bits two to a byte, the even column in the low half. Scales are bfloat16, whose
    range is that of float32, and zero points one byte, together 24 bits for each group. The weight is exact in
    float32: a product of 8 significant bits with 9. All are buffers: none is trained, and a change of
    dtype of the model leaves them as they are.

    Args:
        codes: The stored bytes.
        scales: Step of each grid.
        zero_points: The code that means zero.
        columns: Number of entries of a row.
        bits: 4 or 8.
        group: Entries that share a grid, at least 1.
        dtype: Of `dense()`, that of the weight that was quantised.

    Raises:
        ValueError: `bits` or `group` is out of range, or shapes or dtypes do not fit.
    """

    codes: Tensor
    scales: Tensor
    zero_points: Tensor
    _like: Tensor

    def __init__(
        self,
        codes: Tensor,  # shape: (rows, columns), or for 4 bits (rows, ceil(columns / 2))
        scales: Tensor,  # shape: (rows, ceil(columns / group))
        zero_points: Tensor,  # shape: that of the scales
        *,
        columns: int,
        bits: int,
        group: int,
        dtype: torch.dtype,
    ) -> None:
        check_bits_and_group(bits, group)
        super().__init__()
        rows = codes.shape[0]
        parts = {
            "codes": (codes, torch.uint8, (rows, -(-columns * bits // 8))),
            "scales": (scales, torch.bfloat16, (rows, -(-columns // group))),
            "zero_points": (zero_points, torch.uint8, (rows, -(-columns // group))),
        }
        for name, (tensor, wanted, shape) in parts.items():
            if tensor.dtype != wanted or tensor.shape != shape:
                raise ValueError(
                    f"Argument `{name}` must be {wanted} of shape {shape}, "
                    f"but is {tensor.dtype} of shape {tuple(tensor.shape)}."
                )
            self.register_buffer(name, tensor.detach().clone(memory_format=torch.contiguous_format))
        self.columns, self.bits, self.group = columns, bits, group
        # Follows the dtype of the model, and holds nothing.
        self.register_buffer("_like", torch.empty(0, dtype=dtype, device=codes.device), persistent=False)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that the weight would have in the model."""
        return self._like.dtype

    def dense(self) -> Tensor:  # shape: (rows, columns)
        """The weight that the codes mean, in float32, or in float64 in a model of that dtype."""
        codes = unpack(self.codes, self.columns, self.bits).float()
        scales, zero_points = (
            each.float().repeat_interleave(self.group, dim=1)[:, : self.columns]
            for each in (self.scales, self.zero_points)
        )
        return codes.sub_(zero_points).mul_(scales).to(torch.promote_types(self.dtype, torch.float32))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Devices change, the dtype of the grids does not: half precision would lose small scales."""
        scales = self.scales
        super()._apply(fn, recurse)
        self.scales = scales.to(self.codes.device)
        return self


@final
class QuantizedLinear(QuantizedMatrix):
    """A linear layer with the weight of a `QuantizedMatrix`.

    Each pass forms the weight in the dtype of the input and multiplies with it. This saves memory and bytes
    on disk, not time: it is slower than the dense layer, and takes the memory of one dense weight while it
    runs. Gradients reach the input and the bias.

    Attributes:
        in_features: Size of the last axis of the input.
        out_features: Size of the last axis of the output.
        bias: Parameter of shape (out_features,), or None; never quantised.
    """

    def __init__(
        self,
        codes: Tensor,
        scales: Tensor,
        zero_points: Tensor,
        bias: Tensor | None = None,  # shape: (out_features,)
        *,
        in_features: int,
        bits: int,
        group: int,
        dtype: torch.dtype,
    ) -> None:
        super().__init__(codes, scales, zero_points, columns=in_features, bits=bits, group=group, dtype=dtype)
        self.in_features = in_features
        self.out_features = codes.shape[0]
        if bias is not None and bias.shape != (self.out_features,):
            raise ValueError(
                f"Argument `bias` must have shape ({self.out_features},), but has shape {tuple(bias.shape)}."
            )
        self.bias: nn.Parameter | None
        self.register_parameter("bias", None if bias is None else own_parameter(bias))

    @property
    def weight(self) -> Tensor:  # shape: (out_features, in_features)
        """The weight in the dtype of the layer, formed anew at each call."""
        return self.dense().to(self.dtype)

    def forward(self, x: Tensor) -> Tensor:  # shapes: (*batch, in_features) -> (*batch, out_features)
        """The linear map applied to the last axis.

        Raises:
            TypeError: The input is not of real floating dtype.
            ValueError: The last axis has another size.
        """
        if not x.is_floating_point():
            raise TypeError(f"Argument `x` must have a real floating dtype, but has {x.dtype}.")
        if x.ndim < 1 or x.shape[-1] != self.in_features:
            raise ValueError(
                f"Argument `x` must have shape (*batch, {self.in_features}), but has shape {tuple(x.shape)}."
            )
        return F.linear(x, self.dense().to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))

    def extra_repr(self) -> str:
        """Sizes and the grid, for printing."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, bits={self.bits}, group={self.group}"
        )


@final
class QuantizedCores(QuantizedMatrix):
    """The cores of a tensor layer as one long quantised row; takes the place of their `torch.nn.ParameterList`.

    Reading a core forms them all.

    Attributes:
        shapes: Shapes of the cores.
    """

    def __init__(
        self,
        codes: Tensor,
        scales: Tensor,
        zero_points: Tensor,
        *,
        shapes: Sequence[Sequence[int]],
        bits: int,
        group: int,
        dtype: torch.dtype,
    ) -> None:
        self_shapes = tuple(tuple(shape) for shape in shapes)
        columns = sum(prod(shape) for shape in self_shapes)
        super().__init__(codes, scales, zero_points, columns=columns, bits=bits, group=group, dtype=dtype)
        self.shapes = self_shapes

    def __len__(self) -> int:
        return len(self.shapes)

    def __iter__(self) -> Iterator[Tensor]:
        flat = self.dense()[0].to(self.dtype).split([prod(shape) for shape in self.shapes])
        return (core.reshape(shape) for core, shape in zip(flat, self.shapes, strict=True))

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]

    def extra_repr(self) -> str:
        """Shapes and the grid, for printing."""
        return f"shapes={self.shapes}, bits={self.bits}, group={self.group}"


def pack(
    codes: Tensor,  # shape: (rows, columns)
    bits: int,
) -> Tensor:  # shape: (rows, columns), or for 4 bits (rows, ceil(columns / 2))
    """The bytes in which codes below 2^bits are stored."""
    if bits == 8:
        return codes
    even = F.pad(codes, (0, codes.shape[1] % 2))
    return even[:, ::2] | (even[:, 1::2] << 4)


def unpack(stored: Tensor, columns: int, bits: int) -> Tensor:  # shape: (rows, columns)
    """The codes that `pack` was given."""
    if bits == 8:
        return stored
    return torch.stack((stored & 15, stored >> 4), dim=-1).flatten(1)[:, :columns]


def check_bits_and_group(bits: int, group: int) -> None:
    """Refuse grids that there are not.

    Raises:
        ValueError: `bits` is neither 4 nor 8, or `group` is below one.
    """
    if bits not in BITS:
        raise ValueError(f"Argument `bits` must be one of {BITS}, but is {bits!r}.")
    if group < 1:
        raise ValueError(f"Argument `group` must be at least 1, but is {group}.")
