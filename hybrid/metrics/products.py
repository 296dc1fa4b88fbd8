"""Sums of Pauli strings and the products of each two of them, measured together."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from classical.measurement import AbstractMeasurementGroup, MeasurementGroup, NamedGates


@dataclass(frozen=True, eq=False)
class WithProducts(AbstractMeasurementGroup):
    """U sums of strings that commute, then the products of the pairs of `torch.triu_indices(U, U)`.

    The product of two strings is, shot by shot, the product of their outcomes: no further gates, and one
    table entry for each outcome instead of a sum over pairs of strings.

    Args:
        sums: one group that holds all strings, with the sums as its observables.
    """

    sums: MeasurementGroup
    num_qubits: int = field(default=0, init=False)
    named_gates: NamedGates = field(default=(), init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_qubits", self.sums.num_qubits)
        object.__setattr__(self, "named_gates", self.sums.named_gates)

    @property
    def num_sums(self) -> int:
        """U."""
        return self.sums.num_observables

    def pairs(self) -> tuple[Tensor, Tensor]:
        """The first and the second sum of each product, both of shape (U (U + 1) / 2,)."""
        first, second = torch.triu_indices(self.num_sums, self.num_sums)
        return first, second

    @property
    def num_observables(self) -> int:
        return self.num_sums * (self.num_sums + 3) // 2

    def _table(self) -> Tensor:
        first, second = self.pairs()
        table = self.sums.eigenvalues
        return torch.cat([table, table[:, first] * table[:, second]], dim=1)

    @property
    def scale(self) -> float:
        sizes = self.sums.coefficients.abs().sum(0)
        first, second = self.pairs()
        return float(sizes.sum() + (sizes[first] * sizes[second]).sum())

    @property
    def norms(self) -> Tensor:
        """As if no two products of strings were the same."""
        sizes = self.sums.norms
        first, second = self.pairs()
        return torch.cat([sizes, sizes[first] * sizes[second]])
