"""Gradients of commuting generators: many derivatives read off one circuit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hybrid.circuits import FreeCircuits
from hybrid.gradients.base import AbstractShotEstimator
from hybrid.gradients.shared_circuits import SharedCircuit, shared_circuits
from hybrid.objective import Objective
from hybrid.plan import Part


@dataclass(frozen=True, kw_only=True)
class CommutingGenerators(AbstractShotEstimator):
    """Exact derivatives, measured together where generators allow it.

    A generator P pushed to the end of the circuit is a Pauli string D, behind the circuit with some later angles
    turned round: those of rotations that anticommute with P. Generators that turn round the same angles share a
    circuit, with an ancilla that runs both signs at once; where nothing is turned round, no ancilla is needed. The
    derivative is the value of the product of D and the observable, and for one Pauli term of the observable all those
    products commute. So N shots give every derivative of such a circuit with variance (1 - g^2) / N at once.

    Cost: for each term of the observable, one circuit for each set of generators that share one; terms whose products
    commute are merged. A circuit of commuting generators costs one circuit a term; alternating blocks one for each
    block and term; generators in general position one for each rotation, and then HadamardTest does the same. Unbiased.
    Source: Bowles, Wierichs and Park 2023, arXiv:2306.14962, whose blocks before the last take two circuits where the
    ancilla's X and Y, measured with the products, take one here.

    Raises:
        CannotShare: when no two generators share a circuit, or a gate behind one is not Clifford.
    """

    @property
    def name(self) -> str:
        return "commuting generators"

    @property
    def remark(self) -> str:
        return "exact rule: all derivatives from the same shots"

    def parts(
        self,
        objective: Objective,
        rows: Tensor,
        wrt: Tensor,
        *,
        total_shots: int | None,
        rng: np.random.Generator | None,
    ) -> Sequence[Part]:
        key = ("shared circuits", tuple(wrt.tolist()))
        circuits = objective.kept(key, lambda: shared_circuits(objective, wrt))
        angles = objective.program.angles(rows)
        return [_part(circuit, angles, len(wrt)) for circuit in circuits]


def _part(circuit: SharedCircuit, angles: Tensor, num_params: int) -> Part:
    columns = circuit.columns
    weights = torch.zeros(1, num_params, 1, len(columns), dtype=torch.float64)
    weights[0, columns, 0, torch.arange(len(columns))] = 1
    return Part(target=circuit.target, circuits=FreeCircuits(angles=angles[None]), weights=weights)
