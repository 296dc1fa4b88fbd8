"""How the angles of a circuit are drawn at the start."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from classical.angle_laws import AbstractAngleLaw, Gaussian, RandomAxis, Uniform
from classical.variance_theory import gaussian_deviation
from hybrid.ensembles import random_axis_rows
from studies.barren.circuits import Laid

UNIFORM, GAUSSIAN, IDENTITY, LAYERWISE = "uniform", "Gaussian", "identity blocks", "layer by layer"
STARTS: Mapping[str, str] = {
    UNIFORM: "all angles uniform over 2 pi",
    GAUSSIAN: "all angles normal with variance 1 / (4 S (L + 2)), S = 2 qubits of the observable, L layers (Zhang et "
    "al. 2022, arXiv:2203.09376)",
    IDENTITY: "blocks of two layers and two that undo them, the first halves uniform (Grant et al. 2019, "
    "arXiv:1903.05076)",
    LAYERWISE: "the first half of the layers uniform, in place of trained, the second half at zero, of which the first "
    "layer is differentiated (after Skolik et al. 2020, arXiv:2006.14904)",
}
_SUPPORT = 2


def drawn(start: str, each: Laid, count: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of angles, shape (count, parameters)."""
    shape = (count, len(each.parameters))
    if each.random_axes:
        return random_axis_rows(count, shape[1] // 3, rng)[0].numpy()
    if start == GAUSSIAN:
        return rng.normal(0.0, gaussian_deviation(_SUPPORT, len(each.layers)), shape)
    rows = rng.uniform(0, 2 * math.pi, shape)
    if start == LAYERWISE:
        rows[:, _held(each)] = 0.0
    if start == IDENTITY:
        sources, targets = zip(*each.mirrors, strict=True)
        rows[:, list(targets)] = -rows[:, list(sources)]
    return rows


def laws(start: str, each: Laid) -> Sequence[AbstractAngleLaw] | None:
    """The law of each parameter, of each site for random axes; None where angles are not independent."""
    count = len(each.parameters)
    if each.random_axes:
        return [RandomAxis()] * (count // 3)
    if start == IDENTITY:
        return None
    if start == GAUSSIAN:
        return [Gaussian(gaussian_deviation(_SUPPORT, len(each.layers)))] * count
    held = set(_held(each)) if start == LAYERWISE else set()
    return [Gaussian(0.0) if place in held else Uniform() for place in range(count)]


def _held(each: Laid) -> list[int]:
    """Places of the second half of the layers."""
    return [place for layer in each.layers[len(each.layers) // 2 :] for place in layer]
