"""How layers multiply: what they say of it is what torch does, and no way of doing it changes a value."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from qtn.layers.planned import AbstractPlannedLayer
from tests.qtn.cases import LAYERS, LayerCase

every_layer = pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)


class _Products(TorchDispatchMode):
    """Records the shapes (count, rows, inner, columns) of matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten.mm.default, torch.ops.aten.bmm.default):
            first, second = args
            count = first.shape[0] if first.ndim == 3 else 1
            self.shapes.append((count, *first.shape[-2:], second.shape[-1]))
        return func(*args, **(kwargs or {}))


def _unordered(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The same for a product and its transpose."""
    count, rows, inner, columns = shape
    return (count, inner, *sorted((rows, columns)))


@every_layer
@pytest.mark.parametrize("batch", [1, 5, 1000])
def test_flops_are_those_that_torch_counts(case: LayerCase, batch: int) -> None:
    for layer in (case.compressed(case.linear()), case.lossless(case.linear())):
        for dense_from in (None, 1):
            if isinstance(layer, AbstractPlannedLayer):
                layer.dense_from = dense_from
            with FlopCounterMode(display=False) as counter:
                layer(case.inputs((batch,)))
            assert layer.flops(batch) == counter.get_total_flops() > 0


@every_layer
def test_the_products_of_a_plan_are_those_that_torch_does(case: LayerCase) -> None:
    layer = case.compressed(case.linear())
    if not isinstance(layer, AbstractPlannedLayer):
        return
    for batch, dense_from in [(3, None), (40, None), (3, 1)]:
        layer.dense_from = dense_from
        path = layer._factorised(batch) if dense_from is None else layer._reconstructed(batch)
        with _Products() as done:
            layer(case.inputs((batch,)))
        claimed = [(each.count, each.rows, each.inner, each.columns) for each in path]
        assert [_unordered(each) for each in done.shapes] == [_unordered(each) for each in claimed]


@every_layer
def test_forming_the_dense_weight_changes_no_value(case: LayerCase) -> None:
    layer = case.compressed(case.linear())
    x = case.inputs((5,))
    y = layer(x)
    if isinstance(layer, AbstractPlannedLayer):
        for dense_from in (1, 5, 6):
            layer.dense_from = dense_from
            torch.testing.assert_close(layer(x), y, rtol=1e-12, atol=1e-12)


def test_contractions_start_from_either_end() -> None:
    starts: dict[type, set[bool]] = {}
    for case in LAYERS:
        starts_last = getattr(case.compressed(case.linear()), "starts_last", None)
        if starts_last is not None:
            starts.setdefault(case.kind, set()).add(starts_last)
    assert len(starts) == 3
    assert all(ends == {False, True} for ends in starts.values())


@every_layer
def test_a_compiled_layer_gives_equal_values(case: LayerCase) -> None:
    layer = case.compressed(case.linear())
    x = case.inputs((3,))
    torch.testing.assert_close(torch.compile(layer, fullgraph=True, backend="eager")(x), layer(x))
    torch.compiler.reset()
