"""Rows of `barren_plateau` picked for figures and sentences, and the laws fitted to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from studies.barren import depth, large, noise, qubits, starts
from studies.barren.exact import FIRST, LAST, MIDDLE
from studies.barren.measuring import estimate_of
from studies.engine.growth import Growth, fit_growth, growth_of
from studies.engine.statistics import Estimate

Numbers = NDArray[np.float64]
POSITIONS = (FIRST, MIDDLE, LAST)
_LEAST_EXACT = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """One derivative over sizes; what is not known is nan."""

    circuit: str
    cost: str
    position: str
    name: str
    """What tells this curve from others of its circuit, cost and position: a depth, a start, a factor."""
    sizes: Numbers
    variances: list[Estimate | None]
    second_moments: list[Estimate | None]
    exact: Numbers
    """Variance by the walk."""
    exact_second_moments: Numbers
    predicted: Numbers
    rows: pd.DataFrame

    @cached_property
    def growth(self) -> Growth | None:
        return self._fitted(self.variances)

    @cached_property
    def second_growth(self) -> Growth | None:
        return self._fitted(self.second_moments)

    @cached_property
    def exact_growth(self) -> Growth | None:
        """The laws through the exact values: which of the lines is straighter, without noise."""
        known = self.exact > _ZERO
        if known.sum() < _LEAST_EXACT:
            return None
        return fit_growth(self.sizes[known], self.exact[known])

    @property
    def samples(self) -> int:
        return int(self.rows["samples"].max())

    @property
    def vanishes(self) -> bool:
        """Whether the derivative is zero at every size, whatever the angles."""
        return all(each is None or each.value == 0 for each in self.variances)

    def held(self) -> tuple[int, int]:
        """Intervals that hold the exact variance, of those that have one beside them."""
        pairs = [
            (each, exact)
            for each, exact in zip(self.variances, self.exact, strict=True)
            if each is not None and each.low is not None and each.high is not None and exact > _ZERO
        ]
        return sum(each.low <= exact <= each.high for each, exact in pairs), len(pairs)  # pyright: ignore

    def _fitted(self, estimates: Sequence[Estimate | None]) -> Growth | None:
        kept = [(x, each) for x, each in zip(self.sizes, estimates, strict=True) if each is not None]
        return growth_of([x for x, _ in kept], [each for _, each in kept]) if kept else None


_ZERO = 1e-25


def of_qubits(rows: pd.DataFrame) -> list[Curve]:
    """Part A by circuit, cost, depth and position."""
    return _curves(rows, qubits.PART, ["circuit", "cost", "depth"], "qubits")


def of_depth(rows: pd.DataFrame) -> list[Curve]:
    """Part B by circuit, number of qubits and position."""
    return _curves(rows, depth.PART, ["circuit", "cost", "qubits"], "layers")


def of_starts(rows: pd.DataFrame) -> list[Curve]:
    """Part C by start."""
    return _curves(rows, starts.PART, ["circuit", "cost", "start"], "qubits")


def of_noise(rows: pd.DataFrame) -> list[Curve]:
    """Part D by number of qubits, Bloch factor and place of the noise, against layers."""
    return _curves(rows, noise.PART, ["circuit", "cost", "qubits", "bloch_factor", "place"], "layers")


def of_large(rows: pd.DataFrame) -> list[Curve]:
    """Part F by cost and depth."""
    return _curves(rows, large.PART, ["circuit", "cost", "depth"], "qubits")


def picked(curves: Sequence[Curve], **wanted: str) -> list[Curve]:
    """Curves with these attributes."""
    return [each for each in curves if all(getattr(each, name) == value for name, value in wanted.items())]


def _curves(rows: pd.DataFrame, part: str, by: list[str], x: str) -> list[Curve]:
    own = rows[rows["part"] == part] if "part" in rows else rows.iloc[:0]
    if not len(own):
        return []
    own = own.dropna(axis="columns", how="all").infer_objects()
    found: list[Curve] = []
    for key, data in own.groupby(by, sort=False):
        ordered = data.sort_values(x)
        for position in POSITIONS:
            kept = ordered[[position in each for each in ordered["derivatives"]]]
            if len(kept):
                found.append(_curve(kept, position, str(key[0]), str(key[1]), key[2:], x))
    return found


def _curve(
    rows: pd.DataFrame, position: str, circuit: str, cost: str, rest: tuple[Any, ...], x: str
) -> Curve:
    cells = [each[position] for each in rows["derivatives"]]
    seconds = _numbers(cells, "exact_second_moment")
    means = np.nan_to_num(_numbers(cells, "exact_mean"))
    return Curve(
        circuit=circuit,
        cost=cost,
        position=position,
        name=", ".join(f"{each:g}" if isinstance(each, float) else str(each) for each in rest),
        sizes=rows[x].to_numpy(dtype=np.float64),
        variances=_estimates(cells, "variance"),
        second_moments=_estimates(cells, "second_moment"),
        exact=seconds - means**2,
        exact_second_moments=seconds,
        predicted=_numbers(cells, "predicted"),
        rows=rows,
    )


def _numbers(cells: Sequence[dict[str, Any]], name: str) -> Numbers:
    return np.array([np.nan if each.get(name) is None else each[name] for each in cells], dtype=np.float64)


def _estimates(cells: Sequence[dict[str, Any]], name: str) -> list[Estimate | None]:
    return [estimate_of(each[name]) if name in each else None for each in cells]
