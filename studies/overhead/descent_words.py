"""What the part on descent says."""

from __future__ import annotations

import pandas as pd

from studies.engine.statistics import geometric_mean, mean
from studies.overhead.descent_cases import COMMUTING, LAYERED, SHIFT, SIMULTANEOUS, TOGETHER
from studies.overhead.descent_selection import by_size, crossings, growth, mean_gain
from studies.qpu.words import significant

TITLE = "Shots for one step that lowers the loss with 95 percent confidence"


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a circuit, size and rule; no lines without rows."""
    part = crossings(rows)
    lines = []
    if not len(part):
        return pd.DataFrame(lines)
    for (circuit, qubits, method), data in part.groupby(["circuit", "qubits", "method"], sort=False):
        known = data["measured_shots"].dropna()
        lines.append(
            {
                "circuit": circuit,
                "qubits": qubits,
                "angles": int(data["num_params"].iloc[0]),
                "rule": method,
                "draws": len(data),
                "shots, measured": significant(geometric_mean(known)) if len(known) else "not reached",
                "reached": f"{len(known)} of {len(data)}",
                "shots, theory": significant(geometric_mean(data["predicted_shots"])),
                "fewest that the rule takes": f"{int(data['least_shots'].iloc[0]):,}",
                "enough from the fewest": f"{int(data['at_least'].sum())} of {len(data)}",
            }
        )
    return pd.DataFrame(lines)


def sentences(rows: pd.DataFrame) -> list[str]:
    """Shots of each rule at the largest size, how they grow, and how the theory does."""
    part = crossings(rows)
    said = []
    if not len(part):
        return said
    for circuit in (LAYERED, COMMUTING):
        here = part[part["circuit"] == circuit]
        if len(here):
            said += _said_of(circuit, here)
    ratio = (part["measured_shots"] / part["predicted_shots"]).dropna()
    if len(ratio):
        said.append(
            "Measured shots over those of normal noise on the loss's quadratic form, over all circuits, rules and "
            f"draws: {significant(geometric_mean(ratio))} (n={len(ratio)})."
        )
    return said


def _said_of(circuit: str, here: pd.DataFrame) -> list[str]:
    largest = here[here["qubits"] == here["qubits"].max()]
    found, gains = [], []
    for method in (SHIFT, TOGETHER, SIMULTANEOUS):
        data = largest[largest["method"] == method].dropna(subset=["measured_shots"])
        if len(data):
            found.append(f"{method} {significant(by_size(data)[0].shots)}")
            gains.append(f"{method} {significant(mean([mean_gain(row) for row in data.to_dict('records')]))}")
    data = largest.iloc[0]
    said = [
        f"Circuit of {circuit}, {int(data['qubits'])} qubits and {int(data['num_params'])} angles drawn uniformly "
        f"{here['replicate'].nunique()} times: shots for a step that lowers the loss with 95 percent confidence, from "
        f"{int(here['repeats'].min())} to {int(here['repeats'].max())} steps at each number of shots: "
        f"{'; '.join(found)}. Rates are 1 over the largest curvature, halved until the exact step gains a "
        "quarter of what the slope promises; SPSA's is that over the number of angles, which it moves all at once. So "
        f"they differ in what a step gains on average: {'; '.join(gains)}."
    ]
    for method in (SHIFT, TOGETHER, SIMULTANEOUS):
        factor = growth(here[here["method"] == method])
        if factor is not None:
            said.append(
                f"Circuit of {circuit}: by {method} they grow {significant(factor)} times with each qubit, from "
                f"{int(here['qubits'].min())} to {int(here['qubits'].max())} qubits, angles growing with them."
            )
    shift, together = (
        largest[largest["method"] == method].set_index("replicate") for method in (SHIFT, TOGETHER)
    )
    both = (
        (shift["measured_shots"] / together["measured_shots"]).dropna()
        if len(together)
        else pd.Series(dtype=float)
    )
    if len(both):
        said.append(
            f"Circuit of {circuit}, {int(data['qubits'])} qubits: parameter-shift takes "
            f"{significant(geometric_mean(both))} times the shots of commuting generators for such a step."
        )
    return said
