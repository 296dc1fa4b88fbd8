"""The same shots for every circuit and measurement group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hybrid.allocation.base import AbstractAllocation, affordable, shared
from hybrid.shots import LEAST_SHOTS


@dataclass(frozen=True, kw_only=True)
class Uniform(AbstractAllocation):
    """As even as whole numbers allow; the remainder goes to the first pieces."""

    @property
    def name(self) -> str:
        return "uniform"

    @property
    def favours_few_circuits(self) -> bool:
        return False

    def first(
        self, total_shots: int, sizes: Sequence[Tensor], rng: np.random.Generator | None
    ) -> tuple[Tensor, ...]:
        return shared(
            affordable(total_shots, sizes), [torch.ones_like(table) for table in sizes], LEAST_SHOTS
        )
