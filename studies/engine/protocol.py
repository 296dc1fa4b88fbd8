"""What runs tasks: one process, many, or many computers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Protocol

from studies.engine.attempt import Run
from studies.engine.outcome import Outcome
from studies.engine.task import Task

Stop = Callable[[], bool]
"""Asked every now and then: must the work end now?"""


class Engine(Protocol):
    """Runs a function on tasks and gives the outcomes as they come.

    An engine never raises for a task: what the function raises is an outcome "error", too long a run is
    "timeout", a worker that died is "lost". When `stop` says so, it takes no new task, ends the running
    ones and returns within five seconds. It takes tasks only as it has room for them.
    """

    attempts: int
    """How often a lost task is worth giving to this engine."""

    def map_unordered(
        self, run: Run, tasks: Iterable[Task], *, time_limit_seconds: float, stop: Stop
    ) -> Generator[tuple[Task, Outcome]]:
        """One outcome for each task, in the order of their ends."""
        ...
