"""The gradient of the distillation loss on one batch, in as many parts as memory asks for."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from qtn.calibration.batches import Batch, num_examples, part, run
from qtn.calibration.recording import output_of, recorded
from qtn.healing.distillation import Targets, distillation_loss, hidden_names, num_rows


def batch_gradients(
    student: nn.Module,
    batch: Batch,
    targets: Targets,
    parameters: Mapping[str, nn.Parameter],
    *,
    hidden_weight: float,
    autocast: torch.dtype | None,
    part_examples: int | None,
) -> tuple[dict[str, Tensor], float, int | None]:
    """The gradients of the mean loss per row, the loss, and the size of the parts that went through.

    A batch that does not fit in the accelerator's memory is halved along its first axis until its parts do.

    Args:
        student: Run once for each part.
        batch: On the device of the student, as are the targets.
        targets: See `teacher_targets`.
        parameters: With respect to which; those that do not enter the loss are missing in the result.
        hidden_weight: See `distillation_loss`.
        autocast: Dtype of `torch.autocast`, or None.
        part_examples: Largest part to begin with, None for the whole batch.

    Raises:
        torch.OutOfMemoryError: A single example does not fit.
        ValueError: The student's shapes are not the teacher's, or no parameter enters the loss.
    """
    size = num_examples(batch)
    limit = size if part_examples is None else min(part_examples, size)
    while True:
        try:
            gradients, loss = _in_parts(student, batch, targets, parameters, hidden_weight, autocast, limit)
        except torch.OutOfMemoryError as error:
            if limit == 1:
                shapes = {name: tuple(each.shape) for name, each in targets.items() if each.ndim}
                raise torch.OutOfMemoryError(
                    "One example of a batch does not fit in memory, so no batch can; give shorter examples "
                    f"(targets of the batch: {shapes}), train fewer parameters or set `autocast`."
                ) from error
        else:
            return gradients, loss, part_examples if limit == size else limit
        # Outside the handler: the error holds the tensors of the failed pass.
        limit = (limit + 1) // 2
        part_examples = limit
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _in_parts(
    student: nn.Module,
    batch: Batch,
    targets: Targets,
    parameters: Mapping[str, nn.Parameter],
    hidden_weight: float,
    autocast: torch.dtype | None,
    limit: int,
) -> tuple[dict[str, Tensor], float]:
    size, rows = num_examples(batch), num_rows(targets, batch)
    device = next(iter(parameters.values())).device
    sums: dict[str, Tensor] = {}
    total = 0.0
    for start in range(0, size, limit):
        stop = min(start + limit, size)
        here = part(batch, start, stop)
        wanted = {name: each[start:stop] if each.ndim else each for name, each in targets.items()}
        with (
            torch.enable_grad(),
            torch.autocast(device.type, dtype=autocast, enabled=autocast is not None),
            recorded(student, hidden_names(targets)) as states,
        ):
            output = output_of(run(student, here))
        loss = distillation_loss(output, states, wanted, here, hidden_weight=hidden_weight) / rows
        if not loss.requires_grad:
            raise ValueError(
                "Argument `trainable` must choose parameters that the output depends on, but none does."
            )
        # Not `backward`: where memory ends half-way, nothing may have been added yet.
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                sums[name] = sums[name] + gradient if name in sums else gradient
        total += float(loss.detach())
    return sums, total
