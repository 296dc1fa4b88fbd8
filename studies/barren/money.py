"""What the sign of a vanishing gradient costs: shots, QPU seconds and dollars.

A derivative of typical size g = sqrt(V) has the right sign in 95 of 100 cases when 1.645 standard errors are no longer
than g. One shot, spent on the shifted circuits of its parameter-shift rule in turn, leaves the variance v, so that
takes N = 1.645^2 v / V shots. Half of the derivatives are shorter than their median size, which heavy tails take far
below g, and need more. Seconds and dollars are those of one job on IBM's Heron.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hybrid.devices.prices import DEFAULT_PLAN, Prices
from studies.barren.exact import FIRST
from studies.barren.selection import Curve

ONE_SIDED = 1.645
FAR = (20, 50)
"""Numbers of qubits to which a law that is decided is carried on."""
TITLE = "Shots, QPU time and dollars for one gradient sign at 95 percent, first parameter"


@dataclass(frozen=True, kw_only=True)
class Bill:
    shots: float
    low: float | None
    """Shots at the upper end of the variance's interval."""
    high: float | None
    seconds: float
    dollars: float


def bill(curve: Curve, place: int) -> Bill | None:
    """At one measured size; None where the variance has no interval."""
    variance = curve.variances[place]
    if variance is None or not variance.low or not variance.high:
        return None
    row = curve.rows.iloc[place]
    worth = ONE_SIDED**2 * float(row["shot_variance"])
    return _billed(
        worth / variance.value, float(row["circuit_seconds"]), worth / variance.high, worth / variance.low
    )


def far_bill(curve: Curve, size: int) -> Bill | None:
    """At a size to which the fitted law is carried on, a shot's worth as at the largest measured one."""
    law = None if curve.growth is None else curve.growth.law
    if law is None or curve.growth is None:
        return None
    at = size if curve.growth.verdict == "exponential" else math.log(size)
    row = curve.rows.iloc[-1]
    worth = ONE_SIDED**2 * float(row["shot_variance"])
    return _billed(worth / math.exp(float(law.at(at))), float(row["circuit_seconds"]))


def _billed(
    shots: float, circuit_seconds: float, low: float | None = None, high: float | None = None
) -> Bill:
    prices = Prices.load()
    shots = max(1.0, shots)
    seconds = prices.job_seconds + shots * (prices.rep_delay_seconds + circuit_seconds)
    dollars = seconds * prices.of_plan(DEFAULT_PLAN)
    return Bill(shots=shots, low=low, high=high, seconds=seconds, dollars=dollars)


def priced(curves: Sequence[Curve]) -> list[Curve]:
    """The curves of first parameters that have a price."""
    return [
        each
        for each in curves
        if each.position == FIRST and "shot_variance" in each.rows and not each.vanishes
    ]


def table(curves: Sequence[Curve]) -> pd.DataFrame:
    """One line a circuit and cost: at the largest measured size, and carried on."""
    lines = []
    for each in priced(curves):
        places = [i for i in range(len(each.sizes)) if bill(each, i) is not None]
        if not places:
            continue
        own = bill(each, places[-1])
        assert own is not None
        variance = each.variances[places[-1]]
        assert variance is not None
        cell = each.rows.iloc[places[-1]]["derivatives"][FIRST]
        line = {
            "circuit": each.circuit,
            "cost": each.cost,
            "depth": each.name,
            "qubits": int(each.sizes[places[-1]]),
            "typical size": _digits(math.sqrt(variance.value)),
            "median size": _digits(cell["median_size"]),
            "shots": f"{own.shots:,.0f} [{own.low:,.0f}, {own.high:,.0f}]",
            "shots, median size": f"{own.shots * variance.value / cell['median_size'] ** 2:,.0f}",
            "QPU s": _digits(own.seconds),
            "$": _digits(own.dollars),
        }
        for size in FAR:
            far = far_bill(each, size)
            line[f"shots at {size}"] = "–" if far is None else f"{far.shots:.1e}"
            line[f"$ at {size}"] = "–" if far is None else in_dollars(far.dollars)
        lines.append(line)
    return pd.DataFrame(lines)


def sentences(curves: Sequence[Curve]) -> list[str]:
    """The dearest and the cheapest circuit at the largest size, and where the dearest law leads."""
    wanted = priced(curves)
    if len(wanted) < 2:
        return []
    # The largest size that most circuits have.
    size = max(Counter(each.sizes[-1] for each in wanted).items(), key=lambda pair: (pair[1], pair[0]))[0]
    found = [
        (own, each)
        for each in wanted
        for place in np.flatnonzero(each.sizes == size)
        if (own := bill(each, int(place))) is not None
    ]
    if len(found) < 2:
        return []
    found.sort(key=lambda pair: pair[0].shots)
    (cheap, first), (dear, last) = found[0], found[-1]
    prices = Prices.load()
    said = [
        "One gradient sign at 95 percent, N = 1.645^2 v / V with a typical gradient sqrt(V) and the measured variance "
        f"v of one parameter-shift shot, takes on {size:g} qubits from {cheap.shots:,.0f} shots "
        f"({_name(first)}; {in_dollars(cheap.dollars)}) to {dear.shots:,.0f} ({_name(last)}; "
        f"{in_dollars(dear.dollars)}), one job on IBM's Heron at the prices of {prices.date}, first parameter."
    ]
    lines = []
    for far_size in FAR:
        bills = [(far.dollars, each) for each in wanted if (far := far_bill(each, far_size)) is not None]
        if bills:
            low, high = min(bills, key=lambda pair: pair[0]), max(bills, key=lambda pair: pair[0])
            lines.append(
                f"at {far_size} qubits from {in_dollars(low[0])} ({_name(low[1])}) to {in_dollars(high[0])} "
                f"({_name(high[1])})"
            )
    if lines:
        said.append(f"Carried on by the fitted laws, which is no measurement: {'; '.join(lines)}.")
    return said


def in_dollars(value: float) -> str:
    return f"${value:,.2f}" if value < 1e6 else f"${value:.1e}"


def _name(each: Curve) -> str:
    return f"{each.circuit}, {each.cost}, {each.name}"


def _digits(value: float) -> float:
    return float(np.format_float_positional(value, precision=3, fractional=False)) if value else 0.0
