"""How shots for a gradient's error grow, fitted to measured errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.integrate import quad

from hybrid.devices.prices import DEFAULT_PLAN, Prices
from studies.engine.statistics import Estimate, fit_power
from studies.overhead.gradient_error import FINITE_DIFFERENCES, METHODS, PARAMETER_SHIFT, PART, SIMULTANEOUS

COMPONENT, LARGEST, LENGTH = "component_error", "largest_error", "length_error"
NORMS: Mapping[str, str] = {
    COMPONENT: "a component (root mean square)",
    LARGEST: "the largest component",
    LENGTH: "the whole gradient (l2)",
}
Range = tuple[float, float]
EXPECTED: Mapping[tuple[str, str], tuple[Range, Range]] = {
    (PARAMETER_SHIFT, COMPONENT): ((1, 1), (-2, -2)),
    (PARAMETER_SHIFT, LENGTH): ((2, 2), (-2, -2)),
    (FINITE_DIFFERENCES, COMPONENT): ((1, 1), (-3, -3)),
    (FINITE_DIFFERENCES, LENGTH): ((2.5, 2.5), (-3, -3)),
    (SIMULTANEOUS, COMPONENT): ((1, 1.5), (-3, -2)),
    (SIMULTANEOUS, LENGTH): ((2, 3), (-3, -2)),
}
"""Exponents of the number of parameters d and of the error, from and to. Squared error of a component with N shots in
all: d / N for parameter-shift; (d / N)^(2/3) for central differences at their best step; for SPSA between |gradient|^2
/ N, which grows as d, where directions are the noise, and d N^(-2/3), where shots along a step of 1 / sqrt(d) are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Growth:
    """Shots against parameters and error, of one rule and norm; `None` where the rows do not carry a fit.

    Args:
        params: exponent of the number of parameters at one error.
        error: exponent of the error at one number of parameters.
        target: the error at which shots are compared, the same for all rules.
        sizes: shape (S,), numbers of parameters.
        shots: shape (replicates, S), for the target.
        reach: smallest and largest error that was measured.
    """

    method: str
    norm: str
    params: Estimate
    error: Estimate
    target: float
    sizes: NDArray[np.float64]
    shots: NDArray[np.float64]
    reach: tuple[float, float]
    seconds_a_shot: float

    def expected(self) -> tuple[Range, Range]:
        """Exponents of parameters and of error that theory gives, each from and to.

        The largest of d normal errors grows as their expected maximum, to first order a logarithm.
        """
        if self.norm != LARGEST:
            return EXPECTED[self.method, self.norm]
        params, error = EXPECTED[self.method, COMPONENT]
        few, many = float(self.sizes[0]), float(self.sizes[-1])
        growth = math.log(_largest_normal(many) / _largest_normal(few)) / math.log(many / few)
        return (params[0] - error[1] * growth, params[1] - error[0] * growth), error

    def price(self) -> tuple[float, float]:
        """QPU seconds and dollars of one gradient of the largest size at the target, in one job; estimated."""
        prices = Prices.load()
        shots = float(np.exp(np.log(self.shots[:, -1]).mean()))
        seconds = prices.job_seconds + shots * self.seconds_a_shot
        return seconds, seconds * prices.of_plan(DEFAULT_PLAN)


def _largest_normal(count: float) -> float:
    """Expected size of the largest of so many standard normal numbers."""
    return quad(lambda x: 1 - math.erf(x / math.sqrt(2)) ** count, 0, math.inf)[0]


def part_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of this part."""
    return rows[rows["part"] == PART] if len(rows) else rows


def growths(rows: pd.DataFrame) -> list[Growth]:
    """Every rule in every norm, where all sizes, budgets and replicates have rows."""
    part = part_of(rows)
    found = []
    for norm in NORMS:
        if not len(part):
            break
        target = float(np.exp(np.log(part[norm].to_numpy(dtype=float)).mean()))
        for method in METHODS:
            growth = _growth(part[part["method"] == method], method, norm, target)
            if growth is not None:
                found.append(growth)
    return found


def _growth(data: pd.DataFrame, method: str, norm: str, target: float) -> Growth | None:
    curves = data.groupby(["replicate", "num_params"])
    sizes = np.sort(data["num_params"].unique()).astype(float)
    replicates = np.sort(data["replicate"].unique())
    budgets = data["shots_each"].nunique()
    if len(sizes) < 2 or budgets < 2 or len(data) != len(sizes) * len(replicates) * budgets:
        return None
    errors, shots = data[norm].to_numpy(dtype=float), data["total_shots"].to_numpy(dtype=float)
    line = fit_power(errors, shots, groups=_names(data))
    exponent = line.slope.value
    table = np.array(
        [
            [_at(curves.get_group((replicate, size)), norm, target, exponent) for size in sizes]
            for replicate in replicates
        ]
    )
    places, names = np.tile(sizes, len(replicates)), np.repeat(replicates, len(sizes)).tolist()
    seconds = data["device_seconds"].to_numpy(dtype=float) - Prices.load().job_seconds
    return Growth(
        method=method,
        norm=norm,
        params=fit_power(places, table.ravel(), groups=names).slope,
        error=line.slope,
        target=target,
        sizes=sizes,
        shots=table,
        reach=(float(errors.min()), float(errors.max())),
        seconds_a_shot=float((seconds / shots).max()),
    )


def _names(data: pd.DataFrame) -> Sequence[str]:
    return [f"{a} {b}" for a, b in zip(data["replicate"], data["num_params"], strict=True)]


def _at(curve: pd.DataFrame, norm: str, target: float, exponent: float) -> float:
    """Shots for the target, by a line of this slope through the measured points."""
    errors = np.log(curve[norm].to_numpy(dtype=float))
    shots = np.log(curve["total_shots"].to_numpy(dtype=float))
    return float(np.exp(shots.mean() + exponent * (math.log(target) - errors.mean())))
