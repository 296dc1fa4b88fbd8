"""Jobs as the API shows them: one job, a filtered list, its metrics."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from .messages import Refusal, Request
from .rules import Rules
from .store import StoredJob, now

STATUS = {
    "QUEUED": "Queued",
    "RUNNING": "Running",
    "DONE": "Completed",
    "ERROR": "Failed",
    "CANCELLED": "Cancelled",
}
USUAL_LIMIT = 10
LARGEST_LIMIT = 200


def iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def show(job: StoredJob) -> dict[str, Any]:
    """A job without its parameters."""
    # A job that ran too long is shown as cancelled with a code; the client makes an error of it.
    status = "Cancelled" if job.reason_code is not None else STATUS[job.state]
    state: dict[str, Any] = {"status": status}
    if job.reason:
        state["reason"] = job.reason
    if job.reason_code is not None:
        state["reason_code"] = job.reason_code
    shown = {
        "id": job.id,
        "backend": job.backend,
        "state": state,
        "status": status,
        "program": {"id": job.program},
        "created": iso(job.created),
        "ended": iso(job.finished),
        "tags": list(job.tags),
        "private": job.private,
        "runtime": "",
        "user_id": "loopback",
        "estimated_running_time_seconds": job.estimated_seconds,
        "usage": {"seconds": job.billed_seconds},
    }
    if job.session_id is not None:
        shown["session_id"] = job.session_id
    if job.most_seconds is not None:
        shown["cost"] = job.most_seconds
    return shown


def metrics(job: StoredJob) -> dict[str, Any]:
    seconds = job.billed_seconds
    return {
        "timestamps": {
            "created": iso(job.created),
            "running": iso(job.started),
            "finished": iso(job.finished),
        },
        "executions": job.executions,
        "bss": {"seconds": seconds},
        "usage": {
            "quantum_seconds": seconds,
            "seconds": seconds,
            "qpu_charge_time_seconds": seconds,
            "status": "pending" if job.pending else "complete",
        },
    }


def select(jobs: list[StoredJob], request: Request, rules: Rules) -> dict[str, Any]:
    """The list of jobs that a request asks for, the newest first."""
    lag = timedelta(seconds=rules.listing_lag_seconds)
    found = [job for job in jobs if now() - job.created >= lag]
    if request.first("include_mocks") is None:
        found = [job for job in found if not job.is_mock]
    if (backend := request.first("backend")) is not None:
        found = [job for job in found if job.backend == backend]
    if (program := request.first("program")) is not None:
        found = [job for job in found if job.program == program]
    if (session_id := request.first("session_id")) is not None:
        found = [job for job in found if job.session_id == session_id]
    if (pending := request.first("pending")) is not None:
        found = [job for job in found if job.pending == (pending == "true")]
    if tags := set(request.query.get("tags", ())):
        found = [job for job in found if tags <= set(job.tags)]
    if (after := _moment(request, "created_after")) is not None:
        found = [job for job in found if job.created >= after]
    if (before := _moment(request, "created_before")) is not None:
        found = [job for job in found if job.created <= before]
    if request.first("sort") != "ASC":
        found.reverse()
    limit, offset = _number(request, "limit", USUAL_LIMIT), _number(request, "offset", 0)
    limit = min(limit, LARGEST_LIMIT)
    return {
        "jobs": [show(job) for job in found[offset : offset + limit]],
        "count": len(found),
        "limit": limit,
        "offset": offset,
    }


def _moment(request: Request, name: str) -> datetime | None:
    text = request.first(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Refusal(400, 1000, f"{name} is no date with a time zone: {text!r}")
    return moment


def _number(request: Request, name: str, usual: int) -> int:
    text = request.first(name)
    if text is None:
        return usual
    if not text.isdecimal():
        raise Refusal(400, 1000, f"{name} is no whole number: {text!r}")
    return int(text)
