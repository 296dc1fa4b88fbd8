"""The contract of compression from end to end, on models of every kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qtn import CompressionReport, collect, compress, quantize, resident_bytes, sampled_loss
from qtn.calibration.batches import Batch, run
from qtn.calibration.recording import output_of
from qtn.compression.compress import UNITS
from tests.qtn.cases import make_linear
from tests.qtn.compression_cases import Block, Tied, bert, convolutional, llama, mlp, rows, token_batches


@dataclass(frozen=True, kw_only=True)
class ModelCase:
    name: str
    make: Callable[[], nn.Module]
    batches: Callable[[], Sequence[Batch]]
    layers: Sequence[str] | None = None


def _images() -> list[Tensor]:
    return [rows(12, 2, 8, 8, seed=k) for k in range(2)]


def _vectors() -> list[Tensor]:
    return [rows(60, 10, seed=k) for k in range(2)]


MODELS = [
    ModelCase(name="mlp", make=mlp, batches=_vectors),
    ModelCase(name="bias_free", make=lambda: mlp(bias=False), batches=_vectors),
    ModelCase(name="convolutional", make=convolutional, batches=_images),
    ModelCase(
        name="blocks",
        make=lambda: nn.Sequential(*(Block(seed=10 * k) for k in range(3))),
        batches=lambda: [rows(60, 8, seed=k) for k in range(2)],
    ),
    ModelCase(name="llama", make=llama, batches=token_batches),
    ModelCase(name="bert", make=bert, batches=token_batches, layers=["encoder"]),
]
every_model = pytest.mark.parametrize("case", MODELS, ids=lambda case: case.name)


def _compress(
    case: ModelCase, budget: float = 0.7, **options: Any
) -> tuple[nn.Module, nn.Module, CompressionReport]:
    model = case.make()
    student, report = compress(
        model, budget=budget, calibration=case.batches(), **({"names": case.layers} | options)
    )
    return model, student, report


def _numbers(layer: nn.Module) -> int:
    """What a report counts: factors and places, no bias."""
    names = [(name, each) for name, each in layer.state_dict().items() if name.rpartition(".")[2] != "bias"]
    return sum(each.numel() for _, each in names)


def _output(model: nn.Module, batch: Batch) -> Tensor:
    with torch.no_grad():
        return output_of(run(model.eval(), batch))


@every_model
def test_the_budget_is_met_and_the_report_counts_what_is_there(case: ModelCase) -> None:
    model, student, report = _compress(case)
    before = {name: value.clone() for name, value in case.make().state_dict().items()}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert student.training == model.training
    assert 0.68 * 0.97 <= report.kept <= 0.7
    for layer in report.layers:
        new, old = student.get_submodule(layer.name), model.get_submodule(layer.name)
        assert layer.parameters == _numbers(new) <= layer.parameters_before == _numbers(old)
        assert (layer.form == "dense") == (type(new) is type(old))
        assert (getattr(new, "bias", None) is None) == (old.bias is None)
        assert layer.predicted_loss >= 0.0 and {m.training for m in new.modules()} == {old.training}
        assert report.layer(layer.name) is layer
    for unit in UNITS:
        assert report.costs[unit] <= report.costs_before[unit]
    assert report.costs["parameters"] == sum(layer.parameters for layer in report.layers)
    assert report.costs_before["parameters"] == sum(layer.parameters_before for layer in report.layers)
    assert report.model_parameters == sum(p.numel() for p in student.parameters())
    assert report.model_parameters_before == sum(p.numel() for p in model.parameters())
    assert report.predicted_loss == pytest.approx(sum(layer.predicted_loss for layer in report.layers))
    assert 0.0 <= report.gap <= report.predicted_loss
    assert f"of {len(report.layers)} layers kept, asked for 0.7" in str(report)
    assert set(report.seconds) >= {"collect", "profile", "choose", "refit"}
    output = _output(student, case.batches()[0])
    assert output.isfinite().all() and output.shape == _output(model, case.batches()[0]).shape


@every_model
def test_at_the_full_budget_the_model_is_the_same(case: ModelCase) -> None:
    model, student, report = _compress(case, budget=1.0)
    assert report.kept <= 1.0 and report.predicted_loss < 1e-8
    batch = case.batches()[0]
    scale = _output(model, batch).abs().max()
    torch.testing.assert_close(
        _output(student, batch) / scale, _output(model, batch) / scale, rtol=0, atol=2e-4
    )


def test_the_predicted_loss_falls_with_the_budget() -> None:
    losses = [
        _compress(MODELS[0], budget, refit=False)[2].predicted_loss for budget in (0.4, 0.55, 0.7, 0.85, 1.0)
    ]
    assert losses == sorted(losses, reverse=True) and losses[0] > losses[-1]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("case", [MODELS[0], MODELS[2]], ids=lambda case: case.name)
def test_every_unit_can_be_the_budget(case: ModelCase, unit: str) -> None:
    _, _, report = _compress(case, 0.6, unit=unit, structures=("low_rank", "pivoted"), refit=False)
    assert 0.56 <= report.costs[unit] / report.costs_before[unit] == report.kept <= 0.6
    assert report.unit == unit


def test_names_say_which_layers() -> None:
    model, student, report = _compress(MODELS[0], 0.6, names=["2"])
    assert [layer.name for layer in report.layers] == ["2"]
    assert torch.equal(student[0].weight, model[0].weight)  # pyright: ignore
    _, _, inside = _compress(MODELS[4], 0.8, names=["model.layers.1.mlp", "model.layers.0.self_attn.q_proj"])
    assert sorted(layer.name for layer in inside.layers) == [
        "model.layers.0.self_attn.q_proj",
        *(f"model.layers.1.mlp.{name}_proj" for name in ("down", "gate", "up")),
    ]


def test_refit_brings_the_output_nearer_on_calibration_data() -> None:
    for case in (MODELS[0], MODELS[3]):
        batch = case.batches()[0]
        errors = []
        for refit in (True, False):
            model, student, _ = _compress(case, 0.5, refit=refit)
            errors.append((_output(student, batch) - _output(model, batch)).norm())
        assert errors[0] < 0.95 * errors[1]


def test_tied_weights_are_left_out() -> None:
    tokens = [torch.randint(0, 20, (30, 4), generator=torch.Generator().manual_seed(1))]
    for model, head in ((Tied(), "head"), (llama(tie_word_embeddings=True), "lm_head")):
        student, report = compress(model, budget=0.8, calibration=tokens)
        assert head not in [layer.name for layer in report.layers]
        for each in (model, student):
            embedding = next(m for m in each.modules() if isinstance(m, nn.Embedding))
            assert each.get_submodule(head).weight is embedding.weight


def test_a_layer_under_two_names_or_called_twice_is_kept_whole() -> None:
    """One instance in two places is left out; one that is called twice is fitted, if not refitted."""
    model = mlp()
    model[1].again = model[2]
    _, report = compress(model, budget=0.8, calibration=_vectors())
    assert [layer.name for layer in report.layers] == ["0", "4"]

    class Twice(Block):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(super().forward(x))

    case = ModelCase(name="twice", make=Twice, batches=lambda: [rows(60, 8)])
    _, student, report = _compress(case, 0.6)
    assert any(layer.form != "dense" for layer in report.layers)
    for layer in report.layers:
        assert layer.parameters == _numbers(student.get_submodule(layer.name))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_lower_precision_is_kept(dtype: torch.dtype) -> None:
    case = ModelCase(
        name="low", make=lambda: mlp().to(dtype), batches=lambda: [batch.to(dtype) for batch in _vectors()]
    )
    _, student, report = _compress(case, 0.6)
    assert {p.dtype for p in student.parameters()} == {dtype}
    assert report.costs["bytes"] <= 0.65 * report.costs_before["bytes"]
    wide, _, exact = _compress(MODELS[0], 0.6)
    batch = _vectors()[0]
    error = (_output(student, batch.to(dtype)).double() - _output(wide, batch)).norm()
    reference = (_output(_compress(MODELS[0], 0.6)[1], batch) - _output(wide, batch)).norm()
    assert error < 1.3 * reference + 0.1 * _output(wide, batch).norm()
    assert report.predicted_loss == pytest.approx(exact.predicted_loss, rel=0.3)


def test_modes_of_the_model_are_those_of_the_copy() -> None:
    model = convolutional().train()
    model[1].eval()
    student, _ = compress(model, budget=0.7, calibration=_images())
    assert student.training and not student[1].training and student[2].training  # pyright: ignore
    assert all(module.training for module in student[0].modules())  # pyright: ignore
    assert model.training and not model[1].training


def test_other_structures_can_be_mixed_in() -> None:
    _, student, report = _compress(MODELS[0], 0.5, structures=("pivoted", "mpo", "block_low_rank"))
    assert report.kept <= 0.5
    for layer in report.layers:
        assert layer.parameters == _numbers(student.get_submodule(layer.name))


def test_memory_that_runs_out_is_answered_by_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[list[int]] = []

    def scarce(model: nn.Module, given: Iterable[Tensor], *rest: Any) -> Any:
        batches = list(given)
        sizes.append([len(batch) for batch in batches])
        if max(sizes[-1]) > 20:
            raise torch.OutOfMemoryError("no memory")
        return collect(model, batches, *rest)

    monkeypatch.setattr("qtn.compression.compress.collect", scarce)

    def loss(
        model: nn.Module, batch: Batch
    ) -> Tensor:  # no labels are drawn, so nothing depends on the pieces
        return run(model, batch).square().sum()

    first, second = (compress(mlp(), budget=0.6, calibration=_vectors(), loss=loss)[0] for _ in range(2))
    assert sizes[:3] == [[60, 60], [30] * 4, [15] * 8]
    monkeypatch.setattr("qtn.compression.compress.collect", collect)
    whole, _ = compress(mlp(), budget=0.6, calibration=_vectors(), loss=loss)
    for one, other, same in zip(whole.parameters(), first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-7)
        assert torch.equal(other, same)


def test_the_draws_come_from_the_generator() -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    seeds = [None, 0, 7]
    students = [
        _compress(MODELS[0], 0.6, generator=None if seed is None else torch.Generator().manual_seed(seed))[1]
        for seed in seeds
    ]
    assert torch.equal(torch.get_rng_state(), state)
    weights = [torch.cat([p.flatten() for p in student.parameters()]) for student in students]
    assert torch.equal(weights[0], weights[1])
    assert weights[0].shape != weights[2].shape or not torch.equal(weights[0], weights[2])


def test_padding_plays_no_part() -> None:
    case = MODELS[5]
    other = []
    for batch in case.batches():
        assert isinstance(batch, Mapping)
        mask = batch["attention_mask"]
        other.append({**batch, "input_ids": torch.where(mask.bool(), batch["input_ids"], 1)})
    model, found, _ = _compress(case)
    again, _ = compress(model, budget=0.7, calibration=other, names=case.layers)
    for name, value in found.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, msg=name)
    statistics = collect(
        model, other, sampled_loss(torch.Generator().manual_seed(0)), ["encoder.layer.1.output.dense"]
    )
    # Three of twelve rows in half of the sequences are padding.
    assert [each.num_rows for each in statistics.values()] == [4 * (6 * 12 - 3 * 3)]


@pytest.mark.parametrize("bits", [8, 4])
def test_later_layers_make_good_what_rounding_did(bits: int) -> None:
    model = mlp()
    batches = [rows(64, 10, seed=k) for k in range(8)]
    plain, _ = compress(model, budget=0.9, calibration=batches)
    inside, report = compress(model, budget=0.9, calibration=batches, bits=bits)
    after = quantize(plain, bits=bits)
    errors = [
        float((small(batches[0]) - model(batches[0])).detach().norm()) for small in (plain, inside, after)
    ]
    if bits == 4:  # 8 bits err far less than the budget does
        assert errors[1] < errors[2]
    assert resident_bytes(inside) == resident_bytes(after) < resident_bytes(plain)
    assert report.kept <= 0.9
    with pytest.raises(ValueError, match="`bits` must be 8 or 4 and stand without `refine_steps`"):
        compress(model, budget=0.9, calibration=batches, bits=3)
    with pytest.raises(ValueError, match="must stand with `refit`, but it is False"):
        compress(model, budget=0.9, calibration=batches, bits=8, refit=False)


def test_refinement_brings_blocks_nearer_to_the_dense_ones_or_leaves_them() -> None:
    block = [Block() for _ in range(3)]
    model = nn.Sequential(*block)
    batches = [rows(32, 8, seed=k) for k in range(6)]
    losses = []
    for steps in (0, 40):
        small, _ = compress(model, budget=0.5, calibration=batches, refine_steps=steps)
        losses.append(sum(float((small(x) - model(x)).detach().square().sum()) for x in batches))
        assert all(p.requires_grad and p.grad is None for p in small.parameters())
    assert losses[1] < losses[0]


def test_a_transformer_of_torch_runs_in_both_modes() -> None:
    """In evaluation its fast path reads the weights of its linear layers."""
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    batches = [rows(4, 6, 16, seed=k).float() for k in range(4)]
    small, report = compress(model, budget=0.6, calibration=batches)
    assert report.kept <= 0.6
    with torch.no_grad():
        fast = small(batches[0])
    torch.testing.assert_close(fast, small.train()(batches[0]).detach(), rtol=1e-4, atol=1e-5)


def test_a_budget_of_one_changes_nothing() -> None:
    model = mlp()
    same, _ = compress(model, budget=1.0, calibration=[rows(60, 10)])
    for one, other in zip(model.parameters(), same.parameters(), strict=True):
        assert torch.equal(one, other)


def test_integers_reach_layers_outside_the_blocks_too() -> None:
    model = nn.Sequential(make_linear(8, 8, seed=1), nn.Sequential(*(Block(seed=10 * k) for k in range(3))))
    small, _ = compress(model, budget=0.6, calibration=[rows(60, 8, seed=k) for k in range(2)], bits=8)
    assert not [name for name, module in small.named_modules() if type(module) is nn.Linear]


def test_inference_mode_around_changes_nothing() -> None:
    case = MODELS[0]
    model, wanted, _ = _compress(case)
    with torch.inference_mode():
        found, _ = compress(model, budget=0.7, calibration=case.batches())
    assert not any(each.is_inference() for each in found.parameters())
    assert torch.equal(_output(found, case.batches()[0]), _output(wanted, case.batches()[0]))
