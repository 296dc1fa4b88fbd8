"""How far a run is and how long it will take."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from studies.engine.outcome import Outcome
from studies.engine.task import Task

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_LINE_SECONDS = 5.0


class Progress:
    """A bar on a terminal, a plain line every five seconds elsewhere, on standard error.

    The time left is the time so far scaled by weight, where `weight` says how long a task takes beside the
    others.

    Args:
        tasks: what is to be done.
        done_before: how many more had been done already; they count for the bar, not for the time.
        weight: relative duration of a task; all alike when None.
    """

    def __init__(
        self, tasks: Sequence[Task], done_before: int, weight: Callable[[Task], float] | None = None
    ) -> None:
        self._weight = weight or (lambda task: 1.0)
        self._weight_total = sum(self._weight(task) for task in tasks)
        self._weight_done = 0.0
        self._total = len(tasks) + done_before
        self._done = done_before
        self._failed = 0
        self._start = self._last_line = time.monotonic()
        self._bar: Bar | None = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            self._bar = _terminal_bar()
            self._bar.add_task("tasks", total=self._total, completed=self._done, left="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, task: Task, outcome: Outcome) -> None:
        """Counts a task that will not be tried again in this run."""
        self._done += 1
        self._failed += outcome.status not in ("ok", "skipped")
        self._weight_done += self._weight(task)
        text = self._words()
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self._done, left=text)
        elif time.monotonic() - self._last_line >= _LINE_SECONDS:
            self._last_line = time.monotonic()
            print(f"{self._done}/{self._total} tasks, {text}", file=sys.stderr, flush=True)

    def seconds_left(self) -> float | None:
        """The estimate of the time left, or None before the first task has ended."""
        if self._weight_done <= 0:
            return None
        elapsed = time.monotonic() - self._start
        return elapsed * max(self._weight_total - self._weight_done, 0.0) / self._weight_done

    def _words(self) -> str:
        left = self.seconds_left()
        words = "time left unknown" if left is None else f"about {duration_in_words(left)} left"
        return f"{words}, {self._failed} failed" if self._failed else words


def duration_in_words(seconds: float) -> str:
    """A duration such as "12 s", "3 min" or "2.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _terminal_bar() -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
    return RichProgress(*columns, console=Console(stderr=True))
