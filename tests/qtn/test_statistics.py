"""Collected moments against those of numpy, on networks small enough to differentiate by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qtn import LayerStatistics, collect
from tests.qtn.cases import make_linear

Batch = tuple[Tensor, Tensor]


class _Network(nn.Module):
    """Two layers and a tanh between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = make_linear(5, 4, seed=1)
        self.second = make_linear(4, 3, seed=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).tanh())


class _Shared(nn.Module):
    """One layer, called twice under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.one = make_linear(3, 3, seed=1)
        self.two = self.one

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.one(x))


def _loss(model: nn.Module, batch: Batch) -> Tensor:
    x, target = batch
    return 0.5 * (model(x) - target).square().sum()


def _batches(*shapes: tuple[int, ...], num_in: int = 5, num_out: int = 3) -> list[Batch]:
    generator = torch.Generator().manual_seed(7)
    return [
        (
            torch.randn(*shape, num_in, generator=generator, dtype=torch.float64),
            torch.randn(*shape, num_out, generator=generator, dtype=torch.float64),
        )
        for shape in shapes
    ]


def _assert_moments(statistics: LayerStatistics, inputs: np.ndarray, gradients: np.ndarray) -> None:
    assert statistics.num_rows == len(inputs) == len(gradients)
    assert statistics.inputs.dtype == statistics.outputs.dtype == torch.float64
    np.testing.assert_allclose(statistics.inputs.numpy(), inputs.T @ inputs / len(inputs), rtol=1e-12)
    np.testing.assert_allclose(
        statistics.outputs.numpy(), gradients.T @ gradients / len(inputs), rtol=1e-11, atol=1e-12
    )


def _expected(model: _Network, batches: list[Batch]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Rows and gradients of both layers, by the chain rule in numpy."""
    x, target = (
        np.concatenate([batch[k].reshape(-1, n).numpy() for batch in batches]) for k, n in ((0, 5), (1, 3))
    )
    w1, b1 = model.first.weight.detach().numpy(), model.first.bias.detach().numpy()
    w2 = model.second.weight.detach().numpy()
    hidden = np.tanh(x @ w1.T + b1)
    miss = hidden @ w2.T - target
    return {"first": (x, (miss @ w2) * (1 - hidden**2)), "second": (hidden, miss)}


@pytest.mark.parametrize("shapes", [[(20,)], [(7,), (11,), (1,)], [(2, 3), (4, 5)], [(), (2, 2, 3)]], ids=str)
def test_moments_equal_those_of_numpy(shapes: list[tuple[int, ...]]) -> None:
    model, batches = _Network(), _batches(*shapes)
    collected = collect(model, iter(batches), _loss)
    assert list(collected) == ["first", "second"]
    for name, (inputs, gradients) in _expected(model, batches).items():
        _assert_moments(collected[name], inputs, gradients)
    (only,) = collect(model, batches, _loss, names=["second"]).items()
    assert only[0] == "second"
    assert torch.equal(only[1].outputs, collected["second"].outputs)


def test_the_metric_is_that_of_the_moments() -> None:
    statistics = collect(_Network(), _batches((30,)), _loss)["first"]
    metric = statistics.metric(damping=0.2)
    assert metric.damping == 0.2
    change = make_linear(5, 4, seed=3).weight.detach()
    expected = 0.5 * torch.trace(statistics.outputs @ change @ statistics.inputs @ change.T)
    assert metric.loss_change(change) == pytest.approx(expected.item(), rel=1e-12)


def test_a_layer_of_two_names_sees_the_rows_of_all_calls() -> None:
    model, batches = _Shared(), _batches((6,), (5,), num_in=3)
    collected = collect(model, batches, _loss)
    assert collected["one"] is collected["two"]
    x, target = (torch.cat([batch[k] for batch in batches]).numpy() for k in (0, 1))
    weight, bias = model.one.weight.detach().numpy(), model.one.bias.detach().numpy()
    once = x @ weight.T + bias
    miss = once @ weight.T + bias - target
    _assert_moments(collected["one"], np.concatenate([x, once]), np.concatenate([miss @ weight, miss]))
    alone = collect(model, batches, _loss, names=["two"])
    assert list(alone) == ["two"]
    assert torch.equal(alone["two"].inputs, collected["one"].inputs)


def test_a_change_in_place_behind_a_layer_does_no_harm() -> None:
    model, same = (
        nn.Sequential(make_linear(5, 4, seed=1), nn.ReLU(inplace=inplace), make_linear(4, 3, seed=2))
        for inplace in (True, False)
    )
    batches = _batches((9,))
    expected = collect(same, batches, _loss)
    for frozen in (False, True):
        collected = collect(model.requires_grad_(not frozen), batches, _loss)
        for name in ("0", "2"):
            torch.testing.assert_close(collected[name].inputs, expected[name].inputs)
            torch.testing.assert_close(collected[name].outputs, expected[name].outputs)


def test_an_input_given_by_keyword_is_seen() -> None:
    (batch,) = _batches((8,))
    collected = collect(make_linear(5, 3), [batch], lambda model, batch: model(input=batch[0]).sin().sum())
    torch.testing.assert_close(collected[""].inputs, batch[0].T @ batch[0] / 8)


def test_rows_outside_the_loss_count_with_gradient_zero() -> None:
    model, (batch,) = _Network(), _batches((8,))

    def half(model: nn.Module, batch: Batch) -> Tensor:
        model(batch[0])
        return _loss(model, batch)

    once, twice = collect(model, [batch], _loss), collect(model, [batch], half)
    for name in once:
        assert (once[name].num_rows, twice[name].num_rows) == (8, 16)
        torch.testing.assert_close(twice[name].inputs, once[name].inputs)
        torch.testing.assert_close(2 * twice[name].outputs, once[name].outputs)


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was(fails: bool) -> None:
    model = nn.Sequential(
        make_linear(5, 4), nn.BatchNorm1d(4, dtype=torch.float64), nn.Dropout(), make_linear(4, 3)
    )
    model[1].eval()
    model[3].weight.requires_grad_(False)
    model[0].weight.grad = torch.full((4, 5), 2.0, dtype=torch.float64)
    modes = [module.training for module in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen: list[bool] = []

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        seen.extend(module.training for module in model.modules())
        value = _loss(model, batch)
        if fails and len(seen) > 5:
            raise RuntimeError("no such luck")
        return value

    with torch.no_grad():
        if fails:
            with pytest.raises(RuntimeError, match="no such luck"):
                collect(model, _batches((6,), (6,)), loss)
        else:
            collect(model, _batches((6,), (6,)), loss)
        assert not torch.is_grad_enabled()
    assert len(seen) == 10 and not any(seen)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(model[0].weight.grad, torch.full((4, 5), 2.0, dtype=torch.float64))
    assert [p.requires_grad for p in model.parameters()] == [True, True, True, True, False, True]
    assert all(p.grad is None for p in list(model.parameters())[1:])
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_lower_precision_is_summed_in_single(dtype: torch.dtype) -> None:
    model = _Network().to(dtype)
    batches = [(x.to(dtype), target.to(dtype)) for x, target in _batches((3, 40), (50,))]
    statistics = collect(model, batches, _loss)["first"]
    rows = torch.cat([x.reshape(-1, 5) for x, _ in batches]).double()
    torch.testing.assert_close(statistics.inputs, rows.T @ rows / 170, rtol=1e-5, atol=1e-5)
    exact = collect(model.double(), [(x.double(), target.double()) for x, target in batches], _loss)["first"]
    error = (statistics.outputs - exact.outputs).norm() / exact.outputs.norm()
    assert error < 20 * torch.finfo(dtype).eps


def test_layers_that_calibration_does_not_reach_are_named() -> None:
    model = _Network()
    model.unused = make_linear(2, 2)
    batches = _batches((4,))
    with pytest.raises(ValueError, match=r"must reach every layer, but no rows reached \['unused'\]; give"):
        collect(model, batches, _loss)
    assert set(collect(model, batches, _loss, names=["first", "second"])) == {"first", "second"}
    with pytest.raises(ValueError, match=r"no rows reached \['unused'\]"):
        collect(model, batches, _loss, names=["unused"])
    for nothing in ([], _batches((0,))):
        with pytest.raises(ValueError, match=r"no rows reached \['first', 'second'\]"):
            collect(_Network(), nothing, _loss)

    def cut_off(model: nn.Module, batch: Batch) -> Tensor:
        assert isinstance(model, _Network)
        return model.second(model.first(batch[0]).detach()).sum()

    with pytest.raises(ValueError, match=r"no gradient reached \['first'\]; give more batches, or leave"):
        collect(_Network(), batches, cut_off)
    with pytest.raises(ValueError, match=r"no gradient reached \['first', 'second'\]"):
        collect(_Network(), batches, lambda model, batch: _loss(model, batch).detach())


def test_values_that_are_not_finite_are_refused_with_the_layer() -> None:
    bad = float("nan")
    (x, target), (other, _) = _batches((4,), (4,))
    with pytest.raises(ValueError, match="The input of layer `first` must be finite, but holds 20 values"):
        collect(_Network(), [(x, target), (other * bad, target)], _loss)
    model = _Network()
    with torch.no_grad():
        model.first.weight[0, 0] = float("inf")
    with pytest.raises(ValueError, match="The output of layer `first` must be finite, but holds 4 values"):
        collect(model, [(x, target)], _loss)
    with pytest.raises(ValueError, match="The output gradient of layer `first` must be finite, but holds 16"):
        collect(_Network(), [(x, target * bad)], _loss)
    assert not any(module._forward_hooks for module in model.modules())


def test_bad_names_and_losses_are_refused() -> None:
    batches = _batches((4,))
    with pytest.raises(ValueError, match=r"which are \['first', 'second'\], but names \['third', ''\]"):
        collect(_Network(), batches, _loss, names=["third", "first", ""])
    with pytest.raises(
        ValueError, match=r"`names` must name torch.nn.Linear layers .* are \[\], but names \[\]"
    ):
        collect(nn.ReLU(), batches, _loss)
    with pytest.raises(ValueError, match=r"`loss` must return a real scalar tensor, but returned tensor"):
        collect(_Network(), batches, lambda model, batch: model(batch[0]))
    with pytest.raises(ValueError, match=r"`loss` must return a real scalar tensor, but returned 1.5"):
        collect(_Network(), batches, lambda model, batch: 1.5)  # pyright: ignore


def test_moments_of_a_convolution_are_those_of_its_patches() -> None:
    """Patches and gradients of single pixels, cut out and differentiated one by one."""
    layer = nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), dtype=torch.float64)
    model = nn.Sequential(layer, nn.Tanh(), nn.Flatten())
    generator = torch.Generator().manual_seed(3)
    x, target = (
        torch.randn(4, *shape, generator=generator, dtype=torch.float64) for shape in ((2, 5, 6), (36,))
    )
    found = collect(model, [(x[:1], target[:1]), (x[1:], target[1:])], _loss)["0"]
    padded = nn.functional.pad(x, (0, 0, 1, 1))
    patches = [
        padded[n, :, 2 * row : 2 * row + 3, column : column + 3 : 2].flatten()
        for n in range(4)
        for row in range(3)
        for column in range(4)
    ]
    output = layer(x).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(0.5 * (output.tanh().flatten(1) - target).square().sum(), output)
    rows = [gradient[n, :, row, column] for n in range(4) for row in range(3) for column in range(4)]
    _assert_moments(found, torch.stack(patches).numpy(), torch.stack(rows).numpy())
    alone = collect(
        model, [(x[0], target[0])], lambda model, batch: model[0](batch[0]).sin().sum(), names=["0"]
    )
    torch.testing.assert_close(
        alone["0"].inputs, torch.stack(patches[:12]).T @ torch.stack(patches[:12]) / 12
    )


class _SideBySide(nn.Module):
    """Layers that are given one tensor, which then changes in place."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = (make_linear(5, 5, seed=k) for k in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = x + 1.0
        both = self.one(x) * self.two(x)
        x += 1.0
        return both + self.three(x)


def test_a_shared_input_is_counted_once_and_given_to_all(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []

    def moments(rows: Tensor) -> Tensor:
        counted.append(len(rows))
        return rows.detach().T @ rows.detach()

    monkeypatch.setattr("qtn.calibration.statistics._moments", moments)
    (batch,) = _batches((8,), num_out=5)
    found = collect(_SideBySide(), [batch], _loss)
    assert len(counted) == 2 + 3  # two inputs, three gradients
    x = batch[0] + 1.0
    for name, rows in (("one", x), ("two", x), ("three", x + 1.0)):
        torch.testing.assert_close(found[name].inputs, rows.T @ rows / 8)
        assert found[name].num_rows == 8


def test_convolutions_side_by_side_have_their_own_patches() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide = nn.Conv2d(2, 2, 3, padding=1, dtype=torch.float64)
            self.point = nn.Conv2d(2, 2, 1, dtype=torch.float64)
            self.rows = make_linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.wide(x) + self.point(x) + self.rows(x)

    x = make_linear(4, 3 * 2 * 4).weight.detach().reshape(3, 2, 4, 4)
    found = collect(Model(), [x], lambda model, batch: model(batch).sin().sum())
    assert [len(each.inputs) for each in found.values()] == [18, 2, 4]
    pixels = x.movedim(1, -1).reshape(-1, 2)
    torch.testing.assert_close(found["point"].inputs, pixels.T @ pixels / len(pixels))
    torch.testing.assert_close(found["rows"].inputs, x.reshape(-1, 4).T @ x.reshape(-1, 4) / 24)


def test_moments_in_single_precision_are_those_in_double() -> None:
    generator = torch.Generator().manual_seed(2)
    batches = [
        (
            torch.randn(2000, 5, generator=generator, dtype=torch.float64).float().double() + 1.0,
            torch.randn(2000, 3, generator=generator, dtype=torch.float64).float().double(),
        )
        for _ in range(3)
    ]
    wide = _Network().float().double()
    exact = collect(wide, batches, _loss)
    single = collect(_Network().float(), [(x.float(), target.float()) for x, target in batches], _loss)
    for name, each in single.items():
        assert (each.inputs - exact[name].inputs).norm() < 1e-5 * exact[name].inputs.norm()
        assert (each.outputs - exact[name].outputs).norm() < 1e-5 * exact[name].outputs.norm()
