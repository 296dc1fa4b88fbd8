"""The figures, tables and sentences of `compression`, as functions of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from studies.compressing import words

if TYPE_CHECKING:
    from studies.engine.figures import Figure


def figures(rows: pd.DataFrame) -> list[Figure]:
    """The figures that the rows carry."""
    from studies.compressing import place_drawings, size_drawings

    return [*size_drawings.figures(rows), *place_drawings.figures(rows)]


def tables(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Tables by title."""
    return words.tables(rows)


def answer(rows: pd.DataFrame) -> list[str]:
    """What the rows say, in sentences with their conditions."""
    return words.sentences(rows)
