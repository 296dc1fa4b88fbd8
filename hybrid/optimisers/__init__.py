"""Optimisers that count shots, one a file; `OPTIMISERS` lists them."""

from collections.abc import Mapping

from hybrid.optimisers.base import AbstractOptimiser, Step
from hybrid.optimisers.component_shots import CannotSplit
from hybrid.optimisers.fixed_shots import FixedShots
from hybrid.optimisers.gcans import GCANS
from hybrid.optimisers.icans import ICANS
from hybrid.optimisers.rosalin import Rosalin

OPTIMISERS: Mapping[str, type[AbstractOptimiser]] = {
    "fixed shots": FixedShots,
    "iCANS": ICANS,
    "gCANS": GCANS,
    "Rosalin": Rosalin,
}

__all__ = [
    "GCANS",
    "ICANS",
    "OPTIMISERS",
    "AbstractOptimiser",
    "CannotSplit",
    "FixedShots",
    "Rosalin",
    "Step",
]
