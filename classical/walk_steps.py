"""Steps of the walk on vectors of 4^n weights: rotations, Clifford gates, and what mixes the letters of one qubit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from classical.paulis import PauliString
from classical.walk_model import Damping, Move, Permutation

# 4^12 weights are 134 MB, and some of them are kept.
_MOST_QUBITS = 12


class AbstractStep(ABC):
    """One step of the chain on weights, shape (4^n,)."""

    @abstractmethod
    def pull(self, weights: Tensor) -> Tensor:
        """From behind the step to before it, towards the start of the circuit."""

    @abstractmethod
    def push(self, weights: Tensor) -> Tensor:
        """The transposed step: closing weights from before it to behind it."""

    @abstractmethod
    def differentiated(self, weights: Tensor) -> Tensor | None:
        """As `pull`, of the derivative by the step's parameter; None for a step without one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RotationStep(AbstractStep):
    """A rotation about a string by a random angle: `stay` is E[cos^2 a], `slope` the parameter's factor in a."""

    anticommute: Tensor
    moved: Tensor
    stay: float
    slope: float

    def pull(self, weights: Tensor) -> Tensor:
        turned = self.stay * weights + (1 - self.stay) * weights[self.moved]
        return torch.where(self.anticommute, turned, weights)

    def push(self, weights: Tensor) -> Tensor:
        return self.pull(weights)

    def differentiated(self, weights: Tensor) -> Tensor | None:
        if not self.slope:
            return None
        # Sine and cosine change places, and what commutes is gone.
        turned = (1 - self.stay) * weights + self.stay * weights[self.moved]
        return self.slope**2 * torch.where(self.anticommute, turned, 0.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class CliffordStep(AbstractStep):
    """A Clifford gate U: string Q behind it is `before[Q]`, that is U^dagger Q U, before it."""

    before: Tensor

    def pull(self, weights: Tensor) -> Tensor:
        return torch.empty_like(weights).index_copy_(0, self.before, weights)

    def push(self, weights: Tensor) -> Tensor:
        return weights[self.before]

    def differentiated(self, weights: Tensor) -> Tensor | None:
        return None


@dataclass(frozen=True, kw_only=True, eq=False)
class MixingStep(AbstractStep):
    """Letters of one qubit mixed by a symmetric matrix (4, 4), in the order I, X, Z, Y; `slope` is its derivative's."""

    qubit: int
    num_qubits: int
    matrix: Tensor
    slope: Tensor | None = None

    def pull(self, weights: Tensor) -> Tensor:
        return self._mixed(weights, self.matrix)

    def push(self, weights: Tensor) -> Tensor:
        return self.pull(weights)

    def differentiated(self, weights: Tensor) -> Tensor | None:
        return None if self.slope is None else self._mixed(weights, self.slope)

    def _mixed(self, weights: Tensor, matrix: Tensor) -> Tensor:
        n, q = self.num_qubits, self.qubit
        # Bit q of x and bit n + q of the index: the letter is x + 2 z.
        table = weights.view(2 ** (n - 1 - q), 2, 2 ** (n - 1), 2, 2**q)
        letters = table.permute(1, 3, 0, 2, 4).reshape(4, -1)
        mixed = (matrix @ letters).view(2, 2, 2 ** (n - 1 - q), 2 ** (n - 1), 2**q)
        return mixed.permute(2, 0, 3, 1, 4).reshape(-1)


def step_of(move: Move, strings: Strings) -> AbstractStep:
    """A move on all strings."""
    if isinstance(move, Permutation):
        return CliffordStep(before=strings.mapped(move))
    if isinstance(move, Damping):
        return _damping(move, strings.num_qubits)
    if move.redrawn:
        return _random_axis(move.qubits[0], strings.num_qubits, move.slope)
    anticommute, moved = strings.turned_by(PauliString.of(move.letters, move.qubits))
    return RotationStep(anticommute=anticommute, moved=moved, stay=move.stay, slope=move.slope)


def _damping(move: Damping, num_qubits: int) -> MixingStep:
    matrix = torch.diag(torch.tensor(move.by_letter, dtype=torch.float64) ** 2)
    return MixingStep(qubit=move.qubits[0], num_qubits=num_qubits, matrix=matrix)


def _random_axis(qubit: int, num_qubits: int, slope: float) -> MixingStep:
    """X to 2/3 X + 1/6 Y + 1/6 Z, and so on; its derivative X to 1/3 X + 1/6 Y + 1/6 Z.

    The mean over the three axes of a rotation by a uniform angle: one of them leaves X, two keep half of it.
    """
    third, sixth = torch.full((3,), 1 / 3, dtype=torch.float64), 1 / 6
    change = torch.zeros(4, 4, dtype=torch.float64)
    change[1:, 1:] = sixth + torch.diag(third - sixth)
    matrix = change + torch.diag(torch.tensor([1.0, 1 / 3, 1 / 3, 1 / 3], dtype=torch.float64))
    return MixingStep(
        qubit=qubit, num_qubits=num_qubits, matrix=matrix, slope=slope**2 * change if slope else None
    )


class Strings:
    """All strings of n qubits by number, x bits below z bits; products and commutation as tables."""

    def __init__(self, num_qubits: int) -> None:
        if num_qubits > _MOST_QUBITS:
            raise ValueError(
                f"A dense walk holds 4^n weights, at most for {_MOST_QUBITS} qubits, but the circuit has {num_qubits}: "
                "use `walk_network` where gates act on neighbours of a line, or `sampled_walk`."
            )
        self.num_qubits = num_qubits
        self._kept: dict[PauliString, tuple[Tensor, Tensor]] = {}

    @cached_property
    def numbers(self) -> Tensor:
        return torch.arange(4**self.num_qubits)

    def number(self, string: PauliString) -> int:
        return string.x | string.z << self.num_qubits

    def turned_by(self, string: PauliString) -> tuple[Tensor, Tensor]:
        """Which strings anticommute with this one, and the number of each one's product with it."""
        if string not in self._kept:
            opposite = string.z | string.x << self.num_qubits
            self._kept[string] = _parity(self.numbers & opposite), self.numbers ^ self.number(string)
        return self._kept[string]

    def mapped(self, move: Permutation) -> Tensor:
        """U^dagger Q U for every string Q, by number."""
        numbers, n = self.numbers, self.num_qubits
        codes = torch.zeros_like(numbers)
        rest = numbers
        for j, q in enumerate(move.qubits):
            codes |= ((numbers >> q & 1) + 2 * (numbers >> n + q & 1)) << 2 * j
            rest = rest & ~(1 << q | 1 << n + q)
        new = torch.tensor(move.codes)[codes]
        for j, q in enumerate(move.qubits):
            rest = rest | (new >> 2 * j & 1) << q | (new >> 2 * j + 1 & 1) << n + q
        return rest


def _parity(numbers: Tensor) -> Tensor:
    for shift in (16, 8, 4, 2, 1):
        numbers = numbers ^ (numbers >> shift)
    return (numbers & 1).bool()
