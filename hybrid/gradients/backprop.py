"""Reverse-mode differentiation through the simulation, by torch's autograd."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from classical.statevector import Statevector
from hybrid.gradients.base import AbstractSimulatorEstimator
from hybrid.objective import Objective


@dataclass(frozen=True, kw_only=True)
class Backprop(AbstractSimulatorEstimator):
    """Exact derivatives by autograd, one pass back for each observable.

    Cost: a small multiple of one simulation (Baur and Strassen 1983, doi:10.1016/0304-3975(83)90110-X);
    memory of one state for each fused block, so it grows with depth; rows are taken in pieces that fit.
    """

    @property
    def name(self) -> str:
        return "backprop"

    def jacobian(self, simulator: Statevector, objective: Objective, theta: Tensor) -> Tensor:
        pieces = theta.split(simulator.rows_under_autograd()) if len(theta) else (theta,)
        return torch.cat([self._piece(simulator, objective, piece) for piece in pieces])

    def _piece(self, simulator: Statevector, objective: Objective, theta: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = theta.detach().requires_grad_()
            values = simulator.values(objective.program.angles(leaf), objective.groups)
            last = objective.num_observables - 1
            slopes = [
                torch.autograd.grad(values[:, m].sum(), leaf, retain_graph=m < last)[0]
                for m in range(objective.num_observables)
            ]
        return torch.stack(slopes, dim=1)
