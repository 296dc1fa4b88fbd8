"""What the service allows: rates, sizes, usage, delays."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Rules of one service. The defaults are the published limits of the real one, without delays."""

    submissions_per_minute: int = 5
    """Above it a submission gets 429. One that is refused for another reason counts too."""
    minute_seconds: float = 60.0
    """How long a minute of the submission rate takes; shorter in tests."""
    most_executions: int = 10_000_000
    """Executions (rows times shots, summed over the circuits) that one job may have."""
    usage_limit_seconds: float | None = None
    """QPU seconds of the instance. A job that would take it beyond them is refused with 409."""
    queue_seconds: float = 0.0
    """How long a job stays queued."""
    listing_lag_seconds: float = 0.0
    """How long a new job is missing from the listings, though it can be fetched by its id."""
    offline: tuple[str, ...] = ()
    """Names of devices that are listed but take no jobs."""
    seed: int = 0


class SubmissionWindow:
    """Counts the submissions of the last minute."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._times: deque[float] = deque()
        self._lock = threading.Lock()

    def enter(self) -> int | None:
        """None if the submission is within the rate, else the whole seconds to wait for a free place."""
        with self._lock:
            now = time.monotonic()
            while self._times and now - self._times[0] >= self._rules.minute_seconds:
                self._times.popleft()
            if len(self._times) < self._rules.submissions_per_minute:
                self._times.append(now)
                return None
            if not self._times:
                return math.ceil(self._rules.minute_seconds)
            return max(1, math.ceil(self._times[0] + self._rules.minute_seconds - now))
