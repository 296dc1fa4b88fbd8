"""A paid service in memory, which fails as it is told to."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hybrid.devices.jobs import Job
from hybrid.devices.moments import packed
from hybrid.ibm.errors import in_short
from hybrid.ibm.service import AbstractService, JobState


class Failure(RuntimeError):
    """An error with an HTTP status, as the client's have one."""

    def __init__(self, text: str, status_code: int | None = None) -> None:
        super().__init__(text)
        self.status_code = status_code


@dataclass(kw_only=True)
class Stored:
    """A job at the service."""

    job: Job
    tag: str
    at: float
    most_seconds: int
    state: JobState = "done"
    billed: float | None = 3.0


@dataclass(kw_only=True)
class MemoryService(AbstractService):
    """Keeps jobs; `faults[method]` are called one after the other before, or for `after_`method after, a call."""

    listing_lag: float = 0.0
    jobs: dict[str, Stored] = field(default_factory=dict)
    faults: dict[str, list[Callable[[], Any]]] = field(default_factory=dict)
    secret: str = "canary-token-0123456789abcdef"

    def _fault(self, where: str) -> None:
        waiting = self.faults.get(where, [])
        if waiting:
            waiting.pop(0)()

    def submit(self, job: Job, tag: str, max_execution_seconds: int) -> str:
        self._fault("submit")
        job_id = f"job-{len(self.jobs)}"
        self.jobs[job_id] = Stored(job=job, tag=tag, at=time.time(), most_seconds=max_execution_seconds)
        self._fault("after_submit")
        return job_id

    def find(self, tag: str) -> list[str]:
        self._fault("find")
        now = time.time()
        return [
            job_id
            for job_id, stored in self.jobs.items()
            if stored.tag == tag and now - stored.at >= self.listing_lag
        ]

    def state(self, job_id: str) -> tuple[JobState, str]:
        self._fault("state")
        stored = self.jobs[job_id]
        return stored.state, f"bad luck with {self.secret}" if stored.state == "failed" else ""

    def fetch(self, job_id: str, shapes: Sequence[tuple[int, int, int]]) -> tuple[np.ndarray, ...]:
        self._fault("fetch")
        job = self.jobs[job_id].job
        rng = np.random.default_rng(int(job_id.rpartition("-")[2]))
        return tuple(
            packed(rng.integers(0, 2, (len(pub.angles), pub.shots, pub.num_bits), dtype=np.uint8))
            for pub in job.pubs
        )

    def billed_seconds(self, job_id: str) -> float | None:
        self._fault("billed_seconds")
        return self.jobs[job_id].billed

    def cancel(self, job_id: str) -> None:
        self._fault("cancel")
        self.jobs[job_id].state = "cancelled"

    def close(self) -> None:
        return

    def in_short(self, error: BaseException) -> str:
        return in_short(error, (self.secret,))


def raising(text: str, status: int | None = None) -> Callable[[], None]:
    def fault() -> None:
        raise Failure(text, status)

    return fault


def hanging(seconds: float) -> Callable[[], None]:
    return lambda: time.sleep(seconds)
