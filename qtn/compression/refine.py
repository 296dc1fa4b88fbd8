"""All layers of a block trained together towards what the dense block gives."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from qtn.calibration.precision import at_least_single
from qtn.compression.stack import Call, called
from qtn.healing.trainable import only_trained, trainable_parameters


def refine_block(
    student: nn.Module,
    calls: Sequence[Call],
    targets: Sequence[Tensor],
    *,
    steps: int,
    learning_rate: float = 1e-3,
    generator: torch.Generator,
) -> tuple[float, float]:
    """Lower the squared error of a block's results by Adam over all its parameters, or leave them as they were.

    Args:
        student: The block, changed in place.
        calls: What the compressed model calls it with, for each batch.
        targets: What the dense block gives, for each batch.
        steps: Number of updates, one batch each; their order is drawn anew for each pass.
        learning_rate: Of the first step; it falls to zero along a half cosine. In units of the root mean square of
            each parameter, so that large and small factors move alike.
        generator: On the CPU, for the order.

    Returns:
        The squared error over the squared norm of the targets, before and after; equal if training did not lower
        it, and then the parameters are those from before.

    Cost: for each step a forward and a backward pass of the block over one batch; two more forward passes over all.
    """
    trained = trainable_parameters(student, "all")
    before = _error(student, calls, targets)
    kept = {name: parameter.detach().clone() for name, parameter in trained.items()}
    groups = [
        {"params": [parameter], "lr": learning_rate * float(parameter.detach().square().mean().sqrt())}
        for parameter in trained.values()
    ]
    optimiser = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    order: list[int] = []
    with torch.enable_grad(), only_trained(student, trained):
        for _ in range(steps):
            order = order or torch.randperm(len(calls), generator=generator).tolist()
            batch = order.pop()
            target = at_least_single(targets[batch])
            loss = (called(student, calls[batch]) - target).square().sum() / target.square().sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        optimiser.zero_grad()
    after = _error(student, calls, targets)
    if after < before:
        return before, after
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(kept[name])
    return before, before


@torch.no_grad()
def _error(student: nn.Module, calls: Sequence[Call], targets: Sequence[Tensor]) -> float:
    missed = sum(
        float((called(student, call).double() - target).square().sum())
        for call, target in zip(calls, targets, strict=True)
    )
    return missed / sum(float(target.double().square().sum()) for target in targets)
