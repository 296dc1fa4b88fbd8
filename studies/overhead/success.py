"""Shares of successes, and the shots at which they reach a level."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv, ndtr, ndtri

from studies.engine.statistics import Estimate

_ROUNDS = 100
_TINY = 1e-12


def share(successes: int, trials: int, level: float = 0.95) -> Estimate:
    """The share of successes with the interval of Clopper and Pearson 1934, doi:10.2307/2331986, which errs wide."""
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, trials - successes + 1, tail))
    high = 1.0 if successes == trials else float(betaincinv(successes + 1, trials - successes, 1 - tail))
    return Estimate(value=successes / trials, low=low, high=high, count=trials)


def crossing(shots: ArrayLike, successes: ArrayLike, trials: int, level: float = 0.95) -> float | None:
    """Returns the shots at which the chance of success is `level`, by the normal curve of ln shots that fits best.

    Most likely binomial curve Phi(b + c ln shots), by Fisher's scoring (Finney 1971, Probit Analysis). None where all
    tries succeed alike, or where chances do not grow with shots.
    """
    places, counts = np.log(np.asarray(shots, dtype=float)), np.asarray(successes, dtype=float)
    if len(places) < 2 or (counts == counts[0]).all():
        return None
    middle = places.mean()
    design = np.stack([np.ones_like(places), places - middle], axis=1)
    # Half a success and half a failure are added: a first guess that is finite.
    start = ndtri((counts + 0.5) / (trials + 1))
    fit = np.linalg.lstsq(design, start, rcond=None)[0]
    for _ in range(_ROUNDS):
        line = design @ fit
        chance = np.clip(ndtr(line), _TINY, 1 - _TINY)
        density = np.exp(-(line**2) / 2) / math.sqrt(2 * math.pi)
        weight = trials * density**2 / (chance * (1 - chance))
        score = design.T @ ((counts - trials * chance) * density / (chance * (1 - chance)))
        step = np.linalg.lstsq(design.T @ (design * weight[:, None]), score, rcond=None)[0]
        # Where points are parted without overlap the curve steepens without end: it is far enough then.
        fit = fit + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-9:
            break
    if fit[1] <= 0:
        return None
    return float(math.exp(middle + (float(ndtri(level)) - fit[0]) / fit[1]))
