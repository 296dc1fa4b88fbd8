from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from studies.engine import Task
from studies.engine.outcome import Failure, Outcome
from studies.engine.progress import Progress, duration_in_words
from tests.studies.conftest import ROOT


def some_tasks(*sizes: int) -> list[Task]:
    return [Task(study="s", version=1, spec={"size": size}) for size in sizes]


def test_time_left_is_by_weight_and_not_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("studies.engine.progress.time.monotonic", lambda: clock[0])
    tasks = some_tasks(1, 1, 8)
    with Progress(tasks, 5, lambda task: float(str(task.spec["size"]))) as progress:
        assert progress.seconds_left() is None
        for task in tasks[:2]:
            clock[0] += 3.0
            progress.advance(task, Outcome(status="ok"))
        assert progress.seconds_left() == pytest.approx(24.0)
        clock[0] += 24.0
        progress.advance(tasks[2], Outcome(status="ok"))
        assert progress.seconds_left() == 0.0


def test_plain_lines_come_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr("studies.engine.progress.time.monotonic", lambda: clock[0])
    failed = Outcome(status="error", failure=Failure(type="ValueError", message=""))
    tasks = some_tasks(*range(10))
    with Progress(tasks, 2) as progress:
        for task in tasks:
            clock[0] += 2.0
            progress.advance(task, failed)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "5/12 tasks, about 14 s left, 3 failed",
        "8/12 tasks, about 8 s left, 6 failed",
        "11/12 tasks, about 2 s left, 9 failed",
    ]


def test_terminal_shows_a_bar(tmp_path: Path) -> None:
    mine, theirs = pty.openpty()
    line = [
        sys.executable,
        "-m",
        "studies",
        "run",
        "tests.studies.toy",
        "--workers",
        "0",
        "--results",
        str(tmp_path),
    ]
    done = subprocess.run(line, cwd=ROOT, stderr=theirs, stdout=subprocess.PIPE, timeout=60)
    os.close(theirs)
    shown = os.read(mine, 100_000).decode()
    os.close(mine)
    assert done.returncode == 0 and "12/12" in shown and "about 0 s left" in shown


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "0 s"), (89, "89 s"), (90, "2 min"), (600, "10 min"), (9000, "2.5 h")]
)
def test_durations_are_readable(seconds: float, words: str) -> None:
    assert duration_in_words(seconds) == words
