"""Everything that may stop a study, each with its own name and exit status."""

from __future__ import annotations

from typing import ClassVar


class StudyError(Exception):
    """A reason to stop that is told to the user in one sentence, without a traceback."""

    exit_status: ClassVar[int] = 1


class BadRequest(StudyError):
    """The command line asks for something that does not exist."""

    exit_status = 2


class StoreLocked(StudyError):
    """Another process is writing to the same results."""

    exit_status = 75


class StoreRefused(StudyError):
    """The place of the results is not a plain folder inside the results root."""

    exit_status = 2


class StoreWriteFailed(StudyError):
    """A row or a file could not be written: full disk, quota, read-only folder."""

    exit_status = 74


class RowConflict(StudyError):
    """One task has two good rows with different metrics."""


class SchedulerUnreachable(StudyError):
    """The Dask scheduler does not answer, or Dask is not installed."""

    exit_status = 69


class WorkersBroken(StudyError):
    """The worker processes die before they can do anything."""

    exit_status = 70


class SkipTask(Exception):
    """Raised by the `run` function of a study for a task that cannot be done here, with the reason.

    The task gets a row with the status "skipped", is not counted as failed, and is tried again by the next
    run.
    """
