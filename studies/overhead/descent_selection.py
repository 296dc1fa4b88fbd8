"""Rows of the part on descent, and the shots that they say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from studies.engine.statistics import Estimate, fit_line, geometric_mean
from studies.overhead.descent import PART
from studies.overhead.descent_theory import CONFIDENCE
from studies.overhead.success import crossing


def crossings(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the part with the shots measured, `measured_shots`, and those of the theory, none below the least.

    `at_least` says that the fewest shots that the rule takes do already. NaN where that lies beyond those tried.
    """
    if not len(rows):
        return rows
    part = rows[rows["part"] == PART].copy()
    if not len(part):
        return part
    found, at_least = [], []
    for row in part.to_dict("records"):
        place = crossing(row["tried_shots"], row["successes"], row["repeats"])
        first = (
            row["tried_shots"][0] == row["least_shots"] and row["successes"][0] >= CONFIDENCE * row["repeats"]
        )
        enough = first or (place is not None and place <= row["least_shots"])
        inside = place is not None and row["tried_shots"][0] <= place <= row["tried_shots"][-1]
        found.append(float(row["least_shots"]) if enough else place if inside else np.nan)
        at_least.append(bool(enough))
    part["measured_shots"], part["at_least"] = found, at_least
    # Where the theory reaches the level nowhere, it has no shots either.
    theory = part["theory_shots"].astype(float) if "theory_shots" in part else pd.Series(np.nan, part.index)
    part["predicted_shots"] = theory.clip(lower=part["least_shots"].astype(float))
    return part


@dataclass(frozen=True, kw_only=True)
class Size:
    """Shots at one size: geometric mean over draws of angles."""

    qubits: int
    num_params: int
    shots: Estimate


def by_size(part: pd.DataFrame, column: str = "measured_shots") -> list[Size]:
    """The sizes that have shots in `column`, smallest first."""
    known = part.dropna(subset=[column])
    return [
        Size(
            qubits=int(data["qubits"].iloc[0]),
            num_params=int(data["num_params"].iloc[0]),
            shots=geometric_mean(data[column]),
        )
        for _, data in known.groupby("qubits")
    ]


def growth(part: pd.DataFrame) -> Estimate | None:
    """By what factor measured shots grow with each qubit; None with fewer than three sizes."""
    known = part.dropna(subset=["measured_shots"])
    if known["qubits"].nunique() < 3:
        return None
    slope = fit_line(known["qubits"].astype(float), np.log(known["measured_shots"].astype(float))).slope
    ends = [None if end is None else math.exp(end) for end in (slope.low, slope.high)]
    return replace(slope, value=math.exp(slope.value), low=ends[0], high=ends[1])


def mean_gain(row: Mapping[str, Any]) -> float:
    """What a step lowers the loss by, on average, at the number of tried shots that is nearest to the measured ones."""
    shots = np.log(np.asarray(row["tried_shots"], dtype=float))
    return float(row["mean_gains"][int(np.abs(shots - math.log(row["measured_shots"])).argmin())])
