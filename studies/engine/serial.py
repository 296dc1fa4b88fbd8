"""The engine without workers, for looking into a study with a debugger."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from studies.engine.attempt import Run, attempt
from studies.engine.outcome import Outcome
from studies.engine.protocol import Stop
from studies.engine.task import Task


class Serial:
    """Runs the tasks one after the other in this process.

    There is nobody to end a task that hangs: no time limit holds, and a stop waits for the running task.
    """

    attempts = 1

    def map_unordered(
        self, run: Run, tasks: Iterable[Task], *, time_limit_seconds: float, stop: Stop
    ) -> Generator[tuple[Task, Outcome]]:
        for task in tasks:
            if stop():
                return
            yield task, attempt(run, task)
