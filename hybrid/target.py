"""What a backend runs: a program, and what is measured on its final state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from classical.measurement import AbstractMeasurementGroup
from classical.program import Program
from classical.statevector import Statevector


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """A program and M observables on its final state, in measurement groups.

    Args:
        groups: at least one; an observable's value is its constant and the sum of its parts in all groups.
        constants: shape (M,), float64.
    """

    program: Program
    groups: tuple[AbstractMeasurementGroup, ...]
    constants: Tensor
    _simulators: dict[tuple[torch.dtype, str, int | None], Statevector] = field(
        default_factory=dict, repr=False
    )
    _derived: dict[int, Target] = field(default_factory=dict, repr=False)

    @property
    def num_observables(self) -> int:
        return len(self.constants)

    def simulator(self, dtype: torch.dtype, device: str, max_bytes: int | None) -> Statevector:
        """The state-vector simulator of the program with these settings; made once, then kept."""
        key = (dtype, device, max_bytes)
        if key not in self._simulators:
            self._simulators[key] = Statevector(self.program, dtype=dtype, device=device, max_bytes=max_bytes)
        return self._simulators[key]

    def derived(self, rotation: int, make: Callable[[Target, int], Target]) -> Target:
        """What `make` gives for a rotation, made once: a device transpiles each program anew."""
        if rotation not in self._derived:
            self._derived[rotation] = make(self, rotation)
        return self._derived[rotation]
