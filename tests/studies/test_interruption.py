"""Runs that are killed, interrupted or out of space, from outside, as it happens to users."""

from __future__ import annotations

import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from studies.engine.attempt import attempt
from studies.engine.folder import Folder
from studies.engine.reading import scan
from tests.studies import toy
from tests.studies.conftest import ROOT

Command = Callable[..., subprocess.CompletedProcess[str]]


def start(root: Path, preset: str, **options: object) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "studies", "run", "tests.studies.toy", "--preset", preset, "--workers", "2"]
    return subprocess.Popen(  # pyright: ignore[reportCallIssue]
        [*line, "--results", str(root)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,  # pyright: ignore[reportArgumentType]
    )  # fmt: skip


def good_metrics(root: Path) -> dict[str, object]:
    return {id: row.outcome.metrics for id, row in scan(Folder.of(root, "toy")).first_ok().items()}


def wait_for_rows(root: Path, count: int) -> None:
    deadline = time.monotonic() + 20
    while len(good_metrics(root)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def reference(preset: str) -> dict[str, object]:
    return {task.id: attempt(toy.run, task).metrics for task in toy.STUDY.tasks_of(preset)}


@pytest.mark.slow
def test_twenty_kills_lose_nothing(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(20_26)
    children: list[psutil.Process] = []
    stored = 0
    for number in range(20):
        driver = start(tmp_path / "results", "kill")
        if number % 2:  # in the midst of the work; else at any moment of starting up
            wait_for_rows(tmp_path / "results", stored + 1)
        time.sleep(chance.uniform(0.0, 0.2 if number % 2 else 0.6))
        children += psutil.Process(driver.pid).children(recursive=True)
        driver.kill()
        assert driver.wait() == -signal.SIGKILL
        assert driver.stdout is not None and driver.stderr is not None
        driver.stdout.close()
        driver.stderr.close()
        now = len(good_metrics(tmp_path / "results"))
        assert now >= stored
        stored = now
    assert 10 <= stored < 400
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive
    ended = command("run", "tests.studies.toy", "--preset", "kill", "--workers", "2")
    assert ended.returncode == 0, ended.stderr
    monkeypatch.setattr(toy.time, "sleep", lambda seconds: None)
    found = scan(Folder.of(tmp_path / "results", "toy"))
    assert good_metrics(tmp_path / "results") == reference("kill")
    assert found.conflicts() == [] and found.foreign == []
    assert len(found.rows) <= 400 + 20 * 4  # what was in flight at a kill is all that is done twice


def test_interrupt_ends_soon_and_says_how_to_go_on(tmp_path: Path, command: Command) -> None:
    driver = start(tmp_path / "results", "slow", start_new_session=True)
    wait_for_rows(tmp_path / "results", 2)
    os.killpg(driver.pid, signal.SIGINT)  # a terminal tells the workers too
    begun = time.monotonic()
    output, errors = driver.communicate(timeout=10)
    assert time.monotonic() - begun < 5.0
    assert driver.returncode == 130 and errors == ""
    assert re.search(r"Stopped at \d+ of 12 tasks\. The same command again goes on\.", output)
    ended = command("run", "tests.studies.toy", "--preset", "slow")
    assert ended.returncode == 0 and re.search(r"\d+ tasks to do, [2-9] done before", ended.stdout)
    assert good_metrics(tmp_path / "results") == reference_without_sleep("slow")


def reference_without_sleep(preset: str) -> dict[str, object]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy.time, "sleep", lambda seconds: None)
        return reference(preset)


def test_termination_is_heard_like_an_interrupt(tmp_path: Path) -> None:
    driver = start(tmp_path / "results", "slow")
    wait_for_rows(tmp_path / "results", 1)
    driver.terminate()
    _, errors = driver.communicate(timeout=10)
    assert driver.returncode == 143 and errors == ""


def test_second_run_is_refused_while_the_first_one_writes(tmp_path: Path, command: Command) -> None:
    driver = start(tmp_path / "results", "slow")
    wait_for_rows(tmp_path / "results", 1)
    refused = command("run", "tests.studies.toy")
    assert refused.returncode == 75
    assert (
        f"are being written by process {driver.pid}." in refused.stderr and "Traceback" not in refused.stderr
    )
    driver.kill()
    driver.communicate()
    assert command("run", "tests.studies.toy").returncode == 0


def test_full_disk_stops_with_a_sentence_and_the_run_goes_on_later(tmp_path: Path, command: Command) -> None:
    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))

    driver = start(tmp_path / "results", "quick", preexec_fn=small_disk)
    _, errors = driver.communicate(timeout=30)
    assert driver.returncode == 74
    assert re.search(r"Could not write a row to .*jsonl: File too large, \d+ bytes free\.", errors)
    assert "Traceback" not in errors and len(errors.splitlines()) == 1
    stored = good_metrics(tmp_path / "results")
    assert 0 < len(stored) < 12
    ended = command("run", "tests.studies.toy")
    assert ended.returncode == 0 and f"{len(stored)} done before" in ended.stdout and ended.stderr == ""
    assert good_metrics(tmp_path / "results") == reference("quick")


def test_report_is_the_same_after_an_interruption(tmp_path: Path, command: Command) -> None:
    driver = start(tmp_path / "results", "slow")
    wait_for_rows(tmp_path / "results", 3)
    driver.kill()
    driver.communicate()
    assert command("run", "tests.studies.toy", "--preset", "slow").returncode == 0
    assert command("run", "tests.studies.toy", "--preset", "slow", results=tmp_path / "whole").returncode == 0
    one, two = ((tmp_path / name / "toy" / "report.html").read_text() for name in ("results", "whole"))
    assert one.partition("<h2>What it cost")[0] == two.partition("<h2>What it cost")[0]
    for ending in ("svg", "pdf", "csv"):
        file = f"toy/figures/averages.{ending}"
        assert (tmp_path / "results" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
