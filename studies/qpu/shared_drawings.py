"""What the figures of `qpu_gradients` share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from studies.engine.statistics import Estimate

GREY = "#777777"


def bars(ax: Axes, x: Any, estimates: Sequence[Estimate], **style: Any) -> None:
    """Draws estimates with their intervals."""
    values = np.array([each.value for each in estimates])
    low = np.array([each.value if each.low is None else each.low for each in estimates])
    high = np.array([each.value if each.high is None else each.high for each in estimates])
    ax.errorbar(x, values, yerr=[np.maximum(0, values - low), np.maximum(0, high - values)], **style)


def points(estimates: Sequence[Estimate], **columns: Any) -> pd.DataFrame:
    """Estimates as the points of a figure."""
    return pd.DataFrame(
        {
            **columns,
            "value": [each.value for each in estimates],
            "low": [each.low for each in estimates],
            "high": [each.high for each in estimates],
            "count": [each.count for each in estimates],
        }
    )


def space(figure: Any) -> None:
    """Room between panels for the right one's label."""
    figure.get_layout_engine().set(wspace=0.06)
