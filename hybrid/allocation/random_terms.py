"""Shots that each draw the measurement group that they go to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from hybrid.allocation.base import AbstractAllocation, shared
from hybrid.backends.base import Measured
from hybrid.shots import LEAST_SHOTS, BudgetTooSmall, whole_shots


@dataclass(frozen=True, kw_only=True)
class RandomTerms(AbstractAllocation):
    """Every shot of a circuit draws its measurement group, with probability in proportion to the group's size.

    An outcome counts divided by that probability, so the mean is unbiased with as few as two shots a circuit,
    however many groups there are. The price is the spread of the draw: for N shots of a circuit
    (sum_g E[v_g^2] / p_g - E[v]^2) / N. The rows of one call share the draw. Which groups are run is random, so
    `price` gives an estimate of circuits.
    Source: Arrasmith et al. 2020, arXiv:2004.06252, section 3.
    """

    rows_share_draws: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "random terms"

    @property
    def favours_few_circuits(self) -> bool:
        return True

    def first(
        self, total_shots: int, sizes: Sequence[Tensor], rng: np.random.Generator | None
    ) -> tuple[Tensor, ...]:
        if rng is None:
            raise ValueError(
                "Argument `rng` must be given to RandomTerms, which draws measurement groups: "
                "`numpy.random.default_rng(seed)`."
            )
        total = whole_shots(total_shots)
        circuits = sum(table.shape[0] for table in sizes)
        if total < LEAST_SHOTS * circuits:
            raise BudgetTooSmall(
                f"Argument `total_shots` must be at least {LEAST_SHOTS * circuits:,} ({circuits:,} circuits, "
                f"{LEAST_SHOTS} shots each), but is {total:,}."
            )
        by_circuit = shared(total, [table.sum(1) for table in sizes], LEAST_SHOTS)
        drawn = []
        for table, totals in zip(sizes, by_circuit, strict=True):
            rows = [
                rng.multinomial(count, p)
                for count, p in zip(totals.tolist(), _chances(table).numpy(), strict=True)
            ]
            drawn.append(torch.from_numpy(np.array(rows, dtype=np.int64).reshape(table.shape)))
        return tuple(drawn)

    def settle(self, sizes: Tensor, shots: Tensor, stages: Sequence[Measured], share: float) -> Measured:
        measured = stages[0]
        if measured.group_covariances is None or len(measured.group_values) != shots.shape[1]:
            raise ValueError(
                "RandomTerms needs a backend that gives values and covariances by measurement group."
            )
        count = shots.T.to(torch.float64)[..., None, None]  # (G, S, 1, 1)
        total = count.sum(0)
        chance = _chances(sizes).T[..., None, None]
        means = measured.group_values  # (G, S, B, M)
        # A group that is never drawn counts for nothing.
        per_draw = torch.where(chance > 0, 1 / chance, 0.0)
        value = (count / total * per_draw * means).sum(0)
        # Second moments of an outcome in its group, from its covariance about its mean; then about the whole mean.
        centred = measured.group_covariances * (count * (count - 1).clamp_min(0))[..., None]
        moments = centred + count[..., None] * means[..., :, None] * means[..., None, :]
        second = (moments * per_draw[..., None] ** 2).sum(0)
        square = value[..., :, None] * value[..., None, :]
        spread = (second / total[..., None] - square) / (total[..., None] - 1)
        return Measured(
            group_values=value[None],
            group_covariances=spread[None],
            constants=measured.constants,
            cost=measured.cost,
        )


def _chances(sizes: Tensor) -> Tensor:
    """Probability of each group, (S, G), rows that sum to one."""
    sizes = sizes.to(torch.float64)
    sizes = torch.where(sizes.sum(1, keepdim=True) > 0, sizes, 1.0)
    return sizes / sizes.sum(1, keepdim=True)
