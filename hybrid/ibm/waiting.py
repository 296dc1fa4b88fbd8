"""Waiting with bounds: a reply that never comes, and a service that takes so many submissions a minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from hybrid.ibm.journal import Journal

T = TypeVar("T")


class NoReply(RuntimeError):
    """The service did not answer in time."""


def within(seconds: float, call: Callable[[], T], what: str) -> T:
    """Returns what `call` gives; raises NoReply when that takes longer.

    The client's own timeouts do not hold where a read hangs. The call goes on in a thread that is left alone, so
    what it does may still happen.
    """
    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.append((True, call()))
        except BaseException as error:
            outcome.append((False, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise NoReply(f"No answer to {what} within {seconds:g} s.")
    succeeded, value = outcome[0]
    if not succeeded:
        raise value
    return value


@dataclass(frozen=True, kw_only=True)
class Pace:
    """At most `count` submissions in any `seconds`, over all processes that share a journal.

    IBM takes five a minute a user and refuses more with 429.
    """

    count: int = 5
    seconds: float = 60.0

    def wait(self, journal: Journal, sleep: Callable[[float], None] = time.sleep) -> None:
        """Returns when a submission may be sent; `Journal.attempted` notes that it is."""
        while True:
            now = time.time()
            recent = journal.submission_times(now - self.seconds)
            if len(recent) < self.count:
                return
            sleep(max(0.01, recent[-self.count] + self.seconds - now))


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long things are waited for, in seconds.

    Args:
        result: for a job's result; None for as long as it takes.
        reply: for one answer of the service.
        grace: until a job that was sent without a reply must show in the service's listing.
        poll: between questions.
        tries: submissions of one job that fail before it is given up for now.
        back_off: before the second try; doubled for each further one.
    """

    result: float | None = None
    reply: float = 60.0
    grace: float = 120.0
    poll: float = 2.0
    tries: int = 6
    back_off: float = 2.0
