"""Figures of `barren_plateau`, as functions of its rows."""

from __future__ import annotations

import pandas as pd

from studies.barren import depth_drawings, money_drawings, qubit_drawings, start_drawings, verdict_drawings
from studies.engine.figures import Figure

_PARTS = (qubit_drawings, depth_drawings, start_drawings, verdict_drawings, money_drawings)


def figures(rows: pd.DataFrame) -> list[Figure]:
    """The figures that the rows carry."""
    return [figure for part in _PARTS for figure in part.figures(rows)]
