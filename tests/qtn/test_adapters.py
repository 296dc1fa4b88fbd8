"""Adapters: nothing changes at first, only they are trained, and merging changes nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from qtn import LowRankLinear, replace_linears
from qtn.healing.adapters import LowRankAdapter, adapter_parameters, add_adapters, merge_adapters
from qtn.healing.heal import heal
from qtn.healing.trainable import undecayed_names
from qtn.storage.quantization import quantize
from tests.qtn.cases import LAYERS, LayerCase, make_linear


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model() -> nn.Sequential:
    return nn.Sequential(make_linear(6, 8), nn.Tanh(), make_linear(8, 5, bias=False))


def inputs(rows: int = 16, features: int = 6) -> Tensor:
    return torch.randn(rows, features, generator=generator(7), dtype=torch.float64)


def shake(adapted: nn.Module) -> None:
    """Give every `up` a value, as training would."""
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if name.endswith("up"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator(2), dtype=torch.float64))


def test_adapters_change_nothing_at_first() -> None:
    original = model()
    adapted = add_adapters(original, 2, generator=generator())
    assert torch.equal(adapted(inputs()), original(inputs()))
    assert adapter_parameters(adapted) == ["0.down", "0.up", "2.down", "2.up"]
    assert [name for name, each in adapted.named_parameters() if each.requires_grad] == [
        "0.down",
        "0.up",
        "2.down",
        "2.up",
    ]
    assert all(each.requires_grad for each in original.parameters())
    assert not any(isinstance(module, LowRankAdapter) for module in original.modules())


def test_the_change_is_the_scaled_product() -> None:
    original = model()
    adapted = add_adapters(original, 3, ["2"], generator=generator(), scale=0.5)
    shake(adapted)
    adapter = adapted.get_submodule("2")
    assert isinstance(adapter, LowRankAdapter)
    weight = original.get_parameter("2.weight") + 0.5 * adapter.up @ adapter.down
    x = inputs(4, 8).reshape(2, 2, 8)
    torch.testing.assert_close(adapter(x), x @ weight.T, rtol=1e-12, atol=1e-12)


def test_merging_changes_nothing_and_leaves_linear_layers() -> None:
    adapted = add_adapters(model(), 2, generator=generator(), scale=0.7)
    shake(adapted)
    merged = merge_adapters(adapted)
    assert [type(each) for each in merged] == [nn.Linear, nn.Tanh, nn.Linear]  # pyright: ignore
    torch.testing.assert_close(merged(inputs()), adapted(inputs()), rtol=1e-12, atol=1e-12)
    assert not torch.equal(merged(inputs()), model()(inputs()))
    assert isinstance(adapted.get_submodule("0"), LowRankAdapter)


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)
def test_tensor_layers_can_be_bases(case: LayerCase) -> None:
    layer = case.compressed(case.linear())
    adapted = add_adapters(layer, 2, generator=generator())
    x = inputs(5, case.in_features)
    assert torch.equal(adapted(x), layer(x))
    shake(adapted)
    torch.testing.assert_close(merge_adapters(adapted)(x), adapted(x), rtol=0, atol=0)
    assert not torch.equal(adapted(x), layer(x))
    assert isinstance(adapted, LowRankAdapter)
    with pytest.raises(TypeError, match=f"must be a torch.nn.Linear, but is a {type(layer).__name__}"):
        adapted.merged()


def test_healing_trains_the_adapters_alone_and_reaches_the_teacher() -> None:
    original = model()
    compressed = replace_linears(original, {"0": lambda linear: LowRankLinear.from_dense(linear, rank=4)})
    adapted = add_adapters(compressed, 2, ["0"], generator=generator())
    before = {name: each.detach().clone() for name, each in adapted.named_parameters()}
    data = [inputs()]
    report = heal(
        adapted, original, data, steps=300, learning_rate=0.1, trainable=adapter_parameters(adapted)
    )
    assert report.losses[0] > 1e-3
    assert report.losses[-1] < 1e-3 * report.losses[0]
    moved = [name for name, each in adapted.named_parameters() if not torch.equal(each, before[name])]
    assert moved == ["0.down", "0.up"]
    assert report.num_trained == 2 * (6 + 8)
    assert {"0.down", "0.up"} <= set(undecayed_names(adapted))


def test_shared_and_tied_layers() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(9, 6)
            self.inner = make_linear(6, 6, dtype=torch.float32)
            self.again = self.inner
            self.head = nn.Linear(6, 9, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.again(self.inner(self.embedding(x))))

    original = Tied()
    adapted = add_adapters(original, 2, generator=generator())
    assert adapter_parameters(adapted) == ["inner.down", "inner.up"]
    assert adapted.get_submodule("again") is adapted.get_submodule("inner")
    x = torch.arange(9)
    assert torch.equal(adapted(x), original(x))
    merged = merge_adapters(adapted)
    assert merged.get_submodule("again") is merged.get_submodule("inner")
    assert type(merged.get_submodule("inner")) is nn.Linear


def test_draws_come_from_the_generator_alone_and_have_the_variance() -> None:
    wide = nn.Linear(400, 300, dtype=torch.float64)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    one, same, other = (
        add_adapters(wide, 50, generator=generator(seed)).get_parameter("down").detach() for seed in (3, 3, 4)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one, same) and not torch.equal(one, other)
    # Of n normal squares the mean has standard deviation sqrt(2 / n).
    assert abs(float(one.square().mean()) * 400 - 1.0) < 4.5 * (2 / one.numel()) ** 0.5


def test_bad_arguments_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"`names` must name .* which are \['0', '2'\], but names \['1'\]"):
        add_adapters(model(), 2, ["1"], generator=generator())
    with pytest.raises(ValueError, match=r"must name .* but names \[\]"):
        add_adapters(nn.Sequential(nn.Tanh()), 2, generator=generator())
    for rank in (0, 6):
        with pytest.raises(ValueError, match=rf"`rank` must be between 1 and .* = 5, but is {rank}"):
            add_adapters(model(), rank, ["2"], generator=generator())


def test_factors_can_be_bases_without_their_layer() -> None:
    layer = LowRankLinear.from_dense(make_linear(6, 8), rank=3)
    adapted = add_adapters(layer, 1, ["left", "right"], generator=generator())
    x = inputs()
    assert torch.equal(adapted(x), layer(x))
    shake(adapted)
    merged = merge_adapters(adapted)
    torch.testing.assert_close(merged(x), adapted(x), rtol=1e-12, atol=1e-12)
    assert isinstance(merged, LowRankLinear) and merged.ranks == (3,)
    for names in (["0", "0.left"], ["0.left", "0"]):
        with pytest.raises(ValueError, match=r"a layer together with its factors \['0.left'\]"):
            add_adapters(nn.Sequential(layer), 1, names, generator=generator())


@pytest.mark.parametrize("factored", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_a_quantised_layer_can_be_a_base(bias: bool, factored: bool) -> None:
    data = [inputs()]
    original = nn.Sequential(make_linear(6, 8, bias=bias))
    if factored:
        quantised = quantize(replace_linears(original, {"0": LowRankLinear.from_dense}), bits=4, group=3)
    else:
        quantised = quantize(original, bits=4, group=3)
    adapted = add_adapters(quantised, 2, generator=generator())
    assert torch.equal(adapted(data[0]), quantised(data[0]))
    trained = adapter_parameters(adapted)
    assert trained == ["0.down", "0.up"] and adapted.get_parameter("0.up").dtype == torch.float64
    report = heal(adapted, original, data, steps=50, learning_rate=0.02, trainable=trained)
    assert report.losses[-1] < 0.7 * report.losses[0]
