"""Sets of circuits that an estimator asks for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from hybrid.ancilla import with_ancilla
from hybrid.target import Target


class AbstractCircuits(ABC):
    """S circuits for each of B parameter rows."""

    @property
    @abstractmethod
    def num_circuits(self) -> int:
        """S, circuits for each parameter row."""

    @property
    @abstractmethod
    def num_rows(self) -> int:
        """B, parameter rows."""

    @abstractmethod
    def all_angles(self) -> Tensor:
        """Rotation angles of every circuit, shape (S, B, rotations)."""

    def realised(self, target: Target) -> Iterator[tuple[Target, Tensor]]:
        """What a device is given: programs, and for each the angles (S', B, rotations) of its circuits, in order."""
        yield target, self.all_angles()


@dataclass(frozen=True, kw_only=True, eq=False)
class FreeCircuits(AbstractCircuits):
    """Circuits at any angles, shape (S, B, rotations)."""

    angles: Tensor

    @property
    def num_circuits(self) -> int:
        return self.angles.shape[0]

    @property
    def num_rows(self) -> int:
        return self.angles.shape[1]

    def all_angles(self) -> Tensor:
        return self.angles


@dataclass(frozen=True, kw_only=True, eq=False)
class ShiftedCircuits(AbstractCircuits):
    """Circuits in which one rotation is moved: circuit s has `shifts[s]` added to angle `rotations[s]`.

    A simulator runs them all in one tangent pass; a device sees them as rows of angles.

    Args:
        angles: shape (B, rotations).
        rotations: shape (S,), integers.
        shifts: shape (S,), radians.
    """

    angles: Tensor
    rotations: Tensor
    shifts: Tensor

    @property
    def num_circuits(self) -> int:
        return len(self.rotations)

    @property
    def num_rows(self) -> int:
        return len(self.angles)

    def all_angles(self) -> Tensor:
        angles = self.angles.expand(self.num_circuits, -1, -1).clone()
        index = self.rotations[:, None, None].expand(-1, self.num_rows, 1)
        return angles.scatter_add(2, index, self.shifts[:, None, None].expand(-1, self.num_rows, 1))


@dataclass(frozen=True, kw_only=True, eq=False)
class AncillaCircuits(AbstractCircuits):
    """Hadamard tests: in circuit s an ancilla controls the Pauli string of rotation `rotations[s]`.

    The ancilla starts in |+>, and its Y is measured with the observables: the value is Im <psi|O|chi>, half the
    derivative's commutator, without the target's constants. A simulator takes it from the tangent pass.

    Args:
        angles: shape (B, rotations).
        rotations: shape (S,), integers.
    """

    angles: Tensor
    rotations: Tensor

    @property
    def num_circuits(self) -> int:
        return len(self.rotations)

    @property
    def num_rows(self) -> int:
        return len(self.angles)

    def all_angles(self) -> Tensor:
        return self.angles.expand(self.num_circuits, -1, -1)

    def realised(self, target: Target) -> Iterator[tuple[Target, Tensor]]:
        for rotation in self.rotations.tolist():
            yield target.derived(rotation, with_ancilla), self.angles[None]
