"""Locks of the kernel: they die with their process, so none can be stale."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from studies.engine.errors import StoreLocked, StoreWriteFailed


class FolderLock:
    """Keeps a second run away from the results of a study while one writes.

    A whole run holds the lock alone. The runs of the parts k/N of a study share it, and each holds a lock of
    its own part besides, so that the parts may run side by side and no part runs twice.
    """

    def __init__(self, folder: Path, part: str | None = None) -> None:
        self._folder = folder
        self._part = part
        self._files: list[int] = []

    def __enter__(self) -> FolderLock:
        try:
            self._take(self._folder / ".lock", alone=self._part is None)
            if self._part is not None:
                self._take(self._folder / f".lock-{self._part.replace('/', '-of-')}", alone=True)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._files:
            os.close(self._files.pop())

    def _take(self, path: Path, alone: bool) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise StoreWriteFailed(f"Could not write {path}: {error.strerror}.") from error
        self._files.append(file)
        if not try_lock(file, alone=alone):
            raise StoreLocked(
                f"The results in {self._folder} are being written by {_holder(file)}. "
                "Wait for it to end, or use another --results folder."
            )
        if alone or os.fstat(file).st_size == 0:
            os.ftruncate(file, 0)
            os.pwrite(file, str(os.getpid()).encode(), 0)


def try_lock(file: int, alone: bool = True) -> bool:
    """Whether the lock of an open file could be taken at once."""
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(file: int) -> str:
    process = os.pread(file, 32, 0).decode("ascii", errors="replace").strip()
    return f"process {process}" if process.isdigit() else "another process"
