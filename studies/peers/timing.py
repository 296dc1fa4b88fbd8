"""Timing routes in turns: one run of each after the other, round after round, so that all see the same machine."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from studies.peers.route import OURS, Route, in_one_line

# Idle threads of the side that ran before spin for some milliseconds; the next one waits until they sleep.
PAUSE_SECONDS = 0.02
# A run as short as this follows an untimed one, for warm caches; a longer one fills them itself.
WARM_SECONDS = 0.2
# And is repeated until this much time is spent, as `timeit` does: the figure is the mean of such a round.
ROUND_SECONDS = 0.15
LEAST_REPEATS = 3


@dataclass(kw_only=True)
class Timing:
    """What was measured of one route: seconds of its first call, and of the timed ones.

    The first call has in it what is done once for a circuit: compiling, tracing, fusing gates.
    """

    route: Route
    gradient: np.ndarray
    first: float
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def low(self) -> float:
        return min(self.seconds)

    @property
    def high(self) -> float:
        return max(self.seconds)

    def is_done(self, repeats: int, budget: float) -> bool:
        """Whether it has its repeats, or three of them and more seconds than its budget."""
        spent = sum(self.seconds) / self.route.scale
        return len(self.seconds) >= min(repeats, LEAST_REPEATS) and (
            len(self.seconds) >= repeats or spent > budget
        )


def _silent(line: str) -> None:
    del line


def first_calls(
    routes: Sequence[Route], say: Callable[[str], None] = _silent
) -> tuple[list[Timing], list[str]]:
    """Runs every route once; returns what came, and a line for each route of others that fails."""
    timings: list[Timing] = []
    failed: list[str] = []
    for route in routes:
        start = time.perf_counter()
        try:
            gradient = route.run()
        except Exception as error:
            if route.toolkit == OURS:
                raise
            failed.append(f"{route.name}: skipped, {in_one_line(error)}")
            continue
        seconds = time.perf_counter() - start
        say(f"{route.name}: first call {seconds:.3g} s")
        timings.append(Timing(route=route, gradient=gradient, first=seconds * route.scale))
    return timings, failed


def take_turns(
    routes: Sequence[Route], *, repeats: int, budget: float, say: Callable[[str], None] = _silent
) -> tuple[list[Timing], list[str]]:
    """Times every route in turn; returns the timings, and lines for routes that failed.

    Args:
        repeats: at most as many timed runs of each.
        budget: seconds of timed runs of each, after which three repeats are enough.
        say: is told how it goes.
    """
    timings, failed = first_calls(routes, say)
    # The collector would walk through every module of every toolkit in the middle of somebody's run.
    gc.collect()
    gc.freeze()
    try:
        while open_ones := [timing for timing in timings if not timing.is_done(repeats, budget)]:
            for timing in open_ones:
                _time_once(timing)
    finally:
        gc.unfreeze()
    return timings, failed


def _time_once(timing: Timing) -> None:
    route = timing.route
    time.sleep(PAUSE_SECONDS)
    shortest = min(timing.seconds, default=timing.first) / route.scale
    if shortest < WARM_SECONDS:
        route.seconds(1)
    loops = max(1, round(ROUND_SECONDS / max(shortest, 1e-4)))
    timing.seconds.append(route.seconds(loops) / loops * route.scale)
