"""A healing goes on where it stopped, and only with what it was begun with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qtn.healing.heal import HealingReport, heal
from qtn.healing.schedules import CosineSchedule
from qtn.healing.teacher_cache import TeacherCache
from tests.qtn.healing_cases import Stop, batches, parameters_of, same, student, teacher


@pytest.mark.parametrize("every", [1, 4, 1000])
@pytest.mark.parametrize("stop_by", ["exception", "time", "new start"])
def test_an_interrupted_healing_equals_an_uninterrupted_one(tmp_path: Path, every: int, stop_by: str) -> None:
    data = batches()
    cache = TeacherCache(teacher(), data, kind="logits", hidden=("2",))
    path = tmp_path / "state.safetensors"

    def run(model: nn.Module, **more: Any) -> HealingReport:
        return heal(
            model, cache, data, steps=13, learning_rate=0.02, weight_decay=0.1, trainable="all", **more
        )

    whole = student()
    expected = run(whole)
    parts, stops, seconds = student(), 0, 0.0
    while True:
        steps_here = 0

        def progress(step: int, *_: object) -> None:
            nonlocal steps_here
            steps_here += 1
            if stop_by != "time" and steps_here == 3 and step < 13:
                raise Stop

        limit = {"exception": None, "time": 1e-9, "new start": 100.0}[stop_by]
        if stop_by == "new start" and stops % 2 == 0:
            parts = student()  # as a new process would make it
        try:
            report = run(parts, checkpoint=path, every=every, seconds=limit, progress=progress)
        except Stop:
            stops += 1
            continue
        if report.finished:
            break
        stops += 1
        assert report.steps == len(report.losses) == stops
        assert report.seconds > seconds
        seconds = report.seconds
    assert stops == {"exception": 4, "time": 12, "new start": 4}[stop_by]
    assert same(parameters_of(parts), parameters_of(whole))
    assert (report.losses, report.steps, report.tokens) == (expected.losses, 13, expected.tokens)
    assert run(parts, checkpoint=path).losses == expected.losses
    assert [each.name for each in tmp_path.iterdir()] == ["state.safetensors"]


def test_half_precision_is_stepped_in_single_and_resumed(tmp_path: Path) -> None:
    data = [batch.to(torch.bfloat16) for batch in batches()]
    model = teacher().to(torch.bfloat16)

    def run(made: nn.Module, **more: Any) -> HealingReport:
        return heal(made, model, data, steps=60, learning_rate=5e-4, max_norm=None, **more)

    start, whole, parts = (student().to(torch.bfloat16) for _ in range(3))
    run(whole)
    while not run(parts, checkpoint=tmp_path / "state", seconds=0.01).finished:
        pass
    assert same(parameters_of(whole), parameters_of(parts))
    # Every step is far below the spacing at 1, 2**-8: only their sum is seen.
    moved = (parameters_of(whole)["1.weight"] - parameters_of(start)["1.weight"]).abs()
    assert 2**-8 <= float(moved.max()) <= 60 * 5e-4 + 2**-8
    assert {parameter.dtype for parameter in whole.parameters()} == {torch.bfloat16}


def test_an_update_cut_short_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, path, whole, cut = batches(), tmp_path / "state", student(), student()
    heal(whole, teacher(), data, steps=5)
    snapshots: list[dict[str, Tensor]] = []
    step = torch.optim.AdamW.step

    def halting(self: torch.optim.AdamW) -> None:
        step(self)
        if len(snapshots) == 3:
            raise KeyboardInterrupt

    def run(model: nn.Module) -> HealingReport:
        return heal(model, teacher(), data, steps=5, checkpoint=path, every=2, progress=keep)

    def keep(*_: object) -> None:
        snapshots.append(parameters_of(cut))

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(torch.optim.AdamW, "step", halting)
        run(cut)
    assert same(parameters_of(cut), snapshots[2])
    resumed = student()
    run(resumed)
    assert len(snapshots) == 3 + 3
    assert same(parameters_of(resumed), parameters_of(whole))


def test_another_call_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    data, path = batches(), tmp_path / "state"

    def run(model: nn.Module, **more: Any) -> HealingReport:
        arguments = {"batches": data, "steps": 4, "learning_rate": 0.02, "checkpoint": path, **more}
        return heal(model, teacher(), **arguments)

    run(student())
    content = path.read_bytes()
    for more, message in (
        ({"learning_rate": 0.03}, r"same arguments, but .* learning_rate was 0.02 and is 0.03; repeat"),
        ({"steps": 5}, "steps was 4 and is 5"),
        ({"schedule": CosineSchedule(last=0.1)}, "schedule was"),
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"trainable": "all"}, "trained was"),
        ({"batches": data[:3]}, "teacher was"),
    ):
        fresh = student()
        before = parameters_of(fresh)
        with pytest.raises(ValueError, match=message):
            run(fresh, **more)
        assert same(parameters_of(fresh), before)
    with pytest.raises(ValueError, match=r"`student` must be as it was when .* was begun or saved"):
        run(student(shift=0.3))
    other = student()
    with torch.no_grad():
        other.get_parameter("4.weight").add_(1.0)
    with pytest.raises(ValueError, match="frozen was"):
        run(other)
    assert path.read_bytes() == content
    path.write_bytes(content[:-8])
    with pytest.raises(ValueError, match="must be a whole file"):
        run(student())


def test_relative_rates_move_factors_alike_and_are_kept_by_a_checkpoint(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    model = nn.Linear(6, 4).double()
    data = [torch.randn(8, 6, generator=generator, dtype=torch.float64) for _ in range(3)]

    def factors() -> nn.Sequential:
        made = nn.Sequential(nn.Linear(6, 5, bias=False), nn.Linear(5, 4, bias=False)).double()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for scale, layer in zip((1e-3, 1e3), made, strict=True):
                assert isinstance(layer, nn.Linear)
                layer.weight.copy_(scale * torch.randn(layer.weight.shape, generator=generator))
        return made

    arguments: dict[str, Any] = {
        "learning_rate": 1e-2,
        "relative": True,
        "trainable": "all",
        "max_norm": None,
    }
    moved = factors()
    heal(moved, model, data, steps=1, schedule=CosineSchedule(warm_up=0.0, last=1.0), **arguments)
    for old, new in zip(factors().parameters(), moved.parameters(), strict=True):
        step = (new - old).detach().abs().mean() / old.detach().square().mean().sqrt()
        assert float(step) == pytest.approx(1e-2, rel=1e-3)
    whole, parts = factors(), factors()
    heal(whole, model, data, steps=6, **arguments)
    for _ in range(6):
        heal(parts, model, data, steps=6, checkpoint=tmp_path / "state", seconds=1e-9, **arguments)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))
