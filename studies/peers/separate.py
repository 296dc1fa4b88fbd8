"""Toolkits in processes of their own: threads and allocators of one do not slow another down.

Two thread pools of OpenMP in one process do: with more threads than cores, each sleeps between parallel loops. Ours
takes a quarter longer at 12 qubits once Aer has run beside it.
"""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from studies.peers.route import Case, Driver, FailedElsewhere, Route, in_one_line


@contextmanager
def separate(drivers: Sequence[Driver[Case]]) -> Iterator[list[Driver[Case]]]:
    """The same drivers, each running in a process of its own until the block ends."""
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        lent: list[Driver[Case]] = []
        for driver in drivers:
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, driver.routes), daemon=True)
            process.start()
            there.close()
            stack.callback(_end, here, process)
            lent.append(replace(driver, routes=_asking(here)))
        yield lent


def _end(here: Connection, process: Any) -> None:
    here.close()
    process.join(timeout=5)
    process.kill()


def _asking(here: Connection) -> Callable[[Any], Sequence[Route]]:
    def ask(*question: Any) -> Any:
        here.send(question)
        failure, answer = here.recv()
        if failure is not None:
            raise FailedElsewhere(failure)
        return answer

    def remote(index: int, route: Route) -> Route:
        def run() -> np.ndarray:
            return ask("run", index)

        def timed(loops: int) -> float:
            return ask("timed", index, loops)

        return replace(route, run=run, timed=timed)

    def routes(case: Any) -> list[Route]:
        return [remote(index, route) for index, route in enumerate(ask("routes", case))]

    return routes


def _nothing() -> np.ndarray:
    return np.zeros(0)


def _serve(there: Connection, make: Callable[[Any], Sequence[Route]]) -> None:
    """Answers questions until the other side hangs up."""
    routes: list[Route] = []
    while True:
        try:
            kind, *rest = there.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            if kind == "routes":
                routes = list(make(rest[0]))
                # The collector would walk through every module of the toolkit in the middle of a run.
                gc.collect()
                gc.freeze()
                answer: Any = [replace(route, run=_nothing) for route in routes]
            elif kind == "run":
                answer = routes[rest[0]].run()
            else:
                answer = routes[rest[0]].seconds(rest[1])
            there.send((None, answer))
        except Exception as error:
            there.send((in_one_line(error), None))
