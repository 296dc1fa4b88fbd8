"""The Tucker-2 decomposition of a convolution: fewer channels in, a small kernel, all channels out."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Self, final

import torch
from torch import Tensor, nn

from qtn.decompositions import leading_svd
from qtn.decompositions.checks import check_cutoff, working_copy
from qtn.layers.bonds import nearest_bonds
from qtn.layers.convolution_base import AbstractTensorConv2d, Window, convolution_child, convolution_parts
from qtn.layers.factors import Truncations, equal_norms

_TOLERANCE = 0.02
_MOST_SWEEPS = 50
_LEAST_GAIN = 1e-4


@final
class Tucker2Conv2d(AbstractTensorConv2d):
    """weight[o, i, y, x] = sum_{p, q} left[o, p] core[p, q, y, x] right[q, i].

    A 1 x 1 convolution from in_channels to q, the kernel of the source from q to p channels, and a 1 x 1
    convolution to out_channels with the bias. `ranks` are (q, p).

    Source: Y.-D. Kim et al., Compression of Deep Convolutional Neural Networks for Fast and Low Power Mobile
    Applications, ICLR 2016, arXiv:1511.06530.
    """

    def __init__(
        self,
        left: Tensor,  # shape: (out_channels, out_rank)
        core: Tensor,  # shape: (out_rank, in_rank, kernel_height, kernel_width)
        right: Tensor,  # shape: (in_rank, in_channels)
        bias: Tensor | None = None,  # shape: (out_channels,)
        *,
        window: Window | None = None,
        discarded: float | None = None,
    ) -> None:
        shapes = [tuple(factor.shape) for factor in (left, core, right)]
        if [len(shape) for shape in shapes] != [2, 4, 2] or core.shape[:2] != (left.shape[1], right.shape[0]):
            raise ValueError(
                "Arguments `left`, `core` and `right` must have shapes (out_channels, out_rank), (out_rank, in_rank, "
                f"height, width) and (in_rank, in_channels), but have shapes {shapes}."
            )
        links = [
            convolution_child(right[:, :, None, None]),
            convolution_child(core, window=window),
            convolution_child(left[:, :, None, None], bias),
        ]
        super().__init__(links, discarded)

    @property
    def left(self) -> Tensor:
        """Shape (out_channels, out_rank)."""
        return self._link(2).weight[:, :, 0, 0]

    @property
    def core(self) -> Tensor:
        """Shape (out_rank, in_rank, kernel_height, kernel_width)."""
        return self._link(1).weight

    @property
    def right(self) -> Tensor:
        """Shape (in_rank, in_channels)."""
        return self._link(0).weight[:, :, 0, 0]

    @property
    def window(self) -> Window:
        return Window.of(self._link(1))

    @classmethod
    def from_dense(
        cls,
        source: nn.Conv2d,
        *,
        ranks: Sequence[int] | None = None,
        keep: float | None = None,
        cutoff: float = 0.0,
    ) -> Self:
        """The layer that sequential decompositions of the two channel axes make, improved by alternating ones.

        Args:
            source: A real convolution of one group; its window and bias are taken over.
            ranks: Largest ranks of the input and of the output channels.
            keep: Parameters of the factors as a fraction of those of the weight, instead of ranks, met within 2
                percent where ranks can. Of the pairs that do, the one is taken for which the singular
                values cut off both channel axes weigh least, a bound on the error.
            cutoff: Largest relative weight that may be discarded; not with `keep`.

        Returns:
            The layer, its factors of equal norms. Without `ranks`, `keep` and `cutoff` it is equal to the dense one.

        Raises:
            TypeError: See `AbstractTensorConv2d.from_dense`.
            ValueError: The same, or bad ranks.

        Cost: four singular value decompositions of the weight unfolded, and two of smaller matrices for each of at
        most 50 sweeps.

        Source: ST-HOSVD, N. Vannieuwenhoven, R. Vandebril, K. Meerbergen, SIAM J. Sci. Comput. 34, A1027 (2012),
        doi:10.1137/110836067; then HOOI, L. De Lathauwer, B. De Moor, J. Vandewalle, SIAM J. Matrix
        Anal. Appl. 21, 1324 (2000), doi:10.1137/S0895479898346995.
        """
        weight, bias, window = convolution_parts(source)
        check_cutoff(cutoff)
        working = working_copy(weight, "source")
        full = _full_ranks(working)
        if keep is not None:
            if ranks is not None or cutoff:
                raise ValueError("Argument `keep` must stand without `ranks` and `cutoff`, but one is given.")
            ranks = _ranks_for_keep(working, keep)
        chosen = tuple(full if ranks is None else ranks)
        if len(chosen) != 2 or not all(1 <= rank <= most for rank, most in zip(chosen, full, strict=True)):
            raise ValueError(f"Argument `ranks` must be two numbers from 1 to {full}, but is {chosen}.")
        left, core, right, discarded = _tucker2(working, (chosen[0], chosen[1]), cutoff)
        left, core, right = (factor.to(weight.dtype) for factor in equal_norms([left, core, right]))
        return cls(left, core, right, bias, window=window, discarded=discarded)

    def to_dense(self) -> Tensor:
        right, core, left = (self._link(k).weight for k in range(3))
        return _multiplied(core, left.flatten(1), right.flatten(1))

    @property
    def ranks(self) -> tuple[int, ...]:
        return self._link(0).out_channels, self._link(1).out_channels


def _tucker2(
    weight: Tensor, ranks: tuple[int, int], cutoff: float
) -> tuple[Tensor, Tensor, Tensor, float]:  # shapes: (out, p), (p, q, height, width), (q, in)
    """Orthonormal channel factors, the core, and the relative weight that they discard."""
    truncations = Truncations(cutoff, 2)
    left, values, rest = truncations.step(weight.flatten(1), ranks[1])
    projected = (values[:, None] * rest).reshape(len(values), *weight.shape[1:])
    right, values, rest = truncations.step(_by_inputs(projected), ranks[0])
    discarded = truncations.discarded
    best = left, _core(values, rest, left.shape[1], weight), right.T, discarded
    total = float(weight.double().square().sum())
    for _ in range(_MOST_SWEEPS if discarded > 0.0 else 0):
        fewer_inputs = _multiplied(weight, None, right)
        left = leading_svd(fewer_inputs.flatten(1), max_bond=left.shape[1])[0]
        fewer_outputs = _multiplied(weight, left.T, None)
        missed = float((weight - _multiplied(fewer_outputs, left, None)).double().square().sum()) / total
        right, values, rest, lost = leading_svd(_by_inputs(fewer_outputs), max_bond=right.shape[1])
        discarded = missed + (1.0 - missed) * lost
        gain = best[3] - discarded
        if gain > 0.0:
            best = left, _core(values, rest, left.shape[1], weight), right.T, discarded
        if gain <= _LEAST_GAIN * discarded:
            break
    return best


def _by_inputs(weight: Tensor) -> Tensor:
    """The unfolding (in_channels, out_channels * height * width)."""
    return weight.transpose(0, 1).flatten(1)


def _core(values: Tensor, rest: Tensor, out_rank: int, weight: Tensor) -> Tensor:
    """(out_rank, in_rank, height, width) from the decomposition of the unfolding by inputs."""
    unfolded = values[:, None] * rest
    return unfolded.reshape(len(values), out_rank, *weight.shape[2:]).transpose(0, 1)


def _multiplied(
    weight: Tensor,  # shape: (p, q, height, width)
    outputs: Tensor | None,  # shape: (new p, p)
    inputs: Tensor | None,  # shape: (q, new q)
) -> Tensor:
    """The weight with its channel axes multiplied by matrices."""
    if outputs is not None:
        weight = (outputs @ weight.flatten(1)).reshape(-1, *weight.shape[1:])
    if inputs is not None:
        weight = (weight.permute(0, 2, 3, 1) @ inputs).permute(0, 3, 1, 2)
    return weight


def _full_ranks(weight: Tensor) -> tuple[int, int]:
    """Ranks of inputs and outputs at which every weight of this shape is exact."""
    num_out, num_in, *kernel = weight.shape
    return min(num_in, num_out * prod(kernel)), min(num_out, num_in * prod(kernel))


def _ranks_for_keep(weight: Tensor, keep: float) -> tuple[int, int]:
    """Of the ranks that meet a budget of parameters, those whose discarded singular values weigh least."""
    num_out, num_in, *kernel = weight.shape
    full = _full_ranks(weight)

    def params(ranks: Sequence[int]) -> int:
        return num_in * ranks[0] + ranks[0] * ranks[1] * prod(kernel) + num_out * ranks[1]

    target = keep * weight.numel()
    nearest = nearest_bonds(params, full, weight.numel(), keep)
    allowed = max(abs(params(nearest) - target), _TOLERANCE * target)
    in_tails, out_tails = (_tails(each) for each in (_by_inputs(weight), weight.flatten(1)))
    best = (nearest[0], nearest[1])
    for in_rank in range(1, full[0] + 1):
        ideal = (target - num_in * in_rank) / (in_rank * prod(kernel) + num_out)
        out_rank = min(max(round(ideal), 1), full[1])
        pair = (in_rank, out_rank)
        met = abs(params(pair) - target) <= allowed
        if met and in_tails[pair[0]] + out_tails[pair[1]] < in_tails[best[0]] + out_tails[best[1]]:
            best = pair
    return best


def _tails(matrix: Tensor) -> list[float]:
    """For each rank from 0 on, the weight of the singular values beyond it."""
    weights = torch.linalg.svdvals(matrix).double().square()
    return [*weights.flip(0).cumsum(0).flip(0).tolist(), 0.0]
