from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from studies.engine import Task
from studies.engine.cluster import Cluster
from studies.engine.errors import SchedulerUnreachable
from tests.studies.conftest import ROOT


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scheduler with two workers, in processes of their own."""
    place = f"tcp://127.0.0.1:{free_port()}"
    port = place.rpartition(":")[2]
    folder = tmp_path_factory.mktemp("dask")
    log = (folder / "log").open("wb")
    commands = [
        ["dask", "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard", "--no-show"],
        ["dask", "worker", place, "--nworkers", "2", "--nthreads", "1", "--no-dashboard",
         "--local-directory", str(folder)],
    ]  # fmt: skip
    started = [
        subprocess.Popen([sys.executable, "-m", *line], cwd=ROOT, stdout=log, stderr=log) for line in commands
    ]
    while b"Registered" not in (folder / "log").read_bytes():
        assert started[0].poll() is None, (folder / "log").read_text()
        time.sleep(0.05)
    yield place
    for process in reversed(started):
        process.terminate()
        process.wait(timeout=10)
    log.close()


def deed(task: Task) -> Mapping[str, object]:
    deed = task.spec["deed"]
    if deed == "raise":
        raise ValueError("no luck")
    if deed == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if deed == "hang":
        time.sleep(3600)
    return {"draw": task.generator("draws").normal()}


def some_tasks(*deeds: str) -> list[Task]:
    return [
        Task(study="s", version=1, spec={"number": n, "deed": deed})
        for n, deed in enumerate((*deeds, *["work"] * 10))
    ]


def never() -> bool:
    return False


def statuses(address: str, tasks: list[Task], limit: float = 60.0) -> dict[str, str]:
    found = Cluster(address).map_unordered(deed, tasks, time_limit_seconds=limit, stop=never)
    return {str(task.spec["deed"]) + str(task.spec["number"]): outcome.status for task, outcome in found}


def test_tasks_run_on_the_workers_with_the_same_numbers(address: str) -> None:
    tasks = some_tasks("raise")
    found = dict(Cluster(address).map_unordered(deed, tasks, time_limit_seconds=60.0, stop=never))
    assert len(found) == 11
    assert str(found[tasks[0]].failure) == "ValueError: no luck"
    for task in tasks[1:]:
        assert found[task].metrics == deed(task)


def test_poison_task_is_lost_and_harms_no_other(address: str) -> None:
    found = statuses(address, some_tasks("die"))
    assert found.pop("die0") == "lost"
    assert set(found.values()) == {"ok"} and len(found) == 10


def test_task_that_hangs_is_ended_with_its_worker(address: str) -> None:
    found = statuses(address, some_tasks("hang", "hang"), limit=1.0)
    assert found.pop("hang0") == found.pop("hang1") == "timeout"
    assert set(found.values()) == {"ok"} and len(found) == 10


def test_stop_leaves_the_scheduler_usable(address: str) -> None:
    asked = iter([False] * 20 + [True] * 1000)
    found = Cluster(address).map_unordered(
        deed, some_tasks("work"), time_limit_seconds=60.0, stop=lambda: next(asked)
    )
    assert len(list(found)) <= 11
    assert len(statuses(address, some_tasks())) == 10


def test_scheduler_that_goes_away_is_named(tmp_path: Path) -> None:
    port = str(free_port())
    line = ["scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard", "--no-show"]
    worker = ["worker", f"tcp://127.0.0.1:{port}", "--nthreads", "1", "--no-dashboard", "--no-nanny"]
    log = (tmp_path / "log").open("wb")
    started = [
        subprocess.Popen([sys.executable, "-m", "dask", *words], cwd=ROOT, stdout=log, stderr=log)
        for words in (line, [*worker, "--local-directory", str(tmp_path)])
    ]
    try:
        found = Cluster(f"tcp://127.0.0.1:{port}", wait_seconds=4.0).map_unordered(
            deed, some_tasks("work", "work", "hang"), time_limit_seconds=60.0, stop=never
        )
        next(found)
        for process in started:
            process.kill()
            process.wait()
        with pytest.raises(SchedulerUnreachable, match="went away"):
            list(found)
    finally:
        for process in started:
            process.kill()
            process.wait()
        log.close()


def test_silent_scheduler_is_named() -> None:
    place = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(SchedulerUnreachable, match=f"The scheduler {place} must answer within 1 seconds"):
        list(
            Cluster(place, wait_seconds=1.0).map_unordered(
                deed, some_tasks(), time_limit_seconds=1.0, stop=never
            )
        )


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SchedulerUnreachable, match=r"pip install 'qtn-hybrid\[cluster\]'"):
        list(Cluster("tcp://h:1").map_unordered(deed, some_tasks(), time_limit_seconds=1.0, stop=never))


@pytest.mark.parametrize("place", ["", "host:1", "tcp://host", "http://host:1", "tcp://:1", "tcp://a/b:1"])
def test_address_is_checked(place: str) -> None:
    with pytest.raises(ValueError, match="`scheduler` must look like tcp://host:8786"):
        Cluster(place)


def test_study_runs_on_a_scheduler(address: str, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "studies", "run", "tests.studies.toy", "--scheduler", address]
    done = subprocess.run(
        [*line, "--results", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "12 tasks to do" in done.stdout and (tmp_path / "toy" / "report.html").exists()
