"""The measure of distillation against the full divergence, and the cache of the teacher."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn

from qtn.calibration.recording import output_of, recorded
from qtn.healing.distillation import distillation_loss, num_rows, teacher_targets
from qtn.healing.teacher_cache import TeacherCache


class Given(nn.Module):
    """Returns its argument as logits; padding is of no interest to it."""

    def forward(self, logits: Tensor, attention_mask: Tensor | None = None) -> SimpleNamespace:
        return SimpleNamespace(logits=logits)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(seed: int = 0) -> nn.Sequential:
    layers = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Dropout(0.5), nn.Linear(7, 6)).double()
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.copy_(draw(*parameter.shape, seed=seed))
    return layers


def targets_of(logits: Tensor, top_k: int) -> dict[str, Tensor]:
    return teacher_targets(Given(), logits, top_k=top_k, dtype=torch.float64)


def divergence(ours: Tensor, theirs: Tensor) -> Tensor:
    return F.kl_div(ours.log_softmax(-1), theirs.log_softmax(-1), reduction="sum", log_target=True)


@pytest.mark.parametrize("top_k", [6, 100])
def test_all_classes_give_the_divergence(top_k: int) -> None:
    theirs, ours = draw(2, 3, 6), draw(2, 3, 6, seed=1)
    loss = distillation_loss(ours, {}, targets_of(theirs, top_k), theirs)
    torch.testing.assert_close(loss, divergence(ours, theirs), rtol=1e-13, atol=0)


def test_two_classes_and_the_rest_by_hand() -> None:
    theirs = torch.tensor([[0.5, 0.1, 0.3, 0.1]], dtype=torch.float64).log() + 3.0
    ours = torch.tensor([[0.2, 0.2, 0.2, 0.4]], dtype=torch.float64).log() - 7.0
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.2, 0.6])
    targets = targets_of(theirs, 2)
    assert targets["indices"].tolist() == [[0, 2]]
    assert targets["indices"].dtype == torch.int32
    assert float(distillation_loss(ours, {}, targets, theirs)) == pytest.approx(
        float((p * (p / q).log()).sum()), rel=1e-6
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 12), st.integers(1, 12), st.sampled_from([0.1, 1.0, 30.0, 1e3]))
def test_fewer_classes_give_a_lower_bound(seed: int, classes: int, top_k: int, scale: float) -> None:
    theirs, ours = scale * draw(3, classes, seed=seed), scale * draw(3, classes, seed=seed + 1)
    full = distillation_loss(ours, {}, targets_of(theirs, classes), theirs)
    coarse = distillation_loss(ours, {}, targets_of(theirs, top_k), theirs)
    finer = distillation_loss(ours, {}, targets_of(theirs, top_k + 1), theirs)
    slack = 1e-9 * scale
    assert -slack <= coarse <= finer + slack
    assert finer <= full + slack


@pytest.mark.parametrize("top_k", [2, 6])
def test_the_gradient_is_zero_at_the_teacher_and_not_beside_it(top_k: int) -> None:
    model, x = network(), draw(4, 5)
    targets = teacher_targets(model, x, top_k=top_k, hidden=("1",), kind="logits", dtype=torch.float64)
    model.eval()
    for shift, bound in ((0.0, 1e-14), (0.1, None)):
        with torch.no_grad():
            model.get_parameter("0.bias").add_(shift)
        with recorded(model, ("1",)) as states:
            loss = distillation_loss(model(x), states, targets, x)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        largest = max(float(gradient.abs().max()) for gradient in gradients)
        assert largest < bound if bound else largest > 0.1
        assert float(loss.detach()) < 1e-14 if bound else float(loss.detach()) > 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_stored_precision_bounds_the_loss_at_the_teacher(dtype: torch.dtype) -> None:
    logits = 5 * draw(50, 40)
    targets = teacher_targets(Given(), logits, top_k=8, dtype=dtype)
    assert targets["log_probabilities"].dtype == dtype
    for row in range(50):
        here = {name: tensor[row] for name, tensor in targets.items()}
        loss = float(distillation_loss(logits[row], {}, here, logits))
        # A divergence of distributions: quadratic in the rounding, and not below zero.
        assert -1e-6 < loss < 100 * torch.finfo(dtype).eps ** 2 + 1e-6


def test_values_are_measured_in_units_of_the_teachers_variance() -> None:
    model, x = nn.Identity(), 3.0 * draw(40, 5) + 10.0
    targets = teacher_targets(model, x, dtype=torch.float64)
    constant = torch.full_like(x, float(x.mean()))
    assert float(distillation_loss(constant, {}, targets, x)) == pytest.approx(40.0, rel=1e-12)
    flat = teacher_targets(model, torch.ones(2, 3), dtype=torch.float64)
    assert float(distillation_loss(torch.zeros(2, 3), {}, flat, x)) == 2.0


def test_hidden_states_are_weighted_means_over_modules() -> None:
    model, other, x = network(), network(seed=9), draw(8, 5)
    targets = teacher_targets(model, x, hidden=("0", "1"), kind="logits", dtype=torch.float64)
    other.eval()
    with recorded(other, ("0", "1")) as states:
        output = other(x)
    plain = distillation_loss(output, states, targets, x, hidden_weight=0.0)
    errors = [
        (states[name] - targets[f"hidden.{name}"]).square().mean(-1).sum()
        / targets[f"hidden.{name}"].var(correction=0)
        for name in ("0", "1")
    ]
    full = distillation_loss(output, states, targets, x, hidden_weight=0.7)
    torch.testing.assert_close(full - plain, 0.35 * (errors[0] + errors[1]), rtol=1e-12, atol=0)


def test_padding_does_not_count() -> None:
    theirs, ours = draw(2, 3, 6), draw(2, 3, 6, seed=1)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    batch = {"logits": theirs, "attention_mask": mask}
    targets = teacher_targets(Given(), batch, top_k=6, dtype=torch.float64)
    loss = distillation_loss(ours, {}, targets, batch)
    torch.testing.assert_close(loss, divergence(ours[mask.bool()], theirs[mask.bool()]))
    assert num_rows(targets, batch) == 3


def test_outputs_are_read_from_objects_and_tensors() -> None:
    one, two = draw(2), draw(3)
    assert output_of(SimpleNamespace(logits=one, last_hidden_state=two)) is one
    assert output_of(SimpleNamespace(logits=None, last_hidden_state=two)) is two
    assert output_of(one) is one
    with pytest.raises(TypeError, match=r"must return a tensor or an object .* but returned a dict; wrap it"):
        output_of({"scores": one})


@pytest.mark.parametrize("in_folder", [False, True])
def test_a_cache_gives_the_targets_and_asks_the_teacher_once(tmp_path: Path, in_folder: bool) -> None:
    model, batches = network(), [draw(3, 5), (draw(2, 5, seed=1),), {"input": draw(4, 5, seed=2)}]
    model.train()
    calls: list[int] = []
    model.register_forward_hook(lambda *_: calls.append(1))
    folder = tmp_path / "targets" if in_folder else None
    cache = TeacherCache(model, batches, top_k=2, hidden=("1",), kind="logits", folder=folder)
    cache[1]
    parameters = list(model.parameters())
    assert cache.teaches(parameters)
    cache.fill()
    assert not cache.teaches(parameters)
    assert len(calls) == len(batches) == len(cache)
    for index, batch in enumerate(batches):
        expected = teacher_targets(model, batch, top_k=2, hidden=("1",), kind="logits")
        found = cache[index]
        assert sorted(found) == sorted(expected)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert model.training and model[2].training
    if folder is not None:
        assert load_file(folder / "targets_000002.safetensors")["indices"].shape == (4, 2)
        again = TeacherCache(model, batches, top_k=2, hidden=("1",), kind="logits", folder=folder)
        calls.clear()
        assert torch.equal(again[2]["hidden.1"], cache[2]["hidden.1"]) and not calls
        assert again.fingerprint == cache.fingerprint


def test_a_folder_of_another_specification_is_refused(tmp_path: Path) -> None:
    model, batches = network(), [draw(3, 5), draw(3, 5, seed=1)]
    TeacherCache(model, batches, top_k=2, folder=tmp_path).fill()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"same specification, but .* top_k was '2' and is '3'; choose"):
        TeacherCache(model, batches, top_k=3, folder=tmp_path)
    with pytest.raises(ValueError, match="batches was"):
        TeacherCache(model, batches[::-1], top_k=2, folder=tmp_path)
    with torch.no_grad():
        model.get_parameter("0.bias")[0] += 1e-9
    with pytest.raises(ValueError, match="teacher was"):
        TeacherCache(model, batches, top_k=2, folder=tmp_path)
    assert sorted(tmp_path.iterdir()) == before
    before[1].write_bytes(before[1].read_bytes()[:-3])
    with torch.no_grad():
        model.get_parameter("0.bias")[0] = draw(7)[0]
    with pytest.raises(ValueError, match=r"must be a whole file .* delete it"):
        TeacherCache(model, batches, top_k=2, folder=tmp_path)[1]


def test_bad_arguments_are_refused_by_name() -> None:
    model, batches = network(), [draw(3, 5)]
    for wrong, message in (
        ({"top_k": 0}, "`top_k` must be at least 1, but is 0"),
        ({"kind": "classes"}, "`kind` must be .* but is 'classes'"),
        ({"dtype": torch.int8}, "`dtype` must be one of .* but is torch.int8"),
        ({"hidden": ("1", "8")}, r"`hidden` must name modules of the model, but names \['8'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            TeacherCache(model, batches, **wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="at least one batch"):
        TeacherCache(model, [])
    with pytest.raises(
        TypeError, match="must hold tensors, tuples or mappings of arguments, but holds a str"
    ):
        TeacherCache(model, ["text"])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"`values` must be finite in torch.float16, but holds"):
        teacher_targets(nn.Identity(), torch.full((2, 3), 1e6), dtype=torch.float16)
    idle = network()
    idle.extra = nn.Linear(1, 1)
    idle.forward = idle[0].forward
    with pytest.raises(ValueError, match=r"must name modules that the model calls, but names \['extra'\]"):
        teacher_targets(idle, draw(3, 5), hidden=("extra",))
    with pytest.raises(IndexError, match="between 0 and 0, but is 1"):
        TeacherCache(model, batches)[1]
    with pytest.raises(
        ValueError, match=r"give logits for rows \(3,\) and at least 3 classes, but gives shape"
    ):
        distillation_loss(draw(3, 2), {}, targets_of(draw(3, 6), 2), draw(3))
