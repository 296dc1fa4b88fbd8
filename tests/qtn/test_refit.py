"""Layers fitted to what the dense model gives, against explicit least squares."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from qtn import LayerMetric, LowRankLinear
from qtn.calibration.matrices import MatrixLayer
from qtn.compression.forms import DENSE, Form, forms_of
from qtn.compression.refit import _landings, refit_block
from qtn.compression.stack import Call, traced
from tests.qtn.cases import make_linear
from tests.qtn.compression_cases import Block, Gated, mlp, rows


def _form(rank: int | None) -> Form:
    """Low rank, or exact whatever the weight is; the costs play no part."""

    def fit(layer: MatrixLayer, metric: LayerMetric) -> nn.Module:
        assert isinstance(layer, nn.Linear)
        return LowRankLinear.from_dense(layer, rank=rank, metric=metric)

    return Form(name=f"low_rank {rank}", loss=0.0, costs={}, fit=fit)


def _refit(
    dense: nn.Module,
    student: nn.Module,
    inputs: Sequence[Tensor],
    forms: dict[str, Form],
    changed: Sequence[Tensor] | None = None,
    ridge: float = 1e-10,
) -> list[Tensor | None]:
    outputs = {
        name: torch.eye(len(dense.get_submodule(name).weight), dtype=torch.float64)  # pyright: ignore
        for name in forms
    }
    return refit_block(
        dense,
        student,
        [Call.of(x) for x in inputs],
        [Call.of(x) for x in (inputs if changed is None else changed)],
        forms,
        outputs,
        batches=inputs,
        damping=1e-2,
        ridge=ridge,
    )


def _distance(dense: nn.Module, student: nn.Module, inputs: Tensor, changed: Tensor | None = None) -> float:
    with torch.no_grad():
        given = inputs if changed is None else changed
        return float((dense(inputs.clone()) - student(given.clone())).square().sum())


@pytest.mark.parametrize(
    "block", [mlp(), Block(), Block(in_place=True), Gated()], ids=lambda b: type(b).__name__
)
def test_at_full_rank_the_dense_outputs_come_back(block: nn.Module) -> None:
    linears = {name: m for name, m in block.named_modules() if isinstance(m, nn.Linear)}
    inputs = [rows(30, next(iter(linears.values())).in_features, seed=k) for k in range(2)]
    before = {name: value.clone() for name, value in block.state_dict().items()}
    student = copy.deepcopy(block)
    results = _refit(block, student, inputs, {name: _form(None) for name in linears})
    for x, result in zip(inputs, results, strict=True):
        assert result is not None
        torch.testing.assert_close(result, block(x.clone()))
        torch.testing.assert_close(student(x.clone()), result, rtol=1e-6, atol=1e-6)
    assert all(isinstance(student.get_submodule(name), LowRankLinear) for name in linears)
    assert all(torch.equal(value, before[name]) for name, value in block.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in [*block.modules(), *student.modules()])


def _affine_fit(inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias of least squares."""
    solution = torch.linalg.lstsq(torch.cat([inputs, torch.ones_like(inputs[:, :1])], 1), outputs).solution
    return solution[:-1].T, solution[-1]


def test_with_other_inputs_the_layer_is_that_of_least_squares() -> None:
    """One layer after another, whose input the compressed model gets wrong by noise."""
    model = nn.Sequential(nn.Identity(), make_linear(6, 5, seed=1))
    inputs = [rows(40, 6, seed=k) for k in range(3)]
    changed = [x + 0.4 * rows(40, 6, seed=9 + k) for k, x in enumerate(inputs)]
    student = copy.deepcopy(model)
    _refit(model, student, inputs, {"1": _form(None)}, changed, ridge=1e-12)
    expected, bias = _affine_fit(torch.cat(changed), model(torch.cat(inputs)).detach())
    layer = student[1]
    assert isinstance(layer, LowRankLinear)
    torch.testing.assert_close(layer.to_dense(), expected, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(layer.bias.detach(), bias, rtol=1e-8, atol=1e-8)  # pyright: ignore
    assert _distance(model, student, torch.cat(inputs), torch.cat(changed)) < 0.9 * _distance(
        model, model, torch.cat(inputs), torch.cat(changed)
    )


def test_a_strong_ridge_gives_the_dense_weight() -> None:
    model, x = nn.Sequential(make_linear(6, 5, seed=1)), rows(40, 6)
    for ridge, close in ((1e8, True), (1e-8, False)):
        student = copy.deepcopy(model)
        _refit(model, student, [x], {"0": _form(None)}, [x + rows(40, 6, seed=3)], ridge)
        layer = student[0]
        assert isinstance(layer, LowRankLinear)
        assert torch.allclose(layer.to_dense(), model[0].weight, rtol=1e-6, atol=1e-6) is close


def test_a_layer_that_adds_to_a_stream_makes_good_the_error_of_the_stream() -> None:
    block, x = Block(), rows(60, 8)
    changed = x + 0.3 * rows(60, 8, seed=2)
    student = copy.deepcopy(block)
    _refit(block, student, [x], {"down": _form(None)}, [changed], ridge=1e-12)
    hidden = block.up(changed).tanh().detach()
    expected, bias = _affine_fit(hidden, (x + block.down(block.up(x).tanh()) - changed).detach())
    layer = student.down
    assert isinstance(layer, LowRankLinear)
    torch.testing.assert_close(layer.to_dense(), expected, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(layer.bias.detach(), bias, rtol=1e-7, atol=1e-7)  # pyright: ignore


def test_a_bias_takes_care_of_means_and_rank_of_the_rest() -> None:
    """Low rank of inputs with a large mean: the best bias and the best matrix around the means, in closed form."""
    model = nn.Sequential(make_linear(8, 6, seed=3))
    x = rows(400, 8) @ rows(8, 8, seed=5) + 10.0 * rows(1, 8, seed=6)
    student = copy.deepcopy(model)
    refit_block(
        model,
        student,
        [Call.of(x)],
        [Call.of(x)],
        {"0": _form(2)},
        {"0": torch.eye(6, dtype=x.dtype)},
        batches=[x],
        damping=0.0,
        ridge=1e-12,
    )
    wanted = model(x).detach()
    values = torch.linalg.svdvals(wanted - wanted.mean(0))
    assert float((student(x) - wanted).detach().square().sum()) == pytest.approx(
        float(values[2:].square().sum()), rel=1e-6
    )


class _Parallel(nn.Module):
    """Two layers of one input add to one stream."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = make_linear(6, 6, seed=1), make_linear(6, 6, seed=2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.one(x) + self.two(x)


def test_layers_that_land_together_do_not_make_good_an_error_twice() -> None:
    block, x = _Parallel(), rows(60, 6)
    changed = 0.5 * x  # which a linear map can make good in full
    student = copy.deepcopy(block)
    _refit(block, student, [x], {"one": _form(None), "two": _form(None)}, [changed], ridge=1e-12)
    torch.testing.assert_close(student(changed), block(x), rtol=1e-6, atol=1e-6)


def test_where_layers_land() -> None:
    x = rows(6, 8)
    for in_place in (False, True):
        block = Block(in_place=in_place)
        found = _landings(block, Call.of(x), ("up", "down", "last"))
        assert found == {"up": "activation", "down": "last", "last": ""}
    gated = _landings(Gated(), Call.of(x), ("gate", "up", "down"))
    assert gated == {"gate": "activation", "up": None, "down": ""}
    model = mlp()
    assert _landings(model, Call.of(rows(6, 10)), "024") == {"0": "1", "2": "3", "4": ""}
    functional = Block()
    functional.activation.forward = lambda x: x  # the input of the next layer is then the output of this one
    assert _landings(functional, Call.of(x), ["up"]) == {"up": "down"}
    with torch.no_grad():
        functional.last.weight.zero_()
    assert _landings(functional, Call.of(x), ["last"]) == {"last": None}  # a change of zero tells nothing
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in functional.modules())


def test_layers_called_twice_or_never_are_left_as_they_are() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.never = (make_linear(4, 4, seed=k) for k in range(3))

        def forward(self, x: Tensor) -> Tensor:
            return self.one(self.two(self.one(x)).tanh())

    block = Twice()
    student = copy.deepcopy(block)
    _refit(block, student, [rows(20, 4)], {name: _form(2) for name in ("one", "two", "never")})
    kinds = [type(layer) for layer in (student.one, student.two, student.never)]
    assert kinds == [nn.Linear, LowRankLinear, nn.Linear]


@pytest.mark.parametrize("seed", range(4))
def test_the_output_is_nearer_to_the_dense_one_than_without(seed: int) -> None:
    """On the calibration data, for a stack of blocks of which each but the first gets inputs that are off."""
    blocks = [Block(seed=100 * seed + 10 * k) for k in range(3)]
    x = rows(200, 8, seed=seed)
    plain, refitted = nn.Sequential(*copy.deepcopy(blocks)), nn.Sequential(*copy.deepcopy(blocks))
    dense_state, state = x, x
    for k, block in enumerate(blocks):
        for name in ("up", "down", "last"):
            layer = block.get_submodule(name)
            assert isinstance(layer, nn.Linear)
            given = traced(block, Call.of(dense_state), [name]).at(name)
            metric = LayerMetric(given.T @ given, None, 1e-2)
            plain[k].set_submodule(name, LowRankLinear.from_dense(layer, rank=4, metric=metric))
        forms = dict.fromkeys(("up", "down", "last"), _form(4))
        (result,) = _refit(block, refitted[k], [dense_state], forms, [state], ridge=1e-3)
        assert result is not None
        dense_state, state = result, refitted[k](state).detach()
    dense = nn.Sequential(*blocks)
    assert _distance(dense, refitted, x) < 0.9 * _distance(dense, plain, x)


def test_a_convolution_is_that_of_least_squares() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, stride=2, dtype=torch.float64), nn.ReLU(inplace=True))
    layer = model[0]
    assert isinstance(layer, nn.Conv2d)
    x = rows(8, 2, 6, 6)
    changed = x + 0.3 * rows(8, 2, 6, 6, seed=3)
    forms = forms_of(layer, LayerMetric(torch.eye(18), torch.eye(3)), ["low_rank"])
    assert _landings(model, Call.of(x), ["0"]) == {"0": "1"}
    student = copy.deepcopy(model)
    refit_block(
        model,
        student,
        [Call.of(x)],
        [Call.of(changed)],
        {"0": forms[DENSE]},
        {"0": torch.eye(3)},
        batches=[x],
        damping=0.0,
        ridge=1e-12,
    )
    patches = nn.functional.unfold(changed, 3, padding=1, stride=2).transpose(1, 2).reshape(-1, 18)
    expected, _ = _affine_fit(patches, layer(x).detach().movedim(1, -1).reshape(-1, 3))
    torch.testing.assert_close(student[0].weight.flatten(1), expected, rtol=1e-7, atol=1e-7)


def test_half_precision_does_not_overflow() -> None:
    model = nn.Sequential(make_linear(6, 5, seed=1, dtype=torch.float16))
    x = (30 * rows(400, 6)).half()  # sums of squares are above 65504
    student = copy.deepcopy(model)
    _refit(model, student, [x], {"0": _form(None)}, ridge=1e-6)
    layer = student[0]
    assert isinstance(layer, LowRankLinear)
    torch.testing.assert_close(layer.to_dense().float(), model[0].weight.float(), rtol=2e-2, atol=2e-2)
