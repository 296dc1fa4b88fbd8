"""Rows of `compression` as the figures and sentences take them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from studies.compressing import sensitivity, sizes
from studies.compressing.healing import ADAPTERS
from studies.compressing.healing import PART as HEALING
from studies.compressing.intervals import difference, restored
from studies.compressing.methods import DENSE, PRUNED, TITLES
from studies.compressing.subject import AbstractSubject
from studies.compressing.subjects import KINDS, subject_of
from studies.engine.statistics import Estimate


def subjects_of(rows: pd.DataFrame) -> list[str]:
    """The subjects that have rows, in the order of the study."""
    there = set(rows["subject"]) if len(rows) else set()
    known = [name for name in KINDS if name in there]
    return known + sorted(there - set(known))


def part_of(rows: pd.DataFrame, part: str, subject: str | None = None) -> pd.DataFrame:
    """Rows of a part, and of one subject."""
    if not len(rows):
        return rows
    chosen = rows["part"] == part
    return rows[chosen if subject is None else chosen & (rows["subject"] == subject)]


def sized(rows: pd.DataFrame, subject: str) -> pd.DataFrame:
    """Rows before healing of one subject, with its main quality as `estimate` and the `share` that is left."""
    part = part_of(rows, sizes.PART, subject)
    if not len(part):
        return part
    left = part["nonzero_parameters"] / part["dense_parameters"]
    columns: dict[str, Any] = {
        "estimate": [main(subject, each) for each in part["qualities"]],
        "share": part["measured_kept"].where(part["method"] != PRUNED, left),
    }
    return part.assign(**columns)


def healed(rows: pd.DataFrame, subject: str) -> pd.DataFrame:
    """Rows after healing of one subject, with `estimate`, `start` before it, and `title` of method and way."""
    part = part_of(rows, HEALING, subject)
    if not len(part):
        return part
    titles = [
        TITLES[method] + (", adapters" if way == ADAPTERS else "")
        for method, way in zip(part["method"], part["way"], strict=True)
    ]
    columns: dict[str, Any] = {
        "estimate": [main(subject, each) for each in part["after"]],
        "start": [main(subject, each) for each in part["before"]],
        "share": part["measured_kept"],
        "title": titles,
    }
    return part.assign(**columns)


def sensitivities(rows: pd.DataFrame, subject: str) -> pd.DataFrame:
    """One line a layer."""
    part = part_of(rows, sensitivity.PART, subject)
    return pd.DataFrame([layer for layers in part["layers"] for layer in layers] if len(part) else [])


def main(subject: str, qualities: Any) -> Estimate:
    """The quality that figures show."""
    return restored(qualities[subject_of(subject).judgement.name])


def accuracy(subject: str, qualities: Any) -> Estimate | None:
    """The share of right answers, where the subject has one."""
    name = subject_of(subject).accuracy
    return None if name is None else restored(qualities[name])


def dense_row(rows: pd.DataFrame, subject: str) -> pd.Series | None:
    """The row of the dense model."""
    found = sized(rows, subject)
    found = found[found["method"] == DENSE] if len(found) else found
    return found.iloc[0] if len(found) else None


def points_lost(rows: pd.DataFrame, subject: str, qualities: Any) -> Estimate | None:
    """Points of accuracy below the dense model, in percent."""
    dense, found = dense_row(rows, subject), accuracy(subject, qualities)
    if dense is None or found is None:
        return None
    start = accuracy(subject, dense["qualities"])
    assert start is not None
    lost = difference(start, found)
    low, high = (None if end is None else 100 * end for end in (lost.low, lost.high))
    return Estimate(value=100 * lost.value, low=low, high=high, count=lost.count)


def ranked(subject: AbstractSubject, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows from the best to the worst estimate."""
    order = pd.Series([each.value for each in rows["estimate"].tolist()], index=rows.index)
    return rows.loc[order.sort_values(ascending=subject.judgement.lower_is_better).index]


def at_sizes(rows: pd.DataFrame) -> Iterator[tuple[float, pd.DataFrame]]:
    """Rows of each size that was asked for, from large to small."""
    for kept in sorted(set(rows["kept"]), reverse=True):
        yield kept, rows[rows["kept"] == kept]
