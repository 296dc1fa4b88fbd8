"""Shots by the coefficients that multiply the outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from hybrid.allocation.base import AbstractAllocation, affordable, shared
from hybrid.shots import LEAST_SHOTS


@dataclass(frozen=True, kw_only=True)
class Weighted(AbstractAllocation):
    """In proportion to a piece's weight in the gradient times the norm of its group's coefficients.

    The best there is when all terms have the same variance and are independent. At least two shots each. Source:
    Crawford et al. 2021, arXiv:1908.06942, section 3, for groups; Wecker et al. 2015, arXiv:1507.08969, for terms.
    """

    @property
    def name(self) -> str:
        return "weighted by coefficient"

    @property
    def favours_few_circuits(self) -> bool:
        return True

    def first(
        self, total_shots: int, sizes: Sequence[Tensor], rng: np.random.Generator | None
    ) -> tuple[Tensor, ...]:
        return shared(affordable(total_shots, sizes), sizes, LEAST_SHOTS)
