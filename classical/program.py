"""What a circuit compiles to: Pauli rotations and fixed unitaries, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

PAULI_MATRICES: Mapping[str, Tensor] = {
    "I": torch.eye(2, dtype=torch.complex128),
    "X": torch.tensor([[0, 1], [1, 0]], dtype=torch.complex128),
    "Y": torch.tensor([[0, -1j], [1j, 0]], dtype=torch.complex128),
    "Z": torch.tensor([[1, 0], [0, -1]], dtype=torch.complex128),
}


_WIDEST_MATRIX = 3
_HADAMARD = torch.tensor([[1, 1], [1, -1]], dtype=torch.complex128) / 2**0.5
# U with U P U^dagger = Z: measuring P is turning by U and reading bits.
TURNS_TO_Z: Mapping[str, Tensor] = {
    "X": _HADAMARD,
    "Y": _HADAMARD @ torch.diag(torch.tensor([1, -1j], dtype=torch.complex128)),
}


def pauli_matrix(letters: str) -> Tensor:
    """Dense matrix of a Pauli string, shape (2^w, 2^w); the first letter is the most significant factor."""
    matrix = torch.ones(1, 1, dtype=torch.complex128)
    for letter in letters:
        matrix = torch.kron(matrix, PAULI_MATRICES[letter])
    return matrix


@dataclass(frozen=True, kw_only=True)
class PauliRotation:
    """`exp(-i angle P / 2)`; `letters[j]` (X, Y or Z) acts on `qubits[j]`."""

    qubits: tuple[int, ...]
    letters: str


@dataclass(frozen=True, kw_only=True, eq=False)
class FixedUnitary:
    """A matrix without parameters, shape (2^w, 2^w); `qubits[0]` is its most significant bit."""

    qubits: tuple[int, ...]
    matrix: Tensor


Gate = PauliRotation | FixedUnitary


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """An immutable sequence of gates on `num_qubits` qubits, applied to |0...0>.

    Rotation k has the angle `sum_p factors[k][p] * theta_p + offsets[k]`: any affine function of the parameters, so
    a parameter may feed many rotations and a rotation may take several parameters. Qubit 0 is the first tensor
    axis, the most significant bit of a basis state.

    Args:
        gates: in the order of application.
        num_params: number of parameters.
        factors: for each rotation, in the order in which they occur, its factors by parameter, none of them zero.
        offsets: shape (rotations,), radians.
    """

    num_qubits: int
    gates: tuple[Gate, ...]
    num_params: int
    factors: tuple[Mapping[int, float], ...]
    offsets: Tensor

    def __post_init__(self) -> None:
        rotations = sum(isinstance(gate, PauliRotation) for gate in self.gates)
        assert len(self.factors) == self.offsets.shape[0] == rotations

    @property
    def num_rotations(self) -> int:
        return len(self.factors)

    @cached_property
    def coefficients(self) -> Tensor:
        """The factors as a matrix, shape (rotations, parameters), float64; made when it is asked for."""
        table = torch.zeros(self.num_rotations, self.num_params, dtype=torch.float64)
        entries = [(k, p, factor) for k, own in enumerate(self.factors) for p, factor in own.items()]
        if entries:
            rows, columns, values = zip(*entries, strict=True)
            table[list(rows), list(columns)] = torch.tensor(values, dtype=torch.float64)
        return table

    @cached_property
    def rotations_of(self) -> Sequence[Sequence[int]]:
        """The rotations that take each parameter."""
        found: list[list[int]] = [[] for _ in range(self.num_params)]
        for rotation, factors in enumerate(self.factors):
            for param in factors:
                found[param].append(rotation)
        return found

    def angles(self, theta: Tensor) -> Tensor:
        """Rotation angles in radians, shape (*batch, rotations), for `theta` of shape (*batch, parameters)."""
        coefficients = self.coefficients.to(theta.device)
        return theta @ coefficients.T + self.offsets.to(theta.device)

    def max_frequencies(self) -> Tensor:
        """Largest frequency of an expectation value in each parameter, shape (parameters,).

        One rotation with coefficient c gives the frequency |c|; occurrences add (Wierichs et al. 2022,
        arXiv:2107.12390, section 2).
        """
        return self.coefficients.abs().sum(0)


class ProgramBuilder:
    """Collects gates and turns them into a `Program`."""

    def __init__(self, num_qubits: int, num_params: int) -> None:
        self._num_qubits = num_qubits
        self._num_params = num_params
        self._gates: list[Gate] = []
        self._factors: list[Mapping[int, float]] = []
        self._offsets: list[float] = []

    def rotation(
        self, letters: str, qubits: tuple[int, ...], weights: Mapping[int, float], offset: float = 0.0
    ) -> None:
        """Adds a rotation by `sum_p weights[p] * theta_p + offset`; without weights a narrow one is a fixed unitary."""
        # A wide one stays a rotation: its matrix would have 4^width entries.
        if not any(weights.values()) and len(qubits) <= _WIDEST_MATRIX:
            half = torch.tensor(offset / 2, dtype=torch.float64)
            pauli = pauli_matrix(letters)
            identity = torch.eye(len(pauli), dtype=torch.complex128)
            matrix = torch.cos(half) * identity - 1j * torch.sin(half) * pauli
            self.unitary(matrix, qubits)
            return
        self._gates.append(PauliRotation(qubits=qubits, letters=letters))
        self._factors.append({param: float(weight) for param, weight in weights.items() if weight})
        self._offsets.append(offset)

    def unitary(self, matrix: Tensor, qubits: tuple[int, ...]) -> None:
        """Adds a fixed unitary; `qubits[0]` is the most significant bit of `matrix`."""
        self._gates.append(FixedUnitary(qubits=qubits, matrix=matrix.to(torch.complex128)))

    def build(self) -> Program:
        return Program(
            num_qubits=self._num_qubits,
            gates=tuple(self._gates),
            num_params=self._num_params,
            factors=tuple(self._factors),
            offsets=torch.tensor(self._offsets, dtype=torch.float64),
        )
