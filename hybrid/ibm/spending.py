"""What a task may spend, and what its jobs were billed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from classical.cost import Cost
from hybrid.devices.prices import Pricing, Quote
from hybrid.ibm.errors import TooExpensive
from hybrid.ibm.journal import Entry

_ENDED = ("failed", "cancelled")


def refuse_above(
    spend: float | None, entries: Sequence[Entry], call: int, quote: Quote, pricing: Pricing, task: str
) -> None:
    """Raises TooExpensive where a call would take a task above the dollars that it may spend in all.

    What the call has at the service already is paid for and always let through.

    Args:
        entries: all of the task.
        quote: of the call's jobs.
    """
    mine = [entry for entry in entries if entry.call == call and entry.attempted is not None]
    if len(mine) == quote.jobs and all(entry.state in ("submitted", "done") for entry in mine):
        return
    rate = pricing.prices.of_plan(pricing.plan)
    spent = sum(_dollars(entry, rate) for entry in entries if entry.call != call or entry.state in _ENDED)
    line = f"This needs {quote}"
    if spend is None:
        raise TooExpensive(
            f"{line}. Nothing was submitted: allow it with spend={math.ceil(quote.dollars)} (dollars) or more."
        )
    if spent + quote.dollars > spend:
        raise TooExpensive(
            f"{line}. With the ${spent:,.2f} that the task {task!r} has used this is above the ${spend:,.2f} that "
            f"`spend` allows; nothing was submitted. {math.ceil(spent + quote.dollars)} dollars would do."
        )


def billed(entries: Sequence[Entry], call: int, pricing: Pricing) -> Cost:
    """Jobs, seconds and dollars of a call: as billed, or as estimated where the service has not said yet."""
    own = [entry for entry in entries if entry.call == call]
    known = all(entry.billed_seconds is not None for entry in own)
    seconds = sum(
        (entry.estimated_seconds or 0.0) if entry.billed_seconds is None else entry.billed_seconds
        for entry in own
    )
    return Cost(
        jobs=len(own),
        qpu_seconds=seconds,
        dollars=seconds * pricing.prices.of_plan(pricing.plan),
        sources={
            "jobs": "measured",
            "qpu_seconds": "measured" if known else "estimated",
            "dollars": "computed" if known else "estimated",
        },
    )


def _dollars(entry: Entry, rate: float) -> float:
    """What an entry has cost: as billed, else as estimated once it was sent."""
    if entry.billed_seconds is not None:
        return entry.billed_seconds * rate
    return (entry.estimated_dollars or 0.0) if entry.attempted is not None else 0.0
