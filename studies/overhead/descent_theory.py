"""How likely a step from noisy slopes lowers a loss, with normal noise on the loss's quadratic form."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]
CONFIDENCE = 0.95


def chance_of_exact_rule(slope: Array, curvature: Array, noise: Array, rate: float, shots: float) -> float:
    """Probability that -a g.G + a^2 G.H.G / 2 < 0 for G normal about the slope g with covariance noise / shots.

    By a normal with the form's mean, -a g.g + a^2 (g.H.g + tr HC) / 2, and variance, v.C.v + a^4 tr (HC)^2 / 2 with
    v = a^2 H g - a g and C the covariance.
    """
    covariance = noise / shots
    bent = curvature @ covariance
    centre = -rate * slope @ slope + rate**2 / 2 * (slope @ curvature @ slope + np.trace(bent))
    lever = rate**2 * curvature @ slope - rate * slope
    variance = lever @ covariance @ lever + rate**4 / 2 * np.trace(bent @ bent)
    return float(ndtr(-centre / math.sqrt(variance))) if variance > 0 else float(centre < 0)


def chance_of_spsa(along: Array, bend: Array, variance: float, rate: float) -> float:
    """Probability of the same for G = (D.g + e) D, D random signs and e normal with `variance`: mean over drawn D.

    Given x = D.g (`along`) and h = D.H.D (`bend`), one entry a draw: the loss falls where t = x + e has
    -a t x + a^2 t^2 h / 2 < 0, that is between 0 and 2 x / (a h) when h > 0, and outside of these when h < 0.
    """
    bend = np.where(bend == 0, 1e-300, bend)
    spread = math.sqrt(max(variance, 1e-300))
    zero, other = ndtr(-along / spread), ndtr((2 * along / (rate * bend) - along) / spread)
    between = np.abs(other - zero)
    return float(np.where(bend > 0, between, 1 - between).mean())


def least_shots(chance: Callable[[float], float], level: float = CONFIDENCE) -> float | None:
    """Returns the shots at which a chance that grows with shots reaches `level`; None where 1e15 do not."""
    low, high = 1.0, 1e15
    if chance(high) < level:
        return None
    while high / low > 1 + 1e-6:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if chance(middle) >= level else (middle, high)
    return high
