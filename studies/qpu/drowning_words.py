"""What part B says: at which gate error a gradient's direction drowns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from studies.engine.statistics import Estimate, mean
from studies.qpu.devices import MITIGATIONS, PLAIN, READOUT_ERROR
from studies.qpu.error_rate import WITHOUT_SHOTS
from studies.qpu.selection import Curves
from studies.qpu.theory import DROWNED
from studies.qpu.thresholds import crossing, threshold, threshold_ratio
from studies.qpu.words import decimal, holds, number, significant

# Error at which mitigations are compared, and a cosine that counts as hardly bent.
_SHOWN, _LITTLE = 1e-2, 0.95
TITLE = f"Two-qubit error at which the mean cosine with the exact gradient falls below {DROWNED:g}"


def table(found: Sequence[Curves]) -> pd.DataFrame:
    """One line a depth and mitigation."""
    lines = []
    for each in found:
        low = int(abs(each.errors - _SHOWN).argmin())
        for mitigation in MITIGATIONS:
            data = each.rows[each.rows["mitigation"] == mitigation]
            predicted = each.theory_threshold(mitigation)
            lines.append(
                {
                    "layers": int(data["layers"].iloc[0]),
                    "two-qubit gates": int(data["pairs"].iloc[0]),
                    "mitigation": mitigation,
                    "drowns at": _place(each, mitigation),
                    "theory, global": "never" if predicted is None else f"{predicted:.2g}",
                    "cosine at the least error": decimal(mean(each.cosine[mitigation][:, 0])),
                    f"cosine at {each.errors[low]:g}": decimal(mean(each.cosine[mitigation][:, low])),
                    f"length at {each.errors[low]:g}": decimal(mean(each.length[mitigation][:, low])),
                    "shots": int(data["cost_shots"].iloc[0]),
                    "QPU s, estimated": number(float(data["device_seconds"].mean())),
                    "QPU $, estimated": number(float(data["device_dollars"].mean())),
                }
            )
    return pd.DataFrame(lines)


def _place(each: Curves, mitigation: str) -> str:
    found = threshold(each.errors, each.cosine[mitigation], DROWNED)
    if found is not None:
        return significant(found)
    above = each.cosine[mitigation].mean(0)[0] >= DROWNED
    return f"above {each.errors[-1]:g}" if above else f"below {each.errors[0]:g}"


def sentences(each: Curves) -> list[str]:
    """Where the direction drowns, why that is not where the theory has it, and what mitigation does."""
    row = each.rows[each.rows["mitigation"] == PLAIN].iloc[0]
    found = threshold(each.errors, each.cosine[PLAIN], DROWNED)
    predicted = each.theory_threshold(PLAIN)
    size = (
        f"{int(row['qubits'])} qubits, {int(row['layers'])} layers, {int(row['pairs'])} two-qubit gates, "
        f"P = {int(row['num_params'])}, transverse Ising, {int(row['total_shots']):,} shots a gradient, readout error "
        f"{READOUT_ERROR:.0%}, rotations with a tenth of the two-qubit error"
    )
    if found is None or predicted is None:
        return [f"With {size}, the mean cosine does not cross {DROWNED:g} between the errors of the grid."]
    return [
        f"The direction drowns, which is to say that the mean cosine with the exact gradient falls below {DROWNED:g}, "
        f"at a two-qubit error of {significant(found)} ({size}; 95 percent interval over {found.count} sets of "
        f"angles). Global depolarising, f = (1 - p)^G (1 - p/10)^G1, has it at {predicted:.2g}, where "
        "f |g| is sqrt(P) / sqrt(3) times the shot noise of a component"
        + (": within the interval." if holds(found, predicted) else ".")
        + " The error p is qiskit's: with probability p the pair is replaced by noise, 15/16 p as Pauli errors. The "
        "place is one of this budget: more shots move it up.",
        _departure(each, found),
        _mitigation(each),
    ]


def _departure(each: Curves, found: Estimate) -> str:
    """Why the theory's line is not what is measured."""
    at = int(abs(np.log(each.errors / found.value)).argmin())
    length = mean(each.length[WITHOUT_SHOTS][:, at])
    cosine, last = (mean(each.cosine[WITHOUT_SHOTS][:, i]) for i in (at, -1))
    predicted = float(each.theory(each.errors, PLAIN)[1][at])
    said = (
        f"Without shots, at p = {each.errors[at]:g}, the noisy gradient keeps {decimal(length)} of its length "
        f"along the exact one, where the theory has {predicted:.3f}"
    )
    if length.low is not None and length.low > predicted:
        said += (
            ": a lost pair is not a lost register, since Pauli strings that do not touch the pair keep their value, so "
            "the theory is pessimistic"
        )
    said += (
        f". Components shrink by different factors, so the noise bends the direction too, which the theory has not: "
        f"the cosine without shots is {decimal(cosine, 4)} there and {decimal(last)} at p = {each.errors[-1]:g}."
    )
    if cosine.low is not None and cosine.low > _LITTLE:
        said += (
            " That is little: what drowns the direction is shot noise over a gradient that has become short."
        )
    bent = crossing(each.errors, each.bent(), DROWNED)
    if bent is not None:
        said += (
            f" With this gradient in place of f times the exact one, the theory's line crosses at {bent:.2g}."
        )
    return said


def _mitigation(each: Curves) -> str:
    at = int(abs(each.errors - _SHOWN).argmin())
    lengths = ", ".join(f"{name} {decimal(mean(each.length[name][:, at]))}" for name in MITIGATIONS)
    cosines = ", ".join(f"{name} {decimal(mean(each.cosine[name][:, at]))}" for name in MITIGATIONS)
    ratios: list[str] = []
    up: list[str] = []
    down: list[str] = []
    for name in MITIGATIONS[1:]:
        moved = threshold_ratio(each.errors, each.cosine[name], each.cosine[PLAIN], DROWNED)
        if moved is None:
            ratios.append(f"{name} {_place(each, name)} as an error")
            continue
        ratios.append(f"{name} {decimal(moved, 2)}")
        if moved.low is not None and moved.low > 1:
            up.append(name)
        if moved.high is not None and moved.high < 1:
            down.append(name)
    verdict = (
        f"shown to move it up: {', '.join(up) or 'none'}; shown to move it down: {', '.join(down) or 'none'}"
    )
    meaning = (
        ""
        if up
        else " At angles far from a minimum, mitigation buys length, which a larger learning rate gives as well; no "
        "better direction is shown."
    )
    return (
        "Mitigation at equal total shots, calibration included. Length along the exact gradient at p = "
        f"{each.errors[at]:g}: {lengths}; cosine: {cosines}. The error at which the direction drowns, over the one "
        f"without mitigation: {', '.join(ratios)}; {verdict}. Extrapolation from one and three times the noise doubles "
        f"shot noise, and undoing readout errors stretches signal and noise alike.{meaning}"
    )
