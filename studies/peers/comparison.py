"""Rows of the comparison: what was measured, set beside ours and beside what the project wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from studies.peers.route import OURS
from studies.peers.timing import Timing


@dataclass(frozen=True, kw_only=True)
class Row:
    """One route on one case. Times in seconds.

    Args:
        workload, case: which gradient.
        units: independent gradients in one run: rows of a batch, circuits of an ensemble.
        low, high: the shortest and the longest timed run.
        ratio: the median over that of ours named in `against`; None where it stands against nothing.
        deviation: largest, from our gradient, over all entries.
        agrees: whether the deviation is within the route's tolerance.
    """

    workload: str
    case: str
    units: int
    toolkit: str
    version: str
    method: str
    median: float
    low: float
    high: float
    repeats: int
    first: float
    against: str | None
    ratio: float | None
    deviation: float
    agrees: bool
    note: str


@dataclass(frozen=True, kw_only=True)
class Target:
    """A ratio of two rows that the project wants, for a workload.

    Args:
        claim: what it says, for people.
        above: (case, toolkit, method) of the time above the line; the fastest where there are several.
        below: the same, below the line.
        bound: the ratio wanted.
        at_least: whether the ratio must reach `bound` or stay under it.
        per_unit: whether times are taken for one unit of a run.
    """

    workload: str
    claim: str
    above: tuple[tuple[str, str, str], ...]
    below: tuple[tuple[str, str, str], ...]
    bound: float
    at_least: bool = True
    per_unit: bool = False


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A target with the ratio of medians that was measured, and the ratios of the extremes of both sides.

    All None where one side was not measured. `row` is the row above the line.
    """

    target: Target
    value: float | None = None
    least: float | None = None
    most: float | None = None
    row: Row | None = None

    @property
    def reached(self) -> bool | None:
        if self.value is None:
            return None
        bound = self.target.bound
        return self.value >= bound if self.target.at_least else self.value <= bound

    @property
    def outcome(self) -> str:
        """`reached`, `missed` or `not measured`."""
        return {True: "reached", False: "missed", None: "not measured"}[self.reached]


def compared(workload: str, case: str, units: int, timings: Sequence[Timing]) -> list[Row]:
    """Rows of one case; the first timing is ours, and its gradient is what the others are held against."""
    reference = timings[0].gradient.ravel()
    medians = {timing.route.method: timing.median for timing in timings if timing.route.toolkit == OURS}
    rows = []
    for timing in timings:
        route = timing.route
        deviation = _deviation(timing.gradient.ravel(), reference)
        rows.append(
            Row(
                workload=workload,
                case=case,
                units=units,
                toolkit=route.toolkit,
                version=route.version,
                method=route.method,
                median=timing.median,
                low=timing.low,
                high=timing.high,
                repeats=len(timing.seconds),
                first=timing.first,
                against=route.against,
                ratio=timing.median / medians[route.against] if route.against in medians else None,
                deviation=deviation,
                agrees=deviation <= route.tolerance,
                note=route.note,
            )
        )
    return rows


def _deviation(gradient: np.ndarray, reference: np.ndarray) -> float:
    """Largest difference of the entries; a route that runs the first part of an ensemble is held against that part."""
    if gradient.size > reference.size:
        return float("inf")
    return float(np.abs(gradient - reference[: gradient.size]).max())


def judged(targets: Sequence[Target], rows: Sequence[Row]) -> list[Verdict]:
    """What was measured of every target."""
    verdicts = []
    for target in targets:
        above, below = _fastest(target.above, target, rows), _fastest(target.below, target, rows)
        if above is None or below is None:
            verdicts.append(Verdict(target=target))
            continue
        share = below.units / above.units if target.per_unit else 1.0
        verdicts.append(
            Verdict(
                target=target,
                value=above.median / below.median * share,
                least=above.low / below.high * share,
                most=above.high / below.low * share,
                row=above,
            )
        )
    return verdicts


def _fastest(keys: Sequence[tuple[str, str, str]], target: Target, rows: Sequence[Row]) -> Row | None:
    found = [row for row in rows if row.workload == target.workload and row.agrees]
    found = [row for row in found if (row.case, row.toolkit, row.method) in keys]
    return min(found, key=lambda row: row.median, default=None)
