"""The engine of many computers: workers of a Dask scheduler."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Generator, Iterable
from typing import Any

from studies.engine.attempt import Run, attempt, describe
from studies.engine.errors import SchedulerUnreachable
from studies.engine.outcome import Failure, Outcome
from studies.engine.protocol import Stop
from studies.engine.task import Task

_RESTART_SECONDS = 10.0
_CLOSE_SECONDS = 2.0


class Cluster:
    """Runs tasks on the workers of a Dask scheduler that is already there.

    As many tasks are in flight as the workers have threads, so a task begins when it is handed over, which
    is what the time limit counts from. A task past its limit is ended by restarting its worker; the other
    tasks of that worker begin anew. The scheduler itself gives the tasks of a dead worker to another one, a
    few times. A stop leaves the running tasks to end by themselves, unheard.

    Args:
        address: such as "tcp://127.0.0.1:8786". The scheduler unpickles what it is sent: use one that you
            trust.
    """

    attempts = 1

    def __init__(self, address: str, wait_seconds: float = 10.0) -> None:
        parts = re.fullmatch(r"(?:tcp|tls)://\[?([^\[\]/]+?)\]?:(\d{1,5})", address)
        if parts is None:
            raise ValueError(f"Argument `scheduler` must look like tcp://host:8786, but is {address!r}.")
        self._wait_seconds = wait_seconds
        self._address, self._host, self._port = address, parts[1], int(parts[2])

    def map_unordered(
        self, run: Run, tasks: Iterable[Task], *, time_limit_seconds: float, stop: Stop
    ) -> Generator[tuple[Task, Outcome]]:
        client = self._connect()
        waiting = iter(tasks)
        flying: dict[Any, tuple[Task, float]] = {}
        try:
            room, looked = 0, float("-inf")
            while not stop():
                if time.monotonic() - looked > 1.0:  # workers may come and go
                    room, looked = max(1, sum(client.nthreads().values())), time.monotonic()
                while len(flying) < room and (task := next(waiting, None)) is not None:
                    future = client.submit(attempt, run, task, key=f"{task.id}-{time.time_ns()}", pure=False)
                    flying[future] = task, time.monotonic()
                if not flying:
                    return
                ended = [future for future in flying if future.done()]
                for future in ended:
                    task, _ = flying.pop(future)
                    outcome = _outcome(future)
                    # A future that is still held would be computed again when its worker dies.
                    future.release()
                    yield task, outcome
                late = [
                    key for key, (_, start) in flying.items() if time.monotonic() - start > time_limit_seconds
                ]
                for future in _end(client, late, list(flying)):  # these begin anew
                    flying[future] = flying[future][0], time.monotonic()
                for future in late:
                    yield flying.pop(future)[0], _timeout(time_limit_seconds)
                if not ended and not late:
                    time.sleep(0.02)
            client.cancel(list(flying), force=True)
        except OSError as error:
            raise SchedulerUnreachable(f"The scheduler {self._address} went away: {error}.") from error
        finally:
            client.close(timeout=_CLOSE_SECONDS)

    def _connect(self) -> Any:
        try:
            from distributed import Client
        except ImportError as error:
            raise SchedulerUnreachable(
                "The option --scheduler needs the package `distributed`: pip install 'qtn-hybrid[cluster]'."
            ) from error
        silence = (
            f"The scheduler {self._address} must answer within {self._wait_seconds:g} seconds, but does not."
        )
        try:
            # A client that never connects takes half a minute to clean up: knock before making one.
            self._knock()
            client = Client(self._address, timeout=self._wait_seconds, set_as_default=False)
        except OSError as error:
            raise SchedulerUnreachable(silence) from error
        try:
            client.wait_for_workers(1, timeout=self._wait_seconds)
        except TimeoutError as error:
            client.close()
            raise SchedulerUnreachable(
                f"The scheduler {self._address} has no workers. Start some first."
            ) from error
        return client

    def _knock(self) -> None:
        """Waits until somebody listens at the address; raises OSError when nobody does in time."""
        deadline = time.monotonic() + self._wait_seconds
        while True:
            try:
                return socket.create_connection((self._host, self._port), timeout=self._wait_seconds).close()
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


def _outcome(future: Any) -> Outcome:
    from distributed.scheduler import KilledWorker

    if future.status == "finished":
        return future.result()
    if future.status != "error":
        return _lost("the scheduler gave the task up")
    error = future.exception()
    if isinstance(error, KilledWorker):
        return _lost("its workers died, one after the other")
    return Outcome(status="error", failure=describe(error))


def _lost(reason: str) -> Outcome:
    return Outcome(status="lost", failure=Failure(type="WorkerLost", message=reason))


def _timeout(limit: float) -> Outcome:
    failure = Failure(type="TimeLimit", message=f"ran longer than {limit:g} seconds")
    return Outcome(status="timeout", wall_seconds=limit, failure=failure)


def _end(client: Any, late: list[Any], flying: list[Any]) -> list[Any]:
    """Ends the workers of late tasks, as cancelling alone would leave those running; gives what else ran there."""
    if not late:
        return []
    keys = {future.key for future in late}
    busy = {address: set(held) for address, held in client.processing().items() if keys & set(held)}
    client.cancel(late, force=True)
    if busy:
        client.restart_workers(list(busy), timeout=_RESTART_SECONDS, raise_for_error=False)
    others = set().union(*busy.values()) - keys
    return [future for future in flying if future.key in others]
