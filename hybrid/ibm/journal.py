"""The journal of paid jobs: what was intended, submitted and collected, safe against a kill at any moment."""

from __future__ import annotations

import io
import json
import sqlite3
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

State = Literal["intended", "submitted", "done", "failed", "cancelled"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    task TEXT NOT NULL, call INTEGER NOT NULL, part INTEGER NOT NULL,
    tag TEXT NOT NULL UNIQUE, backend TEXT NOT NULL, fingerprint TEXT NOT NULL, angles BLOB NOT NULL,
    shapes TEXT NOT NULL,
    state TEXT NOT NULL, intended REAL NOT NULL, attempted REAL, job_id TEXT, duplicates TEXT NOT NULL DEFAULT '[]',
    executions INTEGER NOT NULL, estimated_seconds REAL, estimated_dollars REAL, billed_seconds REAL,
    result BLOB, note TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (task, call, part));
CREATE TABLE IF NOT EXISTS submissions (at REAL NOT NULL);
"""
_ANGLES_TOLERANCE = 1e-9
_FIELDS = (
    "task, call, part, tag, backend, fingerprint, shapes, state, intended, attempted, job_id, duplicates, executions, "
    "estimated_seconds, estimated_dollars, billed_seconds, note"
)


class JournalUnwritable(RuntimeError):
    """The journal cannot be written, so nothing may be submitted."""


class JournalConflict(ValueError):
    """The journal holds another job under the same task and call."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the journal. Times are seconds since 1970.

    `intended`: when it was written down; `attempted`: when it was last sent, None where it never was.
    """

    task: str
    call: int
    part: int
    tag: str
    backend: str
    fingerprint: str
    shapes: tuple[tuple[int, int, int], ...]
    state: State
    intended: float
    attempted: float | None
    job_id: str | None
    duplicates: tuple[str, ...]
    executions: int
    estimated_seconds: float | None
    estimated_dollars: float | None
    billed_seconds: float | None
    note: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Intent:
    """A job that is about to be submitted: part `part` of call `call` of a task, and what is in it."""

    task: str
    call: int
    part: int
    backend: str
    fingerprint: str
    angles: np.ndarray
    shapes: tuple[tuple[int, int, int], ...]
    executions: int
    estimated_seconds: float | None
    estimated_dollars: float | None


class Journal:
    """A file of jobs, by task and call number; several processes may use it at once.

    Every change outlives a kill of the process. That a job is about to be sent is on disk, with all before it, when the
    call returns, so it outlives a power cut too; what comes after could be found again by the job's tag.

    Raises:
        JournalUnwritable: when the file cannot be opened or written.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self.path, timeout=30, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise JournalUnwritable(
                f"The journal {self.path} cannot be opened ({error}); nothing is submitted without one. "
                "Name another with `journal`."
            ) from error

    def close(self) -> None:
        self._connection.close()

    def claim(self, intent: Intent, tag: str) -> tuple[Entry, bool]:
        """Returns the entry of a job, and whether it is new; `tag` is for a new one.

        Raises:
            JournalConflict: when task and call stand for another job: other circuits, shots, device or angles.
        """
        fresh = self._write(
            "INSERT OR IGNORE INTO jobs (task, call, part, tag, backend, fingerprint, angles, shapes, state, intended, "
            "executions, estimated_seconds, estimated_dollars) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'intended', ?, ?, ?, ?)",
            (
                intent.task,
                intent.call,
                intent.part,
                tag,
                intent.backend,
                intent.fingerprint,
                zlib.compress(intent.angles.astype("<f8").tobytes()),
                json.dumps(intent.shapes),
                time.time(),
                intent.executions,
                intent.estimated_seconds,
                intent.estimated_dollars,
            ),
        )
        entry = self._entry(intent.task, intent.call, intent.part)
        if not fresh:
            self._verify(intent, entry)
        return entry, bool(fresh)

    def _verify(self, intent: Intent, entry: Entry) -> None:
        what = None
        if entry.backend != intent.backend:
            what = f"it was for the device {entry.backend}, this one is for {intent.backend}"
        elif entry.fingerprint != intent.fingerprint:
            what = "its circuits or shots are others"
        else:
            (packed,) = self._read("SELECT angles FROM jobs WHERE tag = ?", (entry.tag,))[0]
            before = np.frombuffer(zlib.decompress(packed), "<f8")
            off = (
                np.abs(before - intent.angles).max(initial=0.0)
                if before.shape == intent.angles.shape
                else np.inf
            )
            if off > _ANGLES_TOLERANCE:
                what = f"its angles differ by {off:.2g}"
        if what is not None:
            raise JournalConflict(
                f"Call {intent.call} of task {intent.task!r} stands in the journal {self.path} as another job: {what}. "
                "A rerun must ask for the same jobs in the same order; for other work choose another `task`."
            )

    def attempted(self, tag: str) -> None:
        """Notes that a job is about to be sent: from here on it may exist."""
        now = time.time()
        self._write("PRAGMA synchronous=FULL")
        self._write("BEGIN IMMEDIATE")
        self._write("UPDATE jobs SET attempted = ? WHERE tag = ?", (now, tag))
        self._write("INSERT INTO submissions VALUES (?)", (now,))
        self._write("COMMIT")
        self._write("PRAGMA synchronous=NORMAL")

    def submitted(self, tag: str, job_ids: Sequence[str]) -> None:
        """Notes the job of a tag; more than one id means that it was submitted twice."""
        self._write(
            "UPDATE jobs SET state = 'submitted', job_id = ?, duplicates = ? WHERE tag = ?",
            (job_ids[0], json.dumps(list(job_ids[1:])), tag),
        )

    def done(self, tag: str, bits: Sequence[np.ndarray], billed_seconds: float | None) -> None:
        """Keeps a job's result."""
        self._write(
            "UPDATE jobs SET state = 'done', result = ?, billed_seconds = ? WHERE tag = ?",
            (_packed(bits), billed_seconds, tag),
        )

    def billed(self, tag: str, seconds: float | None) -> None:
        """Notes what a job was charged."""
        self._write("UPDATE jobs SET billed_seconds = ? WHERE tag = ?", (seconds, tag))

    def ended(self, tag: str, state: State, note: str, billed_seconds: float | None = None) -> None:
        """Notes that a job failed or was cancelled."""
        self._write(
            "UPDATE jobs SET state = ?, note = ?, billed_seconds = ? WHERE tag = ?",
            (state, note, billed_seconds, tag),
        )

    def set_aside(self, tag: str) -> None:
        """Frees the call of a job that ended without a result; its entry and cost stay, under a call below 0."""
        self._write("UPDATE jobs SET call = -rowid WHERE tag = ?", (tag,))

    def result(self, tag: str) -> tuple[np.ndarray, ...]:
        """Bits that `done` kept."""
        (packed,) = self._read("SELECT result FROM jobs WHERE tag = ?", (tag,))[0]
        return _unpacked(packed)

    def entries(self, task: str | None = None) -> list[Entry]:
        """All entries, or those of a task, in the order in which they were intended."""
        where, values = ("", ()) if task is None else (" WHERE task = ?", (task,))
        found = self._read(f"SELECT {_FIELDS} FROM jobs{where} ORDER BY intended", values)
        return [_entry(row) for row in found]

    def submission_times(self, since: float) -> list[float]:
        """When jobs were sent, by any process, after `since`."""
        return [row[0] for row in self._read("SELECT at FROM submissions WHERE at > ? ORDER BY at", (since,))]

    def _entry(self, task: str, call: int, part: int) -> Entry:
        found = self._read(
            f"SELECT {_FIELDS} FROM jobs WHERE task = ? AND call = ? AND part = ?", (task, call, part)
        )
        return _entry(found[0])

    def _read(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement, values).fetchall()

    def _write(self, statement: str, values: Sequence[Any] = ()) -> int:
        try:
            return self._connection.execute(statement, values).rowcount
        except sqlite3.Error as error:
            raise JournalUnwritable(
                f"The journal {self.path} cannot be written ({error}); nothing more is submitted. Make room or mend "
                "the file, then run again: jobs that were submitted are collected."
            ) from error


def _entry(row: Sequence[Any]) -> Entry:
    names = [name.strip() for name in _FIELDS.split(",")]
    values = dict(zip(names, row, strict=True))
    values["duplicates"] = tuple(json.loads(values["duplicates"]))
    values["shapes"] = tuple(tuple(shape) for shape in json.loads(values["shapes"]))
    return Entry(**values)


def _packed(bits: Sequence[np.ndarray]) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, *bits)
    return stream.getvalue()


def _unpacked(packed: bytes) -> tuple[np.ndarray, ...]:
    with np.load(io.BytesIO(packed), allow_pickle=False) as loaded:
        return tuple(loaded[f"arr_{i}"] for i in range(len(loaded.files)))
