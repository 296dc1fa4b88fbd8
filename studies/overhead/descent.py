"""Part: shots for one step of gradient descent that lowers the loss with 95 percent confidence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from classical.cost import Cost
from studies.engine import Task
from studies.overhead.bars_and_dots import pictures
from studies.overhead.descent_cases import (
    COMMUTING,
    LAYERED,
    SIMULTANEOUS,
    AbstractCase,
    Array,
    Commuting,
    Layered,
)
from studies.overhead.descent_theory import chance_of_exact_rule, chance_of_spsa, least_shots

PART = "descent"
FACTORS = (1 / 4, 1 / 2, 1.0, 2.0, 4.0)
"""Shots that are tried, in units of those that the theory asks for."""
SPSA_FACTORS = (1 / 16, 1 / 4, 1.0, 4.0, 16.0)
SPSA_REPEATS = 4
"""Its share of successes hardly grows with shots: it takes a wider range, and as many times the steps, to tell."""
_DIRECTIONS = 4_000


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Sizes of both circuits, and how often each step is taken."""

    layered_qubits: tuple[int, ...]
    commuting_qubits: tuple[int, ...]
    repeats: int
    replicates: int
    """Draws of the angles."""


def specs(grid: Grid) -> Iterator[dict[str, Any]]:
    """Every rule on every circuit at several angles."""
    for circuit, sizes, methods in (
        (LAYERED, grid.layered_qubits, Layered.methods),
        (COMMUTING, grid.commuting_qubits, Commuting.methods),
    ):
        for qubits in sizes:
            for method in methods:
                for replicate in range(grid.replicates):
                    yield {
                        "part": PART,
                        "circuit": circuit,
                        "qubits": qubits,
                        "method": method,
                        "repeats": grid.repeats * (SPSA_REPEATS if method == SIMULTANEOUS else 1),
                        "replicate": replicate,
                    }


@lru_cache(maxsize=8)
def _layered(qubits: int) -> Layered:
    return Layered(qubits)


def case_of(task: Task) -> tuple[AbstractCase, Array]:
    """The loss, and uniform angles that all rules of a replicate share."""
    shared = {name: task.spec[name] for name in ("part", "circuit", "qubits", "replicate")}
    rng = replace(task, spec=shared).generator("theta")
    qubits = int(str(task.spec["qubits"]))
    case = _layered(qubits) if task.spec["circuit"] == LAYERED else Commuting(pictures(1, qubits, rng)[0])
    return case, rng.uniform(0, 2 * np.pi, case.num_params)


def run(task: Task) -> dict[str, Any]:
    """How many of so many steps lowered the loss, for several numbers of shots, and what the theory says."""
    spec: dict[str, Any] = dict(task.spec)
    case, theta = case_of(task)
    method, rng = spec["method"], task.generator("shots")
    slope, curvature = case.slopes(theta)
    bound = float(np.abs(np.linalg.eigvalsh(curvature)).max())
    # A step along one direction of SPSA is as long as P slopes of its size.
    rate = _safe_rate(case, theta, slope, 1 / bound) / (case.num_params if method == SIMULTANEOUS else 1)
    noise = case.noise(method, theta, rng)
    signs = rng.choice([-1.0, 1.0], size=(_DIRECTIONS, case.num_params))
    along, bend = signs @ slope, (signs @ curvature * signs).sum(1)

    def chance(shots: float) -> float:
        if method == SIMULTANEOUS:
            # Two differences of half the shots each, over twice the step.
            variance = float(noise[0, 0]) / (shots * case.spsa_step(shots) ** 2)
            return chance_of_spsa(along, bend, variance, rate)
        return chance_of_exact_rule(slope, curvature, noise, rate, shots)

    wanted, least = least_shots(chance), case.least_shots(method)
    centre = max(least, wanted or least)
    tried = _tried(method, least, centre)
    before, cost, successes = float(case.values(theta[None])[0]), Cost(), []
    gains = []
    for shots in tried:
        slopes, paid = case.measured(method, theta, shots, spec["repeats"], rng)
        after = case.values(theta - rate * slopes)
        successes.append(int((after < before).sum()))
        gains.append(float((before - after).mean()))
        cost += paid
    return {
        "num_params": case.num_params,
        "slope_square": float(slope @ slope),
        "curvature": bound,
        "rate": rate,
        "theory_shots": wanted,
        "least_shots": least,
        "tried_shots": tried,
        "successes": successes,
        "predicted": [chance(shots) for shots in tried],
        "mean_gains": gains,
        "cost": cost,
    }


def _safe_rate(case: AbstractCase, theta: Array, slope: Array, rate: float) -> float:
    """The rate, halved until the exact step gains a quarter of what the slope promises (Armijo 1966)."""
    before = float(case.values(theta[None])[0])
    while float(case.values((theta - rate * slope)[None])[0]) > before - rate / 4 * float(slope @ slope):
        rate /= 2
    return rate


def _tried(method: str, least: int, centre: float) -> list[int]:
    """Numbers of shots about `centre`, multiples of the least."""
    factors = SPSA_FACTORS if method == SIMULTANEOUS else FACTORS
    return sorted({least * max(1, round(factor * centre / least)) for factor in factors})


def price(task: Task) -> Cost:
    """Circuits and shots if the least shots of the rule are what the theory asks for: an estimate."""
    spec: dict[str, Any] = dict(task.spec)
    case, _ = case_of(task)
    least = case.least_shots(spec["method"])
    tried = _tried(spec["method"], least, least)
    sources: Any = {"circuits": "estimated", "shots": "estimated"}
    circuits = spec["repeats"] * len(tried) * least // 2
    return Cost(circuits=circuits, shots=spec["repeats"] * sum(tried), sources=sources)


def duration(task: Task) -> float:
    """Seconds, roughly."""
    qubits = int(str(task.spec["qubits"]))
    cheap = task.spec["method"] == SIMULTANEOUS or task.spec["circuit"] == COMMUTING
    return 1e-4 * float(str(task.spec["repeats"])) * qubits * (1 if cheap else 2.0 ** (qubits - 4))
