"""Takes the tasks of a study through an engine into the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field

from studies.engine.progress import Progress
from studies.engine.protocol import Engine, Stop
from studies.engine.reading import Scan
from studies.engine.row import Row
from studies.engine.store import Store
from studies.engine.study import Study
from studies.engine.task import Task


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run did."""

    total: int
    """Tasks asked for."""
    done_before: int
    """Tasks that had a good row already."""
    statuses: Counter[str] = field(default_factory=Counter)
    """How many of the other tasks ended in which status, each counted once."""
    first_failure: str = ""
    """The first message of a task that failed, with its spec."""
    first_skip: str = ""
    """The reason of the first task that was skipped."""

    @property
    def done(self) -> int:
        return self.done_before + self.statuses["ok"]

    @property
    def failed(self) -> int:
        return sum(count for status, count in self.statuses.items() if status not in ("ok", "skipped"))

    @property
    def left(self) -> int:
        """Tasks that were not tried, because the run was stopped."""
        return self.total - self.done_before - self.statuses.total()


def run_tasks(
    study: Study,
    tasks: Sequence[Task],
    *,
    store: Store,
    found: Scan,
    engine: Engine,
    progress: Progress,
    stop: Stop,
) -> Summary:
    """Runs the tasks that have no good row yet, in the order given, and stores one row an attempt.

    A lost task is tried again, after the others, as often as its engine allows; an error is not, since the
    same task would give the same error.

    Raises:
        StoreWriteFailed: at the first row that cannot be stored; no further task is begun.
    """
    done = found.first_ok()
    attempts = found.attempts()
    pending = [task for task in tasks if task.id not in done]
    statuses: dict[str, str] = {}
    first_failure = first_skip = ""
    for round_number in range(1, engine.attempts + 1):
        lost: list[Task] = []
        outcomes = engine.map_unordered(
            study.run, pending, time_limit_seconds=study.time_limit_seconds, stop=stop
        )
        with closing(outcomes):  # ends the workers at once when a row cannot be stored
            for task, outcome in outcomes:
                attempts[task.id] = attempts.get(task.id, 0) + 1
                store.append(Row(task=task, attempt=attempts[task.id], outcome=outcome))
                if outcome.status == "lost" and round_number < engine.attempts:
                    lost.append(task)
                    continue
                statuses[task.id] = outcome.status
                if outcome.failure is not None and outcome.status == "skipped":
                    first_skip = first_skip or outcome.failure.message
                elif outcome.failure is not None:
                    first_failure = first_failure or f"{outcome.failure} (task {dict(task.spec)})"
                progress.advance(task, outcome)
        pending = lost
        if not pending or stop():
            break
    return Summary(
        total=len(tasks),
        done_before=sum(task.id in done for task in tasks),
        statuses=Counter(statuses.values()),
        first_failure=first_failure,
        first_skip=first_skip,
    )
