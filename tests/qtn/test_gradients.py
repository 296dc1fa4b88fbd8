"""Batches that do not fit in memory go through in parts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from qtn.calibration.recording import recorded
from qtn.healing.distillation import distillation_loss
from qtn.healing.gradients import batch_gradients
from qtn.healing.heal import heal
from qtn.healing.teacher_cache import TeacherCache
from qtn.healing.trainable import trainable_parameters
from tests.qtn.healing_cases import Narrow, batches, parameters_of, same, student, teacher


@pytest.mark.parametrize("limit", [1, 3, 7, 16])
def test_a_batch_that_does_not_fit_has_the_gradient_of_the_whole(limit: int) -> None:
    data = batches(1)
    cache = TeacherCache(teacher(), data, kind="logits", hidden=("1", "4"), dtype=torch.float64)
    made = student().eval()
    trained = trainable_parameters(made)

    def gradients(model: nn.Module, part: int | None) -> tuple[dict[str, Tensor], float, int | None]:
        return batch_gradients(
            model, data[0], cache[0], trained, hidden_weight=0.5, autocast=None, part_examples=part
        )

    expected, loss, whole = gradients(made, None)
    assert whole is None
    with recorded(made, ("1", "4")) as states:
        total = distillation_loss(made(data[0]), states, cache[0], data[0], hidden_weight=0.5).detach()
    assert loss == pytest.approx(float(total) / 16, rel=1e-12)
    narrow = Narrow(limit)
    made[3] = narrow  # pyright: ignore[reportIndexIssue]
    found, parts_loss, part = gradients(made, None)
    assert part == {1: 1, 3: 2, 7: 4, 16: None}[limit]
    assert expected.keys() == found.keys() == trained.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-12, atol=1e-14)
    assert parts_loss == pytest.approx(loss, rel=1e-12)
    narrow.seen.clear()
    gradients(made, part)
    assert max(narrow.seen) <= limit


def test_one_example_that_does_not_fit_is_said() -> None:
    made = student()
    original = teacher()
    cache = TeacherCache(original, batches()).fill()
    before = parameters_of(made)
    made[3] = Narrow(0)  # pyright: ignore[reportIndexIssue]
    with pytest.raises(torch.OutOfMemoryError, match=r"One example .* does not fit .*'values': \(16, 5\)"):
        heal(made, cache, batches(), steps=2)
    assert same(parameters_of(made), before)
