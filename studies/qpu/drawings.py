"""Figures of `qpu_gradients`, as functions of its rows."""

from __future__ import annotations

import pandas as pd

from studies.engine.figures import Figure
from studies.qpu import drowning_drawings, source_drawings, training_drawings


def figures(rows: pd.DataFrame) -> list[Figure]:
    """The figures that the rows carry."""
    parts = (source_drawings, drowning_drawings, training_drawings)
    return [figure for part in parts for figure in part.figures(rows)]
