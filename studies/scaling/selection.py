"""Rows of `gradient_scaling` picked for figures and sentences, and the averages that both use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from studies.engine.statistics import Estimate, LineFit, fit_power, mean
from studies.scaling.gradient_alone import BUDGETS, METHODS, SIZES
from studies.scaling.gradient_alone import PART as ALONE
from studies.scaling.hybrid_step import PART as HYBRID

SAMPLED = tuple(name for name, method in METHODS.items() if method.has_shots)
# Rules whose error bar is not made of the error itself, as that of SPSA with one direction is.
CALIBRATED = tuple(name for name in SAMPLED if name != "SPSA")
TWO_BASES = "transverse Ising"
_ORDER = ("parameter-shift", "parameter-shift (shots)", "parameter-shift (few shots)", "finite differences", "SPSA",
          "adjoint", "backprop", "control")  # fmt: skip


def alone(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of part A at its common budget."""
    return _gradients(rows, SIZES)


def sweep(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of part A in which the budget is varied at one size."""
    return _gradients(rows, BUDGETS)


def _gradients(rows: pd.DataFrame, varied: str) -> pd.DataFrame:
    """Rows of part A that vary something, if every method has a row at every place, else none.

    A study that was stopped has some rows of some methods, and a comparison of those would mislead.
    """
    part = _of_part(rows, ALONE)
    if len(part):
        part = part[part["varied"] == varied].copy()
    keys = ["entangler", "hamiltonian", "qubits", "layers", "method"]
    if not _is_whole(part, keys + (["total_shots"] if varied == BUDGETS else [])):
        return part.iloc[:0]
    part["relative_error"] = np.sqrt(part["squared_error"] / part["squared_norm"])
    return part


def _of_part(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Rows of one part, without the columns that only the other has."""
    part = rows[rows["part"] == name].dropna(axis="columns", how="all")
    return part.infer_objects()


def _is_whole(part: pd.DataFrame, keys: list[str]) -> bool:
    """Whether there is a row at every combination of the keys' values that occur."""
    if part.empty:
        return False
    combinations = math.prod(part[key].nunique() for key in keys)
    return len(part[keys].drop_duplicates()) == combinations


def hybrid_steps(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of part B, if every encoder, method and replicate has one, else none."""
    part = _of_part(rows, HYBRID)
    return part if _is_whole(part, ["encoder", "replicate", "method"]) else part.iloc[:0]


def in_order(methods: Sequence[str]) -> list[str]:
    """Methods in one order, so that legends and tables agree."""
    present = set(methods)
    return [name for name in _ORDER if name in present]


def largest_qubits(part: pd.DataFrame) -> pd.DataFrame:
    """Rows with the most qubits; there parameters grow with layers alone."""
    return part[part["qubits"] == part["qubits"].max()]


def power(part: pd.DataFrame, x: str, y: str) -> LineFit | None:
    """Exponent of y against x, with a factor for each circuit and Hamiltonian; None when there is no fit."""
    if part[x].nunique() < 3 or (part[y] <= 0).any() or part[y].isna().any():
        return None
    return fit_power(part[x], part[y], groups=(part["entangler"] + part["hamiltonian"]).tolist())


def slope_text(fit: LineFit | None) -> str:
    """A fitted exponent with its interval, for a legend."""
    if fit is None:
        return "no fit"
    slope = fit.slope
    if slope.low is None or slope.high is None:
        return _two_digits(slope.value)
    return f"{_two_digits(slope.value)} [{_two_digits(slope.low)}, {_two_digits(slope.high)}]"


def _two_digits(value: float) -> str:
    """Two decimals, and no minus sign before zero."""
    return f"{round(value, 2) + 0.0:.2f}"


def root_mean_square(values: pd.Series) -> Estimate:
    """Root of the mean square, with the interval of the mean square carried over on the log scale."""
    square = mean(values**2)
    root = math.sqrt(square.value)
    if square.high is None:
        return replace(square, value=root)
    reach = math.exp((square.high - square.value) / square.value / 2)
    return replace(square, value=root, low=root / reach, high=root * reach)


def mean_accuracy(accuracies: pd.Series) -> Estimate:
    """Mean and interval of accuracies on the log-odds scale, where intervals stay between zero and one."""
    inside = accuracies.clip(1e-3, 1 - 1e-3)
    odds = mean(np.log(inside / (1 - inside)))

    def back(value: float | None) -> float | None:
        return None if value is None else 1 / (1 + math.exp(-value))

    return replace(odds, value=1 / (1 + math.exp(-odds.value)), low=back(odds.low), high=back(odds.high))
