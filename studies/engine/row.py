"""One line of results."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from classical.cost import Cost
from studies.engine.outcome import STATUSES, Failure, Outcome
from studies.engine.task import SCHEMA, Task

_ID = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One attempt at one task, as it stands in a shard: one line of JSON, the id first."""

    task: Task
    attempt: int
    outcome: Outcome

    def to_line(self) -> bytes:
        """The row as one line of ASCII JSON with a newline at its end."""
        outcome = self.outcome
        content = {
            "id": self.task.id,
            "status": outcome.status,
            "attempt": self.attempt,
            "schema": SCHEMA,
            "study": self.task.study,
            "version": self.task.version,
            "spec": self.task.spec,
            "metrics": outcome.metrics,
            "timing": outcome.timing,
            "cost": None if outcome.cost is None else outcome.cost.to_dict(),
            "error": None if outcome.failure is None else asdict(outcome.failure),
            "times": {
                "started": outcome.started,
                "wall_seconds": outcome.wall_seconds,
                "cpu_seconds": outcome.cpu_seconds,
            },
            "worker": outcome.worker,
        }
        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"

    @staticmethod
    def from_line(line: bytes) -> Row:
        """The row that a line holds.

        Raises:
            ValueError: when the line is no row, with the reason; above all when its id is not the one of its
                own spec, which is how rows of another program or edited rows show themselves.
        """
        try:
            content: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError("is not JSON") from error
        if not isinstance(content, dict) or not _ID.fullmatch(str(content.get("id"))):
            raise ValueError("is not a row of results")
        if content.get("schema") != SCHEMA:
            raise ValueError(f"has the schema {content.get('schema')!r}, not {SCHEMA}")
        try:
            row = _from_content(content)
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"is a damaged row ({type(error).__name__})") from error
        if row.task.id != content["id"]:
            raise ValueError("has an id that is not the one of its spec")
        return row


def _from_content(content: dict[str, Any]) -> Row:
    times, cost, error = content["times"], content["cost"], content["error"]
    if content["status"] not in STATUSES or not isinstance(content["attempt"], int):
        raise ValueError("status or attempt")
    if (error is None) != (content["status"] == "ok"):
        raise ValueError("error")
    if not isinstance(content["study"], str) or type(content["version"]) is not int:
        raise ValueError("study or version")
    if any(not isinstance(content[name], dict) for name in ("spec", "metrics", "timing")):
        raise ValueError("spec, metrics or timing")
    outcome = Outcome(
        status=content["status"],
        metrics=content["metrics"],
        timing=content["timing"],
        cost=None if cost is None else Cost(**cost),
        failure=None if error is None else Failure(**{name: str(text) for name, text in error.items()}),
        started=str(times["started"]),
        wall_seconds=_seconds(times["wall_seconds"]),
        cpu_seconds=_seconds(times["cpu_seconds"]),
        worker=str(content["worker"]),
    )
    task = Task(study=content["study"], version=content["version"], spec=content["spec"])
    return Row(task=task, attempt=content["attempt"], outcome=outcome)


def _seconds(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise ValueError("times")
