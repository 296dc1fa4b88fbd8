"""What the part on grouping says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from studies.engine.statistics import mean, median
from studies.overhead.grouping import (
    ALLOCATIONS,
    BEST,
    FULLY,
    GROUND,
    NONE,
    PRECISION,
    QUBIT_WISE,
    SHADOWS,
    SORTED,
)
from studies.overhead.grouping_selection import Grouped, arms, grouped, mean_square, observed_over_expected
from studies.qpu.words import decimal, holds, number

TITLE = "Shots for a value's error: K in shots = K / error^2, by grouping and allocation"
_SAME = 1e-6
_FAR = 0.8
_FAR_ABOVE = 1.2
_TWO_STAGE = "two-stage"


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a Hamiltonian, state and grouping; no lines without rows."""
    lines = []
    for each in (each for case in grouped(rows) for each in case):
        shots, seconds, dollars = each.price(each.best)
        tried = [ratios for _, name, ratios in arms([each], "observed") if name not in (_TWO_STAGE, SHADOWS)]
        observed = mean_square(np.concatenate(tried)) if tried else None
        if SHADOWS in each.allocations:
            observed = observed_over_expected(each, SHADOWS)
        constants = {
            f"K {name}": number(each.constant(name)) if name in each.allocations else None
            for name in (BEST, *ALLOCATIONS)
        }
        if SHADOWS in each.allocations:
            constants[f"K {BEST}"] = number(each.best)
        lines.append(
            {
                "Hamiltonian": each.place[0],
                "state": each.place[1],
                "grouping": each.label,
                "circuits": each.circuits,
                "pair gates": number(each.row["pair_gates"]),
                "R-hat": None if each.row["reduction"] is None else number(each.row["reduction"]),
                **constants,
                f"shots for {PRECISION:g}": f"{shots:,.0f}",
                "QPU s": f"{seconds:,.0f}",
                "QPU $": f"{dollars:,.0f}",
                "observed / predicted": decimal(observed, 2),
            }
        )
    return pd.DataFrame(lines)


def sentences(rows: pd.DataFrame) -> list[str]:
    """What grouping saves at each state, what it does not, allocations, measurement and controls."""
    cases = grouped(rows)
    if not cases:
        return []
    said = [_saving(case) for case in cases]
    said += _fewest(cases)
    said += _allocations(cases)
    said += _measured([each for case in cases for each in case])
    return said + _hydrogen(cases) + _diagonal(cases)


def _saving(case: Sequence[Grouped]) -> str:
    apart = next(each for each in case if each.row["commuting"] == NONE)
    shadow = next(each for each in case if each.row["commuting"] == SHADOWS)
    least = min(_with_groups(case), key=lambda each: each.best)
    before, after = apart.price(apart.best), least.price(least.best)
    return (
        f"{_at(apart)} ({int(apart.row['qubits'])} qubits, {int(apart.row['terms'])} terms), error {PRECISION:g}, best "
        f"allocation: terms apart {before[0]:,.0f} shots in {_circuits(apart)}, {before[1]:,.0f} s, "
        f"${before[2]:,.0f}; the fewest shots are {after[0]:,.0f} in {_circuits(least)} ({least.label}), "
        f"{after[1]:,.0f} s, ${after[2]:,.0f}: {_fewer(apart.best / least.best)}. Classical shadows take "
        f"{shadow.best / least.best:.3g} times the shots of the latter."
    )


def _fewest(cases: Sequence[Sequence[Grouped]]) -> list[str]:
    """Where fewer circuits are more shots."""
    words = []
    for case in cases:
        for fewer in _with_groups(case):
            for more in _with_groups(case):
                better = more.circuits > fewer.circuits and more.best < (1 - _SAME) * fewer.best
                if better and more.row["order"] == SORTED and _alike(fewer, more):
                    words.append(
                        f"{_at(more)}: {fewer.label} has {_circuits(fewer)} and K {fewer.best:.3g}, "
                        f"{more.label} {more.circuits} and {more.best:.3g}, {fewer.best / more.best:.3g} times fewer "
                        "shots"
                    )
    if not words:
        return ["Nowhere here did a grouping with more circuits need fewer shots."]
    return [f"Fewest circuits are not fewest shots. {'; '.join(words)}."]


def _alike(a: Grouped, b: Grouped) -> bool:
    """Whether only the order differs, or only what commutes."""
    return (a.row["commuting"] == b.row["commuting"]) != (a.row["order"] == b.row["order"])


def _allocations(cases: Sequence[Sequence[Grouped]]) -> list[str]:
    """K of each allocation over the best one, in qubit-wise groups by sorted insertion."""
    found = [
        each for case in cases for each in case if each.row["commuting"] == QUBIT_WISE and each.circuits > 1
    ]
    found = [each for each in found if each.row["order"] == SORTED]
    words = []
    for each in found:
        ratios = ", ".join(f"{name} {each.constant(name) / each.best:.3g}" for name in ALLOCATIONS)
        words.append(f"{_at(each)}: {ratios}")
    if not words:
        return []
    said = (
        "Allocation, as shots over those of the best one, which needs variances that nobody knows beforehand; "
        f"qubit-wise groups by sorted insertion. {'; '.join(words)}."
    )
    far = [_at(each) for each in found if each.constant("weighted") > _FAR_ABOVE * each.best]
    if far:
        said += (
            " Weights by coefficient suit an average state; where large terms hardly fluctuate they are not near the "
            f"best: {'; '.join(far)}."
        )
    return [said]


def _measured(found: Sequence[Grouped]) -> list[str]:
    """Observed over predicted, pooled, and what is off."""
    listed = [(each, name, ratios) for each, name, ratios in arms(found, "observed") if name != _TWO_STAGE]
    if not listed:
        return []
    plain = [ratios for _, name, ratios in listed if name != SHADOWS]
    outside = sum(not holds(mean_square(ratios), 1.0) for ratios in plain)
    said = []
    if plain:
        pooled = mean_square(np.concatenate(plain))
        verdict = "is inside" if holds(pooled, 1.0) else "is outside: the theory or the run is wrong"
        said.append(
            f"Measured at equal shots in all, {len(plain)} pairs of grouping and allocation: squared errors over those "
            f"that K says are {decimal(pooled, 3)}, one {verdict}; {outside} of {len(plain)} have an interval without "
            f"one, where chance alone makes about {0.05 * len(plain):.0f}."
        )
    return said + _two_stage(found) + _shadows(found)


def _two_stage(found: Sequence[Grouped]) -> list[str]:
    """Where measured variances are worse than known ones."""
    off = []
    for each, name, ratios in arms(found, "reported"):
        if name == _TWO_STAGE and not holds(mean(ratios), 1.0) and abs(ratios.mean() - 1) > 0.05:
            off.append(f"{_at(each)}, {each.label}: {decimal(mean(ratios), 2)}")
    if not off:
        return []
    return [
        "Two stages come to their K only with many shots a group: their error bars squared, over K, are "
        f"{'; '.join(off)}."
    ]


def _shadows(found: Sequence[Grouped]) -> list[str]:
    """Error bars of shadows, which come from few shots that see a heavy term."""
    off = []
    for each, name, ratios in arms(found, "reported"):
        if name == SHADOWS and (typical := median(ratios)).high is not None and typical.high < _FAR:
            off.append(
                f"{_at(each)}, {int(each.row['total_shots'])} shots: {decimal(typical, 2)}, median of {len(ratios)}"
            )
    if not off:
        return []
    return [
        "Error bars of classical shadows are too small with few shots, since a term on w qubits is seen by one in 3^w "
        f"of them: squared, over the exact variance, {'; '.join(off)}."
    ]


def _hydrogen(cases: Sequence[Sequence[Grouped]]) -> list[str]:
    for case in cases:
        if case[0].place == ("H2", GROUND):
            groups = [each for each in case if each.row["commuting"] != SHADOWS]
            constants = np.array([each.best for each in groups])
            same = bool(np.ptp(constants) < _SAME * constants.mean())
            counts = sorted({each.circuits for each in groups}, reverse=True)
            return [
                "Control: at the ground state of H2 all that fluctuates is perfectly correlated, so grouping must save "
                f"circuits ({', '.join(map(str, counts))}) and no shots: K is {constants.min():.5f} to "
                f"{constants.max():.5f}, {'as it must be' if same else 'which must not be: the study is broken'}."
            ]
    return []


def _diagonal(cases: Sequence[Sequence[Grouped]]) -> list[str]:
    for case in cases:
        if case[0].place[0] == "MaxCut":
            counts = {each.circuits for each in _with_groups(case)}
            verdict = "as it must be" if counts == {1} else "which must not be: the study is broken"
            return [
                f"Control: MaxCut is diagonal, so every grouping must be one circuit: {sorted(counts)}, {verdict}."
            ]
    return []


def _with_groups(case: Sequence[Grouped]) -> list[Grouped]:
    return [each for each in case if each.row["commuting"] in (QUBIT_WISE, FULLY)]


def _fewer(times: float) -> str:
    return "no fewer" if times < 1 + _SAME else f"{times:.3g} times fewer"


def _circuits(each: Grouped) -> str:
    return "one circuit" if each.circuits == 1 else f"{each.circuits:,} circuits"


def _at(each: Grouped) -> str:
    hamiltonian, state = each.place
    return f"{hamiltonian}, {state}"
