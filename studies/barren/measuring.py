"""Derivatives of one ensemble, measured, and what is known of them, as plain values of a row."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch

from classical.cost import Cost
from hybrid import Objective, ParameterShift
from hybrid.devices.prices import circuit_seconds
from hybrid.ensembles import AXES, Samples, sampled_derivatives, sampled_own_derivatives
from studies.barren.circuits import Laid, laid, marked
from studies.barren.costs import observable
from studies.barren.draws import UNIFORM, drawn, laws
from studies.barren.exact import FIRST, LAST, MIDDLE, exact_moments, known_kurtosis, predicted
from studies.engine import Task
from studies.engine.statistics import Estimate, mean
from studies.engine.variances import second_moment, variance

# Below, a derivative is zero but for rounding.
_NOTHING = 1e-11
_LOOKS = 4
_SHOT_ROWS, _SHOTS_A_CIRCUIT = 100, 500


def positions(each: Laid) -> dict[str, int]:
    """Layers of which a parameter is differentiated, by name; shallow circuits have fewer."""
    count = len(each.layers)
    found: dict[str, int] = {}
    for name, layer in ((FIRST, 0), (MIDDLE, count // 2), (LAST, count - 1)):
        if layer not in found.values():
            found[name] = layer
    return found


def measured(
    task: Task, each: Laid, *, start: str = UNIFORM, places: dict[str, int] | None = None
) -> dict[str, Any]:
    """Moments of derivatives over random angles, by position, exact ones beside them.

    Args:
        places: the parameter at each position; by default the first of its layer on which the loss depends.
    """
    spec: dict[str, Any] = dict(task.spec)
    objective = objective_of(each, spec["cost"])
    rows = drawn(start, each, spec["samples"], task.generator("angles"))
    look = drawn(start, each, _LOOKS, task.generator("look"))
    chosen = places or {
        name: _first_that_counts(objective, each, layer, look) for name, layer in positions(each).items()
    }
    exact = exact_moments(objective_of(marked(each), spec["cost"]), spec["cost"], laws(start, each))
    kurtosis = known_kurtosis(spec["circuit"], spec["cost"], spec["qubits"])
    found: dict[str, Any] = {}
    columns, cost = _columns(objective, each, rows, list(chosen.values()))
    for (name, place), values in zip(chosen.items(), columns, strict=True):
        site = place // AXES if each.random_axes else place
        found[name] = {
            **moments(values, kurtosis),
            "parameter": place,
            "exact_second_moment": None if exact is None else float(exact.derivatives[site]),
            "exact_mean": None if exact is None else float(exact.mean_derivatives[site]),
            "predicted": predicted(spec["circuit"], spec["cost"], name, spec["qubits"], objective, place)
            if start == UNIFORM
            else None,
        }
    return {
        "num_params": len(each.parameters) // (AXES if each.random_axes else 1),
        "derivatives": found,
        "cost": cost,
    }


def single_shots(task: Task, each: Laid) -> dict[str, Any]:
    """What one shot of the first position's parameter-shift derivative is worth: its variance, circuits and length."""
    spec: dict[str, Any] = dict(task.spec)
    objective = objective_of(each, spec["cost"])
    rows = drawn(UNIFORM, each, min(spec["samples"], _SHOT_ROWS), task.generator("angles of shots"))
    place = _first_that_counts(objective, each, 0, rows[:_LOOKS])
    circuits = int(ParameterShift().price(objective, wrt=[place]).circuits or 0)
    shots = _SHOTS_A_CIRCUIT * circuits
    noise = derivatives(objective, each, rows, place, total_shots=shots, rng=task.generator("shots")).noise
    return {
        "shot_variance": float(noise) * shots,
        "shift_circuits": circuits,
        "circuit_seconds": circuit_seconds(objective_of(marked(each), spec["cost"]).circuit, None),
    }


def derivatives(objective: Objective, each: Laid, rows: np.ndarray, place: int, **shots: Any) -> Samples:
    """By one parameter, for random axes by that of the site that a row uses."""
    if not each.random_axes:
        return sampled_derivatives(objective, rows, [place], **shots)
    site = place - place % AXES
    axes = torch.from_numpy((rows[:, site : site + AXES] != 0).argmax(1))
    return sampled_own_derivatives(objective, rows, site + axes, **shots)


def _columns(
    objective: Objective, each: Laid, rows: np.ndarray, places: list[int]
) -> tuple[list[np.ndarray], Cost]:
    """Derivatives by several parameters, in one pass where rows share them."""
    if each.random_axes:
        found = [derivatives(objective, each, rows, place) for place in places]
        return [each.values[:, 0].numpy() for each in found], sum((each.cost for each in found), Cost())
    together = sampled_derivatives(objective, rows, places)
    return list(together.values.numpy().T), together.cost


def moments(values: np.ndarray, kurtosis: float | None = None) -> dict[str, Any]:
    """Mean, second moment and variance with intervals, as plain values."""
    values = np.where(np.abs(values) < _NOTHING, 0.0, values)
    return {
        "mean": plain(mean(values)),
        "second_moment": plain(second_moment(values, kurtosis=kurtosis)),
        "variance": plain(variance(values, kurtosis=kurtosis)),
        "median_size": float(np.median(np.abs(values))),
    }


def plain(each: Estimate) -> list[float | int | None]:
    return [each.value, each.low, each.high, each.count, each.needs]


def estimate_of(values: Any) -> Estimate:
    """What `plain` made plain."""
    value, low, high, count, needs = values
    return Estimate(value=value, low=low, high=high, count=int(count), needs=int(needs))


def objective_of(each: Laid, cost: str) -> Objective:
    return Objective(each.circuit, observable(cost, each), parameters=list(each.parameters))


@lru_cache(maxsize=4)
def circuit_of(name: str, qubits: int, layers: int) -> Laid:
    return laid(name, qubits, layers)


def _first_that_counts(objective: Objective, each: Laid, layer: int, rows: np.ndarray) -> int:
    """The first parameter of a layer on which the loss depends; for random axes that on qubit 0."""
    places = list(each.layers[layer])
    if each.random_axes:
        return places[0]
    sizes = sampled_derivatives(objective, rows, places).values.abs().amax(0)
    return places[int((sizes > _NOTHING).to(torch.int64).argmax())]
