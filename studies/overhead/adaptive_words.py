"""What the part on adaptive optimisers says."""

from __future__ import annotations

import numpy as np
import pandas as pd

from studies.engine.statistics import Estimate, geometric_mean
from studies.overhead.adaptive import ADAPTIVE, FIXED, HYDROGEN, METHODS, PART, PROBLEMS
from studies.overhead.tuning import most_chosen, tuned
from studies.qpu.words import significant

TITLE = "Optimisers that choose their shots against fixed shots, at equal budgets and own learning rates"
_FLOOR = 1e-9


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a problem and method; no lines without rows."""
    lines = []
    for problem, here in _problems(rows):
        for method, chosen in _tuned(here).items():
            lines.append(
                {
                    "problem": f"{problem} ({_unit(problem)})",
                    "method": method,
                    "starts": len(chosen),
                    "rate": _rate(method, chosen),
                    "steps": int(chosen["steps_made"].median()),
                    "shots": f"{int(chosen['cost_shots'].min()):,} to {int(chosen['cost_shots'].max()):,}",
                    "circuits": f"{int(chosen['cost_circuits'].mean()):,}",
                    "error at the end": significant(_ends(chosen)),
                    "within the target": _reached(chosen),
                    "shots to the target": _shots_to_target(chosen),
                }
            )
    return pd.DataFrame(lines)


def sentences(rows: pd.DataFrame) -> list[str]:
    """Per problem, how many shots an error takes, and how each adaptive method stands against the best fixed one."""
    said = []
    for problem, here in _problems(rows):
        data, chosen = here.iloc[0], _tuned(here)
        if not set(chosen) >= set(METHODS):
            continue
        fixed = min(FIXED, key=lambda name: _ends(chosen[name]).value)
        grid = here["rate"].groupby(here["method"]).nunique().max()
        ends = "; ".join(f"{name} {significant(_ends(each))}" for name, each in chosen.items())
        shots = "; ".join(f"{name} {_shots_to_target(each)}" for name, each in chosen.items())
        said.append(
            f"{problem} ({int(data['num_params'])} angles, {int(data['bases'])} measurement groups), "
            f"{here['replicate'].nunique()} starts, {int(data['total_shots']):,} shots, fixed shots in "
            f"{int(data['steps'])} steps, one of {grid} rates "
            f"chosen on the other starts. Energy error at the end ({_unit(problem)}), geometric means: {ends}. Shots "
            f"to first get below {data['target']:.2g}: {shots}."
        )
        verdicts = "; ".join(_verdict(name, chosen[name], chosen[fixed]) for name in ADAPTIVE)
        said.append(
            f"{problem}: against {fixed}, the best of the fixed ones, in pairs of starts: {verdicts}."
        )
        edge = [name for name, each in chosen.items() if _at_edge(each, here[here["method"] == name])]
        if edge:
            said.append(
                f"{problem}: the rate chosen most often lies at an end of the grid for {', '.join(edge)}: a wider one "
                "might do better."
            )
        said.append(f"{problem}: {_ledger(here)}")
    return said


def _problems(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    if not len(rows):
        return []
    part = rows[rows["part"] == PART]
    if "shots_to_target" not in part:
        part = part.assign(shots_to_target=np.nan)
    return [(name, part[part["problem"] == name]) for name in PROBLEMS if (part["problem"] == name).any()]


def _tuned(here: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {name: tuned(here[here["method"] == name]) for name in METHODS if (here["method"] == name).any()}


def _unit(problem: str) -> str:
    return "Ha" if problem == HYDROGEN else "couplings"


def _ledger(here: pd.DataFrame) -> str:
    """Whether budgets were kept and planned shots were run."""
    over = int((here["cost_shots"] > here["total_shots"]).sum())
    off = int((here["cost_shots"] != here["planned_shots"]).sum())
    spent = f"runs spent {int(here['cost_shots'].min()):,} to {int(here['cost_shots'].max()):,} shots"
    if over or off:
        return f"{spent}; {over} went over the budget, and in {off} the device ran other shots than were planned."
    return f"{spent}, none more than its budget, each as many as its steps had planned."


def _ends(chosen: pd.DataFrame) -> Estimate:
    return geometric_mean(np.maximum(chosen["end_error"].to_numpy(dtype=float), _FLOOR))


def _reached(chosen: pd.DataFrame) -> str:
    return f"{int(chosen['shots_to_target'].notna().sum())} of {len(chosen)}"


def _shots_to_target(chosen: pd.DataFrame) -> str:
    shots = chosen["shots_to_target"].dropna().to_numpy(dtype=float)
    if len(shots) < len(chosen):
        return f"reached from {_reached(chosen)} starts"
    return significant(geometric_mean(np.maximum(shots, 1.0)))


def _verdict(name: str, adaptive: pd.DataFrame, fixed: pd.DataFrame) -> str:
    """The error of one over that of the other, and who wins."""
    both = adaptive.merge(fixed, on="replicate", suffixes=("", "_fixed"))
    errors = np.maximum(both[["end_error", "end_error_fixed"]].to_numpy(dtype=float), _FLOOR)
    ratio = geometric_mean(errors[:, 0] / errors[:, 1])
    words = "no difference is shown"
    if ratio.high is not None and ratio.high < 1:
        words = "it wins"
    if ratio.low is not None and ratio.low > 1:
        words = "it loses"
    return f"{name} ends at {significant(ratio)} times the error ({words})"


def _rate(method: str, chosen: pd.DataFrame) -> str:
    return f"{most_chosen(chosen):g}" if method in FIXED else f"{most_chosen(chosen):g} of 2/L"


def _at_edge(chosen: pd.DataFrame, of_method: pd.DataFrame) -> bool:
    rates = sorted(of_method["rate"].unique())
    return len(rates) > 1 and most_chosen(chosen) in (rates[0], rates[-1])
