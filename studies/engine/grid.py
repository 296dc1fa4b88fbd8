"""A table of texts, ready to be shown on a page or a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One text, and whether it is a number, which stands on the right."""

    text: str
    number: bool


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Names of columns, and rows of as many cells."""

    columns: list[str]
    rows: list[list[Cell]]


def grid_of(columns: Sequence[object], rows: Sequence[Sequence[object]]) -> Grid:
    """The grid of plain values: numbers with four digits, texts as they are, nothing as a dash."""
    return Grid(
        columns=[str(name) for name in columns], rows=[[_cell(value) for value in row] for row in rows]
    )


def grid_of_frame(table: pd.DataFrame) -> Grid:
    """The grid of a pandas table; its index is left out unless it has a name."""
    if any(name is not None for name in table.index.names):
        table = table.reset_index()
    return grid_of(list(table.columns), table.astype(object).to_numpy().tolist())


def _cell(value: object) -> Cell:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Cell(text="–", number=False)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Cell(text=str(value), number=False)
    if isinstance(value, int):
        return Cell(text=f"{value:,}".replace(",", " "), number=True)
    return Cell(text=f"{value:.4g}", number=True)
