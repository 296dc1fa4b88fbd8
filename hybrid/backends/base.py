"""What a backend is: it runs circuits and says what came out and what it cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from classical.cost import Cost
from hybrid.circuits import AbstractCircuits

if TYPE_CHECKING:
    from hybrid.objective import Objective


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """Expectation values of a set of circuits.

    `values`: shape (S, B, M), S circuits for each of B rows, M observables; float64.
    `covariances`: shape (S, B, M, M), of those values as estimates, from the measured shots with all terms of
    a basis together; None when values are exact. Different circuits are independent.
    """

    values: Tensor
    covariances: Tensor | None
    cost: Cost
    rounding: float = 0.0
    """Size of the rounding error of exact values: the number type's resolution times that of the observable."""

    def variances(self) -> Tensor:
        """Shape (S, B, M); zero when values are exact."""
        if self.covariances is None:
            return torch.zeros_like(self.values)
        return self.covariances.diagonal(dim1=-2, dim2=-1)


class AbstractBackend(ABC):
    """Runs the circuits of an objective."""

    @abstractmethod
    def check(self, total_shots: int | Tensor | None, rng: np.random.Generator | None) -> None:
        """Raises ValueError when the backend cannot run with these: no shots where it needs some, say."""

    @abstractmethod
    def run(
        self,
        objective: Objective,
        circuits: AbstractCircuits,
        *,
        shots: Tensor | None,
        rng: np.random.Generator | None,
    ) -> Measured:
        """Returns expectation values and what they cost.

        `cost.circuits` counts rows times circuits times measurement bases, on every backend; `cost.shots` the
        shots that were drawn.

        Args:
            shots: shape (S, groups), the same for every row; None asks for exact values.

        Raises:
            ValueError: when the backend cannot give what is asked: exact values from a sampling one, say.
        """
