"""What a student model is to learn from its teacher, and how far it is from that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from qtn.calibration.batches import Batch, counted_rows, run
from qtn.calibration.losses import has_classes
from qtn.calibration.precision import at_least_single
from qtn.calibration.recording import evaluation, output_of, recorded

Targets: TypeAlias = dict[str, Tensor]
OutputKind: TypeAlias = Literal["logits", "values"]


def class_log_probabilities(
    logits: Tensor,  # shape: (*rows, vocabulary)
    indices: Tensor,  # shape: (*rows, chosen)
) -> Tensor:  # shape: (*rows, chosen + 1), or (*rows, vocabulary) where all are chosen
    """Log-probabilities of the chosen classes and, last, of all others together, if there are others.

    Cost: one copy of the logits.
    """
    chosen = logits.gather(-1, indices)
    if indices.shape[-1] == logits.shape[-1]:
        return chosen.log_softmax(-1)
    others = logits.scatter(-1, indices, -torch.inf).logsumexp(-1, keepdim=True)
    return torch.cat((chosen, others), -1).log_softmax(-1)


@torch.no_grad()
def teacher_targets(
    teacher: nn.Module,
    batch: Batch,
    *,
    top_k: int = 64,
    hidden: Sequence[str] = (),
    kind: OutputKind | None = None,
    dtype: torch.dtype = torch.float32,
) -> Targets:
    """What a student is to reproduce on one batch.

    The teacher is run in evaluation mode; modes are afterwards as they were.

    Args:
        teacher: Any module whose output `output_of` can read.
        batch: On the device of the teacher.
        top_k: Number of classes kept for each row; all others are kept as one.
        hidden: Modules, as in `teacher.named_modules()`, whose outputs are kept.
        kind: Whether the output holds logits, to be compared by the divergence of the distributions, or
            values, to be compared by squared error. None: logits if the output has them under this name, of
            more than one class.
        dtype: Floating dtype of what is kept.

    Returns:
        Tensors by name: `indices` (*rows, top_k) in int32 and `log_probabilities`, as of
        `class_log_probabilities`, or `values`; `hidden.NAME` for the modules; `variance.values` and
        `variance.hidden.NAME`, scalars, the variance over all entries of rows that count, or 1 if that is 0.

    Raises:
        TypeError: The output is nothing that can be read.
        ValueError: A module is unknown or was not reached, no row counts, or a value is not finite in `dtype`.
    """
    with evaluation(teacher), recorded(teacher, hidden) as states:
        given = run(teacher, batch)
    output = output_of(given)
    if not _count(output.shape[:-1], batch):
        raise ValueError(
            "Argument `batches` must hold batches with rows that count, but one gives outputs of shape "
            f"{tuple(output.shape)}, all padding."
        )
    if kind is None:
        kind = "logits" if has_classes(given) else "values"
    targets: Targets = {}
    measured = {f"hidden.{name}": state for name, state in states.items()}
    if kind == "logits":
        logits = at_least_single(output)
        _check_finite(logits, "output")
        indices = logits.topk(min(top_k, logits.shape[-1])).indices
        classes = class_log_probabilities(logits, indices).clamp_min(torch.finfo(dtype).min)
        targets |= {"indices": indices.to(torch.int32), "log_probabilities": classes.to(dtype)}
    else:
        measured["values"] = output
    for name, values in measured.items():
        targets[name] = values.to(dtype)
        _check_finite(targets[name], name)
        mask = counted_rows(batch, values.shape[:-1])
        variance = at_least_single(values if mask is None else values[mask]).var(correction=0)
        targets[f"variance.{name}"] = torch.where(variance > 0, variance, 1.0)
    return targets


def distillation_loss(
    output: Tensor,  # shape: (*rows, features)
    hidden: Mapping[str, Tensor],  # shapes: (*rows, features)
    targets: Targets,
    batch: Batch,
    *,
    hidden_weight: float = 1.0,
) -> Tensor:  # scalar
    """The distance of a student from its targets, summed over the rows that count; zero at the teacher.

    For logits the Kullback-Leibler divergence, in nats, of the student's from the teacher's distribution over
    the kept classes and the rest. It is never above that over the whole vocabulary, and equal to it if all
    classes are kept. For values the mean over the features of the squared error over the teacher's variance.
    Hidden states are compared like values; `hidden_weight` is that of the mean over the modules. A row of the
    output is one index of all axes but the last; padding, by the `attention_mask` of the batch, does not count.

    Raises:
        ValueError: The student's shapes are not those of the teacher.

    Source: G. Hinton, O. Vinyals, J. Dean, arXiv:1503.02531, at temperature 1; for hidden states X. Jiao et al.,
    TinyBERT, arXiv:1909.10351, equation 8, without its projection.
    """
    if "indices" in targets:
        indices, stored = targets["indices"], at_least_single(targets["log_probabilities"])
        if output.shape[:-1] != indices.shape[:-1] or output.shape[-1] < stored.shape[-1]:
            raise ValueError(
                f"The student must give logits for rows {tuple(indices.shape[:-1])} and at least "
                f"{stored.shape[-1]} classes, but gives shape {tuple(output.shape)}."
            )
        theirs = stored.log_softmax(-1)  # rounding to `dtype` left them a little off the sum 1
        ours = class_log_probabilities(at_least_single(output), indices.long())
        loss = _row_sum((theirs.exp() * (theirs - ours)).sum(-1), batch)
    else:
        loss = _scaled_error(output, targets, "values", batch)
    names = hidden_names(targets)
    if names and hidden_weight:
        errors = [_scaled_error(hidden[name], targets, f"hidden.{name}", batch) for name in names]
        loss = loss + hidden_weight * torch.stack(errors).mean()
    return loss


def num_rows(targets: Targets, batch: Batch) -> int:
    """Number of rows of the output that count."""
    shape = targets.get("indices", targets.get("values", torch.empty(0))).shape[:-1]
    return _count(shape, batch)


def hidden_names(targets: Targets) -> list[str]:
    """The modules whose outputs are among the targets."""
    return [name.removeprefix("hidden.") for name in targets if name.startswith("hidden.")]


def _scaled_error(values: Tensor, targets: Targets, name: str, batch: Batch) -> Tensor:
    theirs = targets[name]
    if values.shape != theirs.shape:
        raise ValueError(
            f"The student must give `{name}` the teacher's shape {tuple(theirs.shape)}, "
            f"but gives {tuple(values.shape)}."
        )
    errors = (at_least_single(values) - at_least_single(theirs)).square().mean(-1)
    return _row_sum(errors, batch) / targets[f"variance.{name}"]


def _count(shape: torch.Size, batch: Batch) -> int:
    mask = counted_rows(batch, shape)
    return prod(shape) if mask is None else int(mask.sum())


def _row_sum(rows: Tensor, batch: Batch) -> Tensor:
    mask = counted_rows(batch, rows.shape)
    # Not a product with the mask: what stands in padding may be NaN.
    return rows.sum() if mask is None else rows[mask].sum()


def _check_finite(values: Tensor, name: str) -> None:
    if not bool(torch.isfinite(values).all()):
        raise ValueError(
            f"The teacher's `{name}` must be finite in {values.dtype}, but holds NaN or infinity; look for "
            "some in the batch, and keep the targets and the teacher in torch.float32."
        )
