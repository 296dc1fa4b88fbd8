"""Colours and marks of the methods, the same in all figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studies.compressing.methods import (
    BLOCK_DROP,
    DENSE,
    INT4,
    INT8,
    MPO,
    MPO_FITTED,
    OURS,
    OURS_INT4,
    OURS_INT8,
    PRUNED,
    SVD,
    SVD_LLM,
    TWO_SIDED,
)

STYLES: Mapping[str, dict[str, Any]] = {
    DENSE: {"color": "#000000", "marker": "*"},
    SVD: {"color": "#777777", "marker": "v"},
    SVD_LLM: {"color": "#E69F00", "marker": "s"},
    TWO_SIDED: {"color": "#56B4E9", "marker": "D"},
    MPO: {"color": "#D55E00", "marker": "^"},
    MPO_FITTED: {"color": "#D55E00", "marker": "<"},
    BLOCK_DROP: {"color": "#CC79A7", "marker": "P"},
    PRUNED: {"color": "#CC79A7", "marker": "X"},
    OURS: {"color": "#0072B2", "marker": "o"},
    OURS_INT8: {"color": "#009E73", "marker": "o"},
    OURS_INT4: {"color": "#CC3377", "marker": "h"},
    INT8: {"color": "#000000", "marker": "d"},
    INT4: {"color": "#000000", "marker": "d"},
}
