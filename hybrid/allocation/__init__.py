"""How shots are shared among circuits and measurement groups, one way a file; `ALLOCATIONS` lists them."""

from collections.abc import Mapping

from hybrid.allocation.base import AbstractAllocation
from hybrid.allocation.random_terms import RandomTerms
from hybrid.allocation.two_stage import TwoStage
from hybrid.allocation.uniform import Uniform
from hybrid.allocation.weighted import Weighted

ALLOCATIONS: Mapping[str, type[AbstractAllocation]] = {
    "uniform": Uniform,
    "weighted by coefficient": Weighted,
    "weighted by variance": TwoStage,
    "random terms": RandomTerms,
}

__all__ = ["ALLOCATIONS", "AbstractAllocation", "RandomTerms", "TwoStage", "Uniform", "Weighted"]
