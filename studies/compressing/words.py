"""Sentences and tables of `compression`, from its rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from studies.compressing import sensitivity
from studies.compressing.claims import claims
from studies.compressing.healing import ADAPTERS, FACTORS
from studies.compressing.intervals import rank_correlation, restored
from studies.compressing.methods import (
    BLOCK_DROP,
    FACTORISED,
    INT4,
    INT8,
    OURS,
    OURS_INT4,
    OURS_INT8,
    TITLES,
)
from studies.compressing.packages import install_command
from studies.compressing.selection import (
    at_sizes,
    dense_row,
    healed,
    part_of,
    ranked,
    sensitivities,
    sized,
    subjects_of,
)
from studies.compressing.subjects import ENCODER, KINDS, LANGUAGE, SLICE, subject_of
from studies.engine.statistics import Estimate
from studies.qpu.words import decimal

_STORED_SMALLER = (*FACTORISED, BLOCK_DROP)
_UNEQUAL = 0.02  # of a fraction: more is said


def sentences(rows: pd.DataFrame) -> list[str]:
    """What each subject says, the claims, and what was left out."""
    said = [sentence for subject in subjects_of(rows) for sentence in _of_subject(rows, subject)]
    said += [f"Claim “{claim}”, {model}: {words}." for claim, model, words in claims(rows)]
    return said + _left_out(rows)


def tables(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Sizes, healing and sensitivities, where there are rows, and the claims."""
    made = {
        "Before any training": _concatenated(_size_table(rows, subject) for subject in subjects_of(rows)),
        "After the same training": _concatenated(
            _healing_table(rows, subject) for subject in subjects_of(rows)
        ),
    }
    made = {title: table for title, table in made.items() if len(table)}
    made["Public claims"] = pd.DataFrame(claims(rows), columns=["claim", "model", "verdict"])
    return made


def _concatenated(parts: object) -> pd.DataFrame:
    found = [part for part in parts if len(part)]  # pyright: ignore
    return pd.concat(found) if found else pd.DataFrame()


def _of_subject(rows: pd.DataFrame, subject: str) -> list[str]:
    return [
        *_best_untrained(rows, subject),
        *_on_bytes(rows, subject),
        *_best_healed(rows, subject),
        *_adapters(rows, subject),
        *_forecast(rows, subject),
    ]


def _best_untrained(rows: pd.DataFrame, subject: str) -> list[str]:
    part, dense = sized(rows, subject), dense_row(rows, subject)
    part = part[part["method"].isin(_STORED_SMALLER)] if len(part) else part
    if not len(part):
        return []
    described, name = subject_of(subject), subject_of(subject).judgement.name
    said = [f"kept {kept:g}: {_ranking(subject, data)}" for kept, data in at_sizes(part)]
    start = "" if dense is None else f" (dense: {_value(dense['estimate'])})"
    return [f"{described.title}, {name} at equal size before any training{start}. {'; '.join(said)}."]


def _ranking(subject: str, data: pd.DataFrame) -> str:
    """The best, whether the second is apart from it, and the worst."""
    order = ranked(subject_of(subject), data)
    titles = order["title"] if "title" in order else [TITLES[str(each)] for each in order["method"]]
    words = [
        f"{title} {_value(each)}" + (f" at {share:.2f} kept" if abs(share - kept) > _UNEQUAL else "")
        for title, each, share, kept in zip(
            titles, order["estimate"], order["share"], order["kept"], strict=True
        )
    ]
    if len(words) == 1:
        return words[0]
    tie = "" if _apart(order["estimate"].iloc[0], order["estimate"].iloc[1]) else " (intervals overlap)"
    return f"best {words[0]}, then {words[1]}{tie}" + (f", worst {words[-1]}" if len(words) > 2 else "")


def _apart(first: Estimate, second: Estimate) -> bool:
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return False
    return first.high < second.low or second.high < first.low


def _on_bytes(rows: pd.DataFrame, subject: str) -> list[str]:
    """Whether factors in fewer bits reach what whole weights in fewer bits do not."""
    part = sized(rows, subject)
    alone = part[part["method"].isin((INT8, INT4))] if len(part) else part
    both = part[part["method"].isin((OURS_INT8, OURS_INT4))] if len(part) else part
    if not len(alone) or not len(both):
        return []
    lower = subject_of(subject).judgement.lower_is_better
    sign = 1.0 if lower else -1.0
    beaten, better = [], []
    for _, row in both.iterrows():
        words = f"{TITLES[row['method']]} at {row['kept']:g} kept ({row['bits']:.2f} bits, {_value(row['estimate'])})"
        rivals = alone[alone["bits"] <= row["bits"]]
        if any(sign * each.value <= sign * row["estimate"].value for each in rivals["estimate"]):
            beaten.append(words)
        elif row["bits"] < alone["bits"].min():
            better.append((row["bits"], words))
    line = ", ".join(f"{row['bits']:.2f} bits {_value(row['estimate'])}" for _, row in alone.iterrows())
    said = f"{subject_of(subject).title}, by bits. Quantisation alone: {line}."
    if beaten:
        said += f" It is as good with fewer bits as {'; '.join(beaten)}."
    if better:
        said += (
            f" Below its fewest bits stand {len(better)} of the other rows, the smallest {min(better)[1]}."
        )
    return [said]


def _best_healed(rows: pd.DataFrame, subject: str) -> list[str]:
    part = healed(rows, subject)
    part = part[part["way"] == FACTORS] if len(part) else part
    if not len(part):
        return []
    described = subject_of(subject)
    said = [f"kept {kept:g}: {_ranking(subject, data)}" for kept, data in at_sizes(part)]
    first = part.iloc[0]
    return [
        f"{described.title}, {described.judgement.name} after the same training of {first['steps']:,.0f} steps "
        f"({part['tokens'].max():,.0f} rows, best of {len(first['rates'])} rates for each). {'; '.join(said)}."
    ]


def _adapters(rows: pd.DataFrame, subject: str) -> list[str]:
    part = healed(rows, subject)
    part = part[part["method"] == OURS] if len(part) else part
    said = []
    for kept, data in at_sizes(part) if len(part) else ():
        pair = {row["way"]: row for _, row in data.iterrows()}
        if {FACTORS, ADAPTERS} <= set(pair):
            said.append(
                f"kept {kept:g}: factors {_value(pair[FACTORS]['estimate'])} with {pair[FACTORS]['num_trained']:,.0f} "
                f"trained numbers, adapters {_value(pair[ADAPTERS]['estimate'])} with "
                f"{pair[ADAPTERS]['num_trained']:,.0f}, which raise what is kept to "
                f"{pair[ADAPTERS]['measured_kept']:.3f}"
            )
    title = subject_of(subject).title
    return (
        [f"{title}, factors of qtn.compress trained themselves or by adapters. {'; '.join(said)}."]
        if said
        else []
    )


def _forecast(rows: pd.DataFrame, subject: str) -> list[str]:
    layers = sensitivities(rows, subject)
    if len(layers) < 2 or min(layers["predicted"].nunique(), layers["measured"].nunique()) < 2:
        return []
    found = rank_correlation(layers["predicted"], layers["measured"])
    kept = part_of(rows, sensitivity.PART, subject)["kept"].iloc[0]
    ratio = (layers["measured"] / layers["predicted"]).median()
    return [
        f"{subject_of(subject).title}, one layer at a time at {kept:g} kept: rank correlation of predicted and "
        f"measured loss {decimal(found, 2)} over {len(layers)} layers; the measured one is {ratio:.2g} times the "
        "predicted (median)."
    ]


def _left_out(rows: pd.DataFrame) -> list[str]:
    """The models without rows, and the packages that hold them; a model of the user's own stands alone."""
    there = set(subjects_of(rows))
    lacking = [] if ENCODER in there else [ENCODER]
    lacking += [] if there & {LANGUAGE, SLICE} else [LANGUAGE]
    if not lacking or not there <= set(KINDS):
        return []
    packages = dict.fromkeys(package for name in lacking for package in subject_of(name).packages)
    return [
        f"No rows of {' and '.join(subject_of(name).title for name in lacking)}: not run yet, or left out because "
        f"packages were not installed (`{install_command(list(packages))}`)."
    ]


def _size_table(rows: pd.DataFrame, subject: str) -> pd.DataFrame:
    part = sized(rows, subject)
    return pd.DataFrame(
        {
            "model": subject_of(subject).title,
            "method": TITLES[row["method"]],
            "kept": f"{row['measured_kept']:.3f}",
            "nonzero": f"{row['nonzero_parameters'] / row['dense_parameters']:.3f}",
            "bits": f"{row['bits']:.2f}",
            "whole model, MB": f"{row['resident_bytes'] / 1e6:.1f}",
            "operations": f"{row['operations'] / row['dense_operations']:.2f}",
            "quality": _value(row["estimate"]),
            "time, smallest": f"{row['one_ratio']:.2f}",
            "time, large": f"{row['many_ratio']:.2f}",
            "seconds to compress": f"{row['compress_seconds']:.0f}",
            "other qualities": _others(subject, row["qualities"]),
        }
        for _, row in part.iterrows()
        if row["method"] in TITLES
    )


def _healing_table(rows: pd.DataFrame, subject: str) -> pd.DataFrame:
    part = healed(rows, subject)
    return pd.DataFrame(
        {
            "model": subject_of(subject).title,
            "method": row["title"],
            "kept": f"{row['measured_kept']:.3f}",
            "before": _value(row["start"]),
            "after": _value(row["estimate"]),
            "rows seen": f"{row['tokens']:,.0f}",
            "rate": "broke down" if pd.isna(row["best_rate"]) else f"{row['best_rate']:g}",
            "seconds to heal": "–" if pd.isna(row["heal_seconds"]) else f"{row['heal_seconds']:.0f}",
            "step over dense": f"{row['step_ratio']:.2f}",
            "other qualities after": _others(subject, row["after"]),
        }
        for _, row in part.iterrows()
    )


def _others(subject: str, qualities: Mapping[str, Any]) -> str:
    """All but the one that figures show."""
    shown = subject_of(subject).judgement.name
    rest = {name: restored(each) for name, each in qualities.items() if name != shown}
    return "; ".join(f"{name} {_value(each)}" for name, each in rest.items()) or "–"


def _value(estimate: Estimate) -> str:
    """Three decimals of shares; of large numbers what counts."""
    if abs(estimate.value) < 10:
        return decimal(estimate, 3)
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3g}"
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"
