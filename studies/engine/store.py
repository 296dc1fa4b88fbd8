"""The results of a study on disk: shards of rows that are only ever appended to."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from studies.engine.errors import StoreWriteFailed
from studies.engine.folder import Folder, free_space
from studies.engine.lock import FolderLock, try_lock
from studies.engine.row import Row


class Store:
    """The one writer of a results folder, to be used in a `with` statement.

    On entering it takes the lock of the folder and sets torn ends of shards aside. The shard of this process
    is made at the first row: one shard a process, one row a line, each on the disk before `append` returns.

    Args:
        folder: where the results lie.
        part: "k/N" when this process does one part of the study beside others.
        heading: what to say about the run in the first line of the shard (commit, versions, computer).
    """

    def __init__(
        self, folder: Folder, part: str | None = None, heading: Mapping[str, object] | None = None
    ) -> None:
        self.folder = folder
        self.repaired: list[str] = []
        self._lock = FolderLock(folder.path, part)
        self._heading = dict(heading or {})
        self._file = -1
        self._good_bytes = 0
        self._path = folder.rows / _shard_name()

    def __enter__(self) -> Store:
        self._lock.__enter__()
        try:
            for shard in self.folder.shards():
                self.repaired += set_torn_end_aside(shard)
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._lock.__exit__(kind, error, trace)

    def append(self, row: Row) -> None:
        """Puts a row on the disk.

        Raises:
            StoreWriteFailed: when the disk is full or gone. The rows before it stay good.
        """
        if self._file < 0:
            self._create()
        self._write(row.to_line())

    def _create(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
            # Keeps a neighbour that does another part from taking a half-written row for a torn one.
            try_lock(self._file)
            _sync_folder(self._path.parent)
        except OSError as error:
            raise StoreWriteFailed(f"Could not write {self._path}: {error.strerror}.") from error
        self._write(json.dumps({"run": self._heading}, separators=(",", ":")).encode("ascii") + b"\n")

    def _write(self, line: bytes) -> None:
        try:
            written = 0
            while written < len(line):  # a nearly full disk takes a part of a line before it says no
                written += os.write(self._file, line[written:])
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._good_bytes)
            raise StoreWriteFailed(
                f"Could not write a row to {self._path}: {error.strerror}, {free_space(self._path)}. "
                "All earlier rows are kept; make room and run again."
            ) from error
        self._good_bytes += len(line)


def set_torn_end_aside(shard: Path) -> list[str]:
    """What was cut from the end of a shard, in words; nothing when it was whole or its writer lives.

    A line is torn when its process or computer died while it was written: it has no newline, or is no JSON.
    It goes to the end of `<shard>.torn`, which nothing here ever deletes.
    """
    try:
        with shard.open("r+b") as file:
            if not try_lock(file.fileno()):
                return []
            content = file.read()
            good_bytes = _end_of_last_whole_line(content)
            if good_bytes == len(content):
                return []
            with shard.with_name(shard.name + ".torn").open("ab") as aside:
                aside.write(content[good_bytes:] + b"\n")
                aside.flush()
                os.fsync(aside.fileno())
            os.ftruncate(file.fileno(), good_bytes)
            os.fsync(file.fileno())
    except OSError as error:
        raise StoreWriteFailed(f"Could not mend {shard}: {error.strerror}, {free_space(shard)}.") from error
    return [f"{shard.name}: {len(content) - good_bytes} bytes of an unfinished row set aside"]


def _end_of_last_whole_line(content: bytes) -> int:
    end = content.rfind(b"\n") + 1
    if end < len(content) or end == 0:
        return end
    start = content.rfind(b"\n", 0, end - 1) + 1
    try:
        json.loads(content[start:end])
    except (ValueError, RecursionError):
        return start
    return end


def _shard_name() -> str:
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname()) or "host"
    return f"{host[:48]}-{os.getpid()}-{time.time_ns()}.jsonl"


def _sync_folder(path: Path) -> None:
    """Puts the name of a new file on the disk too."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
