"""Simultaneous perturbation: all parameters moved at once along random signs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hybrid.backends.base import Measured
from hybrid.circuits import FreeCircuits
from hybrid.estimating import check_directions, check_step, random_source
from hybrid.gradients.base import AbstractShotEstimator, shot_covariances
from hybrid.objective import Objective
from hybrid.plan import Part, Plan
from hybrid.shots import balanced_reach


@dataclass(frozen=True, kw_only=True)
class SPSA(AbstractShotEstimator):
    """Mean over K random sign vectors D of (E(t + c D) - E(t - c D)) / (2 c) * D.

    Cost: 2 K circuits, times measurement bases, whatever the number of parameters. The other components of the
    gradient are noise of each one. `std_errors` are estimated from the differences themselves, unbiased on average over
    components: with one direction, mean over components of the variance is
    (P - 1)/P * (slope along D)^2 + shot noise / P. Source: Spall 1992, doi:10.1109/9.119632.

    Unbiased as c falls; with many directions the bias is what is left. To leading order it is
    c^2 / 6 * (3 sum_j d_i d_j^2 E - 2 d_i^3 E): for parameters of single frequencies w_j that do not meet in a term
    -(c w_i)^2 / 6 of the component, for those that all do -(c^2 / 6) (3 Omega^2 - 2 w_i^2) of it, up to 3 P times as
    much. Differences of one step do not tell these third derivatives, nor do frequencies, so `biases` are zero and
    `std_errors` leave the step out.

    Args:
        directions: K.
        step: c in radians; None: 0.01 / Omega without shots and (9/N)^(1/6) / Omega with N shots a circuit, Omega
            the root of the sum of squares of all parameters' largest frequencies, along which a random
            direction moves.
    """

    directions: int = 1
    step: float | None = None

    def __post_init__(self) -> None:
        check_directions(self.directions)
        check_step(self.step)

    @property
    def name(self) -> str:
        return "SPSA"

    @property
    def remark(self) -> str:
        return "biased by the step, plus noise of the directions"

    def parts(
        self,
        objective: Objective,
        rows: Tensor,
        wrt: Tensor,
        *,
        total_shots: int | None,
        rng: np.random.Generator | None,
    ) -> Sequence[Part]:
        step = self._step(objective, wrt, total_shots)
        shape = (len(rows), len(wrt), self.directions)
        signs = torch.from_numpy(random_source(rng, self.name).integers(0, 2, size=shape) * 2.0 - 1.0)
        both = torch.stack([signs, -signs], dim=-1).flatten(2)  # (B, P, 2K), plus and minus in turn
        displaced = rows.expand(2 * self.directions, -1, -1).clone()
        displaced[..., wrt] += step * both.permute(2, 0, 1)
        return [
            Part(
                target=objective.target,
                circuits=FreeCircuits(angles=objective.program.angles(displaced)),
                # plus: D / (2 c K); minus: the sign of `both` turns the difference.
                weights=(both / (2 * step * self.directions))[..., None],
            )
        ]

    def _step(self, objective: Objective, wrt: Tensor, total_shots: int | None) -> float:
        if self.step is not None:
            return self.step
        reach = max(float(objective.program.max_frequencies()[wrt].norm()), 1e-12)
        if total_shots is None:
            return 0.01 / reach
        return balanced_reach(total_shots / (2 * self.directions * len(objective.groups))) / reach

    def extra_noise(self, plan: Plan, measured: Sequence[Measured], values: Tensor) -> tuple[Tensor, Tensor]:
        """Noise from the random directions, made so that with shot noise it gives the whole variance."""
        params = values.shape[-1]
        weights = plan.parts[0].weights[..., 0]
        # Slope along each direction, times its sign: weights of one component hold D_i / (2 c K).
        scale = weights[:, 0].abs() * self.directions  # (B, 2K), 1 / (2 c)
        both = measured[0].values
        slopes = (both[0::2] - both[1::2]) * scale[:, 0::2].T[..., None]  # (K, B, M)
        shot = shot_covariances(plan, measured)[..., 0] * self.directions  # per direction, on average
        squares = torch.einsum("kbm,kbn->bmn", slopes, slopes) / len(slopes) - shot
        noise = squares * (params - 1) / (params * self.directions)
        return noise[..., None].expand(-1, -1, -1, params), torch.zeros_like(values)
