"""What every tensor layer promises, held against the dense weight it means."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from qtn import AbstractTensorLayer, PivotedLinear
from tests.qtn.cases import LAYERS, LayerCase, count_step, make_linear, params_at

BATCHES = [(), (1,), (7,), (2, 3), (40,), (0,), (2, 0, 3)]

every_layer = pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)


def _factors(layer: AbstractTensorLayer) -> list[nn.Parameter]:
    return [parameter for name, parameter in layer.named_parameters() if name != "bias"]


def test_every_final_layer_is_in_the_list() -> None:
    def final(kind: type) -> set[type]:
        return set().union(*(final(child) for child in kind.__subclasses__())) or {kind}

    assert final(AbstractTensorLayer) == {case.kind for case in LAYERS}
    assert all(getattr(kind, "__final__", False) for kind in final(AbstractTensorLayer))


def test_the_abstract_layer_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="abstract"):
        AbstractTensorLayer(2, 2, None, None)  # pyright: ignore[reportAbstractUsage]


@every_layer
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch", BATCHES, ids=str)
def test_forward_equals_dense(case: LayerCase, batch: tuple[int, ...], bias: bool) -> None:
    layer = case.compressed(case.linear(bias=bias))
    x = case.inputs(batch)
    torch.testing.assert_close(layer(x), F.linear(x, layer.to_dense(), layer.bias), rtol=1e-12, atol=1e-12)


@every_layer
@pytest.mark.parametrize("batch", [(3,), (2, 20)], ids=str)
def test_gradients_equal_those_through_the_dense_weight(case: LayerCase, batch: tuple[int, ...]) -> None:
    layer = case.compressed(case.linear())
    x = case.inputs(batch).requires_grad_()
    wanted = [x, *layer.parameters()]
    weights = torch.linspace(-1, 1, case.out_features, dtype=torch.float64)

    def gradients(y: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((y.sin() * weights).sum(), wanted)

    direct = gradients(layer(x))
    dense = gradients(F.linear(x, layer.to_dense(), layer.bias))
    for one, other in zip(direct, dense, strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)


@every_layer
def test_gradients_equal_finite_differences(case: LayerCase) -> None:
    layer = case.compressed(case.linear())
    names = [name for name, _ in layer.named_parameters()]

    def value(x: Tensor, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    x = case.inputs((2,)).requires_grad_()
    assert torch.autograd.gradcheck(value, (x, *layer.parameters()), fast_mode=True)


@every_layer
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_lower_precision_decomposes_and_runs(case: LayerCase, dtype: torch.dtype) -> None:
    linear = case.linear(dtype=dtype)
    layer = case.lossless(linear)
    x = case.inputs((4,), dtype)
    assert {parameter.dtype for parameter in layer.parameters()} == {dtype}
    assert layer(x).dtype == dtype
    tolerance = 20 * torch.finfo(dtype).eps
    error = (layer.to_dense().double() - linear.weight.double()).norm() / linear.weight.double().norm()
    assert error < tolerance
    reference = F.linear(x.double(), linear.weight.double(), linear.bias.double())
    assert (layer(x).double() - reference).norm() / reference.norm() < tolerance


@every_layer
def test_complex_weights_work(case: LayerCase) -> None:
    linear = nn.Linear(case.in_features, case.out_features, dtype=torch.complex128)
    layer = case.lossless(linear)
    x = case.inputs((3,)) * (1.0 + 0.5j)
    torch.testing.assert_close(layer.to_dense(), linear.weight, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layer(x), linear(x), rtol=1e-11, atol=1e-11)
    with FlopCounterMode(display=False) as counter:
        layer(x)
    assert layer.flops(3) == 4 * counter.get_total_flops()  # torch counts complex products as real ones


@every_layer
def test_full_rank_is_lossless(case: LayerCase) -> None:
    linear = case.linear()
    layer = case.lossless(linear)
    torch.testing.assert_close(layer.to_dense(), linear.weight, rtol=1e-12, atol=1e-12)
    assert layer.discarded == 0.0


@every_layer
def test_discarded_is_the_relative_squared_error(case: LayerCase) -> None:
    linear = case.linear()
    layer = case.compressed(linear)
    error = (linear.weight - layer.to_dense()).square().sum() / linear.weight.square().sum()
    assert layer.discarded == pytest.approx(error.item(), rel=1e-10)
    assert layer.discarded is not None and layer.discarded > 0.01


@every_layer
def test_cutoff_bounds_what_is_discarded(case: LayerCase) -> None:
    layer = case.kind.from_dense(case.linear(), cutoff=0.3)
    assert layer.discarded is not None and 0.0 < layer.discarded <= 0.3


@every_layer
def test_bias_follows_the_source(case: LayerCase) -> None:
    linear = case.linear()
    layer = case.compressed(linear)
    assert layer.bias is not None
    assert torch.equal(layer.bias, linear.bias)
    assert layer.bias.data_ptr() != linear.bias.data_ptr()
    for source in (case.linear(bias=False), linear.weight):
        bare = case.kind.from_dense(source)
        assert bare.bias is None
        assert "bias" not in bare.state_dict()


@every_layer
def test_the_source_is_left_as_it_is(case: LayerCase) -> None:
    linear, before = case.linear(), case.linear()
    layer = case.compressed(linear)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    assert torch.equal(linear.weight, before.weight)
    assert torch.equal(linear.bias, before.bias)


@every_layer
def test_num_params_counts_all_and_kept_only_the_factors(case: LayerCase) -> None:
    layer, bare = case.compressed(case.linear()), case.compressed(case.linear(bias=False))
    assert (
        layer.num_params == sum(p.numel() for p in layer.parameters()) == bare.num_params + case.out_features
    )
    assert bare.num_params == params_at(layer, layer.ranks)
    assert layer.kept == bare.kept == bare.num_params / (case.in_features * case.out_features)


@every_layer
@pytest.mark.parametrize("keep", [0.2, 0.5, 0.7])
@pytest.mark.parametrize("shape", [(128, 96), (97, 101), (100, 360)], ids=str)
def test_parameter_budget_is_met_within_two_percent(
    case: LayerCase, shape: tuple[int, int], keep: float
) -> None:
    layer = case.kept(make_linear(*shape), keep)
    dense, step = shape[0] * shape[1], count_step(layer)
    assert abs(layer.kept - keep) <= (0.02 * keep if step is None else 0.51 * step / dense)
    assert layer.kept == sum(factor.numel() for factor in _factors(layer)) / dense


@every_layer
def test_a_budget_out_of_reach_is_refused(case: LayerCase) -> None:
    for keep in (1e-6, -1.0, float("nan"), 1e3):
        with pytest.raises(ValueError, match=r"`keep` must be between .* parameters, bonds 1\) and"):
            case.kept(case.linear(), keep)


@every_layer
def test_state_dict_goes_through_safetensors(case: LayerCase, tmp_path: Path) -> None:
    layer = case.compressed(case.linear())
    save_file(layer.state_dict(), tmp_path / "layer.safetensors")
    other = case.random(torch.Generator().manual_seed(1), True)
    other.load_state_dict(load_file(tmp_path / "layer.safetensors"))
    x = case.inputs((3,))
    assert torch.equal(other(x), layer(x))


@every_layer
def test_a_copy_shares_nothing(case: LayerCase) -> None:
    layer = case.compressed(case.linear())
    clone = copy.deepcopy(layer)
    x = case.inputs((3,))
    before = layer(x)
    assert torch.equal(clone(x), before)
    assert clone.discarded == layer.discarded
    with torch.no_grad():
        for parameter in clone.parameters():
            parameter.add_(1.0)
    assert torch.equal(layer(x), before)


@every_layer
def test_all_parameters_are_trainable_and_of_comparable_norm(case: LayerCase) -> None:
    layer = case.compressed(case.linear(bias=False))
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in layer.parameters())
    norms = [parameter.norm().item() for parameter in layer.parameters()]
    assert max(norms) < 5 * min(norms)


@every_layer
def test_the_dense_weight_is_affine_in_every_factor(case: LayerCase) -> None:
    layer = case.compressed(case.linear()).requires_grad_(False)
    for k, factor in enumerate(_factors(layer)):
        first, second = factor.clone(), make_linear(1, factor.numel(), seed=k).weight.reshape(factor.shape)
        weights = [layer.to_dense()]
        for value in (second, 3.0 * first - 2.0 * second, first):
            factor.copy_(value)
            weights.append(layer.to_dense())
        torch.testing.assert_close(weights[2], 3.0 * weights[0] - 2.0 * weights[1], rtol=1e-11, atol=1e-11)
        assert torch.equal(weights[3], weights[0])


@pytest.mark.parametrize(
    "case", [case for case in LAYERS if case.kind is not PivotedLinear], ids=lambda case: case.name
)
def test_random_layer_has_the_variance_of_a_linear_layer(case: LayerCase) -> None:
    """The mean square of a form linear in each of its independent factors is the form of their mean squares."""
    generator = torch.Generator().manual_seed(11)
    layers = [case.random(generator, True).requires_grad_(False) for _ in range(300)]
    expected = 1.0 / (3 * case.in_features)
    variance = 0.0
    for factor, *draws in zip(*(_factors(layer) for layer in layers), strict=True):
        samples = torch.stack(draws)
        variance += 2.0 / samples.numel()
        factor.fill_(samples.square().mean())
    relative = layers[0].to_dense() / expected - 1.0
    assert relative.abs().max() < 4.5 * variance**0.5 < 0.6
    biases = torch.stack([layer.bias for layer in layers if layer.bias is not None])
    assert abs(biases.square().mean() / expected - 1.0) < 4.5 * (2.0 / biases.numel()) ** 0.5
    assert layers[0].discarded is None


@every_layer
def test_random_draws_come_from_the_generator_alone(case: LayerCase) -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    one, same, other = (case.random(torch.Generator().manual_seed(seed), False) for seed in (3, 3, 4))
    assert torch.equal(one.to_dense(), same.to_dense())
    assert not torch.equal(one.to_dense(), other.to_dense())
    assert one.bias is None
    assert torch.equal(torch.get_rng_state(), state)


@every_layer
def test_printing_says_sizes_ranks_and_kept(case: LayerCase) -> None:
    layer = case.compressed(case.linear())
    assert f"in_features={case.in_features}, out_features={case.out_features}, bias=True" in repr(layer)
    assert f"ranks={layer.ranks}, kept={layer.kept:.4g}" in repr(layer)


@every_layer
def test_bad_arguments_are_refused_by_name(case: LayerCase) -> None:
    layer = case.compressed(case.linear())
    with pytest.raises(ValueError, match=rf"`x` must have shape \(\*batch, {case.in_features}\), but has"):
        layer(torch.zeros(2, case.in_features + 1, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"`source` must have shape \(out_features, in_features\), but has"):
        case.kind.from_dense(torch.zeros(2, 3, 4))
    with pytest.raises(TypeError, match=r"`source` must be a torch.nn.Linear or a tensor, but is a Conv1d"):
        case.kind.from_dense(nn.Conv1d(1, 1, 1))  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"must have one of the dtypes .* but has torch.int64"):
        case.kind.from_dense(torch.ones(4, 6, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"`keep` must stand without .* but one is given"):
        case.kind.from_dense(case.linear(), keep=0.5, cutoff=0.1)
    with pytest.raises(ValueError, match=r"must be finite, but holds 2 values that are NaN or infinite"):
        weight = torch.ones(4, 6)
        weight[0, 0], weight[1, 2] = float("nan"), float("inf")
        case.kind.from_dense(weight)
