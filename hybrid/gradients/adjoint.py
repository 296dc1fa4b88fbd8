"""The adjoint method: all derivatives from one sweep back through the circuit."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from classical.adjoint import adjoint
from classical.statevector import Statevector
from hybrid.gradients.base import AbstractSimulatorEstimator
from hybrid.objective import Objective


@dataclass(frozen=True, kw_only=True)
class Adjoint(AbstractSimulatorEstimator):
    """Exact derivatives by undoing the circuit on [state, O state].

    Cost: about three simulations, whatever the number of parameters; memory of about
    6 (1 + M) states, whatever the depth.
    Source: Jones and Gacon 2020, arXiv:2009.02823.
    """

    @property
    def name(self) -> str:
        return "adjoint"

    def jacobian(self, simulator: Statevector, objective: Objective, theta: Tensor) -> Tensor:
        _, slopes = adjoint(simulator, objective.program.angles(theta), objective.groups)
        return slopes @ objective.program.coefficients.to(slopes)
