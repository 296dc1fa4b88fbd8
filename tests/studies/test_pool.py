from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from studies.engine import Outcome, Task
from studies.engine.errors import WorkersBroken
from studies.engine.folder import Folder
from studies.engine.pool import Pool
from studies.engine.progress import Progress
from studies.engine.protocol import Engine
from studies.engine.reading import scan
from studies.engine.runner import Summary, run_tasks
from studies.engine.serial import Serial
from studies.engine.store import Store
from tests.studies import toy


def never() -> bool:
    return False


def run_toy(root: Path, params: toy.Params, engine: Engine, time_limit_seconds: float = 30.0) -> Summary:
    study = replace(toy.STUDY, presets={"quick": params}, time_limit_seconds=time_limit_seconds)
    folder = Folder.of(root, "toy")
    tasks = study.tasks_of("quick")
    with Store(folder) as store, Progress(tasks, 0, study.duration) as progress:
        return run_tasks(
            study, tasks, store=store, found=scan(folder), engine=engine, progress=progress, stop=never
        )


def averages(root: Path) -> dict[str, object]:
    return {id: row.outcome.metrics for id, row in scan(Folder.of(root, "toy")).first_ok().items()}


def statuses(root: Path) -> Counter[str]:
    return Counter(row.outcome.status for row in scan(Folder.of(root, "toy")).rows)


def test_workers_and_order_do_not_change_the_numbers(tmp_path: Path) -> None:
    run_toy(tmp_path / "one", toy.Params(), Serial())
    run_toy(tmp_path / "two", toy.Params(), Pool(2))
    run_toy(tmp_path / "back", toy.Params(sizes=(64, 16, 4)), Pool(2))
    assert len(averages(tmp_path / "one")) == 12
    assert averages(tmp_path / "one") == averages(tmp_path / "two") == averages(tmp_path / "back")


def test_second_run_does_nothing(tmp_path: Path) -> None:
    run_toy(tmp_path, toy.Params(), Serial())
    summary = run_toy(tmp_path, toy.Params(), Serial())
    assert (summary.done_before, summary.statuses.total(), statuses(tmp_path)["ok"]) == (12, 0, 12)


def test_task_whose_worker_died_is_tried_again(tmp_path: Path) -> None:
    params = toy.Params(deed="die once", flag=str(tmp_path / "flag"))
    summary = run_toy(tmp_path, params, Pool(2))
    assert (summary.done, summary.failed) == (12, 0)
    assert statuses(tmp_path) == {"ok": 12, "lost": 1}


def test_poison_task_is_given_up_after_three_attempts_and_harms_no_other(tmp_path: Path) -> None:
    summary = run_toy(tmp_path, toy.Params(deed="die"), Pool(2))
    assert (summary.done, summary.statuses["lost"]) == (11, 1)
    assert "the worker died with exit status -9" in summary.first_failure
    rows = [row for row in scan(Folder.of(tmp_path, "toy")).rows if row.outcome.status == "lost"]
    assert [row.attempt for row in sorted(rows, key=lambda row: row.attempt)] == [1, 2, 3]


def test_task_that_hangs_is_ended_at_its_limit(tmp_path: Path) -> None:
    start = time.monotonic()
    summary = run_toy(tmp_path, toy.Params(deed="hang"), Pool(2), time_limit_seconds=1.0)
    assert time.monotonic() - start < 6.0
    assert (summary.done, summary.statuses["timeout"]) == (11, 1)
    assert "TimeLimit: ran longer than 1 seconds" in summary.first_failure


def test_error_and_skip_are_stored_and_not_repeated(tmp_path: Path) -> None:
    summary = run_toy(tmp_path / "raise", toy.Params(deed="raise"), Pool(2))
    assert (summary.done, summary.failed) == (11, 1) and statuses(tmp_path / "raise")["error"] == 1
    assert summary.first_failure.startswith("RuntimeError: <script>")
    summary = run_toy(tmp_path / "skip", toy.Params(deed="skip"), Serial())
    assert (summary.done, summary.failed, summary.statuses["skipped"]) == (11, 0, 1)


def nap(task: Task) -> Mapping[str, object]:
    time.sleep(0.1)
    return {"threads": os.environ["OMP_NUM_THREADS"]}


def never_return(task: Task) -> Mapping[str, object]:
    os.kill(os.getpid(), signal.SIGSTOP)
    return {}


def leave(task: Task) -> Mapping[str, object]:
    raise SystemExit(3)


def some_tasks(count: int) -> list[Task]:
    return [Task(study="s", version=1, spec={"number": number}) for number in range(count)]


def outcomes(run: object, count: int, engine: Pool, limit: float = 30.0) -> dict[object, Outcome]:
    found = engine.map_unordered(run, some_tasks(count), time_limit_seconds=limit, stop=never)  # pyright: ignore
    return {task.spec["number"]: outcome for task, outcome in found}


def test_killed_workers_are_replaced_and_harm_only_their_own_task() -> None:
    done = threading.Event()

    def kill_workers() -> None:
        while not done.wait(0.7):
            workers = [
                child for child in multiprocessing.active_children() if child.name == "pebble_pool_worker"
            ]
            if workers:
                workers[0].kill()

    killer = threading.Thread(target=kill_workers)
    killer.start()
    try:
        found = outcomes(nap, 40, Pool(2))
    finally:
        done.set()
        killer.join()
    assert len(found) == 40
    lost = sum(outcome.status == "lost" for outcome in found.values())
    assert {outcome.status for outcome in found.values()} <= {"ok", "lost"} and 1 <= lost <= 8


def test_workers_have_one_thread_and_the_environment_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    found = outcomes(nap, 1, Pool(1))
    assert found[0].metrics == {"threads": "1"}
    assert os.environ["OMP_NUM_THREADS"] == "7" and "MKL_NUM_THREADS" not in os.environ


def test_stalled_pool_is_given_up() -> None:
    # A stopped process dies neither by itself nor by a signal to end; the limit alone would free it too.
    engine = Pool(1, stall_seconds=-28.0)
    found = outcomes(never_return, 1, engine, limit=30.0)
    assert found[0].status == "lost" and "stalled" in str(found[0].failure)


def test_exit_within_a_task_is_an_error_of_that_task() -> None:
    found = outcomes(leave, 2, Pool(1))
    assert [outcome.status for outcome in found.values()] == ["error", "error"]


def test_no_more_tasks_are_taken_than_there_is_room_for() -> None:
    taken = 0

    def tasks():
        nonlocal taken
        for task in some_tasks(50):
            taken += 1
            yield task

    results = Pool(2).map_unordered(nap, tasks(), time_limit_seconds=30.0, stop=never)
    next(results)
    assert taken <= 8
    results.close()


def test_closing_leaves_no_process() -> None:
    results = Pool(2).map_unordered(nap, some_tasks(50), time_limit_seconds=30.0, stop=never)
    next(results)
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 2.0
    names = [process.name() for process in psutil.Process().children(recursive=True)]
    assert not multiprocessing.active_children(), names


def test_closing_does_not_wait_for_workers_that_do_not_hear() -> None:
    results = Pool(2).map_unordered(stop_second, some_tasks(3), time_limit_seconds=30.0, stop=never)
    next(results)
    time.sleep(0.3)
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 2.0


def stop_second(task: Task) -> Mapping[str, object]:
    return never_return(task) if task.spec["number"] else {}


def kill_young_workers(count: int, ended: threading.Event) -> None:
    """Kills workers as they appear, before they can take a task."""
    killed: set[int | None] = set()
    while len(killed) < count and not ended.is_set():
        for child in multiprocessing.active_children():
            if child.name == "pebble_pool_worker" and child.pid not in killed:
                child.kill()
                killed.add(child.pid)
        time.sleep(0.005)


@pytest.mark.parametrize("count", [2, 10_000])
def test_workers_that_die_at_birth_are_replaced_a_few_times(count: int) -> None:
    ended = threading.Event()
    killer = threading.Thread(target=kill_young_workers, args=(count, ended))
    killer.start()
    try:
        if count == 2:
            found = outcomes(nap, 6, Pool(2))
            assert [found[number].status for number in range(6)] == ["ok"] * 6
        else:
            with pytest.raises(
                WorkersBroken, match="The workers died 3 times in a row before any task ended"
            ):
                outcomes(nap, 6, Pool(2))
    finally:
        ended.set()
        killer.join()


def test_number_of_workers_is_checked() -> None:
    with pytest.raises(ValueError, match="`workers` must be at least 1, but is 0"):
        Pool(0)
