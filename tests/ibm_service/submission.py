"""Taking a job: what is checked before it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .devices import Device
from .execution import Work
from .messages import Refusal, Request
from .rules import Rules, SubmissionWindow
from .sessions import find_session
from .store import Store, StoredJob

LONGEST_SECONDS = 10_800
"""Largest `max_execution_time` that the service takes."""


class Submissions:
    """Accepts or refuses jobs by the rules."""

    def __init__(self, store: Store, devices: Mapping[str, Device], rules: Rules) -> None:
        self._store = store
        self._devices = devices
        self._rules = rules
        self._window = SubmissionWindow(rules)

    def accept(self, request: Request) -> StoredJob:
        """Store the job of a request; raises `Refusal`."""
        wait = self._window.enter()
        if wait is not None:
            raise Refusal(429, 1202, "Too many requests.", {"Retry-After": str(wait)})
        wanted = request.json()
        if not isinstance(wanted, dict):
            raise Refusal(400, 1000, "The request body is not an object.")
        if wanted.get("program_id") != "executor":
            raise Refusal(
                400, 1002, f"Only the program executor runs here, not {wanted.get('program_id')!r}."
            )
        device = find_device(self._devices, wanted.get("backend"))
        if not device.online:
            raise Refusal(400, 1004, f"The backend {device.name} is not available.")
        most_seconds = wanted.get("cost")
        if most_seconds is not None and not 0 < most_seconds <= LONGEST_SECONDS:
            raise Refusal(
                400, 1002, f"cost lies above 0 and up to {LONGEST_SECONDS} s, not at {most_seconds}."
            )
        work = self._decode(wanted.get("params"))
        seconds = work.seconds(device.target)
        with self._store.held():
            self._check_usage(0.0 if device.is_mock else seconds)
            self._check_session(wanted.get("session_id"))
            return self._store.add(
                wanted["params"],
                backend=device.name,
                program=wanted["program_id"],
                tags=tuple(wanted.get("tags", ())),
                executions=work.executions,
                estimated_seconds=seconds,
                session_id=wanted.get("session_id"),
                most_seconds=most_seconds,
                private=bool(wanted.get("private", False)),
            )

    def consumed_seconds(self) -> float:
        return sum(job.billed_seconds for job in self._store.jobs())

    def _decode(self, params: Any) -> Work:
        try:
            work = Work.decode(params)
            executions = work.executions
        except Exception as error:
            raise Refusal(400, 1002, f"The job's parameters cannot be read: {error}") from error
        if executions > self._rules.most_executions:
            raise Refusal(
                400,
                1002,
                f"The job has {executions} executions, more than the {self._rules.most_executions} that one "
                "job may have.",
            )
        return work

    def _check_usage(self, seconds: float) -> None:
        limit = self._rules.usage_limit_seconds
        if limit is None:
            return
        jobs = self._store.jobs()
        waiting = sum(job.estimated_seconds for job in jobs if job.pending and not job.is_mock)
        if self.consumed_seconds() + waiting + seconds > limit:
            raise Refusal(409, 1213, "Usage exceeds instance limit.")

    def _check_session(self, session_id: str | None) -> None:
        if session_id is not None and not find_session(self._store, session_id)["accepting_jobs"]:
            raise Refusal(400, 1217, "Session has been closed.")


def find_device(devices: Mapping[str, Device], name: Any) -> Device:
    if name not in devices:
        raise Refusal(400, 1007, f"Backend not found: {name}")
    return devices[name]
