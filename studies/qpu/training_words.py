"""What part C says: H2 trained to the end of a shot budget."""

from __future__ import annotations

import pandas as pd

from studies.engine.statistics import Estimate, mean
from studies.qpu.molecule import CHEMICAL_ACCURACY, ground_energy
from studies.qpu.training import EXACT, METHODS, MITIGATED, NOISY, READ, SAMPLED
from studies.qpu.words import holds, number, significant

TITLE = "H2 trained on a shot budget, errors against the exact ground energy in millihartree"
_MILLI = 1e3


def table(part: pd.DataFrame) -> pd.DataFrame:
    """One line a method."""
    lines = []
    for method in METHODS:
        data = part[part["method"] == method]
        has_shots = method != EXACT
        good = int((data["true_error"] < CHEMICAL_ACCURACY).sum())
        lines.append(
            {
                "method": method,
                "starts": len(data),
                "energy of the angles": significant(mean(data["true_error"]), _MILLI),
                "within 1.6 mHa": f"{good} of {len(data)}",
                "energy as read": significant(mean(data["read_error"]), _MILLI),
                "its error bar": number(_MILLI * float(data["read_std_error"].mean())),
                "circuits": int(data["cost_circuits"].iloc[0]),
                "shots": int(data["cost_shots"].iloc[0]),
                "jobs": int(data["device_jobs"].iloc[0]),
                "QPU s, estimated": number(float(data["device_seconds"].mean())) if has_shots else "-",
                "QPU $, estimated": number(float(data["device_dollars"].mean())) if has_shots else "-",
            }
        )
    return pd.DataFrame(lines)


def sentences(part: pd.DataFrame) -> list[str]:
    """Where training ends, what the device says of it, and the price."""
    ends = part.pivot_table(index="replicate", columns="method", values="true_error")
    reads = part.pivot_table(index="replicate", columns="method", values="read_error")
    data = part[part["method"] == NOISY].iloc[0]
    words = "; ".join(f"{name} {significant(mean(ends[name]), _MILLI)}" for name in METHODS)
    good = ", ".join(f"{name} {int((ends[name] < CHEMICAL_ACCURACY).sum())}" for name in METHODS)
    spoken = "; ".join(
        f"{name} {significant(mean(reads[name]), _MILLI)}" for name in METHODS if name != EXACT
    )
    price = part[part["method"] != EXACT].groupby("method")[["device_seconds", "device_dollars"]].mean()
    return [
        f"H2 on 4 qubits (exact ground energy {ground_energy():.6f} Ha), {len(ends)} starts, "
        f"{int(data['cost_shots']):,} shots in {int(data['steps'])} steps of gradient descent and one reading, equal "
        "for all. True energy of the trained angles above the ground energy, in millihartree: "
        f"{words}. Within chemical accuracy (1.6) of {len(ends)}: {good}. Noisy is Aer with the noise, gates and "
        "couplings of IBM's fake Manila; the exact gradient takes as many steps and no shots.",
        f"{_against(ends, NOISY, SAMPLED)} {_against(ends, READ, NOISY)} {_against(ends, MITIGATED, NOISY)}"
        f"{_bias_remark(ends)}",
        f"Energies as read at the end are off by, in millihartree: {spoken}. {_remark(ends, reads)}",
        f"On a QPU a run of {int(data['device_jobs'])} jobs would take an estimated "
        f"{price['device_seconds'].min():,.0f} to {price['device_seconds'].max():,.0f} s and "
        f"${price['device_dollars'].min():,.0f} to ${price['device_dollars'].max():,.0f}, queues "
        "not counted.",
    ]


def _remark(ends: pd.DataFrame, reads: pd.DataFrame) -> str:
    """What it means that a noisy device reads an energy that is worse than its angles."""
    worse = mean(reads[NOISY].abs() - ends[NOISY])
    if worse.low is None or worse.low < CHEMICAL_ACCURACY:
        return "The noisy device reads its energy about as well as it finds its angles."
    return (
        "The noisy device cannot read what it has found: noise that mostly shrinks the energy's landscape leaves its "
        "minimum near its place, not its height."
    )


def _bias_remark(ends: pd.DataFrame) -> str:
    """What it means that undoing readout errors leads to better angles."""
    moved = mean(ends[READ] - ends[NOISY])
    if moved.high is None or moved.high >= 0:
        return ""
    return (
        " Near a minimum the gradient is small and a bias counts: readout errors, which shrink Pauli strings by "
        "different factors, move the minimum, and undoing them moves it back."
    )


def _against(ends: pd.DataFrame, one: str, other: str) -> str:
    """The paired difference of two methods, and whether it is shown."""
    difference: Estimate = mean(ends[one] - ends[other])
    verdict = " (the interval holds zero: no difference is shown)" if holds(difference, 0.0) else ""
    return f"{one.capitalize()} minus {other}, in pairs: {significant(difference, _MILLI)} mHa{verdict}."
