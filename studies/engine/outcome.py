"""What came of one attempt at a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from classical.cost import Cost

Status = Literal["ok", "error", "timeout", "lost", "skipped"]
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why an attempt gave no metrics: the type of the error, its message and the function it came from."""

    type: str
    message: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one attempt: metrics, or a failure, and what it took.

    `metrics` are the numbers that must come out the same every time; `timing` holds those that need not.
    """

    status: Status
    metrics: Mapping[str, object] = field(default_factory=dict)
    timing: Mapping[str, object] = field(default_factory=dict)
    cost: Cost | None = None
    failure: Failure | None = None
    started: str = ""
    """When the attempt began: UTC, ISO 8601. Empty when the worker never said."""
    wall_seconds: float | None = None
    cpu_seconds: float | None = None
    worker: str = ""

    def __post_init__(self) -> None:
        assert (self.failure is None) == (self.status == "ok"), self
