"""Central differences, with a step that knows how many shots there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hybrid.backends.base import Measured
from hybrid.circuits import AbstractCircuits, FreeCircuits, ShiftedCircuits
from hybrid.estimating import check_step
from hybrid.gradients.base import AbstractShotEstimator
from hybrid.objective import Objective
from hybrid.plan import Part, Plan
from hybrid.shots import balanced_reach

# Third root of the unit roundoff: the step at which truncation and roundoff of a central difference are equal.
_EXACT_STEP = 6e-6


@dataclass(frozen=True, kw_only=True)
class FiniteDifference(AbstractShotEstimator):
    """(E(t + h) - E(t - h)) / (2 h) for each parameter.

    The best step balances truncation against shot noise, h = (9 sigma^2 / (N f'''^2))^(1/6) for N shots an
    evaluation (docs/concepts.md derives it). The rule takes sigma^2 = f'''^2 / Omega^6, which holds for one
    Pauli term, with Omega the parameter's largest frequency. Without shots the step is 6e-6 / Omega.

    Cost: 2 circuits for each parameter, times measurement bases. Biased: the error falls as N^(-1/3) only.
    `biases` estimate the truncation, -(h Omega)^2 / 6 * gradient: right to leading order for a parameter of a single
    frequency; with several it can be too small where the gradient is small. In complex64 give a `step` of about 0.01.

    Args:
        step: h in radians; None for the rule above.
    """

    step: float | None = None

    def __post_init__(self) -> None:
        check_step(self.step)

    @property
    def name(self) -> str:
        return "finite differences"

    @property
    def remark(self) -> str:
        return "biased: error falls as shots^(-1/3)"

    def steps(self, objective: Objective, wrt: Tensor, total_shots: int | None) -> Tensor:
        """Step of each parameter in radians, shape (P,)."""
        frequencies = objective.program.max_frequencies()[wrt]
        if self.step is not None:
            return torch.full_like(frequencies, self.step)
        # A parameter that the circuit does not use has no scale of its own.
        frequencies = torch.where(frequencies > 0, frequencies, 1.0)
        if total_shots is None:
            return _EXACT_STEP / frequencies
        return balanced_reach(total_shots / (2 * len(wrt) * len(objective.groups))) / frequencies

    def parts(
        self,
        objective: Objective,
        rows: Tensor,
        wrt: Tensor,
        *,
        total_shots: int | None,
        rng: np.random.Generator | None,
    ) -> Sequence[Part]:
        steps = self.steps(objective, wrt, total_shots)
        signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(len(wrt))
        own = torch.eye(len(wrt), dtype=torch.float64).repeat_interleave(2, dim=1)
        moves = steps.repeat_interleave(2) * signs
        return [
            Part(
                target=objective.target,
                circuits=_moved(objective, rows, wrt.repeat_interleave(2), moves),
                weights=(own * signs / (2 * steps[:, None]))[None, ..., None],
            )
        ]

    def extra_noise(self, plan: Plan, measured: Sequence[Measured], values: Tensor) -> tuple[Tensor, Tensor]:
        steps = self.steps(plan.objective, plan.wrt, plan.total_shots)
        reach = steps * plan.objective.program.max_frequencies()[plan.wrt]
        rounding = measured[0].rounding ** 2 / (2 * steps**2)
        own = torch.eye(values.shape[1], dtype=values.dtype)[..., None] * rounding
        return own.expand(len(values), -1, -1, -1), -(reach**2) / 6 * values


def _moved(objective: Objective, theta: Tensor, parameters: Tensor, moves: Tensor) -> AbstractCircuits:
    """Circuits with one parameter moved each; where each feeds one rotation, as shifted circuits."""
    program = objective.program
    coefficients = program.coefficients
    occurrences = (coefficients != 0).sum(0)
    if (occurrences[parameters] == 1).all():
        rotations = (coefficients != 0).to(torch.int64).argmax(0)[parameters]
        shifts = moves * coefficients[rotations, parameters]
        return ShiftedCircuits(angles=program.angles(theta), rotations=rotations, shifts=shifts)
    unit = torch.eye(objective.num_params, dtype=theta.dtype)[parameters]
    return FreeCircuits(angles=program.angles(theta + moves[:, None, None] * unit[:, None]))
