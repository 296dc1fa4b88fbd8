"""The two-term parameter-shift rule, occurrence by occurrence."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hybrid.backends.base import Measured
from hybrid.circuits import ShiftedCircuits
from hybrid.gradients.base import AbstractShotEstimator, Plan, Theta, gradient_rows
from hybrid.objective import Objective
from hybrid.shots import spread_shots


@dataclass(frozen=True, kw_only=True)
class ParameterShift(AbstractShotEstimator):
    """Exact derivatives from two shifted circuits for each rotation.

    Every rotation `exp(-i a P / 2)` with P^2 = 1 obeys dE/da = (E(a + s) - E(a - s)) / (2 sin s); the chain
    rule through the affine angles adds up occurrences. So shared, scaled and controlled parameters are exact.

    Cost: 2 circuits for each rotation, times measurement bases. Unbiased. Source: Mitarai et al. 2018,
    arXiv:1803.00745; Schuld et al. 2019, arXiv:1811.11184, eq. 9; general s: Mari, Bromley and Killoran 2021,
    arXiv:2008.06517, eq. 9.

    Args:
        shift: s in radians, in (0, pi); pi/2 has the least variance on average over angles.
    """

    shift: float = math.pi / 2

    def __post_init__(self) -> None:
        if not 0 < self.shift < math.pi:
            raise ValueError(f"Argument `shift` must lie strictly between 0 and pi, but is {self.shift}.")

    @property
    def name(self) -> str:
        return "parameter-shift"

    def plan(
        self,
        objective: Objective,
        theta: Theta,
        *,
        total_shots: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> Plan:
        rows, batch = gradient_rows(objective, theta)
        program = objective.program
        count = program.num_rotations
        # Rotation k has its plus circuit at 2k and its minus circuit at 2k + 1.
        signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(count)
        chain = program.coefficients.T.repeat_interleave(2, dim=1)
        return Plan(
            estimator=self.name,
            objective=objective,
            circuits=ShiftedCircuits(
                angles=program.angles(rows),
                rotations=torch.arange(count).repeat_interleave(2),
                shifts=self.shift * signs,
            ),
            weights=(chain * signs / (2 * math.sin(self.shift)))[None],
            shots=spread_shots(total_shots, 2 * count, len(objective.groups)),
            batch=batch,
        )

    def _own_variances(self, plan: Plan, measured: Measured, values: Tensor) -> Tensor:
        return torch.zeros_like(values)
