"""What every tensor convolution promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod
from typing import Literal, Self, cast

from torch import Tensor, nn

from qtn.layers.base import own_parameter

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


@dataclass(frozen=True, kw_only=True)
class Window:
    """How a kernel is moved over an image, as the arguments of `torch.nn.Conv2d` of these names."""

    stride: int | tuple[int, int] = 1
    padding: str | int | tuple[int, int] = 0
    dilation: int | tuple[int, int] = 1
    padding_mode: PaddingMode = "zeros"

    @classmethod
    def of(cls, source: nn.Conv2d) -> Self:
        """That of a convolution."""
        return cls(
            stride=cast("tuple[int, int]", source.stride),
            padding=cast("str | tuple[int, int]", source.padding),
            dilation=cast("tuple[int, int]", source.dilation),
            padding_mode=cast("PaddingMode", source.padding_mode),
        )


class AbstractTensorConv2d(nn.Module, ABC):
    """A two-dimensional convolution whose weight is a product of tensors: a chain of thinner convolutions.

    `layer(x)` equals the convolution with the weight `to_dense()`, the bias and the window of the source up to
    rounding, and so do all gradients. The links are children of the type `torch.nn.Conv2d`, on which whatever
    quantises, prunes or shards convolutions works; the last one holds the bias. A constructor takes the
    factors and copies them; `from_dense` fits them.

    Attributes:
        links: The convolutions, in the order in which they are applied.
        discarded: ||weight - to_dense()||^2 / ||weight||^2 of the fit that made the layer, in the Frobenius
            norm or the metric of the fit, before casting to half precision; None if it was not fitted. Not part of the
            state dict.
    """

    def __init__(self, links: list[nn.Conv2d], discarded: float | None) -> None:
        super().__init__()
        self.links = nn.Sequential(*links)
        self.discarded = discarded

    @classmethod
    @abstractmethod
    def from_dense(cls, source: nn.Conv2d, *, keep: float | None = None, cutoff: float = 0.0) -> Self:
        """The layer that approximates a dense convolution; without options, one that is equal to it.

        Args:
            source: A real convolution of one group; its window and bias are taken over. Left as it is.
            keep: Parameters of the factors, as a fraction of those of the weight.
            cutoff: Largest relative weight that may be discarded.

        Returns:
            A layer of the dtype and device of the source, with `discarded` set.

        Raises:
            TypeError: The source is no `torch.nn.Conv2d`, or complex.
            ValueError: It has several groups or a weight that is not finite, `keep` is out of reach or stands
                with other options.
        """

    @abstractmethod
    def to_dense(self) -> Tensor:  # shape: (out_channels, in_channels, kernel_height, kernel_width)
        """The weight that the factors mean, differentiable with respect to them."""

    @property
    @abstractmethod
    def ranks(self) -> tuple[int, ...]:
        """Numbers of channels between the links, in the order in which these are applied."""

    def forward(
        self,
        x: Tensor,  # shape: (batch, in_channels, height, width)
    ) -> Tensor:  # shape: (batch, out_channels, out_height, out_width)
        """The convolution."""
        return self.links(x)

    @property
    @abstractmethod
    def window(self) -> Window:
        """How the kernel is moved over an image."""

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        return self._link(0).in_channels

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self._link(-1).out_channels

    @property
    def bias(self) -> nn.Parameter | None:
        """Parameter of shape (out_channels,), or None: that of the last link."""
        return cast("nn.Parameter | None", self._link(-1).bias)

    @property
    def weight(self) -> Tensor:  # shape: (out_channels, in_channels, kernel_height, kernel_width)
        """As `to_dense`, formed anew at each access: for parents that read the weights of their children."""
        return self.to_dense()

    @property
    def num_params(self) -> int:
        """Number of parameters, the bias included."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def kept(self) -> float:
        """Parameters of the factors over those of the dense weight, the bias in neither."""
        num_kernel = prod(prod(self._link(k).kernel_size) for k in range(len(self.links)))
        num_bias = 0 if self.bias is None else self.bias.numel()
        return (self.num_params - num_bias) / (self.in_channels * self.out_channels * num_kernel)

    def flops(self, batch: int, height: int, width: int) -> int:
        """Real floating-point operations of one forward pass over images of this size, by formula.

        Two for each multiply-add, those with zeros of the padding included, as torch counts; the bias is not.
        """
        total = 0
        for k in range(len(self.links)):
            link = self._link(k)
            height, width = (_out_size(link, axis, size) for axis, size in enumerate((height, width)))
            total += 2 * batch * height * width * link.weight.numel()
        return total

    def extra_repr(self) -> str:
        """Ranks and what they save, for printing."""
        return f"ranks={self.ranks}, kept={self.kept:.4g}"

    def _link(self, index: int) -> nn.Conv2d:
        return cast("nn.Conv2d", self.links[index])


def convolution_child(
    weight: Tensor,  # shape: (out_channels, in_channels, kernel_height, kernel_width)
    bias: Tensor | None = None,
    window: Window | None = None,
) -> nn.Conv2d:
    """A convolution that holds copies of a weight and a bias; nothing is drawn.

    Raises:
        ValueError: The bias has another number of channels.
    """
    out_channels, in_channels, height, width = weight.shape
    if bias is not None and bias.shape != (out_channels,):
        raise ValueError(
            f"Argument `bias` must have shape ({out_channels},), but has shape {tuple(bias.shape)}."
        )
    options = {} if window is None else vars(window)
    child = nn.Conv2d(
        in_channels, out_channels, (height, width), bias=bias is not None, device="meta", **options
    )
    child.weight = own_parameter(weight)
    if bias is not None:
        child.bias = own_parameter(bias)
    return child


def convolution_parts(source: nn.Conv2d) -> tuple[Tensor, Tensor | None, Window]:
    """Weight, bias and window of what `from_dense` was given, detached.

    Raises:
        TypeError: No `torch.nn.Conv2d`, or complex.
        ValueError: Several groups.
    """
    if not isinstance(source, nn.Conv2d):
        raise TypeError(f"Argument `source` must be a torch.nn.Conv2d, but is a {type(source).__name__}.")
    if source.groups != 1:
        raise ValueError(
            f"Argument `source` must have one group, but has {source.groups}; leave grouped convolutions dense."
        )
    if source.weight.is_complex():
        raise TypeError(f"Argument `source` must be real, but has {source.weight.dtype}.")
    bias = None if source.bias is None else source.bias.detach()
    return source.weight.detach(), bias, Window.of(source)


def _out_size(link: nn.Conv2d, axis: int, size: int) -> int:
    """Height or width after a convolution."""
    reach = link.dilation[axis] * (link.kernel_size[axis] - 1)
    if link.padding == "same":
        return size
    padding = 0 if isinstance(link.padding, str) else link.padding[axis]
    return (size + 2 * padding - reach - 1) // link.stride[axis] + 1
