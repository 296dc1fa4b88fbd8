"""Batches as models take them: one tensor, positional arguments or named ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

Batch: TypeAlias = "Tensor | tuple[Any, ...] | Mapping[str, Any]"


def run(model: nn.Module, batch: Batch) -> Any:
    """`model(batch)` for a tensor, `model(*batch)` for a tuple, `model(**batch)` for a mapping.

    Raises:
        TypeError: The batch is something else.
    """
    if isinstance(batch, Tensor):
        return model(batch)
    return model(**batch) if isinstance(batch, Mapping) else model(*_checked(batch))


def tensors_of(batch: Batch) -> dict[str, Tensor]:
    """The tensors of a batch, named by their places in it."""
    if isinstance(batch, Tensor):
        return {"0": batch}
    places = batch.items() if isinstance(batch, Mapping) else enumerate(_checked(batch))
    return {str(place): value for place, value in places if isinstance(value, Tensor)}


def without_padding(
    rows: Tensor,  # shape: (rows, features)
    values: Tensor,  # shape: (*axes, features), of as many rows
    batch: Any,
) -> Tensor:
    """The rows of some values of a batch that are no padding; see `counted_rows`."""
    mask = counted_rows(batch, values.shape[:-1])
    return rows if mask is None else rows[mask.flatten()]


def in_order(batches: Iterable[Batch]) -> Sequence[Batch]:
    """Batches that can be taken in any order; those of a generator or a data loader are read once."""
    return batches if isinstance(batches, Sequence) else list(batches)


def moved(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on a device; copies of those that were made in inference mode."""
    return _each(
        batch,
        lambda tensor: (tensor.clone() if tensor.is_inference() else tensor).to(device, non_blocking=True),
    )


def num_examples(batch: Batch) -> int:
    """Size of the first axis of the first tensor.

    Raises:
        ValueError: No tensor of the batch has an axis.
    """
    sizes = [len(tensor) for tensor in tensors_of(batch).values() if tensor.ndim]
    if not sizes:
        raise ValueError("Argument `batches` must hold tensors with an axis of examples, but one has none.")
    return sizes[0]


def part(batch: Batch, start: int, stop: int) -> Batch:
    """Some examples of a batch: a range of the first axis of every tensor that has all examples there."""
    size = num_examples(batch)
    return _each(batch, lambda tensor: tensor[start:stop] if tensor.ndim and len(tensor) == size else tensor)


def counted_rows(batch: Any, shape: torch.Size) -> Tensor | None:  # shape: of a model's output, less features
    """Which rows of an output are no padding: the `attention_mask` of a mapping, where the shapes agree."""
    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    return mask.bool() if isinstance(mask, Tensor) and mask.shape == shape else None


def _each(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    def changed(value: Any) -> Any:
        return change(value) if isinstance(value, Tensor) else value

    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        return {name: changed(value) for name, value in batch.items()}
    return tuple(changed(value) for value in _checked(batch))


def _checked(batch: Any) -> tuple[Any, ...]:
    if not isinstance(batch, (tuple, list)):
        raise TypeError(
            "Argument `batches` must hold tensors, tuples or mappings of arguments, "
            f"but holds a {type(batch).__name__}."
        )
    return tuple(batch)
