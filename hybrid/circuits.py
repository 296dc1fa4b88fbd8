"""Sets of circuits that an estimator asks for: one program at many rotation angles."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor


class AbstractCircuits(ABC):
    """S circuits for each of B parameter rows, all of one program."""

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
        """Rotation angles of every circuit, shape (S, B, rotations): what a device is given."""


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
