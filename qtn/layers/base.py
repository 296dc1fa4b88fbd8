"""What every tensor layer promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import Tensor, nn


class AbstractTensorLayer(nn.Module, ABC):
    """A linear map whose weight is a network of small tensors, and which can always say the weight it means.

    `layer(x)` equals `torch.nn.functional.linear(x, layer.to_dense(), layer.bias)` up to rounding, and so do
    all gradients. The factors are plain parameters, trainable when made; a layer made from a bias-free
    one has no bias. A constructor takes the factors themselves and copies them; `from_dense` fits them.

    Attributes:
        in_features: Size of the last axis of the input.
        out_features: Size of the last axis of the output.
        bias: Parameter of shape (out_features,), or None.
        discarded: ||weight - to_dense()||^2 / ||weight||^2 of the fit that made the layer, in the Frobenius
            norm or the metric of the fit, before casting to half precision; None if it was not fitted. Not part of
            the state dict.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: Tensor | None, discarded: float | None
    ) -> None:
        super().__init__()
        if bias is not None and bias.shape != (out_features,):
            raise ValueError(
                f"Argument `bias` must have shape ({out_features},), but has shape {tuple(bias.shape)}."
            )
        self.in_features = in_features
        self.out_features = out_features
        self.discarded = discarded
        self.bias: nn.Parameter | None
        self.register_parameter("bias", None if bias is None else own_parameter(bias))

    @classmethod
    @abstractmethod
    def from_dense(
        cls, source: nn.Linear | Tensor, *, keep: float | None = None, cutoff: float = 0.0
    ) -> Self:
        """The layer that approximates a dense one; without options, one that is equal to it.

        Args:
            source: A linear layer, whose bias is copied, or a weight (out_features, in_features) without one.
                Left as it is.
            keep: Parameters of the factors, as a fraction of those of the weight.
            cutoff: Largest relative weight that may be discarded.

        Returns:
            A layer of the dtype and device of the source, with `discarded` set.

        Raises:
            TypeError: The source is neither a linear layer nor a tensor, or of integer dtype.
            ValueError: The weight is not a finite matrix, or `keep` is out of reach.
        """

    @abstractmethod
    def to_dense(self) -> Tensor:  # shape: (out_features, in_features)
        """The weight that the factors mean, differentiable with respect to them."""

    @property
    @abstractmethod
    def ranks(self) -> tuple[int, ...]:
        """Size of every bond between two factors."""

    @abstractmethod
    def flops(self, batch: int) -> int:
        """Real floating-point operations of one forward pass over `batch` rows, by formula.

        Matrix products only, two a real multiply-add and eight a complex one; the bias is not counted.
        """

    @abstractmethod
    def _multiply(self, x: Tensor) -> Tensor:  # shapes: (*batch, in_features) -> (*batch, out_features)
        """`x @ to_dense().T` on the cheapest way."""

    def forward(self, x: Tensor) -> Tensor:  # shapes: (*batch, in_features) -> (*batch, out_features)
        """The linear map applied to the last axis.

        Raises:
            ValueError: The last axis has another size.
        """
        if x.ndim < 1 or x.shape[-1] != self.in_features:
            raise ValueError(
                f"Argument `x` must have shape (*batch, {self.in_features}), but has shape {tuple(x.shape)}."
            )
        y = self._multiply(x)
        return y if self.bias is None else y + self.bias.to(y.dtype)

    @property
    def weight(self) -> Tensor:  # shape: (out_features, in_features)
        """As `to_dense`, formed anew at each access: for parents that read the weights of their children.

        The inference path of `torch.nn.TransformerEncoderLayer` does; it then runs on the dense weight.
        """
        return self.to_dense()

    @property
    def num_params(self) -> int:
        """Number of parameters, the bias included."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def kept(self) -> float:
        """Parameters of the factors over those of the dense weight, the bias in neither."""
        num_bias = 0 if self.bias is None else self.bias.numel()
        return (self.num_params - num_bias) / (self.in_features * self.out_features)

    def extra_repr(self) -> str:
        """Sizes, ranks and what they save, for printing."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, ranks={self.ranks}, kept={self.kept:.4g}"
        )


def own_parameter(tensor: Tensor) -> nn.Parameter:
    """A trainable parameter with memory of its own, contiguous, as safetensors wants it."""
    return nn.Parameter(tensor.detach().clone(memory_format=torch.contiguous_format))


def dense_parts(source: nn.Linear | Tensor) -> tuple[Tensor, Tensor | None]:
    """Weight (out_features, in_features) and bias of what `from_dense` was given, detached.

    Raises:
        TypeError: Neither a linear layer nor a tensor.
        ValueError: The weight is not a matrix.
    """
    if isinstance(source, nn.Linear):
        return source.weight.detach(), None if source.bias is None else source.bias.detach()
    if not isinstance(source, Tensor):
        raise TypeError(
            f"Argument `source` must be a torch.nn.Linear or a tensor, but is a {type(source).__name__}."
        )
    if source.ndim != 2:
        raise ValueError(
            "Argument `source` must have shape (out_features, in_features), "
            f"but has shape {tuple(source.shape)}."
        )
    return source.detach(), None


def random_factor(
    shape: tuple[int, ...],
    variance: float,
    *,
    generator: torch.Generator,
    dtype: torch.dtype,
    device: torch.device | str | None,
) -> Tensor:
    """Independent normal numbers of mean 0 and the given variance (of the modulus, if complex).

    Drawn in double precision on the device of the generator, so that all dtypes see the same numbers.
    """
    wide = torch.complex128 if dtype.is_complex else torch.float64
    draws = torch.randn(shape, generator=generator, dtype=wide, device=generator.device)
    return (variance**0.5 * draws).to(device=device, dtype=dtype)
