"""Observables that are measured together: one basis, many Pauli terms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from classical.program import TURNS_TO_Z, Program, ProgramBuilder


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasurementGroup:
    """Pauli terms that one measurement basis serves, of one or several observables.

    Args:
        basis: one letter of X, Y, Z for each qubit, qubit 0 first.
        supports: for each term the qubits on which it acts; there it has the letters of the basis.
        coefficients: shape (terms, observables), float64.
    """

    basis: str
    supports: tuple[tuple[int, ...], ...]
    coefficients: Tensor

    @property
    def num_qubits(self) -> int:
        return len(self.basis)

    @property
    def num_observables(self) -> int:
        return self.coefficients.shape[1]

    @cached_property
    def eigenvalues(self) -> Tensor:
        """Value of each observable's part for each outcome, shape (2^qubits, observables), float64.

        Memory: 8 * 2^qubits * observables bytes, kept.
        """
        outcomes = torch.arange(2**self.num_qubits)
        total = torch.zeros(2**self.num_qubits, self.num_observables, dtype=torch.float64)
        for support, coefficient in zip(self.supports, self.coefficients, strict=True):
            parity = torch.zeros_like(outcomes)
            for qubit in support:
                parity ^= outcomes >> (self.num_qubits - 1 - qubit)
            total += (1 - 2 * (parity & 1)).to(torch.float64)[:, None] * coefficient
        return total

    @cached_property
    def basis_change(self) -> Program | None:
        """The fixed gates that turn the basis to Z; None when it is Z everywhere."""
        builder = ProgramBuilder(self.num_qubits, 0)
        for qubit, letter in enumerate(self.basis):
            if letter in TURNS_TO_Z:
                builder.unitary(TURNS_TO_Z[letter], (qubit,))
        program = builder.build()
        return program if program.gates else None
