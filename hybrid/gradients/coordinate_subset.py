"""Stochastic coordinates: the derivatives of a few rotations, drawn anew each time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hybrid.backends.base import Measured
from hybrid.circuits import ShiftedCircuits
from hybrid.estimating import random_source
from hybrid.gradients.base import AbstractShotEstimator, shot_covariances
from hybrid.objective import Objective
from hybrid.plan import Part, Plan


@dataclass(frozen=True, kw_only=True)
class CoordinateSubset(AbstractShotEstimator):
    """Parameter-shift on `count` of the K rotations, drawn without replacement and counted K / count times.

    Unbiased. The rows of one call share the draw. The noise of the draw is large: for one parameter a rotation, a
    component g has the variance (K / count - 1) g^2 beside shot noise. `std_errors` estimate the mean of it over
    components, as SPSA's do, for a component that was not drawn knows nothing of itself.

    Cost: 2 count circuits, times measurement bases. Source: Ding et al. 2023, arXiv:2311.00088 (random coordinate
    descent); Cochran 1977, Sampling Techniques, section 10.3, for the variance of sampling in two stages.

    Args:
        count: rotations to draw, at least 2; all of them where there are fewer.
    """

    count: int = 8

    def __post_init__(self) -> None:
        if type(self.count) is not int or self.count < 2:
            raise ValueError(f"Argument `count` must be a whole number of at least 2, but is {self.count}.")

    @property
    def name(self) -> str:
        return "coordinate subset"

    @property
    def rows_share_draws(self) -> bool:
        return True

    @property
    def remark(self) -> str:
        return "plus noise of the random choice"

    def parts(
        self,
        objective: Objective,
        rows: Tensor,
        wrt: Tensor,
        *,
        total_shots: int | None,
        rng: np.random.Generator | None,
    ) -> Sequence[Part]:
        program = objective.program
        chain = program.coefficients[:, wrt]
        used = chain.any(1).nonzero()[:, 0].numpy()
        drawn = random_source(rng, self.name).choice(used, size=min(self.count, len(used)), replace=False)
        picked = torch.from_numpy(np.sort(drawn))
        signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(len(picked))
        scale = len(used) / max(1, len(picked))
        return [
            Part(
                target=objective.target,
                circuits=ShiftedCircuits(
                    angles=program.angles(rows),
                    rotations=picked.repeat_interleave(2),
                    shifts=signs * math.pi / 2,
                ),
                weights=(scale / 2 * chain[picked].T.repeat_interleave(2, dim=1) * signs)[None, ..., None],
            )
        ]

    def extra_noise(self, plan: Plan, measured: Sequence[Measured], values: Tensor) -> tuple[Tensor, Tensor]:
        """Noise of the draw, made so that with shot noise it gives the whole variance, on average over components."""
        part = plan.parts[0]
        total = int(plan.objective.program.coefficients[:, plan.wrt].any(1).sum())
        picked = part.weights.shape[2] // 2
        if picked == total:
            return super().extra_noise(plan, measured, values)
        weights = part.weights[0, ..., 0]  # (P, 2 picked), K / count times chain over 2
        both = measured[0].values  # (2 picked, B, M)
        # What each drawn rotation adds to each component; most add nothing to most.
        terms = torch.einsum(
            "pks,ksbm->kbmp", weights.unflatten(1, (picked, 2)), both.unflatten(0, (picked, 2))
        )
        centred = terms - terms.mean(0)
        spread = (
            torch.einsum("kbmp,kbnp->bmn", centred, centred) * picked / (picked - 1) * (1 - picked / total)
        )
        # Cochran's estimate is the spread of the drawn terms, plus `picked / total` of their own noise.
        shot = shot_covariances(plan, measured)
        own = shot.sum(-1) * picked / total
        mean = (spread + own) / values.shape[-1]
        return mean[..., None] - shot, torch.zeros_like(values)
