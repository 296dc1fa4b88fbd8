"""The cost model: what it predicts, what follows from it, and that neither path changes a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from qtn import LowRankLinear, MPOLinear
from qtn.layers.machine import Machine
from qtn.layers.path import Product, dense_from, joining_path, multiply_adds, sweep_path
from qtn.layers.planned import AbstractPlannedLayer
from tests.qtn.cases import LAYERS, LayerCase, make_linear

ONLY_OPERATIONS = Machine(operations_per_second=1.0, bytes_per_second=float("inf"), seconds_per_call=0.0)
ONLY_BYTES = Machine(operations_per_second=float("inf"), bytes_per_second=1.0, seconds_per_call=0.0)
ONLY_CALLS = Machine(operations_per_second=float("inf"), bytes_per_second=float("inf"), seconds_per_call=1.0)
PLANNED = [case for case in LAYERS if issubclass(case.kind, AbstractPlannedLayer)]
planned = pytest.mark.parametrize("case", PLANNED, ids=lambda case: case.name)
every_kind = pytest.mark.parametrize(
    "case", {case.kind: case for case in PLANNED}.values(), ids=lambda case: case.name
)


def _planned(case: LayerCase, *, bias: bool = True) -> AbstractPlannedLayer:
    layer = case.compressed(case.linear(bias=bias))
    assert isinstance(layer, AbstractPlannedLayer)
    return layer


def _rows(num: int, features: int) -> Tensor:
    return make_linear(features, num, seed=5).weight.detach()


def _total_flops(layer: nn.Module, x: Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        layer(x)
    return counter.get_total_flops()


def test_seconds_are_operations_bytes_and_calls() -> None:
    products = [Product(2, 3, 5), Product(7, 11, 13, copied=17, count=2)]
    operations = 2 * (2 * 3 * 5 + 2 * 7 * 11 * 13)
    numbers = (6 + 15 + 10) + 2 * (77 + 143 + 91) + 4 * 17
    for dtype, complex_factor in [(torch.float32, 1), (torch.bfloat16, 1), (torch.complex64, 4)]:
        assert ONLY_OPERATIONS.seconds(products, dtype) == complex_factor * operations
        assert ONLY_BYTES.seconds(products, dtype) == numbers * dtype.itemsize
        assert ONLY_CALLS.seconds(products, dtype) == 3  # one more for the copy
    machine = Machine(operations_per_second=2.0, bytes_per_second=4.0, seconds_per_call=0.5)
    assert machine.seconds(products, torch.float32) == operations / 2 + numbers + 1.5


@given(
    own=st.tuples(st.integers(1, 50), st.integers(0, 5000)),
    other=st.tuples(st.integers(1, 50), st.integers(0, 5000)),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_the_threshold_is_the_crossing_of_two_lines(own: tuple[int, int], other: tuple[int, int]) -> None:
    """Multiply-adds slope * rows + offset against another such line."""

    slope, offset = own[0] - other[0], other[1] - own[1]
    found = dense_from(
        lambda rows: [Product(rows, own[0], 1), Product(1, own[1], 1)],
        lambda rows: [Product(rows, other[0], 1), Product(1, other[1], 1)],
        torch.float64,
        ONLY_OPERATIONS,
    )
    if slope > 0:
        assert found == max(offset // slope + 1, 1)
    else:
        assert found == (1 if slope == 0 and offset < 0 else None)


def test_more_bytes_per_second_favour_the_path_of_fewer_operations() -> None:
    """Two equal paths in operations: the one that copies loses, the sooner the slower the copies."""

    def threshold(bytes_per_second: float) -> int | None:
        machine = Machine(operations_per_second=1e9, bytes_per_second=bytes_per_second, seconds_per_call=0.0)
        return dense_from(
            lambda rows: [Product(rows, 64, 32, copied=64 * rows)],
            lambda rows: [Product(64, 20, 64), Product(rows, 64, 64)],
            torch.float32,
            machine,
        )

    assert threshold(float("inf")) is None
    slow, slower = threshold(1e7), threshold(1e6)
    assert slow is not None and slower is not None and slower < slow


@pytest.mark.parametrize(
    ("out_sites", "in_sites", "bonds"), [((5, 4), (3, 6), (4,)), ((3, 2, 4), (2, 5, 2), (3, 4))]
)
def test_paths_of_a_train_are_those_that_run(
    out_sites: tuple[int, ...], in_sites: tuple[int, ...], bonds: tuple[int, ...]
) -> None:
    shapes = zip((1, *bonds), out_sites, in_sites, (*bonds, 1), strict=True)
    layer = MPOLinear([torch.ones(shape) for shape in shapes])
    sizes = [j * i for j, i in zip(out_sites, in_sites, strict=True)]
    with FlopCounterMode(display=False) as counter:
        layer.to_dense()
    assert counter.get_total_flops() == 2 * multiply_adds(joining_path(sizes, bonds))
    layer.dense_from, layer.starts_last = None, False
    path = sweep_path(out_sites, in_sites, bonds, 7)
    assert _total_flops(layer, torch.ones(7, layer.in_features)) == 2 * multiply_adds(path)
    assert [product.rows for product in path][-1] * out_sites[-1] == 7 * layer.out_features


@planned
@pytest.mark.parametrize("bias", [True, False])
def test_both_paths_give_equal_values_and_gradients(case: LayerCase, bias: bool) -> None:
    layer = _planned(case, bias=bias)
    x = _rows(4, case.in_features).requires_grad_()
    results, flops = [], []
    for threshold in (None, 5, 4, 1):
        layer.dense_from = threshold
        y = layer(x)
        results.append((y, *torch.autograd.grad(y.sin().sum(), [x, *layer.parameters()])))
        flops.append(_total_flops(layer, x))
        assert layer.flops(4) == flops[-1]
    assert flops[0] == flops[1] and flops[2] == flops[3] == 2 * multiply_adds(
        [*layer._joining(), Product(4, case.in_features, case.out_features)]
    )
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-11)


@every_kind
def test_a_compiled_layer_is_one_graph_for_each_path(case: LayerCase) -> None:
    layer = _planned(case)
    layer.dense_from = 5
    graphs = []

    def backend(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()  # other layers share the code of `forward`, and the number of its graphs is limited
    compiled = torch.compile(layer, fullgraph=True, backend=backend, dynamic=True)
    for num in (4, 5, 2, 9, 3, 12):
        x = _rows(num, case.in_features)
        torch.testing.assert_close(compiled(x), layer(x), rtol=1e-12, atol=1e-12)
    assert len(graphs) == 2
    torch.compiler.reset()


@planned
def test_the_plan_follows_the_machine_and_its_default(case: LayerCase) -> None:
    layer = case.kind.from_dense(case.linear())
    assert isinstance(layer, AbstractPlannedLayer)
    made = layer.dense_from
    layer.plan(ONLY_OPERATIONS)
    excess = multiply_adds(layer._factorised(1)) - case.in_features * case.out_features
    assert layer.dense_from == (multiply_adds(layer._joining()) // excess + 1 if excess > 0 else None)
    layer.plan()
    assert layer.dense_from == made
    layer.plan(Machine.default("cpu", torch.float64))
    assert layer.dense_from == made


def test_factors_of_few_operations_stay_factors_and_large_batches_do_not() -> None:
    thin = MPOLinear.from_dense(make_linear(576, 576), out_sites=(144, 4), in_sites=(4, 144), max_bond=8)
    assert thin.dense_from is None
    thick = MPOLinear.from_dense(make_linear(576, 576), max_bond=100)
    assert thick.dense_from is not None and 1 < thick.dense_from < 100


@planned
@pytest.mark.parametrize("bias", [True, False])
def test_the_reconstructed_layer_is_dense_and_shares_nothing(case: LayerCase, bias: bool) -> None:
    layer = _planned(case, bias=bias).eval()
    state = torch.get_rng_state()
    dense = layer.reconstructed()
    assert torch.equal(torch.get_rng_state(), state)
    assert type(dense) is nn.Linear and not dense.training
    x = _rows(3, case.in_features)
    torch.testing.assert_close(dense(x), layer(x), rtol=1e-12, atol=1e-12)
    before = layer(x)
    with torch.no_grad():
        for parameter in dense.parameters():
            parameter.zero_()
    assert torch.equal(layer(x), before)


def test_the_factors_of_a_low_rank_layer_are_linear_layers_and_run_as_such() -> None:
    """A tool that replaces every `nn.Linear` must change what the layer computes."""
    layer = LowRankLinear.from_dense(make_linear(12, 10), rank=3)
    assert [name for name, each in layer.named_modules() if type(each) is nn.Linear] == ["right", "left"]
    assert sorted(layer.state_dict()) == ["bias", "left.weight", "right.weight"]
    seen = []
    for child in (layer.right, layer.left):
        child.register_forward_hook(lambda module, *_: seen.append(module))
    x = _rows(4, 12)
    plain = layer(x)
    assert seen == [layer.right, layer.left]
    layer.right = nn.Sequential(layer.right, nn.Hardtanh(-1.0, 1.0))  # pyright: ignore
    assert layer.bias is not None
    expected = layer.left(layer.right(x)) + layer.bias
    torch.testing.assert_close(layer(x), expected)
    assert not torch.allclose(plain, expected)


def test_a_machine_is_measured_within_a_second_and_its_rates_are_positive() -> None:
    machine = Machine.measured("cpu", torch.float32)
    assert 1e8 < machine.operations_per_second < 1e14
    assert 1e7 < machine.bytes_per_second < 1e13
    assert 1e-8 < machine.seconds_per_call < 1e-2


def test_default_machines_differ_by_device_and_dtype() -> None:
    cpu, gpu = (Machine.default(device, torch.float32) for device in ("cpu", torch.device("cuda", 1)))
    assert gpu.operations_per_second > cpu.operations_per_second
    assert gpu.seconds_per_call > cpu.seconds_per_call
    for dtype, real in [(torch.complex128, torch.float64), (torch.complex64, torch.float32)]:
        assert Machine.default("cpu", dtype) == Machine.default("cpu", real)
    doubles = Machine.default("cpu", torch.float64).operations_per_second
    assert 2 * doubles == cpu.operations_per_second
    halves = Machine.default("cuda", torch.bfloat16).operations_per_second
    assert halves == 4 * gpu.operations_per_second


def test_bad_rates_are_refused_by_name() -> None:
    for name, bad, said in [
        ("operations_per_second", 0.0, "positive"),
        ("bytes_per_second", float("nan"), "positive"),
        ("seconds_per_call", -1.0, "at least 0"),
    ]:
        rates = {"operations_per_second": 1.0, "bytes_per_second": 1.0, "seconds_per_call": 1.0} | {name: bad}
        with pytest.raises(ValueError, match=f"`{name}` must be {said}, but is {bad}"):
            Machine(**rates)
