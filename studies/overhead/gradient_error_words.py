"""What the part on shots for a gradient's error says."""

from __future__ import annotations

import numpy as np
import pandas as pd

from studies.engine.statistics import Estimate, ratio
from studies.overhead.gradient_error import METHODS, PARAMETER_SHIFT
from studies.overhead.slopes import COMPONENT, LARGEST, LENGTH, NORMS, Growth, Range, growths, part_of
from studies.qpu.words import decimal, holds, number

TITLE = "Shots for a gradient's error: exponents of parameters and error"


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a rule and norm; no lines without rows."""
    lines = []
    for each in growths(rows):
        params, error = each.expected()
        lines.append(
            {
                "rule": each.method,
                "error of": NORMS[each.norm],
                "exponent of parameters": decimal(each.params, 2),
                "theory": _span(params),
                "exponent of error": decimal(each.error, 2),
                "theory ": _span(error),
                "at error": number(each.target),
                f"shots, {each.sizes[0]:.0f} parameters": f"{_middle(each, 0):,.0f}",
                f"shots, {each.sizes[-1]:.0f} parameters": f"{_middle(each, -1):,.0f}",
            }
        )
    return pd.DataFrame(lines)


def sentences(rows: pd.DataFrame) -> list[str]:
    """The exponents against theory, the rivals, the price and the control."""
    found = {(each.method, each.norm): each for each in growths(rows)}
    if not found:
        return []
    part = part_of(rows)
    first = next(iter(found.values()))
    said = [
        f"Shots for a gradient's error, fitted to measured errors ({part['replicate'].nunique()} draws of angles, "
        f"{int(part['repeats'].iloc[0])} gradients each, {int(part['qubits'].iloc[0])} qubits, {first.sizes[0]:.0f} to "
        f"{first.sizes[-1]:.0f} parameters by depth, transverse-field Ising chain, even shots). "
        + _claims(found)
    ]
    for method in METHODS:
        if (method, COMPONENT) in found and method != PARAMETER_SHIFT:
            said.append(_rival(found, method))
    said += _price(found)
    return said + _control(part)


def _claims(found: dict[tuple[str, str], Growth]) -> str:
    """Of parameter-shift, norm by norm."""
    words = []
    for norm in (COMPONENT, LARGEST, LENGTH):
        each = found.get((PARAMETER_SHIFT, norm))
        if each is not None:
            params, error = each.expected()
            words.append(
                f"{NORMS[norm]}: parameters^{decimal(each.params, 2)} ({_verdict(each.params, params)}), "
                f"error^{decimal(each.error, 2)} ({_verdict(each.error, error)})"
            )
    component, whole = (found.get((PARAMETER_SHIFT, norm)) for norm in (COMPONENT, LENGTH))
    text = f"Parameter-shift, for the error of {'; '.join(words)}."
    if component is None or whole is None:
        return text
    return text + (
        f" The same error of the whole gradient takes parameters^{whole.params.value - component.params.value:.2f} "
        "times the shots of that of a component."
    )


def _rival(found: dict[tuple[str, str], Growth], method: str) -> str:
    each, whole = found[method, COMPONENT], found[method, LENGTH]
    params, error = each.expected()
    text = (
        f"{method[0].upper()}{method[1:]}: parameters^{decimal(each.params, 2)} ({_verdict(each.params, params)}) and "
        f"error^{decimal(each.error, 2)} ({_verdict(each.error, error)}) for a component, "
        f"parameters^{decimal(whole.params, 2)} ({_verdict(whole.params, whole.expected()[0])}) for the whole gradient."
    )
    ours = found.get((PARAMETER_SHIFT, COMPONENT))
    if ours is None:
        return text
    times = _middle(each, -1) / _middle(ours, -1)
    low, high = each.reach
    inside = "measured there" if low <= each.target <= high else "extrapolated"
    text += (
        f" At a component's error of {each.target:.2g} and {each.sizes[-1]:.0f} parameters it takes {times:.2g} times "
        f"the shots of parameter-shift ({inside})"
    )
    steeper = each.error.high is not None and ours.error.low is not None and each.error.high < ours.error.low
    return text + (
        ", more for smaller errors, since its exponent of the error is steeper." if steeper else "."
    )


def _price(found: dict[tuple[str, str], Growth]) -> list[str]:
    parts = [each for (_, norm), each in found.items() if norm == COMPONENT]
    words = []
    for each in parts:
        seconds, dollars = each.price()
        words.append(f"{each.method} {_middle(each, -1):,.0f} shots, {seconds:,.0f} s, ${dollars:,.0f}")
    return [
        f"One gradient of {each.sizes[-1]:.0f} parameters with a component's error of {each.target:.2g}, on a QPU: "
        f"{'; '.join(words)}. Seconds and dollars are estimated, as one job, by IBM's formula at pay-as-you-go prices."
        for each in parts[:1]
    ]


def _control(part: pd.DataFrame) -> list[str]:
    """Error bars of the unbiased rule against the errors that were found."""
    data = part[part["method"] == PARAMETER_SHIFT]
    observed = np.array([np.mean(each) for each in data["squares"]])
    reported = np.array([np.mean(each) for each in data["reported_squares"]])
    if len(observed) < 10:
        return []
    # Each task counts alike, whatever its budget.
    found = ratio(observed / reported, np.ones_like(observed))
    right = "as it must be" if holds(found, 1.0) else "which it must not be: the error bars are wrong"
    return [
        f"Control: squared errors of parameter-shift over those that its error bars say, over {len(data)} tasks: "
        f"{decimal(found, 3)}; one is {'inside' if holds(found, 1.0) else 'outside'}, {right}."
    ]


def _verdict(estimate: Estimate, expected: Range) -> str:
    low, high = expected
    meets = estimate.low is None or estimate.high is None or (estimate.low <= high and estimate.high >= low)
    return f"theory {_span(expected)}, {'inside' if meets else 'outside'}"


def _span(expected: Range) -> str:
    low, high = (f"{number(end):g}" for end in expected)
    return low if low == high else f"{low} to {high}"


def _middle(each: Growth, place: int) -> float:
    """Geometric mean over the draws of angles."""
    return float(np.exp(np.log(each.shots[:, place]).mean()))
