"""The endpoints below the API base."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from . import listing, sessions
from .devices import Device
from .messages import Refusal, Reply, Request
from .rules import Rules
from .store import Store, StoredJob
from .submission import Submissions, find_device

Action = Callable[..., Reply]


class Api:
    """Answers API requests from the store and the devices."""

    def __init__(self, store: Store, devices: Mapping[str, Device], rules: Rules) -> None:
        self._store = store
        self._devices = devices
        self._rules = rules
        self._submissions = Submissions(store, devices, rules)
        job, session, device = r"/jobs/([^/]+)", r"/sessions/([^/]+)", r"/backends/([^/]+)"
        routes: list[tuple[str, str, Action]] = [
            ("GET", "/backends", self._list_devices),
            ("GET", device + "/configuration", self._device_configuration),
            ("GET", device + "/properties", self._device_properties),
            ("GET", device + "/status", self._device_status),
            ("GET", "/instances/usage", self._usage),
            ("POST", "/jobs", self._submit),
            ("GET", "/jobs", self._list_jobs),
            ("GET", job, self._job),
            ("DELETE", job, self._delete_job),
            ("GET", job + "/results", self._results),
            ("GET", job + "/metrics", self._metrics),
            ("GET", job + "/logs", self._logs),
            ("POST", job + "/cancel", self._cancel),
            ("PUT", job + "/tags", self._tag),
            ("POST", "/sessions", self._open_session),
            ("GET", session, self._session),
            ("PATCH", session, self._change_session),
            ("DELETE", session + "/close", self._close_session),
        ]
        self._routes = [(method, re.compile(path), action) for method, path, action in routes]

    def answer(self, request: Request) -> Reply:
        """Carry out a request; raises `Refusal`."""
        known = False
        for method, path, action in self._routes:
            match = path.fullmatch(request.path)
            if match is not None:
                known = True
                if method == request.method:
                    return action(request, *match.groups())
        if known:
            raise Refusal(405, 1000, f"{request.method} is not offered at {request.path}.")
        raise Refusal(404, 1000, f"Nothing is offered at {request.path}.")

    # Devices and usage

    def _list_devices(self, request: Request) -> Reply:
        mocks = request.first("include_mocks") is not None
        devices = [device for device in self._devices.values() if mocks or not device.is_mock]
        return Reply(content={"devices": [device.listing(self._queued(device)) for device in devices]})

    def _device_configuration(self, request: Request, name: str) -> Reply:
        return Reply(content=self._device(name).configuration)

    def _device_properties(self, request: Request, name: str) -> Reply:
        return Reply(content=self._device(name).properties)

    def _device_status(self, request: Request, name: str) -> Reply:
        device = self._device(name)
        return Reply(content=device.status(self._queued(device)))

    def _usage(self, request: Request) -> Reply:
        consumed, limit = self._submissions.consumed_seconds(), self._rules.usage_limit_seconds
        usage: dict[str, Any] = {
            "instance_id": "loopback",
            "plan_id": "loopback",
            "usage_consumed_seconds": consumed,
        }
        if limit is not None:
            usage |= {"usage_limit_seconds": limit, "usage_limit_reached": consumed >= limit}
        return Reply(content=usage)

    def _device(self, name: str) -> Device:
        if name not in self._devices:
            raise Refusal(404, 1007, f"Backend not found: {name}")
        return find_device(self._devices, name)

    def _queued(self, device: Device) -> int:
        return sum(job.pending and job.backend == device.name for job in self._store.jobs())

    # Jobs

    def _submit(self, request: Request) -> Reply:
        job = self._submissions.accept(request)
        reply = {"id": job.id, "backend": job.backend, "private": job.private}
        return Reply(content=reply if job.session_id is None else {**reply, "session_id": job.session_id})

    def _list_jobs(self, request: Request) -> Reply:
        return Reply(content=listing.select(self._store.jobs(), request, self._rules))

    def _job(self, request: Request, job_id: str) -> Reply:
        job = self._find(job_id)
        shown = listing.show(job)
        if request.first("exclude_params") != "true" and not job.private:
            shown["params"] = self._store.params(job)
        return Reply(content=shown)

    def _delete_job(self, request: Request, job_id: str) -> Reply:
        with self._store.held():
            if self._find(job_id).pending:
                raise Refusal(409, 1000, f"Job {job_id} has not ended.")
            self._store.delete(job_id)
        return Reply(204)

    def _results(self, request: Request, job_id: str) -> Reply:
        job = self._find(job_id)
        result = self._store.result(job)
        if result is not None:
            if job.private:
                # Those results can be read once, whether or not the reply arrives.
                self._store.drop_result(job)
            return Reply(content=result)
        if job.state == "ERROR":
            return Reply(content=job.reason)
        raise Refusal(404, 1000, f"Job {job_id} has no result.")

    def _metrics(self, request: Request, job_id: str) -> Reply:
        return Reply(content=listing.metrics(self._find(job_id)))

    def _logs(self, request: Request, job_id: str) -> Reply:
        job = self._find(job_id)
        lines = [f"{job.executions} executions on {job.backend}, {job.estimated_seconds:.3f} s of QPU time"]
        return Reply(content="\n".join([*lines, job.reason] if job.reason else lines))

    def _cancel(self, request: Request, job_id: str) -> Reply:
        with self._store.held():
            job = self._find(job_id)
            if not job.pending:
                raise Refusal(409, 1000, f"Job {job_id} has ended already.")
            # What runs has been consumed.
            billed = job.estimated_seconds if job.state == "RUNNING" and not job.is_mock else 0.0
            self._store.finish(job_id, "CANCELLED", reason="Cancelled by the user.", billed_seconds=billed)
        return Reply(204)

    def _tag(self, request: Request, job_id: str) -> Reply:
        wanted = request.json()
        tags = wanted.get("tags") if isinstance(wanted, dict) else None
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise Refusal(400, 1000, "tags is a list of text.")
        with self._store.held():
            self._find(job_id)
            self._store.update(job_id, tags=tuple(tags))
        return Reply(204)

    def _find(self, job_id: str) -> StoredJob:
        job = self._store.job(job_id)
        if job is None:
            raise Refusal(404, 1291, f"Job not found: {job_id}")
        return job

    # Sessions and batches

    def _open_session(self, request: Request) -> Reply:
        wanted = request.json()
        device = find_device(self._devices, wanted.get("backend"))
        return Reply(content=sessions.open_session(self._store, wanted, device.name))

    def _session(self, request: Request, session_id: str) -> Reply:
        return Reply(content=sessions.session_details(self._store, session_id))

    def _change_session(self, request: Request, session_id: str) -> Reply:
        if request.json() != {"accepting_jobs": False}:
            raise Refusal(400, 1000, "Only accepting_jobs can be changed, to false.")
        sessions.stop_accepting(self._store, session_id)
        return Reply(204)

    def _close_session(self, request: Request, session_id: str) -> Reply:
        sessions.close_session(self._store, session_id)
        return Reply(204)
