"""Jobs and sessions in files: whatever the service has replied to survives its end."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

State = Literal["QUEUED", "RUNNING", "DONE", "ERROR", "CANCELLED"]
PENDING: tuple[State, ...] = ("QUEUED", "RUNNING")


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class StoredJob:
    """What is known of a job, but for its parameters and its result."""

    id: str
    number: int
    backend: str
    program: str
    tags: tuple[str, ...]
    executions: int
    estimated_seconds: float
    """QPU time of the whole job, computed from its circuits."""
    created: datetime
    state: State = "QUEUED"
    billed_seconds: float = 0.0
    started: datetime | None = None
    finished: datetime | None = None
    session_id: str | None = None
    most_seconds: float | None = None
    """The client's `max_execution_time`."""
    private: bool = False
    reason: str = ""
    reason_code: int | None = None
    deleted: bool = False

    @property
    def pending(self) -> bool:
        return self.state in PENDING

    @property
    def is_mock(self) -> bool:
        """Whether it is a dry run, which costs nothing."""
        return self.backend.startswith("mock_")


_DATES = ("created", "started", "finished")


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old text or the new one, never a part."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


class Store:
    """The jobs and sessions of one folder. One service at a time may hold it."""

    def __init__(self, folder: Path) -> None:
        self._jobs_folder = folder / "jobs"
        self._sessions_folder = folder / "sessions"
        self._jobs_folder.mkdir(parents=True, exist_ok=True)
        self._sessions_folder.mkdir(exist_ok=True)
        self.changed = threading.Condition()
        """Held while anything is changed; told when a job is added or ends."""
        self._jobs: dict[str, StoredJob] = {}
        self._sessions: dict[str, dict[str, Any]] = {}
        self._load()

    # Jobs

    def add(self, params: Any, **values: Any) -> StoredJob:
        """Store a new job and its parameters."""
        with self.changed:
            number = 1 + max((job.number for job in self._jobs.values()), default=0)
            job = StoredJob(id=f"loopback{number:06d}", number=number, created=now(), **values)
            write_whole(self._file(job, "params"), json.dumps(params))
            self._save(job)
            self.changed.notify_all()
            return job

    def update(self, job_id: str, **values: Any) -> StoredJob:
        with self.changed:
            job = replace(self._jobs[job_id], **values)
            self._save(job)
            self.changed.notify_all()
            return job

    def finish(self, job_id: str, state: State, *, result: str | None = None, **values: Any) -> None:
        """End a pending job; a job that has ended already, as a cancelled one, stays as it is."""
        with self.changed:
            job = self._jobs[job_id]
            if not job.pending:
                return
            if result is not None:
                write_whole(self._file(job, "result"), result)
            self.update(job_id, state=state, finished=now(), **values)

    def delete(self, job_id: str) -> None:
        """Forget a job. Its number is not used again."""
        with self.changed:
            job = self.update(job_id, deleted=True, tags=())
            for part in ("params", "result"):
                self._file(job, part).unlink(missing_ok=True)

    def job(self, job_id: str) -> StoredJob | None:
        with self.changed:
            job = self._jobs.get(job_id)
            return None if job is None or job.deleted else job

    def jobs(self) -> list[StoredJob]:
        """All jobs, the oldest first."""
        with self.changed:
            return sorted((job for job in self._jobs.values() if not job.deleted), key=lambda job: job.number)

    def params(self, job: StoredJob) -> Any:
        return json.loads(self._file(job, "params").read_text())

    def result(self, job: StoredJob) -> str | None:
        path = self._file(job, "result")
        return path.read_text() if path.exists() else None

    def drop_result(self, job: StoredJob) -> None:
        self._file(job, "result").unlink(missing_ok=True)

    # Sessions

    def put_session(self, session: dict[str, Any]) -> None:
        with self.changed:
            self._sessions[session["id"]] = session
            write_whole(self._sessions_folder / f"{session['id']}.json", json.dumps(session))

    def session(self, session_id: str) -> dict[str, Any] | None:
        with self.changed:
            found = self._sessions.get(session_id)
            return None if found is None else dict(found)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Look and act in one step."""
        with self.changed:
            yield

    # Files

    def _file(self, job: StoredJob, part: str) -> Path:
        return self._jobs_folder / f"{job.id}.{part}.json"

    def _save(self, job: StoredJob) -> None:
        record = asdict(job)
        for name in _DATES:
            record[name] = None if record[name] is None else record[name].isoformat()
        write_whole(self._file(job, "job"), json.dumps(record, indent=1))
        self._jobs[job.id] = job

    def _load(self) -> None:
        for path in sorted(self._jobs_folder.glob("*.job.json")):
            record = json.loads(path.read_text())
            for name in _DATES:
                record[name] = None if record[name] is None else datetime.fromisoformat(record[name])
            job = StoredJob(**{**record, "tags": tuple(record["tags"])})
            if job.state == "RUNNING":
                # It ran when the service ended; it runs again and gives the same result.
                job = replace(job, state="QUEUED", started=None)
            self._jobs[job.id] = job
        for path in self._sessions_folder.glob("*.json"):
            session = json.loads(path.read_text())
            self._sessions[session["id"]] = session
