"""What part A says: which variances fall exponentially with qubits, and which do not."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from studies.barren.circuits import FREE_FERMIONS, HARDWARE, PRODUCT, RANDOM_AXES
from studies.barren.costs import GLOBAL, LOCAL
from studies.barren.qubits import COST_AXES
from studies.barren.selection import FIRST, MIDDLE, Curve, picked
from studies.engine.growth import Growth
from studies.engine.statistics import Estimate

TITLE = "Variance of a derivative against qubits: the law that the points carry"
_RATE = math.log(3 / 8)


def table(found: Sequence[Curve]) -> pd.DataFrame:
    """One line a circuit, cost, depth and parameter."""
    lines = []
    for each in found:
        growth, exact = each.growth, each.exact_growth
        last = each.variances[-1]
        lines.append(
            {
                "circuit": each.circuit,
                "cost": each.cost,
                "depth": each.name,
                "parameter": f"{each.position} layer",
                "qubits": f"{each.sizes[0]:g} to {each.sizes[-1]:g}",
                "samples": each.samples,
                "variance at the largest": "–" if last is None else _variance(last),
                "verdict": verdict(each),
                "factor a qubit": "–" if growth is None else _factor(growth.exponential.slope),
                "power of n": "–" if growth is None else _plain(growth.power.slope),
                "factor, exact": "–" if exact is None else f"{math.exp(exact.exponential.slope.value):.3f}",
                "straighter, exact": "–" if exact is None else exact.verdict,
                "points left out": 0 if growth is None else growth.left_out,
            }
        )
    return pd.DataFrame(lines)


def verdict(each: Curve) -> str:
    """The verdict, and why there is none."""
    if each.vanishes:
        return "zero at all angles"
    if each.growth is None:
        return "undecided: fewer than two points with an interval"
    growth = each.growth
    return growth.verdict if growth.verdict != "undecided" else f"undecided: {growth.reason}"


def sentences(found: Sequence[Curve]) -> list[str]:
    """The named circuits one by one, then the hardware-efficient ones together."""
    said = []
    for each in picked(found, circuit=RANDOM_AXES):
        said.append(_sentence(each))
    others = [each for each in found if each.circuit != RANDOM_AXES and each.circuit not in HARDWARE]
    for circuit in dict.fromkeys(each.circuit for each in others):
        own = picked(others, circuit=circuit)
        chosen = [each for each in own if each.position == MIDDLE] or own
        said += [_sentence(each) for each in chosen if not each.vanishes]
    said += [
        _sentence(each)
        for each in found
        if each.circuit == COST_AXES and each.cost in (LOCAL, GLOBAL) and each.position == FIRST
    ]
    hardware = [each for each in found if each.circuit in HARDWARE and each.cost not in (LOCAL, GLOBAL)]
    if hardware:
        said.append(_hardware(hardware))
    return said


def _sentence(each: Curve) -> str:
    subject = (
        f"{each.circuit[0].upper()}{each.circuit[1:]} ({each.cost}, {each.name}, {each.position} layer, "
        f"{each.samples} samples): the variance"
    )
    if each.growth is None:
        needs = max((one.needs for one in each.variances if one is not None), default=0)
        return f"{subject} has too few points with an interval; they need up to {needs:,} samples."
    exact = each.exact_growth
    beside = ""
    if exact is not None and each.growth.verdict != "undecided":
        law = exact.exponential if each.growth.verdict == "exponential" else exact.power
        name = "ln-slope" if each.growth.verdict == "exponential" else "power"
        beside = f"; the exact values of the walk have the {name} {law.slope.value:.2f}"
    return f"{subject} {each.growth.sentence()}{beside}."


def _hardware(curves: Sequence[Curve]) -> str:
    kinds: dict[str, list[Curve]] = {}
    for each in curves:
        kind = "undecided" if each.growth is None else each.growth.verdict
        kinds.setdefault("zero" if each.vanishes else kind, []).append(each)
    sizes = curves[0].sizes
    words = []
    decided = kinds.get("exponential", [])
    if decided:
        rates = [each.growth.exponential.slope.value for each in decided if each.growth]
        words.append(
            f"exponentially in {len(decided)}, by a factor of {math.exp(min(rates)):.2f} to {math.exp(max(rates)):.2f} "
            "with every qubit"
        )
    for kind, verb in (("power law", "as a power"), ("undecided", "by neither law clearly")):
        if kinds.get(kind):
            words.append(f"{verb} in {len(kinds[kind])} ({_by_circuit(kinds[kind])})")
    if kinds.get("zero"):
        words.append(f"zero at all angles in {len(kinds['zero'])}")
    return (
        f"Hardware-efficient circuits ({curves[0].cost}, {curves[0].name}, {sizes[0]:g} to {sizes[-1]:g} qubits, "
        f"{curves[0].samples} samples; {len({each.circuit for each in curves})} pairs of axes and entangler, first, "
        f"middle and last layer): the variance falls {'; '.join(words)}."
    )


def _by_circuit(curves: Sequence[Curve]) -> str:
    layers: dict[str, list[str]] = {}
    for each in curves:
        layers.setdefault(each.circuit, []).append(each.position)
    return "; ".join(f"{circuit}: {', '.join(names)} layer" for circuit, names in layers.items())


def controls(found: Sequence[Curve], others: Sequence[Curve]) -> list[str]:
    """What is known beforehand, and whether it came out."""
    said = []
    for each in picked(found, circuit=PRODUCT, cost=LOCAL):
        if each.growth is not None:
            right = each.growth.verdict == "power law" and _holds(each.growth.power.slope, -2.0)
            said.append(_control("the product circuit with a local cost falls as n^-2", right, each.growth))
    for each in picked(found, circuit=PRODUCT, cost=GLOBAL):
        if each.growth is not None:
            right = each.growth.verdict == "exponential" and _holds(each.growth.exponential.slope, _RATE)
            words = (
                f"the product circuit with the global cost falls exponentially with the ln-slope {_RATE:.4f}"
            )
            said.append(_control(words, right, each.growth))
    for each in picked(found, circuit=FREE_FERMIONS, position=MIDDLE):
        if each.growth is not None:
            right = each.growth.verdict != "exponential"
            said.append(_control("free fermions do not fall exponentially", right, each.growth))
    counts = [each.held() for each in (*found, *others)]
    held, known = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0)
    if known:
        said.append(
            f"Control: of {known} intervals of a variance beside which the walk has the exact value, {held} hold it "
            f"({held / known:.1%}; 95 percent are to)."
        )
    return said


def _control(words: str, right: bool, growth: Growth) -> str:
    return f"Control, {'as known' if right else 'NOT as known'}: {words}. Measured: {growth.sentence()}."


def _holds(slope: Estimate, value: float) -> bool:
    return slope.low is not None and slope.high is not None and slope.low <= value <= slope.high


def _variance(each: Estimate) -> str:
    if each.value == 0:
        return "0"
    if each.low is None and each.high is not None:
        return f"below {each.high:.1e}"
    if each.low is None or each.high is None:
        return f"{each.value:.1e}, needs {each.needs:,} samples"
    return f"{each.value:.2e} [{each.low:.2e}, {each.high:.2e}]"


def _factor(slope: Estimate) -> str:
    value = f"{np.exp(slope.value):.3f}"
    if slope.low is None or slope.high is None:
        return value
    return f"{value} [{np.exp(slope.low):.3f}, {np.exp(slope.high):.3f}]"


def _plain(slope: Estimate) -> str:
    if slope.low is None or slope.high is None:
        return f"{slope.value:.2f}"
    return f"{slope.value:.2f} [{slope.low:.2f}, {slope.high:.2f}]"
