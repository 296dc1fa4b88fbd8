"""Jobs that are submitted once: journal, then search, then submit."""

from __future__ import annotations

import itertools
import math
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from classical.cost import Cost
from hybrid.devices.jobs import Job
from hybrid.devices.prices import Pricing, Quote
from hybrid.devices.runner import AbstractRunner, Ran, UnusableResult
from hybrid.ibm.errors import (
    IBMFailure,
    JobFailed,
    NotThereYet,
    Refused,
    TooLarge,
    http_status,
    is_final,
)
from hybrid.ibm.journal import Entry, Intent, Journal
from hybrid.ibm.limits import Limits, split
from hybrid.ibm.service import AbstractService
from hybrid.ibm.spending import billed, refuse_above
from hybrid.ibm.waiting import NoReply, Pace, Patience, within

# Of the estimated QPU seconds, what the service is told to stop at.
_MARGIN, _LEAST_MARGIN_SECONDS = 1.25, 10.0
_RATE_LIMIT = 429


@dataclass(kw_only=True, eq=False)
class PaidRunner(AbstractRunner):
    """Runs jobs on a service that bills: each is submitted exactly once, whatever happens between.

    A job is written into the journal before it is sent, under the task and the number of the call; a rerun finds it
    there and collects it. Where a reply is lost, the service is searched for the job's tag before it is sent again.

    Args:
        task: name under which a rerun finds its jobs; one process at a time uses it.
        spend: dollars that this task may cost in all, jobs of earlier runs included; None to submit nothing.
        say: is told, in a line, what happens.
    """

    service: AbstractService
    device: str
    journal: Journal
    pricing: Pricing
    task: str
    spend: float | None = None
    limits: Limits = field(default_factory=Limits)
    pace: Pace = field(default_factory=Pace)
    patience: Patience = field(default_factory=Patience)
    say: Callable[[str], None] = print
    equal_shots: bool = True
    _calls: itertools.count[int] = field(default_factory=itertools.count, repr=False)
    _closed: bool = field(default=False, repr=False)

    def quote(self, job: Job) -> Quote:
        """The price of a job, split where it must be."""
        return self.pricing.quote(*split(job, self.limits).parts)

    def price(self, job: Job) -> Cost:
        return self.quote(job).cost

    def run(self, job: Job, seed: int) -> Ran:
        if self._closed:
            raise IBMFailure(f"The backend of {self.device} is closed: open a new one.")
        call = next(self._calls)
        whole = split(job, self.limits)
        quotes = [self.pricing.quote(part) for part in whole.parts]
        for quote in quotes:
            if self._bound(quote) > self.limits.seconds:
                raise TooLarge(
                    f"The job would take about {quote.qpu_seconds:,.0f} s of QPU time, above the "
                    f"{self.limits.seconds:,.0f} s that one job may take: use fewer shots or circuits."
                )
        entries = self.journal.entries(self.task)
        refuse_above(self.spend, entries, call, self.pricing.quote(*whole.parts), self.pricing, self.task)
        entries = [
            self._secured(part, call, i, quote)
            for i, (part, quote) in enumerate(zip(whole.parts, quotes, strict=True))
        ]
        bits = [self._collected(entry) for entry in entries]
        return Ran(
            bits=whole.joined(bits, len(job.pubs)),
            cost=billed(self.journal.entries(self.task), call, self.pricing),
        )

    def close(self) -> None:
        self.service.close()
        self._closed = True

    def _bound(self, quote: Quote) -> int:
        """QPU seconds at which the service is told to stop."""
        return math.ceil(max(_MARGIN * quote.qpu_seconds, quote.qpu_seconds + _LEAST_MARGIN_SECONDS))

    # --- exactly one submission -----------------------------------------------------------------------

    def _secured(self, job: Job, call: int, part: int, quote: Quote) -> Entry:
        """The journal's entry of a job that the service has, submitted now if it was not before."""
        intent = Intent(
            task=self.task,
            call=call,
            part=part,
            backend=self.device,
            fingerprint=job.fingerprint,
            angles=job.angles,
            shapes=job.shapes,
            executions=job.executions,
            estimated_seconds=quote.qpu_seconds,
            estimated_dollars=quote.dollars,
        )
        entry, fresh = self.journal.claim(intent, _new_tag())
        if entry.state in ("failed", "cancelled"):
            self.say(f"{self.task}, call {call}: {entry.state} before ({entry.note}); submitted anew.")
            self.journal.set_aside(entry.tag)
            entry, fresh = self.journal.claim(intent, _new_tag())
        if entry.job_id is None and not fresh and entry.attempted is not None:
            self._found(entry.tag, entry.attempted + self.patience.grace)
            entry, _ = self.journal.claim(intent, "")
        if entry.job_id is None:
            self._submit(job, entry, quote)
            entry, _ = self.journal.claim(intent, "")
        return entry

    def _submit(self, job: Job, entry: Entry, quote: Quote) -> None:
        wait = self.patience.back_off
        last = ""
        for _ in range(self.patience.tries):
            self.pace.wait(self.journal)
            self.journal.attempted(entry.tag)
            try:
                job_id = within(
                    self.patience.reply,
                    lambda: self.service.submit(job, entry.tag, self._bound(quote)),
                    "a submission",
                )
            except Exception as error:
                last = self._in_short(error)
                if is_final(error):
                    self.journal.ended(entry.tag, "failed", last, 0.0)
                    if isinstance(error, IBMFailure):
                        raise
                    raise Refused(f"{self.device} refused the job, nothing was run: {last}") from None
                # A refusal by rate is no acceptance; anything else may be one without a reply.
                sent = http_status(error) != _RATE_LIMIT
                if sent and self._found(entry.tag, time.time() + self.patience.grace):
                    return
                self.say(f"{self.device}: {last}; trying again in {wait:.1f} s.")
                time.sleep(wait)
                wait *= 2
            else:
                self.journal.submitted(entry.tag, [job_id])
                self.say(f"{self.device}: job {job_id} submitted, {quote}")
                return
        raise IBMFailure(
            f"{self.device} took no job in {self.patience.tries} tries ({last}); a rerun goes on from here."
        )

    def _found(self, tag: str, until: float) -> bool:
        """Searches for a job that was sent without a reply, until it must have shown."""
        unanswered, wait = 0, self.patience.back_off
        if until > time.time() + 1:
            left = until - time.time()
            self.say(
                f"{self.device}: a job may have been taken without a reply; searching for it for {left:.0f} s."
            )
        while True:
            now = time.time()
            try:
                job_ids = within(self.patience.reply, lambda: self.service.find(tag), "a search by tag")
            except Exception as error:
                # A search without an answer is no search: the job may be there.
                unanswered += 1
                if is_final(error) or unanswered == self.patience.tries:
                    raise NotThereYet(
                        f"{self.device} does not answer a search for a job that may be there "
                        f"({self._in_short(error)}); nothing more is submitted. Run again later."
                    ) from None
                self.say(f"{self.device}: {self._in_short(error)}; searching again in {wait:.1f} s.")
                time.sleep(wait)
                wait *= 2
                continue
            if job_ids:
                self.journal.submitted(tag, job_ids)
                self.say(f"{self.device}: job {job_ids[0]} was there already; not submitted again.")
                return True
            if now >= until:
                return False
            time.sleep(max(0.01, min(self.patience.poll, until - now)))

    # --- results --------------------------------------------------------------------------------------

    def _collected(self, entry: Entry) -> tuple[np.ndarray, ...]:
        """The job's bits, from the journal or the service."""
        if entry.state == "done":
            return self.journal.result(entry.tag)
        assert entry.job_id is not None
        job_id = entry.job_id
        ends = math.inf if self.patience.result is None else time.time() + self.patience.result
        told = False
        while True:
            state, note = self._patiently(lambda: self.service.state(job_id), ends, job_id)
            if state == "done":
                break
            if state != "waiting":
                billed = self._quietly(lambda: self.service.billed_seconds(job_id))
                self.journal.ended(entry.tag, state, note, billed)
                what = "was cancelled" if state == "cancelled" else "failed"
                why = f": {self._cleaned(note)}" if note else ""
                raise JobFailed(
                    f"Job {job_id} on {self.device} {what}{why}. It was billed {billed or 0.0:g} s; a rerun submits it "
                    "anew."
                )
            if not told:
                self.say(
                    f"{self.device}: job {job_id} is waiting; stopping here is safe, a rerun collects it."
                )
                told = True
            if time.time() > ends:
                raise self._not_there(job_id, "it is waiting")
            time.sleep(self.patience.poll)
        bits = self._patiently(lambda: self.service.fetch(job_id, entry.shapes), ends, job_id)
        billed = self._quietly(lambda: self.service.billed_seconds(job_id))
        self.journal.done(entry.tag, bits, billed)
        return bits

    def _patiently(self, call: Callable[[], Any], ends: float, job_id: str) -> Any:
        """What `call` gives, asked again after faults that pass."""
        wait = self.patience.poll
        while True:
            try:
                return within(self.patience.reply, call, f"a question about job {job_id}")
            except UnusableResult:
                raise
            except Exception as error:
                if (is_final(error) and http_status(error) != _RATE_LIMIT) or time.time() > ends:
                    raise self._not_there(job_id, self._in_short(error)) from None
                self.say(f"{self.device}: {self._in_short(error)}; asking again in {wait:.1f} s.")
                time.sleep(min(wait, max(0.0, ends - time.time())))
                wait = min(2 * wait, 60.0)

    def _quietly(self, call: Callable[[], float | None]) -> float | None:
        """What was billed, or None where that cannot be had now."""
        try:
            return within(self.patience.reply, call, "what was billed")
        except Exception:
            return None

    def _not_there(self, job_id: str, why: str) -> NotThereYet:
        return NotThereYet(
            f"Job {job_id} on {self.device} is submitted, but its result is not here ({why}). A rerun with the same "
            f"task collects it without paying again, and so does `python -m studies jobs fetch`."
        )

    def _in_short(self, error: BaseException) -> str:
        return str(error) if isinstance(error, NoReply) else self.service.in_short(error)

    def _cleaned(self, text: str) -> str:
        return self._in_short(RuntimeError(text)).removeprefix("RuntimeError: ")


def _new_tag() -> str:
    return f"qtn-{uuid.uuid4().hex}"
