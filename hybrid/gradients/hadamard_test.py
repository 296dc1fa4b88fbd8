"""The Hadamard test: one circuit with an ancilla for each rotation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from hybrid.circuits import AncillaCircuits
from hybrid.gradients.base import AbstractShotEstimator
from hybrid.objective import Objective
from hybrid.plan import Part


@dataclass(frozen=True, kw_only=True)
class HadamardTest(AbstractShotEstimator):
    """Exact derivatives from an ancilla in |+> that controls a rotation's Pauli string, measured in Y.

    dE/da = <Y O>. Every generator here is a sum of Pauli strings, which are unitary, so controlled rotations too have
    their test, one for each of the two strings. N shots on one rotation have the variance (1 - g^2) / N for a Pauli
    term, never less than parameter-shift's (1 - g^2 - mean^2) / N: half the circuits, one qubit more, not fewer shots.

    Cost: 1 circuit on n + 1 qubits for each rotation, times measurement bases. Unbiased. Source: Li et al. 2017,
    arXiv:1611.09301; Mitarai and Fujii 2019, arXiv:1901.00015.
    """

    @property
    def name(self) -> str:
        return "Hadamard test"

    @property
    def remark(self) -> str:
        return "exact rule: shot noise only; one qubit more"

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
        used = chain.any(1).nonzero()[:, 0]
        return [
            Part(
                target=objective.target,
                circuits=AncillaCircuits(angles=program.angles(rows), rotations=used),
                weights=chain[used].T[None, ..., None],
            )
        ]
