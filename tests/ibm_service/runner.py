"""Runs the queued jobs, one after the other, in a thread of the service."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from .devices import Device
from .execution import Work
from .rules import Rules
from .store import Store, StoredJob, now

RAN_TOO_LONG = 1305


class Runner:
    """Takes jobs from the store in the order of their submission."""

    def __init__(self, store: Store, devices: Mapping[str, Device], rules: Rules) -> None:
        self._store = store
        self._devices = devices
        self._rules = rules
        self._stopping = threading.Event()
        self._to_cancel = 0
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a job that is running stays stored as running, and runs again later."""
        self._stopping.set()
        with self._store.changed:
            self._store.changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)

    def cancel_next(self) -> None:
        """The next job to be run is cancelled instead."""
        with self._store.changed:
            self._to_cancel += 1

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                self._run(job)
            except Exception as error:
                self._store.finish(job.id, "ERROR", reason=f"The job failed on the service: {error!r}")

    def _next(self) -> StoredJob | None:
        """The next job, marked as running, once its time in the queue is over; None to end."""
        with self._store.changed:
            while not self._stopping.is_set():
                queued = next((job for job in self._store.jobs() if job.state == "QUEUED"), None)
                left = None if queued is None else self._seconds_left(queued)
                if queued is None or left is None or left > 0:
                    self._store.changed.wait(left)
                elif self._to_cancel:
                    self._to_cancel -= 1
                    self._store.finish(queued.id, "CANCELLED", reason="The job was cancelled by the service.")
                else:
                    return self._store.update(queued.id, state="RUNNING", started=now())
        return None

    def _seconds_left(self, job: StoredJob) -> float:
        return job.created.timestamp() + self._rules.queue_seconds - time.time()

    def _run(self, job: StoredJob) -> None:
        device = self._devices.get(job.backend)
        if device is None:
            self._store.finish(job.id, "ERROR", reason=f"The device {job.backend} is gone.")
            return
        work = Work.decode(self._store.params(job))
        unsupported = work.unsupported(device.target)
        if unsupported is not None:
            self._store.finish(job.id, "ERROR", reason=unsupported)
            return
        if job.most_seconds is not None and job.estimated_seconds > job.most_seconds:
            reason = f"Ran too long: the job needs more than {job.most_seconds:g} s of QPU time."
            billed = 0.0 if job.is_mock else job.most_seconds
            self._store.finish(
                job.id, "ERROR", reason=reason, reason_code=RAN_TOO_LONG, billed_seconds=billed
            )
            return
        result = work.run(device, (self._rules.seed, job.number))
        billed = 0.0 if job.is_mock else job.estimated_seconds
        if not self._stopping.is_set():
            self._store.finish(job.id, "DONE", result=result, billed_seconds=billed)
