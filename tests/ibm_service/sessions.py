"""Sessions and batches."""

from __future__ import annotations

import uuid
from typing import Any

from .messages import Refusal
from .store import Store, now

LONGEST_SECONDS = 8 * 3600
IDLE_SECONDS = 60


def open_session(store: Store, wanted: dict[str, Any], backend: str) -> dict[str, Any]:
    mode = wanted.get("mode", "dedicated")
    if mode not in ("dedicated", "batch"):
        raise Refusal(400, 1000, f"Unknown mode {mode!r}: dedicated or batch.")
    longest = min(int(wanted.get("max_ttl") or LONGEST_SECONDS), LONGEST_SECONDS)
    session = {
        "id": str(uuid.uuid4()),
        "backend_name": backend,
        "mode": mode,
        "max_ttl": longest,
        "active_ttl": longest,
        "interactive_ttl": IDLE_SECONDS,
        "accepting_jobs": True,
        "created_at": now().isoformat(),
        "closed_at": None,
    }
    store.put_session(session)
    return session


def stop_accepting(store: Store, session_id: str) -> None:
    """No more jobs; those submitted already run to their end."""
    with store.held():
        session = find_session(store, session_id)
        store.put_session({**session, "accepting_jobs": False})


def close_session(store: Store, session_id: str) -> None:
    """No more jobs, and those waiting are cancelled."""
    with store.held():
        session = find_session(store, session_id)
        closed_at = session["closed_at"] or now().isoformat()
        store.put_session({**session, "accepting_jobs": False, "closed_at": closed_at})
        for job in store.jobs():
            if job.session_id == session_id and job.state == "QUEUED":
                store.finish(job.id, "CANCELLED", reason="The session was closed.")


def find_session(store: Store, session_id: str) -> dict[str, Any]:
    session = store.session(session_id)
    if session is None:
        raise Refusal(404, 1216, f"Session not found: {session_id}")
    return session


def session_details(store: Store, session_id: str) -> dict[str, Any]:
    """The session with what its jobs tell of it."""
    with store.held():
        session = find_session(store, session_id)
        jobs = [job for job in store.jobs() if job.session_id == session_id]
    started = [job.started for job in jobs if job.started is not None]
    finished = [job.finished for job in jobs if job.finished is not None]
    if not session["accepting_jobs"] and not any(job.pending for job in jobs):
        state = "closed"
    else:
        state = "active" if started else "open"
    # A batch is charged for its jobs, a session for the time from its first job to its last.
    elapsed = sum(job.billed_seconds for job in jobs)
    if session["mode"] == "dedicated" and started and finished:
        elapsed = max(elapsed, (max(finished) - min(started)).total_seconds())
    return {
        **session,
        "state": state,
        "started_at": min(started).isoformat() if started else None,
        "activated_at": min(started).isoformat() if started else None,
        "last_job_started": max(started).isoformat() if started else None,
        "last_job_completed": max(finished).isoformat() if finished else None,
        "elapsed_time": elapsed,
        "timestamps": [],
    }
