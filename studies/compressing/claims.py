"""The public claims for compression by tensor networks, each with what the rows say of it.

Source: A. Tomut et al., CompactifAI, arXiv:2401.14109: 70 percent fewer parameters, 93 percent less memory with
quantisation, inference a quarter faster, training in half the time, two to three points of accuracy, and deeper layers
that compress better. Their model has fifty times the parameters of the largest one here.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from studies.compressing.healing import FACTORS
from studies.compressing.intervals import rank_correlation
from studies.compressing.methods import INT4, MPO, OURS, OURS_INT4
from studies.compressing.selection import (
    healed,
    points_lost,
    sensitivities,
    sized,
    subjects_of,
)
from studies.compressing.subjects import subject_of
from studies.engine.statistics import Estimate
from studies.qpu.words import decimal

_KEPT = 0.3
_POINTS, _MEMORY, _LATENCY, _TRAINING = 3.0, 0.93, 0.75, 0.5
TRUE, FALSE, OPEN, UNTESTED = "true", "false", "open", "not tested"


def verdict(found: Estimate, most: float) -> str:
    """Whether a value is at most so large, as far as its interval says."""
    if found.low is None or found.high is None:
        return OPEN
    return TRUE if found.high <= most else FALSE if found.low > most else OPEN


def claims(rows: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Claim, model, and verdict with its numbers, for each model that has rows; claims without rows are not tested."""
    made: list[tuple[str, str, str]] = []
    makers = {
        "70 percent fewer parameters for 3 points of accuracy, MPO after healing": _parameters,
        "93 percent less memory for 3 points of accuracy": _memory,
        "inference a quarter faster": _inference,
        "training in half the time": _training,
        "deeper layers compress better": _depth,
    }
    for claim, make in makers.items():
        found = [(subject, said) for subject in subjects_of(rows) if (said := make(rows, subject))]
        made += [(claim, subject_of(subject).title, said) for subject, said in found]
        if not found:
            made.append((claim, "any", f"{UNTESTED}: no rows of these sizes"))
    return made


def _trained_mpo(rows: pd.DataFrame, subject: str) -> pd.DataFrame:
    part = healed(rows, subject)
    if not len(part):
        return part
    return part[(part["method"] == MPO) & (part["way"] == FACTORS) & (part["kept"] == _KEPT)]


def _parameters(rows: pd.DataFrame, subject: str) -> str | None:
    part = _trained_mpo(rows, subject)
    if not len(part):
        return None
    row = part.iloc[0]
    after, before = (points_lost(rows, subject, row[when]) for when in ("after", "before"))
    if after is None or before is None:
        quality = subject_of(subject).judgement.name
        return f"{UNTESTED}: no accuracy here; {quality} {row['start']} before and {row['estimate']} after"
    return (
        f"{verdict(after, _POINTS)}: {1 - row['measured_kept']:.0%} of the compressed part and "
        f"{1 - row['model_parameters'] / row['dense_model_parameters']:.0%} of the whole model gone, points lost "
        f"{decimal(before, 1)} before and {decimal(after, 1)} after {int(row['steps']):,} steps"
    )


def _memory(rows: pd.DataFrame, subject: str) -> str | None:
    part = sized(rows, subject)
    part = part[(part["method"] == OURS_INT4) & (part["kept"] == _KEPT)] if len(part) else part
    if not len(part):
        return None
    row = part.iloc[0]
    saved = 1 - row["bits"] / 32
    lost = points_lost(rows, subject, row["qualities"])
    whole = 1 - row["resident_bytes"] / row["dense_resident_bytes"]
    said = f"{saved:.1%} of the bytes of the compressed part and {whole:.1%} of the whole model saved"
    word = FALSE if saved < _MEMORY else UNTESTED if lost is None else verdict(lost, _POINTS)
    if lost is not None:
        said += f", points lost {decimal(lost, 1)} without healing"
    alone = sized(rows, subject)
    alone = alone[alone["method"] == INT4]
    if len(alone):
        other = alone.iloc[0]
        said += f"; of it {1 - other['bits'] / 32:.1%} by 4 bits alone"
        lost_alone = points_lost(rows, subject, other["qualities"])
        if lost_alone is not None:
            said += f", which lose {decimal(lost_alone, 1)}"
    return f"{word}: {said}, by qtn.compress at {_KEPT:g} kept and 4 bits"


def _inference(rows: pd.DataFrame, subject: str) -> str | None:
    part = sized(rows, subject)
    part = part[(part["kept"] == _KEPT) & part["method"].isin((MPO, OURS))] if len(part) else part
    said = []
    for _, row in part.iterrows():
        one, many = (
            Estimate(
                value=row[f"{name}_ratio"],
                low=_number(row[f"{name}_ratio_low"]),
                high=_number(row[f"{name}_ratio_high"]),
                count=int(row["repeats"]),
            )
            for name in ("one", "many")
        )
        said.append(
            f"{verdict(many, _LATENCY)} for {row['method']}: {decimal(many, 2)} of the dense time for a large input "
            f"and {decimal(one, 2)} for the smallest, with {row['operations'] / row['dense_operations']:.2f} of the "
            "operations"
        )
    return "; ".join(said) + f" (kept {_KEPT:g}, {part['device'].iloc[0]})" if said else None


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


def _training(rows: pd.DataFrame, subject: str) -> str | None:
    part = healed(rows, subject)
    part = part[(part["way"] == FACTORS) & (part["kept"] == _KEPT)] if len(part) else part
    said = []
    for method in (MPO, OURS):
        for _, row in part[part["method"] == method].iterrows() if len(part) else ():
            ratio = Estimate(
                value=row["step_ratio"],
                low=_number(row["step_ratio_low"]),
                high=_number(row["step_ratio_high"]),
                count=0,
            )
            said.append(
                f"{verdict(ratio, _TRAINING)} for {method}: {decimal(ratio, 2)} of the dense time for a step"
            )
    return "; ".join(said) + f" (kept {_KEPT:g})" if said else None


def _depth(rows: pd.DataFrame, subject: str) -> str | None:
    layers = sensitivities(rows, subject)
    part = sized(rows, subject)
    part = part[(part["method"] == OURS)] if len(part) else part
    said, word = [], UNTESTED
    if len(layers) and layers["depth"].nunique() > 1:
        # A type of layer is as good as constant over depth, so depths are compared within each.
        ranks = (
            layers.groupby("type")["measured"].rank(pct=True)
            if subject_of(subject).blocks
            else layers["measured"]
        )
        found = rank_correlation(layers["depth"], ranks)
        word = TRUE if found.high is not None and found.high < 0 else FALSE if (found.low or -1) > 0 else OPEN
        said.append(f"rank correlation of depth with the measured loss of a layer {decimal(found, 2)}")
    for _, row in part.iterrows():
        shares = ", ".join(f"{share:.2f} {third}" for third, share in row["kept_by_third"].items())
        said.append(f"at a budget of {row['kept']:g} kept {shares}")
    return f"{word}: {'; '.join(said)}" if said else None
