"""Batches in the three forms that models take."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from qtn.calibration.batches import Batch, counted_rows, moved, num_examples, part, run, tensors_of

IDS, PLACES = torch.arange(12).reshape(4, 3), torch.arange(3).reshape(1, 3)
BATCHES: list[Batch] = [IDS, (IDS, PLACES, 2), {"x": IDS, "y": PLACES, "factor": 2}]


class Sum(nn.Module):
    def forward(self, x: Tensor, y: Tensor | None = None, factor: int = 1) -> Tensor:
        return factor * (x if y is None else x + y)


@pytest.mark.parametrize("batch", BATCHES, ids=["tensor", "tuple", "mapping"])
def test_parts_of_a_batch_give_parts_of_the_output(batch: Batch) -> None:
    whole = run(Sum(), batch)
    assert torch.equal(whole, IDS) if batch is IDS else torch.equal(whole, 2 * (IDS + PLACES))
    assert num_examples(batch) == 4
    parts = [run(Sum(), part(batch, start, start + 3)) for start in (0, 3)]
    assert [len(each) for each in parts] == [3, 1]
    assert torch.equal(torch.cat(parts), whole)
    places = [each.device.type for each in tensors_of(moved(batch, torch.device("meta"))).values()]
    assert places == ["meta"] * (1 if batch is IDS else 2)


def test_a_mask_counts_rows_of_its_own_shape_only() -> None:
    mask = torch.tensor([[1, 0], [1, 1]])
    batch = {"x": IDS, "attention_mask": mask}
    assert torch.equal(counted_rows(batch, mask.shape), mask.bool())  # pyright: ignore[reportArgumentType]
    assert counted_rows(batch, torch.Size([2])) is None  # one output for each example, as of a pooling
    assert counted_rows(IDS, mask.shape) is None


def test_a_batch_without_examples_is_refused() -> None:
    with pytest.raises(ValueError, match="must hold tensors with an axis of examples, but one has none"):
        num_examples((torch.tensor(1.0), 3))
    with pytest.raises(
        TypeError, match="must hold tensors, tuples or mappings of arguments, but holds a str"
    ):
        run(Sum(), "text")  # pyright: ignore[reportArgumentType]
