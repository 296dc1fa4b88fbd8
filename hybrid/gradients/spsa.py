"""Simultaneous perturbation: all parameters moved at once along random signs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hybrid.backends.base import Measured
from hybrid.circuits import FreeCircuits
from hybrid.gradients.base import AbstractShotEstimator, Plan, Theta, gradient_rows, shot_variances
from hybrid.objective import Objective
from hybrid.shots import balanced_reach, spread_shots


@dataclass(frozen=True, kw_only=True)
class SPSA(AbstractShotEstimator):
    """Mean over K random sign vectors D of (E(t + c D) - E(t - c D)) / (2 c) * D.

    Cost: 2 K circuits, times measurement bases, whatever the number of parameters. Unbiased as c falls; the
    other components of the gradient are noise of each one. `std_errors` are estimated from the differences
    themselves, unbiased on average over components: with one direction, mean over components of the variance is
    (P - 1)/P * (slope along D)^2 + shot noise / P. Source: Spall 1992, doi:10.1109/9.119632.

    Args:
        directions: K.
        step: c in radians; None: 0.01 / Omega without shots and (9/N)^(1/6) / Omega with N shots a circuit, Omega
            the root of the sum of squares of all parameters' largest frequencies, along which a random
            direction moves.
    """

    directions: int = 1
    step: float | None = None

    def __post_init__(self) -> None:
        if type(self.directions) is not int or self.directions < 1:
            raise ValueError(
                f"Argument `directions` must be a whole number of at least 1, but is {self.directions}."
            )
        if self.step is not None and not (self.step > 0 and math.isfinite(self.step)):
            raise ValueError(f"Argument `step` must be positive and finite, but is {self.step}.")

    @property
    def name(self) -> str:
        return "SPSA"

    def plan(
        self,
        objective: Objective,
        theta: Theta,
        *,
        total_shots: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> Plan:
        if rng is None:
            raise ValueError(
                "Argument `rng` must be given to SPSA, whose directions are random: "
                "`numpy.random.default_rng(seed)`."
            )
        rows, batch = gradient_rows(objective, theta)
        shots = spread_shots(total_shots, 2 * self.directions, len(objective.groups))
        step = self._step(objective, shots)
        shape = (len(rows), objective.num_params, self.directions)
        signs = torch.from_numpy(rng.integers(0, 2, size=shape) * 2.0 - 1.0)
        both = torch.stack([signs, -signs], dim=-1).flatten(2)  # (B, P, 2K), plus and minus in turn
        displaced = rows[None] + step * both.permute(2, 0, 1)
        return Plan(
            estimator=self.name,
            objective=objective,
            circuits=FreeCircuits(angles=objective.program.angles(displaced)),
            # plus: D / (2 c K); minus: the sign of `both` turns the difference.
            weights=both / (2 * step * self.directions),
            shots=shots,
            batch=batch,
        )

    def _step(self, objective: Objective, shots: Tensor | None) -> float:
        if self.step is not None:
            return self.step
        reach = max(float(objective.program.max_frequencies().norm()), 1e-12)
        if shots is None:
            return 0.01 / reach
        return balanced_reach(shots) / reach

    def _own_variances(self, plan: Plan, measured: Measured, values: Tensor) -> Tensor:
        """Noise from the random directions, made so that with shot noise it gives the whole variance."""
        params = values.shape[-1]
        # Slope along each direction, times its sign: weights of one component hold D_i / (2 c K).
        scale = plan.weights[:, :1].abs() * self.directions  # (B, 1, 2K), 1 / (2 c)
        plus, minus = measured.values[0::2], measured.values[1::2]
        slopes = (plus - minus) * scale[:, 0, 0::2].T[..., None]  # (K, B, M)
        shot = shot_variances(plan, measured)[..., 0] * self.directions  # per direction, on average
        squares = (slopes**2).mean(0) - shot
        return (squares * (params - 1) / (params * self.directions))[..., None].expand_as(values)
