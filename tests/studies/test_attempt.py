from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from classical.cost import Cost
from studies.engine import SkipTask, Task
from studies.engine.attempt import attempt
from studies.engine.outcome import Outcome

TASK = Task(study="s", version=1, spec={"x": 1})


def attempt_of(returned: object) -> Outcome:
    def run(task: Task) -> Mapping[str, object]:
        if isinstance(returned, Exception):
            raise returned
        return returned  # pyright: ignore[reportReturnType]

    return attempt(run, TASK)


def test_numpy_metrics_become_plain() -> None:
    outcome = attempt_of(
        {"a": np.float32(0.5), "b": np.arange(2), "c": (1, None), "d": {"e": np.bool_(True)}}
    )
    assert outcome.metrics == {"a": 0.5, "b": [0, 1], "c": [1, None], "d": {"e": True}}
    assert type(outcome.metrics["a"]) is float


def test_cost_and_timing_are_kept_apart() -> None:
    outcome = attempt_of({"a": 1, "cost": Cost(shots=3), "timing": {"t": 0.1}})
    assert (outcome.metrics, outcome.timing, outcome.cost) == ({"a": 1}, {"t": 0.1}, Cost(shots=3))
    assert outcome.wall_seconds is not None and outcome.cpu_seconds is not None


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "must return a dict of metrics, but returned a builtins.NoneType"),
        ({"a": float("nan")}, "Metric `a` must be finite, but is nan. Use None for not measured."),
        ({"a": [1.0, np.inf]}, "Metric `a[1]` must be finite, but is inf."),
        (
            {"a": object()},
            "Metric `a` must be a number, str, bool, None, list or dict, but is a builtins.object.",
        ),
        ({"a": 1j}, "but is a builtins.complex."),
        ({1: 2}, "A metric must be named by a str, but one is named 1."),
        ({"x": 2}, "Metric `x` must have a name of its own, but the spec or the timing has it too."),
        ({"a": 2, "timing": {"a": 1}}, "Metric `a` must have a name of its own"),
        ({"cost": 3}, "Metric `cost` must be a Cost, but is a builtins.int."),
        ({"timing": 3}, "Metric `timing` must be a dict, but is a builtins.int."),
    ],
)
def test_unfit_metrics_are_an_error_by_name(returned: object, message: str) -> None:
    outcome = attempt_of(returned)
    assert outcome.status == "error" and outcome.failure is not None
    assert message in outcome.failure.message


def test_error_keeps_type_message_and_function_but_no_path() -> None:
    failure = attempt_of(KeyError("here")).failure
    assert failure is not None
    assert (failure.type, failure.message) == ("KeyError", "'here'")
    assert failure.where.startswith("run, line ") and "/" not in failure.where


def test_secrets_in_messages_are_masked() -> None:
    failure = attempt_of(ValueError("Bearer abcdef123456 and token=verysecret99 end")).failure
    assert failure is not None and failure.message == "Bearer *** and token=*** end"


def test_skipping_is_no_error() -> None:
    outcome = attempt_of(SkipTask("no such device"))
    assert outcome.status == "skipped" and str(outcome.failure) == "SkipTask: no such device"
