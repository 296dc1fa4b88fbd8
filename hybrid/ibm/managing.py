"""Seeing to jobs after the program that submitted them: collecting and cancelling."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from hybrid.devices.runner import UnusableResult
from hybrid.ibm.errors import IBMFailure
from hybrid.ibm.journal import Entry, Journal
from hybrid.ibm.service import AbstractService
from hybrid.ibm.waiting import within

_REPLY_SECONDS = 60.0


def collect(journal: Journal, service: AbstractService, task: str | None = None) -> Iterator[str]:
    """Fetches what is done and notes it in the journal; yields a line for each open job. Submits nothing."""
    for entry in journal.entries(task):
        if entry.state == "done" and entry.billed_seconds is not None:
            continue
        if entry.state in ("intended", "submitted", "done"):
            try:
                line = within(_REPLY_SECONDS, partial(_seen_to, journal, service, entry), "a question")
            except UnusableResult as error:
                line = str(error)
            except Exception as error:
                line = service.in_short(error)
            yield f"{entry.task}, call {entry.call}: {line}"


def _seen_to(journal: Journal, service: AbstractService, entry: Entry) -> str:
    job_id = entry.job_id
    if job_id is None:
        found = service.find(entry.tag) if entry.attempted is not None else []
        if not found:
            return "intended, not at the service: a rerun submits it"
        journal.submitted(entry.tag, found)
        job_id = found[0]
    if entry.state == "done":
        billed = service.billed_seconds(job_id)
        journal.billed(entry.tag, billed)
        return (
            f"job {job_id} was billed {billed} s" if billed is not None else f"job {job_id}: not billed yet"
        )
    state, note = service.state(job_id)
    if state == "done":
        journal.done(entry.tag, service.fetch(job_id, entry.shapes), service.billed_seconds(job_id))
        return f"job {job_id} fetched"
    if state == "waiting":
        return f"job {job_id} is waiting"
    journal.ended(entry.tag, state, note, service.billed_seconds(job_id))
    return f"job {job_id} {state}{': ' + note if note else ''}"


def cancel(journal: Journal, service: AbstractService, job_id: str) -> str:
    """Stops a job of the journal, or a duplicate of one; returns a line.

    Raises:
        IBMFailure: for a job that the journal does not know, or that cannot be stopped.
    """
    for entry in journal.entries():
        if job_id not in (entry.job_id, *entry.duplicates):
            continue
        try:
            within(_REPLY_SECONDS, lambda: service.cancel(job_id), "a cancellation")
        except Exception as error:
            raise IBMFailure(
                f"Job {job_id} was not cancelled: {service.in_short(error).rstrip('.')}."
            ) from None
        if job_id == entry.job_id:
            journal.ended(entry.tag, "cancelled", "cancelled by hand", service.billed_seconds(job_id))
        return f"Job {job_id} is cancelled."
    raise IBMFailure(f"The journal {journal.path} has no job {job_id!r}: `jobs list` shows those it has.")
