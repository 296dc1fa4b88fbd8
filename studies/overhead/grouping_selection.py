"""Rows of the part on grouping, and the numbers that its figures, tables and sentences use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import chdtri

from hybrid.devices.prices import DEFAULT_PLAN, Prices
from studies.engine.statistics import Estimate
from studies.overhead.grouping import (
    BEST,
    CASES,
    FULLY,
    HAMILTONIANS,
    NONE,
    PART,
    PRECISION,
    QUBIT_WISE,
    SHADOWS,
    SORTED,
)

_SHORT = {NONE: "none", QUBIT_WISE: "qubit-wise", FULLY: "fully", SHADOWS: "shadows"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Grouped:
    """One Hamiltonian at one state in one grouping."""

    row: dict[str, Any]

    @property
    def place(self) -> tuple[str, str]:
        """Hamiltonian and state."""
        return self.row["hamiltonian"], self.row["state"]

    @property
    def label(self) -> str:
        """Grouping and order, as they stand in figures."""
        order = {"": "", SORTED: ", sorted"}.get(self.row["order"], ", by degree")
        return _SHORT[self.row["commuting"]] + order

    @property
    def circuits(self) -> int:
        """Measurement circuits: groups, of shadows all bases there are."""
        return int(self.row["groups"])

    @property
    def allocations(self) -> list[str]:
        return list(self.row["arms"])

    @property
    def best(self) -> float:
        """K of the best allocation; of shadows their only one."""
        return self.constant(SHADOWS if self.row["commuting"] == SHADOWS else BEST)

    def constant(self, allocation: str) -> float:
        return float(self.row["arms"][allocation]["constant"])

    def ratio(self, allocation: str, kind: str) -> NDArray[np.float64] | None:
        """Squared errors by repeat over those that K says; `kind` is "observed" or "reported". None without any."""
        arm = self.row["arms"][allocation]
        if kind not in arm or not arm["constant"]:
            return None
        return np.array(arm[kind]) * self.row["total_shots"] / arm["constant"]

    def price(self, constant: float) -> tuple[float, float, float]:
        """Shots, QPU seconds and dollars for a value with the error `PRECISION`, in one job; estimated."""
        prices = Prices.load()
        shots = constant / PRECISION**2
        seconds = prices.job_seconds + shots * self.row["seconds_a_shot"]
        return shots, seconds, seconds * prices.of_plan(DEFAULT_PLAN)


def grouped(rows: pd.DataFrame) -> list[list[Grouped]]:
    """Hamiltonians at their states, each a list of groupings, where all groupings have rows."""
    part = rows[rows["part"] == PART] if len(rows) else rows
    if not len(part):
        return []
    found = []
    names = list(HAMILTONIANS)
    order = sorted(
        set(zip(part["hamiltonian"], part["state"], strict=True)), key=lambda p: (names.index(p[0]), p[1])
    )
    for hamiltonian, state in order:
        data = part[(part["hamiltonian"] == hamiltonian) & (part["state"] == state)]
        by_case = {(row["commuting"], row["order"]): row for row in data.to_dict("records")}
        if set(by_case) == set(CASES):
            found.append([Grouped(row={str(k): v for k, v in by_case[case].items()}) for case in CASES])
    return found


def observed_over_expected(each: Grouped, allocation: str) -> Estimate | None:
    """Squared errors over those that K says; without an interval for shadows, whose errors are not normal."""
    ratios = each.ratio(allocation, "observed")
    if ratios is None:
        return None
    if allocation == SHADOWS:
        return Estimate(value=float(ratios.mean()), low=None, high=None, count=len(ratios))
    return mean_square(ratios)


def mean_square(ratios: NDArray[np.float64], level: float = 0.95) -> Estimate:
    """Mean of squared errors over their expectation, with the chi-square interval of normal errors."""
    count = len(ratios)
    centre, tail = float(ratios.mean()), (1 - level) / 2
    return Estimate(
        value=centre,
        low=centre * count / float(chdtri(count, tail)),
        high=centre * count / float(chdtri(count, 1 - tail)),
        count=count,
    )


def arms(found: Sequence[Grouped], kind: str) -> list[tuple[Grouped, str, NDArray[np.float64]]]:
    """Measured allocations with their ratios."""
    listed = ((each, name, each.ratio(name, kind)) for each in found for name in each.allocations)
    return [(each, name, ratios) for each, name, ratios in listed if ratios is not None]
