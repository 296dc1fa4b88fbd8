"""Healing arrives where it can, and leaves the rest alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from qtn import LowRankLinear, MPOLinear, replace_linears
from qtn.healing.heal import heal
from qtn.healing.schedules import CosineSchedule, WarmUpStableDecay
from qtn.healing.teacher_cache import TeacherCache
from qtn.healing.trainable import trainable_parameters, undecayed_names
from tests.qtn.healing_cases import Stop, batches, parameters_of, same, student, teacher


@pytest.mark.parametrize("kind", ["logits", "values"])
def test_a_student_that_can_be_the_teacher_becomes_it(kind: Any) -> None:
    data = batches()
    cache = TeacherCache(teacher(), data, top_k=3, kind=kind, hidden=("1",), dtype=torch.float64)
    healed = student()
    report = heal(healed, cache, data, steps=200, learning_rate=0.03)
    assert report.losses[0] > 0.02
    assert report.losses[-1] < 1e-4 * report.losses[0]
    healed.eval()
    x = batches(6)[-1]
    difference = healed(x) - teacher().eval()(x)
    assert difference.abs().max() < 5e-3
    assert (report.steps, report.tokens, report.finished) == (200, 200 * 16, True)
    assert report.num_trained == 2 * 8 + 2 * 6 + 8 + 2 * 8


@pytest.mark.parametrize("schedule", [CosineSchedule(), WarmUpStableDecay()], ids=["cosine", "wsd"])
def test_healing_lowers_the_loss_of_one_that_cannot(schedule: Any) -> None:
    data = batches()
    healed = student(rank=1, shift=1.0)
    report = heal(healed, teacher(), data, tokens=200 * 16, learning_rate=0.02, schedule=schedule)
    assert report.steps == 200
    assert sum(report.losses[-5:]) < 0.5 * sum(report.losses[:5])
    assert report.losses[-1] > 1e-4


def test_flags_modes_gradients_and_the_rest_are_left_as_they_were() -> None:
    data, original = batches(), teacher()
    made = student(original)
    made.get_parameter("4.weight").requires_grad_(False)
    made.get_submodule("1").eval()
    for parameter in made.parameters():
        parameter.grad = torch.full_like(parameter, 2.0)
    before, teachers = parameters_of(made), parameters_of(original)
    flags = [parameter.requires_grad for parameter in made.parameters()]
    modes = [module.training for module in made.modules()]

    def stop(*_: object) -> None:
        raise Stop

    torch.manual_seed(0)
    state = torch.get_rng_state()
    cache = TeacherCache(original, data, hidden=("1",))
    heal(made, cache, data, steps=3)
    with pytest.raises(Stop):
        heal(made, cache, data, steps=3, progress=stop)
    assert torch.equal(torch.get_rng_state(), state)
    assert flags == [parameter.requires_grad for parameter in made.parameters()]
    assert modes == [module.training for module in made.modules()]
    assert all(p.grad is not None and bool((p.grad == 2.0).all()) for p in made.parameters())
    assert same(parameters_of(original), teachers)
    after = parameters_of(made)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if name.startswith(("0.", "1."))}
    assert not any(module._forward_hooks for module in [*made.modules(), *original.modules()])


def test_what_is_not_finite_ends_it_with_the_last_good_parameters() -> None:
    data, made = batches(), student()
    snapshots = [parameters_of(made)]

    def spoil(step: int, *_: object) -> None:
        if step == 2:
            next(made.parameters()).data[0] = float("nan")
        snapshots.append(parameters_of(made))

    with pytest.raises(
        FloatingPointError, match=r"After 2 steps the loss or its gradient is not finite .* lower"
    ):
        heal(made, teacher(), data, steps=5, progress=spoil)
    assert same(parameters_of(made), snapshots[1])


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.square = nn.Parameter(torch.zeros(5, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return self.square.sqrt() * x[:, :5]

    made = Root()
    with pytest.raises(FloatingPointError, match=r"After 0 steps the loss or its gradient .* \(loss \d"):
        heal(made, teacher(), batches(), steps=2, trainable="all")
    assert same(parameters_of(made), parameters_of(Root()))


def test_progress_and_seconds_add_up() -> None:
    seen: list[tuple[Any, ...]] = []
    start = perf_counter()
    report = heal(student(), teacher(), batches(), steps=4, progress=lambda *each: seen.append(each))
    assert report.seconds < perf_counter() - start
    assert [each[:2] for each in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [each[2] for each in seen] == list(report.losses)
    assert [each[3] for each in seen] == [16, 32, 48, 64]
    assert all(one[4] < two[4] for one, two in pairwise(seen)) and seen[-1][4] == report.seconds


def test_all_batches_are_taken_in_every_pass_in_an_order_of_the_seed() -> None:
    data = [torch.full((1, 6), float(index), dtype=torch.float64) for index in range(7)]

    def order(seed: int) -> list[int]:
        made, seen = student(), []
        made.register_forward_pre_hook(lambda _, args: seen.append(int(args[0][0, 0])))
        heal(made, teacher(), data, steps=14, seed=seed)
        return seen

    first = order(0)
    assert sorted(first[:7]) == sorted(first[7:]) == list(range(7)) and first[:7] != first[7:]
    assert first == order(0) != order(1)


def test_what_is_trained_and_what_decays() -> None:
    made = replace_linears(teacher(), {"0": lambda linear: MPOLinear.from_dense(linear)})
    factors = [name for name, _ in made.named_parameters() if name.startswith(("0.", "1."))]
    assert list(trainable_parameters(made)) == factors
    assert list(trainable_parameters(made, "all")) == [*factors, "4.weight", "4.bias"]
    assert list(trainable_parameters(made, lambda name, each: each.ndim == 2)) == ["4.weight"]
    assert list(trainable_parameters(made, ["1.bias"])) == ["1.bias"]
    assert undecayed_names(made) == [*factors, "4.bias"]
    decayed, plain = copy.deepcopy(made), copy.deepcopy(made)
    for model, decay in ((decayed, 0.5), (plain, 0.0)):
        heal(model, teacher(), batches(), steps=1, trainable="all", weight_decay=decay, learning_rate=0.1)
    one, other = parameters_of(decayed), parameters_of(plain)
    assert [name for name in one if not torch.equal(one[name], other[name])] == ["4.weight"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "Either `steps` or `tokens` must be given, but they are None and None"),
        ({"steps": 3, "tokens": 4}, "but they are 3 and 4"),
        ({"steps": 0}, "`steps` must be at least 1, but is 0"),
        ({"steps": 1, "learning_rate": 0.0}, "`learning_rate` must be above 0 and finite, but is 0.0"),
        ({"steps": 1, "hidden_weight": -1.0}, "`hidden_weight` must be at least 0"),
        ({"steps": 1, "seed": -1}, "`seed` must be at least 0, but is -1"),
        ({"steps": 1, "every": 0}, "`every` must be at least 1, but is 0"),
        ({"steps": 1, "trainable": ["9.left"]}, r"`trainable` must name .* but names \['9.left'\]"),
        ({"steps": 1, "trainable": lambda *_: False}, "must choose at least one real parameter"),
    ],
)
def test_bad_arguments_are_refused_by_name(more: dict[str, Any], message: str) -> None:
    made = student()
    before = parameters_of(made)
    with pytest.raises(ValueError, match=message):
        heal(made, teacher(), batches(), **more)
    assert same(parameters_of(made), before)


def test_wrong_pairs_are_refused() -> None:
    original, data = teacher(), batches()
    with pytest.raises(ValueError, match="must share no trained parameter with the teacher"):
        heal(original, original, data, steps=1)
    with pytest.raises(ValueError, match="must hold the batches of the cache, but holds others"):
        heal(student(), TeacherCache(original, data), data[1:], steps=1)
    with pytest.raises(ValueError, match="depends on, but none does"):
        idle = student()
        idle.register_parameter("idle", nn.Parameter(torch.ones(2)))
        heal(idle, original, data, steps=1, trainable=["idle"])
    with pytest.raises(ValueError, match=r"`values` the teacher's shape \(16, 5\), but gives \(16, 4\)"):
        heal(nn.Linear(6, 4).double(), original, data, steps=1, trainable="all")
    with pytest.raises(ValueError, match=r"with rows that count, but one gives outputs of shape \(0, 5\)"):
        heal(student(), original, [torch.zeros(0, 6, dtype=torch.float64)], steps=1)


def _linears(model: nn.Module) -> dict[str, Callable[[nn.Linear], nn.Module]]:
    return {
        name: lambda linear: LowRankLinear.from_dense(linear, keep=0.5)
        for name, module in model.named_modules()
        if type(module) is nn.Linear and "layers" in name
    }


def test_a_language_model_heals_by_logits_and_hidden_states(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=50,
                hidden_size=16,
                intermediate_size=24,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=1,
                tie_word_embeddings=True,
                initializer_range=0.3,
            )
        )
    tokens = torch.randint(50, (3, 4, 10), generator=torch.Generator().manual_seed(1))
    mask = torch.ones(4, 10, dtype=torch.long)
    mask[:, 8:] = 0
    data = [tokens[0], (tokens[1],), {"input_ids": tokens[2], "attention_mask": mask, "use_cache": False}]
    hidden = ("model.layers.0", "model.layers.1")
    cache = TeacherCache(model, data, top_k=8, hidden=hidden, folder=tmp_path, dtype=torch.float16).fill()
    made = replace_linears(model, _linears(model))
    report = heal(made, cache, data, steps=30, learning_rate=0.02, autocast=torch.bfloat16)
    assert report.tokens == 10 * (40 + 40 + 32)
    assert sum(report.losses[-3:]) < 0.7 * sum(report.losses[:3])
    head, embedding, norm = "lm_head", "model.embed_tokens", "model.norm.weight"
    assert made.get_submodule(head).weight is made.get_submodule(embedding).weight
    assert torch.equal(made.get_parameter(f"{embedding}.weight"), model.get_parameter(f"{embedding}.weight"))
    assert not torch.equal(made.get_parameter(norm), model.get_parameter(norm))


def test_batches_may_come_from_a_generator_or_a_loader() -> None:
    data, wanted = batches(), student()
    heal(wanted, teacher(), data, steps=3)
    loader: Any = torch.utils.data.DataLoader(cast("Any", data), batch_size=None)
    for given in ((batch for batch in data), loader):
        healed = student()
        heal(healed, teacher(), given, steps=3)
        assert same(parameters_of(healed), parameters_of(wanted))


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_gradients_are_taken_whatever_mode_is_around(mode: Any) -> None:
    wanted, healed, made = student(), student(), teacher()
    heal(wanted, made, batches(), steps=3)
    with mode():
        heal(healed, made, batches(), steps=3)  # the batches are made in it too
    assert same(parameters_of(healed), parameters_of(wanted))


def test_a_checkpoint_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be a file"):
        heal(student(), teacher(), batches(), steps=1, checkpoint=tmp_path)
