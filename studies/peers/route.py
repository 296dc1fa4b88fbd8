"""One way to a gradient, and the toolkits that offer one."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Generic, TypeVar

import numpy as np

OURS = "qtn-hybrid"
Case = TypeVar("Case")


class FailedElsewhere(RuntimeError):
    """What a toolkit raised in another process, as one line."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """One way to the gradient of a case.

    Args:
        method: its name, unique for a toolkit.
        run: returns the gradient, a new one with every call.
        against: the method of ours that its time is divided by.
        tolerance: the largest deviation from our gradient that counts as agreement.
        scale: times are multiplied by it, where only a part of the work is run.
        note: what a reader of the table has to know.
        timed: seconds of so many runs, for a route that runs in another process.
        toolkit, version: filled in by `collect`.
    """

    method: str
    run: Callable[[], np.ndarray]
    against: str | None = None
    tolerance: float = 1e-8
    scale: float = 1.0
    note: str = ""
    timed: Callable[[int], float] | None = None
    toolkit: str = ""
    version: str = ""

    @property
    def name(self) -> str:
        """Toolkit and method, for people."""
        return f"{self.toolkit}, {self.method}"

    def seconds(self, loops: int) -> float:
        """Seconds of so many runs, one after the other."""
        if self.timed is not None:
            return self.timed(loops)
        start = time.perf_counter()
        for _ in range(loops):
            self.run()
        return time.perf_counter() - start


@dataclass(frozen=True, kw_only=True)
class Driver(Generic[Case]):
    """How a toolkit is driven through the cases of a workload.

    Args:
        toolkit: its name in tables.
        packages: its distributions; the first one's version stands in tables.
        modules: what must be importable; the driver is skipped otherwise.
        routes: returns the ways that it offers for a case, the most telling first.
    """

    toolkit: str
    packages: tuple[str, ...]
    modules: tuple[str, ...]
    routes: Callable[[Case], Sequence[Route]]


def collect(drivers: Sequence[Driver[Case]], case: Case) -> tuple[list[Route], list[str]]:
    """The routes of every driver that can run, and a line for each that cannot.

    An error of ours is raised. One of another toolkit costs its rows only: releases of others must not stop a run.
    """
    routes: list[Route] = []
    skipped: list[str] = []
    for driver in drivers:
        missing = [name for name in driver.modules if importlib.util.find_spec(name) is None]
        if missing:
            skipped.append(f"{driver.toolkit}: skipped, {', '.join(missing)} not installed")
            continue
        try:
            made = driver.routes(case)
        except Exception as error:
            if driver.toolkit == OURS:
                raise
            skipped.append(f"{driver.toolkit}: skipped, {in_one_line(error)}")
            continue
        version = installed(driver.packages[:1]).get(driver.packages[0], "source")
        routes += [replace(route, toolkit=driver.toolkit, version=version) for route in made]
    return routes, skipped


def installed(packages: Sequence[str]) -> dict[str, str]:
    """Versions of those distributions that are installed."""
    versions: dict[str, str] = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def in_one_line(error: Exception) -> str:
    """The kind of an error and the first line of what it says, cut to 160 characters."""
    lines = str(error).strip().splitlines()
    if isinstance(error, FailedElsewhere):
        return lines[0]
    return f"{type(error).__name__}: {lines[0][:160] if lines else 'no message'}"
