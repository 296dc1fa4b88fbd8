"""Whether a positive quantity grows or falls with a size exponentially or as a power of it.

Two straight lines are fitted to ln V, one against n and one against ln n, with weights by the errors of the points;
the Akaike criterion says which of them the points carry, or that they carry neither verdict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

from studies.engine.statistics import Estimate, checked_level

Verdict = Literal["exponential", "power law", "undecided"]

DECISIVE = 6.0
"""Difference of the criterion that decides. The worse of two laws that fit with known errors wins by as much in less
than 1 of 100 cases, whatever the points: the difference is normal with variance four times its mean, at worst
P(z > sqrt(6))."""

_NO_CHANGE = "the interval of the slope holds zero, no change is shown"
# chi^2 per degree of freedom above which the chosen law is said not to fit.
_POOR = 4.0


@dataclass(frozen=True, kw_only=True)
class Law:
    """One fitted line, `ln V = intercept + slope * n`, or `+ slope * ln n`."""

    slope: Estimate
    """Change of ln V per unit of n, or the exponent of n."""
    intercept: float
    criterion: float
    """Akaike's, corrected for few points; infinite where there are too few."""
    misfit: float
    """chi^2 per degree of freedom where the errors of the points are known; 0 without a degree of freedom."""

    def at(self, places: ArrayLike) -> NDArray[np.float64]:
        """ln V at n (exponential) or at ln n (power law)."""
        return self.intercept + self.slope.value * np.asarray(places, dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Growth:
    """Both laws, and which of them the points carry."""

    exponential: Law
    power: Law
    verdict: Verdict
    reason: str
    """Why there is no verdict; empty with one."""
    count: int
    left_out: int
    """Points that are bounds or have no interval."""

    @property
    def difference(self) -> float:
        """By how much the criterion prefers the exponential; negative for the power law, 0 where it has no value."""
        if not math.isfinite(self.exponential.criterion):
            return 0.0
        return self.power.criterion - self.exponential.criterion

    @property
    def flat(self) -> bool:
        """Whether the points are enough and show no change with the size, which is not that there is none."""
        return self.verdict == "undecided" and self.reason == _NO_CHANGE

    @property
    def law(self) -> Law | None:
        """The law of the verdict."""
        return {"exponential": self.exponential, "power law": self.power}.get(self.verdict)

    def sentence(self, unit: str = "qubit") -> str:
        """The verdict in words, without a subject: "falls exponentially, by the factor ... with every qubit"."""
        left = f"; {self.left_out} without an interval left out" if self.left_out else ""
        if self.law is not None and self.law.misfit > _POOR:
            left += (
                f"; chi^2 per degree of freedom {self.law.misfit:.2g}: the better of two laws that do not fit"
            )
        rate, exponent = self.exponential.slope, self.power.slope
        if self.verdict == "exponential":
            verb = "falls" if rate.value < 0 else "grows"
            return (
                f"{verb} exponentially with every {unit}, by the factor {_factor(rate)} (ln-slope {_short(rate)}, "
                f"log2-slope {rate.value / math.log(2):.2f}; {self.count} points{left})"
            )
        if self.verdict == "power law":
            verb = "falls" if exponent.value < 0 else "grows"
            return (
                f"{verb} as a power {_short(exponent)} of the number of {unit}s ({self.count} points{left})"
            )
        return (
            f"decides for neither law: {self.reason} (factor {_factor(rate)} with every {unit}, or power "
            f"{_short(exponent)}; {self.count} points{left})"
        )


def growth_of(sizes: ArrayLike, estimates: Sequence[Estimate], level: float = 0.95) -> Growth | None:
    """Returns the laws fitted to estimates; bounds and what has no interval are left out and counted.

    The relative error of a point is what its interval at `level` says. Its logarithm is raised by half the square of
    that: to first order, what heavy tails take from it (E[ln S^2] = ln V - (kurtosis - 1) / 2 M).

    None with fewer than two points.
    """
    places = np.asarray(sizes, dtype=np.float64)
    if places.shape != (len(estimates),):
        raise ValueError(
            f"Argument `sizes` must hold one size for each of {len(estimates)} estimates, but has shape {places.shape}."
        )
    used = [i for i, each in enumerate(estimates) if each.value > 0 and each.low and each.high]
    if len({places[i] for i in used}) < 2:
        return None
    quantile = float(ndtri((1 + checked_level(level)) / 2))
    errors = np.array(
        [math.log((estimates[i].high or 1) / (estimates[i].low or 1)) / (2 * quantile) for i in used]
    )
    values = np.array([estimates[i].value for i in used]) * np.exp(errors**2 / 2)
    return fit_growth(places[used], values, errors, level, left_out=len(estimates) - len(used))


def fit_growth(
    sizes: ArrayLike,
    values: ArrayLike,
    relative_errors: ArrayLike | None = None,
    level: float = 0.95,
    *,
    left_out: int = 0,
) -> Growth:
    """Returns both laws fitted to positive values at positive sizes, at least two different ones.

    With known relative errors, points weigh 1 / error^2; where they scatter by more (chi^2 per degree of freedom above
    1), intervals widen by its root and use Student's t, and the criterion is divided by it. Without errors, such as
    for exact values, the scatter about the line takes their place, and the verdict speaks of which line is straighter.
    A verdict wants 4 points with errors or 5 without, a criterion that differs by 6, and a slope whose interval does
    not hold zero. Source: Burnham and Anderson 2002, Model selection, sections 2.4 and 2.5.
    """
    places, heights = _positive(sizes, "sizes"), _positive(values, "values")
    errors = None if relative_errors is None else _positive(relative_errors, "relative_errors")
    if heights.size != places.size or (errors is not None and errors.size != places.size):
        raise ValueError("Arguments `sizes`, `values` and `relative_errors` must be of one length.")
    if np.unique(places).size < 2:
        raise ValueError("Argument `sizes` must hold at least two different sizes, but holds one.")
    logs = np.log(heights)
    lines = [_Line.through(axis, logs, errors) for axis in (places, np.log(places))]
    # The better line says by how much points scatter beyond their errors, for both.
    excess = max(1.0, min(line.misfit for line in lines))
    level = checked_level(level)
    exponential, power = (line.law(errors is not None, excess, level) for line in lines)
    verdict, reason = _verdict(exponential, power, places.size, errors is not None)
    return Growth(
        exponential=exponential,
        power=power,
        verdict=verdict,
        reason=reason,
        count=places.size,
        left_out=left_out,
    )


def _verdict(exponential: Law, power: Law, count: int, known: bool) -> tuple[Verdict, str]:
    wanted = 4 if known else 5
    if count < wanted:
        return "undecided", f"{count} points are too few, {wanted} are wanted"
    if any(_holds_zero(law.slope) for law in (exponential, power)):
        return "undecided", _NO_CHANGE
    difference = power.criterion - exponential.criterion
    if abs(difference) < DECISIVE:
        return (
            "undecided",
            f"the criteria of the two laws differ by {abs(difference):.1f}, {DECISIVE:g} is wanted",
        )
    return ("exponential" if difference > 0 else "power law"), ""


@dataclass(frozen=True, kw_only=True)
class _Line:
    slope: float
    intercept: float
    spread: float
    """Weighted squares of the places about their mean: 1 / variance of the slope for errors of size 1 / weight."""
    squares: float
    count: int

    @classmethod
    def through(
        cls, places: NDArray[np.float64], logs: NDArray[np.float64], errors: NDArray[np.float64] | None
    ) -> _Line:
        weights = np.ones_like(places) if errors is None else errors**-2.0
        middle, height = np.average(places, weights=weights), np.average(logs, weights=weights)
        apart = places - middle
        spread = float(np.sum(weights * apart**2))
        slope = float(np.sum(weights * apart * (logs - height))) / spread
        residuals = logs - height - slope * apart
        return cls(
            slope=slope,
            intercept=float(height - slope * middle),
            spread=spread,
            squares=float(np.sum(weights * residuals**2)),
            count=places.size,
        )

    @property
    def misfit(self) -> float:
        return self.squares / (self.count - 2) if self.count > 2 else 0.0

    def law(self, known: bool, excess: float, level: float) -> Law:
        """The line with its interval and criterion, for points of known errors or not."""
        free = self.count - 2
        own = max(1.0, self.misfit) if known else self.misfit
        half = None
        if known and own == 1.0:
            half = float(ndtri((1 + level) / 2)) / math.sqrt(self.spread)
        elif free > 0:
            half = float(stdtrit(free, (1 + level) / 2)) * math.sqrt(own / self.spread)
        return Law(
            slope=Estimate(
                value=self.slope,
                low=None if half is None else self.slope - half,
                high=None if half is None else self.slope + half,
                count=self.count,
                needs=2 if known else 3,
            ),
            intercept=self.intercept,
            criterion=self._criterion(known, excess),
            misfit=self.misfit if known else 0.0,
        )

    def _criterion(self, known: bool, excess: float) -> float:
        # A scatter that is fitted counts as a parameter.
        parameters = 2 if known else 3
        if self.count - parameters - 1 < 1:
            return math.inf
        tiny = np.finfo(np.float64).tiny
        fit = self.squares / excess if known else self.count * math.log(max(self.squares, tiny) / self.count)
        return fit + 2 * parameters + 2 * parameters * (parameters + 1) / (self.count - parameters - 1)


def _positive(values: ArrayLike, name: str) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or numbers.size == 0 or not (np.isfinite(numbers) & (numbers > 0)).all():
        raise ValueError(
            f"Argument `{name}` must be a list of positive finite numbers, but is {numbers.tolist()}."
        )
    return numbers


def _holds_zero(slope: Estimate) -> bool:
    return slope.low is None or slope.high is None or slope.low <= 0 <= slope.high


def _short(slope: Estimate) -> str:
    if slope.low is None or slope.high is None:
        return f"{slope.value:.2f}"
    return f"{slope.value:.2f} [{slope.low:.2f}, {slope.high:.2f}]"


def _factor(slope: Estimate) -> str:
    if slope.low is None or slope.high is None:
        return f"{math.exp(slope.value):.2f}"
    return f"{math.exp(slope.value):.2f} [{math.exp(slope.low):.2f}, {math.exp(slope.high):.2f}]"
