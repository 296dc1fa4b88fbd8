"""Rival: whole blocks left out, those first that change their input least."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from qtn.calibration.batches import run
from studies.compressing.measuring import num_parameters


class PassThrough(nn.Module):
    """A block that was left out: it gives its first argument."""

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        return x


@torch.no_grad()
def influences(model: nn.Module, blocks: str, batches: Sequence[Any]) -> list[float]:
    """For each block, one less the mean cosine between its input and its output over all rows.

    Source: X. Men et al., ShortGPT, arXiv:2403.03853, equation 1; the output is that of the block itself, before any
    norm of the model.
    """
    stack = list(model.get_submodule(blocks).children())
    sums, counts = [0.0] * len(stack), [0] * len(stack)

    def record(place: int, _: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        after = output if isinstance(output, Tensor) else output[0]
        cosines = torch.cosine_similarity(given[0].double(), after.double(), dim=-1)
        sums[place] += float(cosines.sum())
        counts[place] += cosines.numel()

    handles = [block.register_forward_hook(partial(record, place)) for place, block in enumerate(stack)]
    try:
        for batch in batches:
            run(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return [1 - total / count for total, count in zip(sums, counts, strict=True)]


def dropped(
    model: nn.Module, blocks: str, names: Sequence[str], kept: float, influence: Sequence[float]
) -> nn.Module:
    """A copy without the blocks of least influence: as many as bring the parameters nearest to the fraction.

    Only blocks that hold a layer of the names are dropped; ratios are of those layers.
    """
    sizes = [0] * len(influence)
    for name in names:
        sizes[int(name.removeprefix(f"{blocks}.").split(".")[0])] += num_parameters(model.get_submodule(name))
    order = sorted((place for place, size in enumerate(sizes) if size), key=lambda place: influence[place])
    left = [sum(sizes) - sum(sizes[place] for place in order[:count]) for count in range(len(order) + 1)]
    count = min(range(len(left)), key=lambda number: abs(left[number] - kept * sum(sizes)))
    copied = copy.deepcopy(model)
    for place in order[:count]:
        copied.set_submodule(f"{blocks}.{place}", PassThrough())
    return copied
