"""Shots by variances, which a first stage measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from hybrid.allocation.base import AbstractAllocation, affordable, shared
from hybrid.backends.base import Measured
from hybrid.shots import LEAST_SHOTS


@dataclass(frozen=True, kw_only=True)
class TwoStage(AbstractAllocation):
    """A share of the budget is spent evenly; the rest by the standard deviations that this first stage measured.

    The stages' means are joined with fixed weights, their shares of the budget, not by each piece's shots: shots that
    depend on measured variances would bias the mean. Values and error bars stay unbiased. Every circuit is run twice,
    with at least two shots each time; where the budget is a few times that, even shots do better. Source: Neyman 1934,
    doi:10.2307/2342192, for the allocation.

    Args:
        pilot: share of the first stage, in (0, 1).
    """

    pilot: float = 0.2
    num_stages: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if not 0 < self.pilot < 1:
            raise ValueError(f"Argument `pilot` must lie strictly between 0 and 1, but is {self.pilot}.")

    @property
    def name(self) -> str:
        return "weighted by variance"

    @property
    def favours_few_circuits(self) -> bool:
        return True

    def first(
        self, total_shots: int, sizes: Sequence[Tensor], rng: np.random.Generator | None
    ) -> tuple[Tensor, ...]:
        total = affordable(total_shots, sizes, 2 * LEAST_SHOTS)
        least = LEAST_SHOTS * sum(table.numel() for table in sizes)
        spent = min(max(round(self.pilot * total), least), total - least)
        return shared(spent, [torch.ones_like(table) for table in sizes], LEAST_SHOTS)

    def second(
        self, total_shots: int, shots: Sequence[Tensor], scales: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        rest = total_shots - sum(int(table.sum()) for table in shots)
        return shared(rest, scales, LEAST_SHOTS)

    def settle(self, sizes: Tensor, shots: Tensor, stages: Sequence[Measured], share: float) -> Measured:
        pilot, rest = stages
        assert pilot.group_covariances is not None and rest.group_covariances is not None
        a, b = share, 1 - share
        return Measured(
            group_values=a * pilot.group_values + b * rest.group_values,
            group_covariances=a**2 * pilot.group_covariances + b**2 * rest.group_covariances,
            constants=pilot.constants,
            cost=pilot.cost + rest.cost,
        )
