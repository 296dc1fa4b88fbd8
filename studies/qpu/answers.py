"""The tables and sentences of `qpu_gradients`, as functions of its rows."""

from __future__ import annotations

import pandas as pd

from studies.qpu import drowning_words, source_words, training_words
from studies.qpu.selection import curves, sources, training


def tables(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Tables by title, of the parts that have rows."""
    made: dict[str, pd.DataFrame] = {}
    found, drowning, trained = sources(rows), curves(rows), training(rows)
    if found:
        made[source_words.TITLE] = source_words.table(found)
    if drowning:
        made[drowning_words.TITLE] = drowning_words.table(drowning)
    if len(trained):
        made[training_words.TITLE] = training_words.table(trained)
    return made


def answer(rows: pd.DataFrame) -> list[str]:
    """What the rows say, in sentences with their conditions."""
    drowning, trained = curves(rows), training(rows)
    said = source_words.sentences(sources(rows))
    whole = bool(said) and bool(drowning) and len(trained) > 0
    for each in drowning:
        said += drowning_words.sentences(each)
    if len(trained):
        said += training_words.sentences(trained)
    if not whole:
        said.append(
            f"There are {len(rows)} rows so far. What is missing here follows when every source, gate error, "
            "mitigation and start has its rows: run the study on."
        )
    return said
