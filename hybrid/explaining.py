"""What a gradient of an objective costs, by each estimator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from hybrid.gradients import ESTIMATORS
from hybrid.gradients.base import AbstractGradientEstimator, AbstractShotEstimator
from hybrid.objective import Objective
from hybrid.pricing import HERON, Device, device_cost
from hybrid.shots import LEAST_SHOTS, whole_shots


@dataclass(frozen=True, kw_only=True)
class Line:
    """One estimator's price; None where it has none, and `note` says why."""

    estimator: str
    circuits: int | None = None
    least_shots: int | None = None
    shot_noise: float | None = None
    qpu_seconds: float | None = None
    dollars: float | None = None
    note: str


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Prices of one gradient by each estimator, at one budget; prints as a table."""

    objective: str
    total_shots: int
    device: str
    lines: tuple[Line, ...]

    def __str__(self) -> str:
        headings = ("estimator", "circuits", "least shots", "shot noise", "QPU s", "dollars", "")
        table = [headings, *(_cells(line) for line in self.lines)]
        widths = [max(len(row[i]) for row in table) for i in range(len(headings))]
        body = "\n".join(
            "  ".join(
                cell.ljust(width) if i in (0, len(widths) - 1) else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        )
        return (
            f"{self.objective}\n"
            f"{self.total_shots:,} shots a gradient, as one job on {self.device} (estimated):\n"
            f"{body}\n"
            "Shot noise: of a component, root mean square, if every Pauli term had variance 1 and none were correlated."
        )


def explain(
    objective: Objective, *, total_shots: int = 100_000, device: Device = HERON, display: bool = True
) -> Explanation:
    """Returns, and prints, what a gradient of the objective costs by each estimator. Runs nothing.

    Columns: circuits (a rule's circuits times measurement bases), the least shots that give every circuit an error
    bar, the shot noise of a component at `total_shots` as far as coefficients tell, and time and price on `device`.
    An estimator that cannot do the circuit says why.
    """
    if not isinstance(objective, Objective):
        raise TypeError(f"Argument `objective` must be an Objective, but is a {type(objective).__name__}.")
    total = whole_shots(total_shots)
    if total < 1:
        raise ValueError(f"Argument `total_shots` must be at least 1, but is {total}.")
    lines = tuple(_line(kind(), objective, total, device) for kind in ESTIMATORS.values())
    explanation = Explanation(objective=repr(objective), total_shots=total, device=device.name, lines=lines)
    if display:
        print(explanation)
    return explanation


def _line(
    estimator: AbstractGradientEstimator, objective: Objective, total_shots: int, device: Device
) -> Line:
    try:
        circuits = estimator.price(objective).circuits
    except ValueError as refused:
        return Line(estimator=estimator.name, note=f"refused: {refused}")
    if not isinstance(estimator, AbstractShotEstimator):
        return Line(estimator=estimator.name, circuits=circuits, note=estimator.remark)
    least = LEAST_SHOTS * circuits
    if total_shots < least:
        return Line(estimator=estimator.name, circuits=circuits, least_shots=least, note="too few shots")
    anywhere = torch.zeros(objective.num_params, dtype=torch.float64)
    plan = estimator.plan(objective, anywhere, total_shots=total_shots, rng=np.random.default_rng(0))
    priced = device_cost(estimator, objective, total_shots=total_shots, device=device)
    return Line(
        estimator=estimator.name,
        circuits=circuits,
        least_shots=least,
        shot_noise=plan.expected_noise(),
        qpu_seconds=priced.qpu_seconds,
        dollars=priced.dollars,
        note=estimator.remark,
    )


def _cells(line: Line) -> tuple[str, ...]:
    def cell(number: float | None, text: str) -> str:
        return "-" if number is None else format(number, text)

    return (
        line.estimator,
        cell(line.circuits, ",d"),
        cell(line.least_shots, ",d"),
        cell(line.shot_noise, ".2g"),
        cell(line.qpu_seconds, ",.1f"),
        cell(line.dollars, ",.2f"),
        line.note,
    )
