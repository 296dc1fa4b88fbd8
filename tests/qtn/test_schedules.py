"""Learning rates rise and fall."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from qtn.healing.schedules import CosineSchedule, WarmUpStableDecay


@pytest.mark.parametrize("schedule", [CosineSchedule(warm_up=0.1, last=0.2), WarmUpStableDecay(warm_up=0.1)])
def test_schedules_rise_and_fall(schedule: Any) -> None:
    assert schedule.factor(0.0) == 0.0
    assert schedule.factor(0.05) == 0.5
    assert schedule.factor(0.1) == 1.0
    assert schedule.factor(1.0) == pytest.approx(schedule.last)
    middle = {CosineSchedule: 0.6, WarmUpStableDecay: 1.0}[type(schedule)]
    assert schedule.factor(0.55) == pytest.approx(middle)
    values = [schedule.factor(0.1 + 0.009 * step) for step in range(101)]
    assert all(one >= two for one, two in pairwise(values))


def test_parts_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`warm_up` must be between 0 and 1, but is 1.5"):
        CosineSchedule(warm_up=1.5)
    with pytest.raises(
        ValueError, match=r"`warm_up` and `decay` must add up to at most 1, but are 0.6 and 0.5"
    ):
        WarmUpStableDecay(warm_up=0.6, decay=0.5)
