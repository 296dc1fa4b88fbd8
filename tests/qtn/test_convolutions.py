"""Tensor convolutions, held against the dense convolution they mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from qtn import LayerMetric, truncated_svd, whitened_svd
from qtn.layers.convolution import LowRankConv2d
from qtn.layers.convolution_base import AbstractTensorConv2d
from qtn.layers.tucker_convolution import Tucker2Conv2d


@dataclass(frozen=True, kw_only=True)
class ConvCase:
    name: str
    kind: type[AbstractTensorConv2d]
    compressed: Callable[[nn.Conv2d], AbstractTensorConv2d]


CASES = [
    ConvCase(
        name="low_rank",
        kind=LowRankConv2d,
        compressed=lambda source: LowRankConv2d.from_dense(source, rank=3),
    ),
    ConvCase(
        name="tucker_2",
        kind=Tucker2Conv2d,
        compressed=lambda source: Tucker2Conv2d.from_dense(source, ranks=(3, 2)),
    ),
]
WINDOWS: list[dict[str, Any]] = [
    {},
    {"stride": 2, "padding": 1},
    {"stride": (1, 3), "padding": (0, 2), "dilation": (2, 1)},
    {"padding": "same", "dilation": 2},
    {"padding": "valid"},
    {"padding": 1, "padding_mode": "circular"},
    {"padding": (2, 1), "padding_mode": "reflect", "stride": 2},
    {"padding": "same", "padding_mode": "replicate"},
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def random_tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make_conv(
    out: int = 5,
    inputs: int = 7,
    kernel: tuple[int, int] = (3, 2),
    *,
    bias: bool = True,
    dtype: torch.dtype = torch.float64,
    **window: Any,
) -> nn.Conv2d:
    source = nn.Conv2d(inputs, out, kernel, bias=bias, dtype=dtype, **window)
    with torch.no_grad():
        for seed, parameter in enumerate(source.parameters()):
            parameter.copy_(random_tensor(*parameter.shape, seed=seed))
    return source


def test_every_final_kind_is_in_the_list() -> None:
    assert set(AbstractTensorConv2d.__subclasses__()) == {case.kind for case in CASES}
    assert all(getattr(case.kind, "__final__", False) for case in CASES)
    with pytest.raises(TypeError, match="abstract"):
        AbstractTensorConv2d([], None)  # pyright: ignore[reportAbstractUsage]


@every_case
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_values_and_gradients_are_those_of_the_dense_convolution(
    case: ConvCase, window: dict[str, Any], bias: bool
) -> None:
    source = make_conv(bias=bias, **window)
    layer = case.compressed(source)
    x = random_tensor(2, 7, 9, 8, seed=3).requires_grad_()
    wanted = [x, *layer.parameters()]

    def both(dense: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
        if dense:
            parameters = {"weight": layer.to_dense()} | ({} if layer.bias is None else {"bias": layer.bias})
            y = torch.func.functional_call(source, parameters, (x,))
        else:
            y = layer(x)
        return y, torch.autograd.grad(y.sin().sum(), wanted)

    (direct, gradients), (reference, expected) = both(False), both(True)
    torch.testing.assert_close(direct, reference, rtol=1e-12, atol=1e-12)
    for one, other in zip(gradients, expected, strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)
    assert layer(x[0]).shape == reference[0].shape


@every_case
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_flops_are_those_that_torch_counts(case: ConvCase, window: dict[str, Any]) -> None:
    layer = case.compressed(make_conv(**window))
    with FlopCounterMode(display=False) as counter:
        layer(random_tensor(2, 7, 9, 8))
    assert layer.flops(2, 9, 8) == counter.get_total_flops() > 0


@every_case
@pytest.mark.parametrize(
    "shape", [(5, 7, (3, 3)), (13, 2, (1, 1)), (2, 11, (1, 5)), (31, 1, (2, 1)), (1, 3, (2, 2))]
)
def test_without_options_nothing_is_lost(case: ConvCase, shape: tuple[int, int, tuple[int, int]]) -> None:
    source = make_conv(*shape)
    layer = case.kind.from_dense(source)
    assert layer.discarded == 0.0
    torch.testing.assert_close(layer.to_dense(), source.weight, rtol=1e-12, atol=1e-12)
    x = random_tensor(1, shape[1], 6, 6)
    torch.testing.assert_close(layer(x), source(x), rtol=1e-11, atol=1e-11)


@every_case
def test_discarded_is_the_relative_squared_error(case: ConvCase) -> None:
    source = make_conv(12, 10)
    layer = case.compressed(source)
    error = (source.weight - layer.to_dense()).square().sum() / source.weight.square().sum()
    assert layer.discarded == pytest.approx(error.item(), rel=1e-10)
    assert error > 0.1
    capped = case.kind.from_dense(source, cutoff=0.3)
    assert capped.discarded is not None and 0.1 < capped.discarded <= 0.3


@every_case
@pytest.mark.parametrize("keep", [0.1, 0.3, 0.6])
def test_a_budget_is_met_and_out_of_reach_refused(case: ConvCase, keep: float) -> None:
    source = make_conv(32, 48, (3, 3))
    layer = case.kind.from_dense(source, keep=keep)
    num_factors = sum(parameter.numel() for parameter in layer.parameters() if parameter.ndim > 1)
    assert layer.kept == num_factors / source.weight.numel()
    assert layer.num_params == num_factors + 32
    # One rank more of the low-rank pair is 32 + 9 * 48 parameters, 3.4 percent of the weight.
    assert abs(layer.kept - keep) <= (0.02 * keep if case.kind is Tucker2Conv2d else 0.5 * 464 / 13824)
    for bad in (1e-6, -1.0, float("nan"), 1e3):
        with pytest.raises(ValueError, match="`keep` must be between"):
            case.kind.from_dense(source, keep=bad)
    with pytest.raises(ValueError, match=r"`keep` must stand without .* but one is given"):
        case.kind.from_dense(source, keep=0.5, cutoff=0.1)


@every_case
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_lower_precision_decomposes_and_runs(case: ConvCase, dtype: torch.dtype) -> None:
    source = make_conv(dtype=dtype)
    layer = case.kind.from_dense(source)
    assert {parameter.dtype for parameter in layer.parameters()} == {dtype}
    error = (layer.to_dense().double() - source.weight.double()).norm() / source.weight.double().norm()
    assert error < 20 * torch.finfo(dtype).eps
    x = random_tensor(1, 7, 5, 5).to(dtype)
    assert layer(x).dtype == dtype
    assert (layer(x).double() - source(x).double()).norm() < 50 * torch.finfo(dtype).eps * source(x).norm()


@every_case
def test_children_are_convolutions_and_the_state_goes_through_safetensors(
    case: ConvCase, tmp_path: Path
) -> None:
    source = make_conv(stride=2)
    layer = case.compressed(source)
    assert all(type(link) is nn.Conv2d for link in layer.links)
    save_file(layer.state_dict(), tmp_path / "layer.safetensors")
    other = case.compressed(make_conv(stride=2)).requires_grad_(False)
    for parameter in other.parameters():
        parameter.zero_()
    other.load_state_dict(load_file(tmp_path / "layer.safetensors"))
    x = random_tensor(1, 7, 9, 8)
    assert torch.equal(other(x), layer(x))
    assert "ranks=" in repr(layer) and f"kept={layer.kept:.4g}" in repr(layer)


@every_case
def test_making_a_layer_leaves_source_and_random_state_alone(case: ConvCase) -> None:
    source, before = make_conv(), make_conv()
    state = torch.get_rng_state()
    layer = case.compressed(source).requires_grad_(False)
    assert torch.equal(torch.get_rng_state(), state)
    assert layer.bias is not None and source.bias is not None
    assert torch.equal(layer.bias, source.bias)
    for parameter in layer.parameters():
        parameter.zero_()
    assert torch.equal(source.weight, before.weight)
    assert before.bias is not None and torch.equal(source.bias, before.bias)


@every_case
def test_factors_have_comparable_norms(case: ConvCase) -> None:
    norms = [parameter.norm().item() for parameter in case.compressed(make_conv(bias=False)).parameters()]
    assert max(norms) < 2 * min(norms)


@every_case
def test_a_layer_compiles_in_one_graph(case: ConvCase) -> None:
    layer = case.compressed(make_conv())
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    for batch in (1, 3):
        x = random_tensor(batch, 7, 6, 5)
        torch.testing.assert_close(compiled(x), layer(x), rtol=1e-12, atol=1e-12)


def test_the_low_rank_fit_is_the_best_in_the_metric() -> None:
    """The factors of the matrix, and the output error over the very patches of the calibration images."""
    source = make_conv(bias=False, padding=1)
    images = random_tensor(3, 7, 6, 6, seed=9)
    patches = F.unfold(images, (3, 2), padding=1).transpose(1, 2).reshape(-1, 42)
    metric = LayerMetric(patches.T @ patches / len(patches), None, damping=0.0)
    matrix = source.weight.detach().flatten(1)
    layer = LowRankConv2d.from_dense(source, rank=2, metric=metric)
    left, right, discarded, values = whitened_svd(matrix, metric, max_bond=2)
    torch.testing.assert_close(layer.to_dense().flatten(1), left @ right, rtol=1e-11, atol=1e-11)
    assert layer.discarded == discarded
    missed = (source(images) - layer(images)).square().sum() / len(patches)
    torch.testing.assert_close(missed, values[2:].square().sum(), rtol=1e-9, atol=0.0)
    plain = LowRankConv2d.from_dense(source, rank=2)
    torch.testing.assert_close(
        plain.to_dense().flatten(1), torch.matmul(*truncated_svd(matrix, max_bond=2)[:2])
    )
    assert (source(images) - plain(images)).square().sum() > 1.01 * missed * len(patches)


@every_case
def test_bad_arguments_are_refused_by_name(case: ConvCase) -> None:
    with pytest.raises(ValueError, match="`source` must have one group, but has 3; leave grouped"):
        case.kind.from_dense(nn.Conv2d(6, 9, 3, groups=3))
    with pytest.raises(TypeError, match=r"`source` must be a torch.nn.Conv2d, but is a Linear"):
        case.kind.from_dense(nn.Linear(2, 2))  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"`source` must be real, but has torch.complex64"):
        case.kind.from_dense(nn.Conv2d(2, 2, 1, dtype=torch.complex64))
    with pytest.raises(ValueError, match=r"must be finite, but holds 1 values"):
        source = make_conv(bias=False)
        source.weight.data[0, 0, 0, 0] = float("nan")
        case.kind.from_dense(source)


def test_ranks_and_factors_that_do_not_fit_are_refused() -> None:
    source = make_conv()
    for rank in (0, 6):
        with pytest.raises(
            ValueError, match=rf"`rank` must be between 1 and 5 .* \(5, 7, 3, 2\), but is {rank}"
        ):
            LowRankConv2d.from_dense(source, rank=rank)
    for ranks in ((0, 1), (8, 1), (1, 6), (2,)):
        with pytest.raises(ValueError, match=r"`ranks` must be two numbers from 1 to \(7, 5\), but is \("):
            Tucker2Conv2d.from_dense(source, ranks=ranks)
    with pytest.raises(
        ValueError, match=r"`left` and `right` must have shapes .* \(4, 2\) and \(3, 5, 1, 1\)"
    ):
        LowRankConv2d(torch.zeros(4, 2), torch.zeros(3, 5, 1, 1))
    with pytest.raises(
        ValueError, match=r"`left`, `core` and `right` must have shapes .* \[\(4, 2\), \(3, 2, 1, 1\)"
    ):
        Tucker2Conv2d(torch.zeros(4, 2), torch.zeros(3, 2, 1, 1), torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"`bias` must have shape \(4,\), but has shape \(5,\)"):
        LowRankConv2d(torch.zeros(4, 2), torch.zeros(2, 5, 1, 1), torch.zeros(5))
