"""The engine of one computer: a pool of processes that may be killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, TimeoutError, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from pebble import ProcessExpired, ProcessPool

from studies.engine.attempt import Run, attempt, describe
from studies.engine.errors import WorkersBroken
from studies.engine.outcome import Failure, Outcome
from studies.engine.protocol import Stop
from studies.engine.task import Task

_BREAKDOWNS = 3
_WORKER_NAME = "pebble_pool_worker"
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Pool:
    """Runs tasks in spawned processes with one thread each; a process that dies harms only its own task.

    Args:
        workers: how many processes.
        stall_seconds: a pool in which nothing has happened for this long beyond the time limit is given up
            and made anew. Unstarted tasks go to the new one, started ones are lost.
    """

    attempts = 3

    def __init__(self, workers: int, stall_seconds: float = 30.0) -> None:
        if workers < 1:
            raise ValueError(f"Argument `workers` must be at least 1, but is {workers}.")
        self._workers = workers
        self._stall_seconds = stall_seconds

    def map_unordered(
        self, run: Run, tasks: Iterable[Task], *, time_limit_seconds: float, stop: Stop
    ) -> Generator[tuple[Task, Outcome]]:
        waiting, again = iter(tasks), list[Task]()
        breakdowns = 0
        with _environment(_ONE_THREAD):
            while breakdowns < _BREAKDOWNS:
                pool = ProcessPool(max_workers=self._workers, context=multiprocessing.get_context("spawn"))
                flying: dict[Future[Outcome], Task] = {}
                broken, last_news = False, time.monotonic()
                try:
                    while not broken:
                        with _deaf_to_interrupts():
                            while len(flying) < 2 * self._workers:
                                task = again.pop() if again else next(waiting, None)
                                if task is None:
                                    break
                                future = pool.schedule(attempt, (run, task), timeout=time_limit_seconds)
                                flying[future] = task
                        if not flying or stop():
                            return
                        done, _ = wait(flying, timeout=0.2, return_when=FIRST_COMPLETED)
                        for future in done:
                            error = future.exception()
                            if isinstance(error, BrokenProcessPool | CancelledError):
                                broken = True
                                continue
                            last_news, breakdowns = time.monotonic(), 0
                            yield flying.pop(future), _outcome(future, error, time_limit_seconds)
                        stalled = time.monotonic() - last_news > time_limit_seconds + self._stall_seconds
                        broken = broken or stalled or not pool.active
                    # What ran in a stalled pool is guilty of it; what waited, or ran in a broken one, is not.
                    guilty = {future for future in flying if future.running()}
                finally:
                    _kill(pool)
                breakdowns += 1
                again += [task for future, task in flying.items() if future not in guilty]
                for future in guilty:
                    yield flying[future], _lost("the pool of workers stalled")
        raise WorkersBroken(
            f"The workers died {_BREAKDOWNS} times in a row before any task ended. "
            "Run with --workers 0 to see the error."
        )


def _outcome(future: Future[Outcome], error: BaseException | None, limit: float) -> Outcome:
    if error is None:
        return future.result()
    if isinstance(error, TimeoutError):
        return Outcome(
            status="timeout",
            wall_seconds=limit,
            failure=Failure(type="TimeLimit", message=f"ran longer than {limit:g} seconds"),
        )
    if isinstance(error, ProcessExpired):
        return _lost(f"the worker died with exit status {error.exitcode}")
    return Outcome(status="error", failure=describe(error))


def _lost(reason: str) -> Outcome:
    return Outcome(status="lost", failure=Failure(type="WorkerLost", message=reason))


def _kill(pool: ProcessPool) -> None:
    """Ends the pool at once, running tasks included; asking kindly takes seconds for each worker."""
    pool.stop()
    for process in multiprocessing.active_children():
        if process.name == _WORKER_NAME:
            process.kill()
    pool.join()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Holds Ctrl-C back, here for a moment; the pool's threads and workers, started in it, for good.

    A terminal sends Ctrl-C to all processes, and a worker has nothing to say about it: this process ends the pool.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables, which the workers inherit, for as long as the pool lives."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
