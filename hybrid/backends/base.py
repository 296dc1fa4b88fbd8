"""What a backend is: it runs circuits and says what came out and what it cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from classical.cost import Cost
from hybrid.circuits import AbstractCircuits
from hybrid.target import Target


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """Expectation values of a set of circuits, by measurement group.

    S circuits for each of B rows, M observables, G groups; float64. Different circuits and groups are independent.

    Args:
        group_values: shape (G, S, B, M), what each group adds to a value; (1, S, B, M) where they are summed already.
        group_covariances: shape (G, S, B, M, M), of those as estimates, from the measured shots with all terms of
            a group together; None when values are exact.
        constants: shape (M,), added to every value.
        rounding: size of the rounding error of exact values: the number type's resolution times that of the observable.
    """

    group_values: Tensor
    group_covariances: Tensor | None
    constants: Tensor
    cost: Cost
    rounding: float = 0.0

    @property
    def values(self) -> Tensor:
        """Shape (S, B, M)."""
        return self.group_values.sum(0) + self.constants

    @property
    def covariances(self) -> Tensor | None:
        """Shape (S, B, M, M); None when values are exact."""
        return None if self.group_covariances is None else self.group_covariances.sum(0)

    def variances(self) -> Tensor:
        """Shape (S, B, M); zero when values are exact."""
        covariances = self.covariances
        if covariances is None:
            return torch.zeros_like(self.values)
        return covariances.diagonal(dim1=-2, dim2=-1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """Circuits with shots, to be run together with others.

    Args:
        shots: shape (S, groups), the same for every row.
        folding: odd; how often each two-qubit gate stands, which on a device scales its noise.
    """

    target: Target
    circuits: AbstractCircuits
    shots: Tensor
    folding: int = 1


def require_shots(
    total_shots: int | Tensor | None, rng: np.random.Generator | None, *, where: str, without: str
) -> None:
    """Raises ValueError for a sampling backend, named by `where`, without shots (`without` says the way out) or rng."""
    if total_shots is None:
        raise ValueError(f"Argument `total_shots` must be given {where}{without}")
    if not isinstance(rng, np.random.Generator):
        raise ValueError(
            f"Argument `rng` must be a numpy Generator {where}, as `numpy.random.default_rng(seed)` is, but is {rng!r}."
        )


class AbstractBackend(ABC):
    """Runs the circuits of a target."""

    @abstractmethod
    def check(self, total_shots: int | Tensor | None, rng: np.random.Generator | None) -> None:
        """Raises ValueError when the backend cannot run with these: no shots where it needs some, say."""

    @abstractmethod
    def run(
        self,
        target: Target,
        circuits: AbstractCircuits,
        *,
        shots: Tensor | None,
        rng: np.random.Generator | None,
    ) -> Measured:
        """Returns expectation values and what they cost.

        `cost.circuits` counts rows times circuits times measurement bases that get shots, on every backend;
        `cost.shots` the shots that were drawn. A basis without shots gives values and covariances of zero.

        Args:
            shots: shape (S, groups), the same for every row; None asks for exact values.

        Raises:
            ValueError: when the backend cannot give what is asked: exact values from a sampling one, say.
        """

    def run_together(self, requests: Sequence[Request], *, rng: np.random.Generator | None) -> list[Measured]:
        """Returns what each request gives; a device runs them as one job.

        Raises:
            ValueError: as `run` does.
        """
        return [self.run(each.target, each.circuits, shots=each.shots, rng=rng) for each in requests]

    def price(self, requests: Sequence[Request]) -> Cost:
        """Returns what `run_together` will cost, without running anything: circuits and shots, on a device more."""
        total = Cost()
        for each in requests:
            rows = each.circuits.num_rows
            total += Cost(
                circuits=rows * int((each.shots > 0).sum()),
                shots=rows * int(each.shots.sum()),
                sources={"circuits": "computed", "shots": "computed"},
            )
        return total
