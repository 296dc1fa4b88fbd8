"""Rows made by hand, for the tests of what reads and writes them."""

from __future__ import annotations

from pathlib import Path

from classical.cost import Cost
from studies.engine.folder import Folder
from studies.engine.outcome import Failure, Outcome, Status
from studies.engine.row import Row
from studies.engine.task import Task


def make_task(number: int = 0, version: int = 1) -> Task:
    return Task(study="toy", version=version, spec={"number": number})


def make_row(number: int = 0, average: float = 0.5, status: Status = "ok", second: int = 0) -> Row:
    failure = None if status == "ok" else Failure(type="ValueError", message="no luck")
    outcome = Outcome(
        status=status,
        metrics={"average": average} if status == "ok" else {},
        timing={"clock": 0.25 + second},
        cost=Cost(circuits=2, shots=10),
        failure=failure,
        started=f"2026-01-01T00:00:{second:02d}.000000+00:00",
        wall_seconds=0.5,
        cpu_seconds=0.25,
        worker="1",
    )
    return Row(task=make_task(number), attempt=1, outcome=outcome)


def make_folder(root: Path, shards: dict[str, bytes]) -> Folder:
    """A results folder of the toy study that holds these shards."""
    folder = Folder.of(root, "toy")
    folder.rows.mkdir(parents=True, exist_ok=True)
    for name, content in shards.items():
        (folder.rows / name).write_bytes(content)
    folder.write_settings({"study": "toy", "version": 1, "preset": "quick"})
    return folder
