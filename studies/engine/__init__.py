"""The engine that runs studies: tasks with ids, rows that survive, workers, reports."""

from studies.engine.command_line import main
from studies.engine.errors import RowConflict, SkipTask, StoreLocked, StoreWriteFailed, StudyError
from studies.engine.outcome import Outcome
from studies.engine.reading import read_rows
from studies.engine.study import Study
from studies.engine.task import Task

__all__ = [
    "Outcome",
    "RowConflict",
    "SkipTask",
    "StoreLocked",
    "StoreWriteFailed",
    "Study",
    "StudyError",
    "Task",
    "main",
    "read_rows",
]
