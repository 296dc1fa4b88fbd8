"""Weights in 4 and 8 bits: GPTQ, and whole models."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qtn import LayerStatistics, LowRankLinear, MPOLinear, PivotedLinear, collect
from qtn.storage.quantization import factor_statistics, quantize, quantize_linear
from qtn.storage.quantized_linear import QuantizedCores, QuantizedLinear
from qtn.storage.sizes import num_stored_parameters, resident_bytes
from tests.qtn.cases import LAYERS, LayerCase, make_linear

both_bits = pytest.mark.parametrize("bits", [4, 8])


def _covariance(size: int, seed: int) -> Tensor:
    """A strongly correlated covariance, of half the rank."""
    mixing = torch.randn(
        size, max(size // 2, 1), generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return mixing @ mixing.T


def _error_rows(linear: nn.Linear, layer: QuantizedLinear, inputs: Tensor) -> Tensor:
    difference = linear.weight.detach().double() - layer.dense().double()
    return ((difference @ inputs) * difference).sum(dim=1)


def _small_model() -> nn.Sequential:
    """A low-rank layer, a train of cores and a dense layer, of prime sizes among others."""
    low_rank = LowRankLinear.from_dense(make_linear(12, 70, seed=1), rank=5)
    train = MPOLinear.from_dense(make_linear(70, 18, seed=2), num_sites=2, max_bond=4)
    return nn.Sequential(low_rank, nn.Tanh(), train, make_linear(18, 7, seed=3))


@both_bits
@pytest.mark.parametrize("in_features", [13, 64, 97])
def test_gptq_never_errs_more_than_rounding_in_any_row(bits: int, in_features: int) -> None:
    for seed in range(5):
        linear = make_linear(in_features, 12, seed=seed)
        inputs = _covariance(in_features, seed)
        nearest = _error_rows(linear, quantize_linear(linear, bits, 16), inputs)
        gptq = _error_rows(linear, quantize_linear(linear, bits, 16, inputs), inputs)
        assert torch.all(gptq <= nearest)
        assert gptq.sum() < 0.6 * nearest.sum()


@both_bits
def test_gptq_is_rounding_where_inputs_are_uncorrelated(bits: int) -> None:
    linear = make_linear(30, 6)
    inputs = torch.linspace(0.1, 2.0, 30, dtype=torch.float64).diag()
    assert torch.equal(
        quantize_linear(linear, bits, 8, inputs).dense(), quantize_linear(linear, bits, 8).dense()
    )


def test_gptq_moves_the_error_of_a_column_to_its_twin() -> None:
    """Two inputs that are always equal: only the sum of their weights counts, and the second makes up for the first."""
    linear = make_linear(3, 1, bias=False)
    linear.weight.data = torch.tensor([[0.4, 0.4, 15.0]], dtype=torch.float64)  # a step of 1
    inputs = torch.block_diag(torch.ones(2, 2), torch.ones(1, 1)).double()
    assert quantize_linear(linear, 4, 3).weight.tolist() == [[0.0, 0.0, 15.0]]
    assert quantize_linear(linear, 4, 3, inputs).weight.tolist() == [[0.0, 1.0, 15.0]]


def test_statistics_of_factors_are_those_that_the_compressed_model_shows() -> None:
    linear = make_linear(6, 5)
    model = nn.Sequential(linear, nn.Identity())
    slope = torch.randn(8, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def loss(module: nn.Module, batch: Tensor) -> Tensor:
        return (module(batch) * slope).sum()

    dense = collect(model, [x], loss)
    compressed = nn.Sequential(LowRankLinear.from_dense(linear, rank=2), nn.Identity())
    seen = collect(compressed, [x], loss)
    derived = factor_statistics(compressed, dense)
    assert derived.keys() == {"0", *seen}
    for name, each in seen.items():
        torch.testing.assert_close(derived[name].inputs, each.inputs)
        torch.testing.assert_close(derived[name].outputs, each.outputs)
        assert derived[name].num_rows == each.num_rows == 8


def test_statistics_of_a_dense_layer_quantise_its_factors_better() -> None:
    inputs = _covariance(40, 3)
    statistics = {"": LayerStatistics(inputs=inputs, outputs=torch.eye(30, dtype=torch.float64), num_rows=99)}
    layer = LowRankLinear.from_dense(make_linear(40, 30), rank=8)
    errors = []
    for known in (statistics, None):
        difference = layer.to_dense() - _low_rank(quantize(layer, 4, 16, statistics=known)).to_dense()
        errors.append(((difference @ inputs) * difference).sum().item())
    assert errors[0] < 0.7 * errors[1]


def _low_rank(module: nn.Module) -> LowRankLinear:
    assert isinstance(module, LowRankLinear)
    assert type(module.left) is type(module.right) is QuantizedLinear
    return module


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)
def test_every_tensor_layer_runs_on_what_is_stored(case: LayerCase) -> None:
    layer = case.compressed(case.linear())
    before = copy.deepcopy(layer.state_dict())
    quantised = quantize(layer, 8, 16)
    assert isinstance(quantised, case.kind)
    x = torch.randn(9, case.in_features, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(quantised(x), F.linear(x, quantised.to_dense(), quantised.bias))
    error = (quantised.to_dense() - layer.to_dense()).norm() / layer.to_dense().norm()
    assert error < 0.03
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_a_model_is_quantised_with_the_cores_of_its_layers() -> None:
    model = _small_model()
    quantised = quantize(model)
    kinds = {name: type(module) for name, module in quantised.named_modules()}
    assert kinds["0.left"] is kinds["0.right"] is kinds["3"] is QuantizedLinear
    assert kinds["2.cores"] is QuantizedCores
    assert num_stored_parameters(quantised) == num_stored_parameters(model)
    assert resident_bytes(quantised) < 0.35 * resident_bytes(model)
    assert resident_bytes(quantize(model, 4)) < 0.8 * resident_bytes(quantised)
    again = quantize(quantised, 4)
    assert resident_bytes(again) == resident_bytes(quantised)
    x = torch.linspace(-1, 1, 24, dtype=torch.float64).reshape(2, 12)
    assert (quantised(x) - model(x)).norm() < 0.02 * model(x).norm()
    assert "bits=8, group=64" in repr(quantised)


def test_names_choose_layers_or_all_inside() -> None:
    quantised = quantize(_small_model(), names=["0", "3"])
    kinds = {name: type(module) for name, module in quantised.named_modules()}
    assert kinds["0.left"] is kinds["3"] is QuantizedLinear
    assert kinds["2.cores"] is nn.ParameterList
    assert isinstance(quantize(_small_model(), names=["2"]).get_submodule("2.cores"), QuantizedCores)


def test_a_tied_head_is_left_unless_named() -> None:
    model = nn.ModuleDict({"table": nn.Embedding(11, 4), "head": nn.Linear(4, 11, bias=False)})
    model["head"].weight = model["table"].weight
    left = quantize(model)
    assert left.get_submodule("head").weight is left.get_submodule("table").weight
    assert isinstance(quantize(model, names=["head"]).get_submodule("head"), QuantizedLinear)


def test_bad_arguments_are_refused_by_name() -> None:
    linear = make_linear(6, 4)
    layer = quantize_linear(linear)
    eye = torch.eye(6, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"`bits` must be one of \(4, 8\), but is 3"):
        quantize(linear, 3)
    with pytest.raises(ValueError, match=r"`group` must be at least 1, but is 0"):
        quantize(linear, group=0)
    with pytest.raises(
        ValueError, match=r"`names` must name modules of the model, .*\[''\], but names \['x'\]"
    ):
        quantize(linear, names=["x"])
    with pytest.raises(ValueError, match=r"`names` must name modules of the model"):
        quantize(linear, statistics={"x": LayerStatistics(inputs=eye, outputs=eye, num_rows=1)})
    with pytest.raises(ValueError, match=r"`inputs` must have shape \(6, 6\), but has shape \(5, 5\)"):
        quantize_linear(linear, inputs=torch.eye(5))
    with pytest.raises(
        ValueError, match=r"`statistics` must have outputs and inputs of sizes \(4, 6\) for ``"
    ):
        quantize(
            LowRankLinear.from_dense(linear, rank=2),
            statistics={"": LayerStatistics(inputs=eye, outputs=eye, num_rows=1)},
        )
    with pytest.raises(TypeError, match=r"`weight` must be real to be quantised, but has torch.complex64"):
        quantize(nn.Linear(3, 2, dtype=torch.complex64))
    with pytest.raises(ValueError, match=r"`weight` must be finite"):
        quantize_linear(_filled(float("nan")))
    with pytest.raises(ValueError, match=r"`weight` must have entries that float32 can hold, but has 1e\+60"):
        quantize_linear(_filled(1e60))
    with pytest.raises(ValueError, match=r"`x` must have shape \(\*batch, 6\), but has shape \(2, 5\)"):
        layer(torch.ones(2, 5))
    with pytest.raises(TypeError, match=r"`x` must have a real floating dtype, but has torch.int64"):
        layer(torch.ones(2, 6, dtype=torch.int64))
    with pytest.raises(
        ValueError, match=r"`scales` must be torch.bfloat16 of shape \(4, 1\), but is torch.float32"
    ):
        QuantizedLinear(
            layer.codes,
            layer.scales.float(),
            layer.zero_points,
            in_features=6,
            bits=8,
            group=64,
            dtype=torch.float32,
        )


def _filled(value: float) -> nn.Linear:
    linear = make_linear(6, 4)
    linear.weight.data.fill_(value)
    return linear


def test_torchao_takes_the_factors_without_change() -> None:
    quantization = pytest.importorskip("torchao.quantization")
    linear = make_linear(96, 80, dtype=torch.float32)
    model = nn.Sequential(LowRankLinear.from_dense(linear, rank=24))
    model.requires_grad_(False)
    x = torch.randn(5, 96, generator=torch.Generator().manual_seed(1))
    wanted, dense_bytes = model(x), resident_bytes(model)
    quantization.quantize_(model, quantization.Int8WeightOnlyConfig())
    assert (model(x) - wanted).norm() < 0.03 * wanted.norm()
    assert resident_bytes(model) < 0.35 * dense_bytes


def test_coefficients_of_a_pivoted_layer_make_good_what_rounding_did_to_its_rows() -> None:
    generator = torch.Generator().manual_seed(2)
    mixing = torch.randn(96, 96, generator=generator, dtype=torch.float64) * torch.logspace(0, -2, 96)
    x = torch.randn(2000, 96, generator=generator, dtype=torch.float64) @ mixing
    model = nn.Sequential(make_linear(96, 160))
    inputs, outputs = x.T @ x / len(x), torch.eye(160, dtype=torch.float64)
    statistics = {"0": LayerStatistics(inputs=inputs, outputs=outputs, num_rows=len(x))}
    pivoted = PivotedLinear.from_dense(model[0].weight, rank=48, metric=statistics["0"].metric())
    small = nn.Sequential(pivoted)
    wanted = small(x).detach()

    def error(quantised: nn.Module) -> float:
        return float((quantised(x).detach() - wanted).norm() / wanted.norm())

    apart = copy.deepcopy(small)
    apart.set_submodule("0.rows", quantize_linear(pivoted.rows, 8))
    apart.set_submodule("0.coefficients", quantize_linear(pivoted.coefficients, 8))
    fitted = error(quantize(small))
    assert fitted < 0.8 * error(apart)
    assert error(quantize(small, statistics=statistics)) < 0.8 * fitted
    assert error(quantize(small, names=["0.rows"])) > 0.0
