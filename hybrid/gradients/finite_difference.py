"""Central differences, with a step that knows how many shots there are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hybrid.backends.base import Measured
from hybrid.circuits import AbstractCircuits, FreeCircuits, ShiftedCircuits
from hybrid.gradients.base import AbstractShotEstimator, Plan, Theta, gradient_rows
from hybrid.objective import Objective
from hybrid.shots import balanced_reach, spread_shots

# Third root of the unit roundoff: the step at which truncation and roundoff of a central difference are equal.
_EXACT_STEP = 6e-6


@dataclass(frozen=True, kw_only=True)
class FiniteDifference(AbstractShotEstimator):
    """(E(t + h) - E(t - h)) / (2 h) for each parameter.

    The best step balances truncation against shot noise, h = (9 sigma^2 / (N f'''^2))^(1/6) for N shots an
    evaluation (docs/concepts.md derives it). The rule takes sigma^2 = f'''^2 / Omega^6, which holds for one
    Pauli term, with Omega the parameter's largest frequency. Without shots the step is 6e-6 / Omega.

    Cost: 2 circuits for each parameter, times measurement bases. Biased: the error falls as N^(-1/3) only.
    `std_errors` join shot noise or rounding, and the estimated truncation (h Omega)^2 / 6 * |gradient|. That is
    right to leading order for a parameter of a single frequency; with several it can be too small where the
    gradient is small. In complex64 give a `step` of about 0.01.

    Args:
        step: h in radians; None for the rule above.
    """

    step: float | None = None

    def __post_init__(self) -> None:
        if self.step is not None and not (self.step > 0 and math.isfinite(self.step)):
            raise ValueError(f"Argument `step` must be positive and finite, but is {self.step}.")

    @property
    def name(self) -> str:
        return "finite differences"

    def steps(self, objective: Objective, shots: Tensor | None) -> Tensor:
        """Step of each parameter in radians, shape (P,)."""
        frequencies = objective.program.max_frequencies()
        if self.step is not None:
            return torch.full_like(frequencies, self.step)
        # A parameter that the circuit does not use has no scale of its own.
        frequencies = torch.where(frequencies > 0, frequencies, 1.0)
        if shots is None:
            return _EXACT_STEP / frequencies
        return balanced_reach(shots) / frequencies

    def plan(
        self,
        objective: Objective,
        theta: Theta,
        *,
        total_shots: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> Plan:
        rows, batch = gradient_rows(objective, theta)
        count = objective.num_params
        shots = spread_shots(total_shots, 2 * count, len(objective.groups))
        steps = self.steps(objective, shots)
        signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(count)
        own = torch.eye(count, dtype=torch.float64).repeat_interleave(2, dim=1)
        return Plan(
            estimator=self.name,
            objective=objective,
            circuits=_moved(objective, rows, steps.repeat_interleave(2) * signs),
            weights=(own * signs / (2 * steps[:, None]))[None],
            shots=shots,
            batch=batch,
        )

    def _own_variances(self, plan: Plan, measured: Measured, values: Tensor) -> Tensor:
        steps = self.steps(plan.objective, plan.shots)
        reach = steps * plan.objective.program.max_frequencies()
        return (reach**2 / 6 * values) ** 2 + measured.rounding**2 / (2 * steps**2)


def _moved(objective: Objective, theta: Tensor, moves: Tensor) -> AbstractCircuits:
    """Circuits 2p and 2p + 1 with parameter p moved; where each feeds one rotation, as shifted circuits."""
    program = objective.program
    coefficients = program.coefficients
    parameters = torch.arange(objective.num_params).repeat_interleave(2)
    occurrences = (coefficients != 0).sum(0)
    if (occurrences == 1).all():
        rotations = (coefficients != 0).to(torch.int64).argmax(0)[parameters]
        shifts = moves * coefficients[rotations, parameters]
        return ShiftedCircuits(angles=program.angles(theta), rotations=rotations, shifts=shifts)
    displaced = (
        theta + moves[:, None, None] * torch.eye(objective.num_params, dtype=theta.dtype)[parameters][:, None]
    )
    return FreeCircuits(angles=program.angles(displaced))
