"""The worker's side: one attempt at one task."""

from __future__ import annotations

import math
import os
import re
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import numpy as np

from classical.cost import Cost
from studies.engine.errors import SkipTask
from studies.engine.outcome import Failure, Outcome
from studies.engine.task import Task

Run = Callable[[Task], Mapping[str, object]]

_SECRETS = re.compile(r"(?i)\b(bearer|apikey|api_key|token|password|secret)([\s\"':=]+)[^\s\"',;]{6,}")


def attempt(run: Run, task: Task) -> Outcome:
    """The outcome of `run(task)`; whatever the study raises becomes a failure, never a dead worker."""
    started, wall, cpu = now(), time.perf_counter(), time.process_time()
    metrics: dict[str, object] = {}
    timing: dict[str, object] = {}
    cost, failure, status = None, None, "ok"
    try:
        metrics, timing, cost = _sorted_out(run(task), task)
    except SkipTask as reason:
        status, failure = "skipped", describe(reason)
    except Exception as error:  # the code of a study may raise anything; it is stored, and told at the end
        status, failure = "error", describe(error)
    return Outcome(
        status=status,
        metrics=metrics,
        timing=timing,
        cost=cost,
        failure=failure,
        started=started,
        wall_seconds=time.perf_counter() - wall,
        cpu_seconds=time.process_time() - cpu,
        worker=str(os.getpid()),
    )


def now() -> str:
    """The present time: UTC, ISO 8601 with microseconds, sortable as text."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def describe(error: BaseException) -> Failure:
    """The failure of an error: type, message without secrets, innermost function without its file."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].name}, line {frames[-1].lineno}" if frames else ""
    message = _SECRETS.sub(r"\1\2***", str(error))[:2000]
    return Failure(type=type(error).__name__, message=message, where=where)


def _sorted_out(returned: object, task: Task) -> tuple[dict[str, object], dict[str, object], Cost | None]:
    """Metrics, timing and cost out of what the `run` function of a study returned."""
    if not isinstance(returned, Mapping):
        raise TypeError(f"A `run` function must return a dict of metrics, but returned a {_name(returned)}.")
    metrics = dict(returned)
    cost = metrics.pop("cost", None)
    if cost is not None and not isinstance(cost, Cost):
        raise TypeError(f"Metric `cost` must be a Cost, but is a {_name(cost)}.")
    timing = metrics.pop("timing", {})
    if not isinstance(timing, Mapping):
        raise TypeError(f"Metric `timing` must be a dict, but is a {_name(timing)}.")
    taken = sorted({*metrics, *timing} & set(task.spec) | set(metrics) & set(timing))
    if taken:
        raise ValueError(
            f"Metric `{taken[0]}` must have a name of its own, but the spec or the timing has it too."
        )
    return _plain_mapping(metrics, ""), _plain_mapping(timing, "timing."), cost


def _plain_mapping(values: Mapping[object, object], prefix: str) -> dict[str, object]:
    for key in values:
        if type(key) is not str:
            raise TypeError(f"A metric must be named by a str, but one is named {key!r}.")
    return {str(key): _plain(value, f"{prefix}{key}") for key, value in values.items()}


def _plain(value: object, where: str) -> object:
    """JSON values only; numpy numbers and arrays become plain ones."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"Metric `{where}` must be finite, but is {value}. Use None for not measured.")
        return float(value)
    if isinstance(value, bool | int | str | None):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return _plain_mapping(value, f"{where}.")
    raise TypeError(
        f"Metric `{where}` must be a number, str, bool, None, list or dict, but is a {_name(value)}."
    )


def _name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
