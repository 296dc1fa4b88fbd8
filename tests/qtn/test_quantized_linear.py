"""Weights in 4 and 8 bits: the grid and the storage."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from qtn.storage.quantization import quantize_linear
from qtn.storage.quantized_linear import QuantizedLinear, pack, unpack
from qtn.storage.sizes import bits_per_parameter, nonzero_parameters, num_stored_parameters, resident_bytes
from tests.qtn.cases import make_linear

both_bits = pytest.mark.parametrize("bits", [4, 8])


def _steps(layer: QuantizedLinear) -> Tensor:
    """The step of the grid of each weight."""
    return layer.scales.double().repeat_interleave(layer.group, dim=1)[:, : layer.in_features]


@both_bits
@settings(deadline=None, derandomize=True)
@given(data=st.data(), rows=st.integers(1, 4), columns=st.integers(1, 20))
def test_packing_round_trip_is_exact(bits: int, data: st.DataObject, rows: int, columns: int) -> None:
    values = data.draw(
        st.lists(st.integers(0, 2**bits - 1), min_size=rows * columns, max_size=rows * columns)
    )
    codes = torch.tensor(values, dtype=torch.uint8).reshape(rows, columns)
    stored = pack(codes, bits)
    assert stored.shape == (rows, columns if bits == 8 else (columns + 1) // 2)
    assert torch.equal(unpack(stored, columns, bits), codes)


@both_bits
@settings(deadline=None, derandomize=True)
@given(
    columns=st.integers(1, 80),
    group=st.sampled_from([1, 2, 7, 64]),
    size=st.sampled_from([1e-30, 1e-6, 1.0, 1e6]),
    shift=st.sampled_from([-3.0, 0.0, 3.0]),
    seed=st.integers(0, 50),
)
def test_rounding_errs_by_at_most_half_a_step(
    bits: int, columns: int, group: int, size: float, shift: float, seed: int
) -> None:
    linear = make_linear(columns, 3, seed=seed)
    with torch.no_grad():
        linear.weight.add_(shift).mul_(size)
        linear.weight[0, 0] = 0.0
    layer = quantize_linear(linear, bits, group)
    error = (linear.weight - layer.weight).abs()
    assert torch.all(error <= 0.5 * (1 + 1e-9) * _steps(layer))
    assert layer.weight[0, 0] == 0.0
    reach = torch.stack(
        [b.clamp_min(0).amax(1) - b.clamp_max(0).amin(1) for b in linear.weight.split(group, 1)], 1
    )
    used = reach > 0
    assert torch.all(layer.scales[used] <= 1.008 * reach[used] / (2**bits - 1))


@both_bits
def test_weights_on_a_grid_are_exact(bits: int) -> None:
    codes = torch.arange(2.0**bits).repeat(2, 1) - torch.tensor([[0.0], [5.0]])
    linear = make_linear(2**bits, 2, dtype=torch.float32)
    linear.weight.data = codes * 2.0**-6
    layer = quantize_linear(linear, bits, group=2**bits)
    assert torch.equal(layer.weight, linear.weight)
    assert layer.zero_points.flatten().tolist() == [0, 5]


def test_zeros_alone_stay_zeros() -> None:
    linear = make_linear(5, 3)
    linear.weight.data.zero_()
    assert torch.equal(quantize_linear(linear, 4).weight, torch.zeros(3, 5, dtype=torch.float64))


@both_bits
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_forward_equals_the_dense_layer_of_the_stored_weight(
    bits: int, dtype: torch.dtype, bias: bool
) -> None:
    linear = make_linear(67, 5, bias=bias, dtype=dtype)
    layer = quantize_linear(linear, bits)
    assert layer.weight.dtype == layer.dtype == dtype
    if bias:
        assert layer.bias is not None and torch.equal(layer.bias, linear.bias)
        assert layer.bias.data_ptr() != linear.bias.data_ptr()
    else:
        assert layer.bias is None
    for batch in [(), (3,), (2, 0), (2, 4)]:
        x = torch.ones(*batch, 67, dtype=dtype).cumsum(-1) / 67
        y = layer(x)
        assert y.dtype == dtype and y.shape == (*batch, 5)
        assert torch.equal(y, F.linear(x, layer.weight, linear.bias))


def test_the_input_decides_the_dtype_of_the_product() -> None:
    layer = quantize_linear(make_linear(9, 4, dtype=torch.bfloat16))
    assert layer.bias is not None
    x = torch.ones(2, 9, dtype=torch.float64)
    expected = F.linear(x, layer.dense().double(), layer.bias.double())
    assert torch.equal(layer(x), expected)


@both_bits
@pytest.mark.parametrize("in_features", [1, 64, 97, 128])
def test_storage_takes_the_bytes_promised(bits: int, in_features: int) -> None:
    layer = quantize_linear(make_linear(in_features, 6, dtype=torch.float32), bits)
    groups = -(-in_features // 64)
    assert resident_bytes(layer) == 6 * (-(-in_features * bits // 8) + 3 * groups) + 6 * 4
    bare = quantize_linear(make_linear(in_features, 6, bias=False), bits)
    if in_features % 64 == 0:
        assert bits_per_parameter(bare) == bits + 24 / 64
    assert num_stored_parameters(bare) == 6 * in_features
    assert nonzero_parameters(bare) == int(torch.count_nonzero(bare.dense()))


def test_shared_memory_counts_once() -> None:
    one, other = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    model = nn.ModuleList([one, other])
    assert resident_bytes(model) == 128
    other.weight = one.weight
    assert resident_bytes(model) == 64
    other.weight = nn.Parameter(one.weight.detach()[:2])
    assert resident_bytes(model) == 64
    assert bits_per_parameter(model, 256) == 2.0
    with pytest.raises(ValueError, match=r"`num_parameters` must be at least 1, but is 0"):
        bits_per_parameter(nn.ReLU())


def test_a_change_of_dtype_leaves_the_grid() -> None:
    linear = make_linear(20, 3, dtype=torch.float32)
    linear.weight.data.mul_(1e-6)  # steps that half precision could not hold
    layer = quantize_linear(linear)
    assert layer.bias is not None
    wanted = layer.dense()
    for dtype in (torch.float16, torch.float64, torch.float32):
        layer.to(dtype)
        assert torch.equal(layer.dense().float(), wanted)
        assert layer.scales.dtype == torch.bfloat16
        assert layer.weight.dtype == layer.dtype == layer.bias.dtype == dtype
    assert torch.equal(copy.deepcopy(layer).dense(), wanted)


def test_gradients_reach_the_input_and_the_bias() -> None:
    layer = quantize_linear(make_linear(9, 4))
    assert [name for name, _ in layer.named_parameters()] == ["bias"]
    x = torch.ones(2, 9, dtype=torch.float64, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None and layer.bias is not None and layer.bias.grad is not None
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(2, 9))
    assert torch.equal(layer.bias.grad, torch.full((4,), 2.0, dtype=torch.float64))
