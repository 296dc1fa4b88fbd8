"""Numbers as they stand in sentences and tables."""

from __future__ import annotations

from studies.engine.statistics import Estimate

_NOTHING = 1e-6


def percent(estimate: Estimate) -> str:
    """As a percentage with its interval."""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.1%}"
    return f"{estimate.value:.1%} [{estimate.low:.1%}, {estimate.high:.1%}]"


def signed_percent(estimate: Estimate) -> str:
    """With its sign: a difference."""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:+.1%}"
    return f"{estimate.value:+.1%} [{estimate.low:+.1%}, {estimate.high:+.1%}]"


def decimal(estimate: Estimate | None, digits: int = 3) -> str:
    """With as many decimals, and its interval."""
    if estimate is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.{digits}f}"
    return f"{estimate.value:.{digits}f} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


def significant(estimate: Estimate, scale: float = 1.0) -> str:
    """Two significant digits of each number, whole ones from ten on."""
    value = _short(scale * estimate.value)
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} [{_short(scale * estimate.low)}, {_short(scale * estimate.high)}]"


def _short(value: float) -> str:
    if abs(value) >= 10:
        return f"{value:,.0f}"
    return "0" if abs(value) < _NOTHING else f"{value:.2g}"


def number(value: float) -> float:
    """Three significant digits."""
    return float(f"{value:.3g}")


def holds(estimate: Estimate, value: float) -> bool:
    """Whether the interval holds a value, or there is none."""
    if estimate.low is None or estimate.high is None:
        return True
    return estimate.low <= value <= estimate.high
