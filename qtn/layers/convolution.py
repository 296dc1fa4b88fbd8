"""A convolution of low rank: into a few channels, and out of them point by point."""

from __future__ import annotations

from typing import Self, final

from torch import Tensor, nn

from qtn.decompositions import truncated_svd, whitened_svd
from qtn.layers.bonds import bonds_for_keep
from qtn.layers.convolution_base import AbstractTensorConv2d, Window, convolution_child, convolution_parts
from qtn.metric import LayerMetric


@final
class LowRankConv2d(AbstractTensorConv2d):
    """weight[o, i, y, x] = sum_r left[o, r] right[r, i, y, x].

    The kernel of the source into `rank` channels, then a 1 x 1 convolution with the bias. Parameters, and
    multiply-adds per pixel of the output, are rank * (out_channels + in_channels * height * width of the kernel).
    """

    def __init__(
        self,
        left: Tensor,  # shape: (out_channels, rank)
        right: Tensor,  # shape: (rank, in_channels, kernel_height, kernel_width)
        bias: Tensor | None = None,  # shape: (out_channels,)
        *,
        window: Window | None = None,
        discarded: float | None = None,
    ) -> None:
        if left.ndim != 2 or right.ndim != 4 or left.shape[1] != right.shape[0]:
            raise ValueError(
                "Arguments `left` and `right` must have shapes (out_channels, rank) and (rank, in_channels, "
                f"height, width), but have shapes {tuple(left.shape)} and {tuple(right.shape)}."
            )
        links = [convolution_child(right, window=window), convolution_child(left[:, :, None, None], bias)]
        super().__init__(links, discarded)

    @property
    def left(self) -> Tensor:
        """Shape (out_channels, rank)."""
        return self._link(1).weight[:, :, 0, 0]

    @property
    def right(self) -> Tensor:
        """Shape (rank, in_channels, kernel_height, kernel_width)."""
        return self._link(0).weight

    @property
    def window(self) -> Window:
        return Window.of(self._link(0))

    @classmethod
    def from_dense(
        cls,
        source: nn.Conv2d,
        *,
        rank: int | None = None,
        keep: float | None = None,
        cutoff: float = 0.0,
        metric: LayerMetric | None = None,
    ) -> Self:
        """The layer of a given rank nearest to a dense one, in the Frobenius norm or in a metric.

        Args:
            source: A real convolution of one group; its window and bias are taken over.
            rank: Largest rank, at most min(out_channels, in_channels * kernel height * kernel width).
            keep: Parameters of the factors as a fraction of those of the weight, instead of a rank: the rank
                with the nearest count is taken.
            cutoff: Largest relative weight that may be discarded; not with `keep`.
            metric: That of the weight as a matrix (out_channels, in_channels * height * width): its inputs are
                the patches, as `torch.nn.functional.unfold` orders them, its outputs the channels.

        Returns:
            The layer. Without `rank`, `keep` and `cutoff` it has full rank and is equal to the dense one.

        Raises:
            TypeError: See `AbstractTensorConv2d.from_dense`.
            ValueError: The same, a bad rank, or a metric of other sizes.

        Cost: one singular value decomposition of the matrix.

        Source: C. Eckart, G. Young, Psychometrika 1, 211 (1936), doi:10.1007/BF02288367; with a metric, `whitened_svd`.
        """
        weight, bias, window = convolution_parts(source)
        matrix = weight.flatten(1)
        if keep is not None:
            if rank is not None or cutoff:
                raise ValueError("Argument `keep` must stand without `rank` and `cutoff`, but one is given.")
            (rank,) = bonds_for_keep(tuple(matrix.shape), keep)
        if rank is not None and not 1 <= rank <= min(matrix.shape):
            raise ValueError(
                f"Argument `rank` must be between 1 and {min(matrix.shape)} for a weight of shape "
                f"{tuple(weight.shape)}, but is {rank}."
            )
        if metric is None:
            left, right, discarded = truncated_svd(matrix, max_bond=rank, cutoff=cutoff)
        else:
            left, right, discarded, _ = whitened_svd(matrix, metric, max_bond=rank, cutoff=cutoff)
        kernel = right.reshape(-1, *weight.shape[1:])
        return cls(left, kernel, bias, window=window, discarded=discarded)

    def to_dense(self) -> Tensor:
        right, left = self._link(0).weight, self._link(1).weight
        return (left.flatten(1) @ right.flatten(1)).reshape(-1, *right.shape[1:])

    @property
    def ranks(self) -> tuple[int, ...]:
        return (self._link(0).out_channels,)
