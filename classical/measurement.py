"""Observables that are measured together: one turn of the state, then one value for each outcome."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from classical.program import TURNS_TO_Z, Program, ProgramBuilder

NamedGates = tuple[tuple[str, tuple[int, ...]], ...]
"""Fixed gates in the order of application, each a name that qiskit has too, and its qubits, control first."""

GATE_MATRICES: Mapping[str, Tensor] = {
    "h": TURNS_TO_Z["X"],
    "s": torch.diag(torch.tensor([1, 1j], dtype=torch.complex128)),
    "sdg": torch.diag(torch.tensor([1, -1j], dtype=torch.complex128)),
    "cx": torch.eye(4, dtype=torch.complex128)[[0, 1, 3, 2]],
    "cz": torch.diag(torch.tensor([1, 1, 1, -1], dtype=torch.complex128)),
    "swap": torch.eye(4, dtype=torch.complex128)[[0, 2, 1, 3]],
}
GATES_OF_LETTER: Mapping[str, tuple[str, ...]] = {"X": ("h",), "Y": ("sdg", "h"), "Z": ()}
"""Gates, in order, that turn a letter to Z."""


class AbstractMeasurementGroup(ABC):
    """What one circuit measures: fixed gates, then bits, then each observable's value for the bits.

    `num_qubits`: qubits that are measured. `named_gates`: what the circuit applies before it reads bits.
    """

    num_qubits: int
    named_gates: NamedGates

    @property
    @abstractmethod
    def num_observables(self) -> int: ...

    @cached_property
    def eigenvalues(self) -> Tensor:
        """Value of each observable's part for each outcome, shape (2^qubits, observables), float64.

        Memory: 8 * 2^qubits * observables bytes, kept.
        """
        return self._table()

    @cached_property
    def distinct(self) -> tuple[Tensor, Tensor]:
        """The different rows of `eigenvalues`, shape (V, M), and which of them each outcome has, shape (2^qubits,).

        A sum of few Pauli terms has few values: shots can be drawn among those. Cost: one sort of the outcomes.
        """
        table = self.eigenvalues
        # Sums of the same coefficients in another order differ in the last bits.
        grid = max(self.scale, 1e-300) * 2.0**-40
        _, index = torch.unique((table / grid).round(), dim=0, return_inverse=True)
        values = table.new_zeros(int(index.max()) + 1, table.shape[1])
        values[index] = table
        return values, index

    @abstractmethod
    def _table(self) -> Tensor: ...

    @property
    @abstractmethod
    def scale(self) -> float:
        """What no value exceeds, summed over the observables: the sum of the sizes of their coefficients."""

    @property
    @abstractmethod
    def norms(self) -> Tensor:
        """Root of the sum of squares of each observable's coefficients, shape (observables,), float64."""

    @cached_property
    def basis_change(self) -> Program | None:
        """`named_gates` as a program; None when there are none."""
        return _program(self.num_qubits, self.named_gates) if self.named_gates else None


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasurementGroup(AbstractMeasurementGroup):
    """Pauli terms, of one or several observables, that some fixed gates turn to strings of Z.

    Args:
        basis: one letter of X, Y, Z for each qubit, qubit 0 first; or a word for another turn, as "clifford".
        supports: for each term the qubits on which it is Z after the gates.
        coefficients: shape (terms, observables), float64; with the sign that the gates give to the term.
        num_qubits: left out for a basis in letters.
        named_gates: left out for a basis in letters, whose gates they then are.
    """

    basis: str
    supports: tuple[tuple[int, ...], ...]
    coefficients: Tensor
    num_qubits: int = 0
    named_gates: NamedGates = ()

    def __post_init__(self) -> None:
        if self.num_qubits == 0:
            object.__setattr__(self, "num_qubits", len(self.basis))
            object.__setattr__(self, "named_gates", _gates_of(self.basis))

    @property
    def num_observables(self) -> int:
        return self.coefficients.shape[1]

    def _table(self) -> Tensor:
        # Each term is a character of the outcomes: a Walsh-Hadamard transform sums them all, whatever their number.
        table = torch.zeros(2**self.num_qubits, self.num_observables, dtype=torch.float64)
        masks = [sum(1 << (self.num_qubits - 1 - q) for q in support) for support in self.supports]
        table.index_add_(0, torch.tensor(masks), self.coefficients)
        for qubit in range(self.num_qubits):
            halves = table.view(2**qubit, 2, -1, self.num_observables)
            table = torch.stack([halves[:, 0] + halves[:, 1], halves[:, 0] - halves[:, 1]], dim=1)
        return table.reshape(-1, self.num_observables)

    @property
    def scale(self) -> float:
        return float(self.coefficients.abs().sum())

    @property
    def norms(self) -> Tensor:
        return self.coefficients.norm(dim=0)


@dataclass(frozen=True, eq=False)
class ZeroProjection(AbstractMeasurementGroup):
    """One observable: the probability that every bit is 0.

    As Pauli terms it would have 2^qubits of them, all in Z: here it is one entry of the table of outcomes.
    """

    num_qubits: int
    named_gates: NamedGates = field(default=(), init=False)

    @property
    def num_observables(self) -> int:
        return 1

    def _table(self) -> Tensor:
        table = torch.zeros(2**self.num_qubits, 1, dtype=torch.float64)
        table[0] = 1
        return table

    @property
    def scale(self) -> float:
        return 1.0

    @property
    def norms(self) -> Tensor:
        return torch.ones(1, dtype=torch.float64)


def _gates_of(letters: str) -> NamedGates:
    return tuple((name, (qubit,)) for qubit, letter in enumerate(letters) for name in GATES_OF_LETTER[letter])


def _program(num_qubits: int, named_gates: NamedGates) -> Program:
    """The gates as a program without parameters; neighbours on one qubit become one matrix."""
    builder = ProgramBuilder(num_qubits, 0)
    waiting: dict[int, Tensor] = {}
    for name, qubits in named_gates:
        matrix = GATE_MATRICES[name]
        if len(qubits) == 1:
            before = waiting.pop(qubits[0], None)
            waiting[qubits[0]] = matrix if before is None else matrix @ before
            continue
        for qubit in qubits:
            if qubit in waiting:
                builder.unitary(waiting.pop(qubit), (qubit,))
        builder.unitary(matrix, qubits)
    for qubit, matrix in sorted(waiting.items()):
        builder.unitary(matrix, (qubit,))
    return builder.build()
