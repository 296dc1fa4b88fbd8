"""What an allocation is: how the shots of a gradient are shared among circuits and measurement groups."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from hybrid.backends.base import Measured
from hybrid.shots import LEAST_SHOTS, BudgetTooSmall, apportion, whole_shots


class AbstractAllocation(ABC):
    """A way of sharing a shot budget.

    Pieces are pairs of a circuit and a measurement group, in tables (S, G), one for each part of a plan. `sizes` are
    the noise of each piece: the root of the summed squares of everything that multiplies its outcomes.
    """

    num_stages: ClassVar[int] = 1
    """How many times the circuits are run: two where the first run says how to spend the rest."""
    rows_share_draws: ClassVar[bool] = False
    """Whether something is drawn for all rows of a call at once, so that their errors are not independent."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name, as it stands in tables."""

    @property
    @abstractmethod
    def favours_few_circuits(self) -> bool:
        """Whether pieces get shots by size, so that many small pieces cost no more than few large ones."""

    @abstractmethod
    def first(
        self, total_shots: int, sizes: Sequence[Tensor], rng: np.random.Generator | None
    ) -> tuple[Tensor, ...]:
        """Returns the shots (S, G) of the first stage, int64.

        Raises:
            BudgetTooSmall: when a piece would get fewer than its error bar needs.
        """

    def second(
        self, total_shots: int, shots: Sequence[Tensor], scales: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Returns the shots of the second stage, where there is one, from the measured noise of one shot a piece."""
        raise NotImplementedError(f"The allocation {self.name} has one stage.")

    def settle(self, sizes: Tensor, shots: Tensor, stages: Sequence[Measured], share: float) -> Measured:
        """Returns one part's results from those of its stages.

        Args:
            shots: of the first stage, which has the share `share` of all shots of the plan.
        """
        del sizes, shots, share
        return stages[0]


def checked_allocation(allocation: object) -> AbstractAllocation:
    """The allocation; raises TypeError for anything else."""
    if not isinstance(allocation, AbstractAllocation):
        raise TypeError(
            f"Argument `allocation` must be an allocation such as Uniform(), but is {allocation!r}."
        )
    return allocation


def shared(total: int, sizes: Sequence[Tensor], least: int) -> tuple[Tensor, ...]:
    """Shots in proportion to sizes, tables in and out; sums to `total` over all tables."""
    flat = torch.cat([table.flatten() for table in sizes]) if sizes else torch.zeros(0)
    if not len(flat):
        return tuple(torch.zeros_like(table, dtype=torch.int64) for table in sizes)
    shots = apportion(total, flat, least)
    pieces = shots.split([table.numel() for table in sizes])
    return tuple(piece.reshape(table.shape) for piece, table in zip(pieces, sizes, strict=True))


def affordable(total_shots: int, sizes: Sequence[Tensor], least: int = LEAST_SHOTS) -> int:
    """`total_shots` as an int; raises BudgetTooSmall when it is below `least` for each piece."""
    total = whole_shots(total_shots)
    pieces = sum(table.numel() for table in sizes)
    if pieces and total < least * pieces:
        circuits = sum(table.shape[0] for table in sizes)
        raise BudgetTooSmall(
            f"Argument `total_shots` must be at least {least * pieces:,} ({circuits:,} circuits, "
            f"{pieces:,} with measurement bases, {least} shots each), but is {total:,}."
        )
    return total
