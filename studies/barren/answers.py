"""The tables and sentences of `barren_plateau`, as functions of its rows."""

from __future__ import annotations

import pandas as pd

from studies.barren import depth_words, money, qubit_words, start_words, verdict_words
from studies.barren.selection import of_depth, of_large, of_noise, of_qubits, of_starts
from studies.barren.verdict import cells


def tables(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Tables by title, of the parts that have rows."""
    found, started = of_qubits(rows), of_starts(rows)
    made = {
        qubit_words.TITLE: qubit_words.table(found),
        start_words.TITLE: start_words.table(started),
        verdict_words.TITLE: verdict_words.table(cells(rows)),
        money.TITLE: money.table(found),
    }
    return {title: table for title, table in made.items() if len(table)}


def answer(rows: pd.DataFrame) -> list[str]:
    """What the rows say, in sentences with their conditions."""
    found, deep, started, noisy = of_qubits(rows), of_depth(rows), of_starts(rows), of_noise(rows)
    wide = of_large(rows)
    said = [
        *qubit_words.sentences(found),
        *depth_words.large_sentences(wide),
        *depth_words.sentences(deep),
        *start_words.sentences(started),
        *depth_words.noise_sentences(noisy),
        *verdict_words.sentences(cells(rows)),
        *money.sentences(found),
        *qubit_words.controls(found, [*deep, *started]),
    ]
    if not (found and deep and started and noisy and wide):
        said.append(
            f"There are {len(rows)} rows so far. What is missing here follows when every part has its rows: run the "
            "study on."
        )
    return said
