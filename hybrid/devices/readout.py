"""Readout errors of single qubits, and undoing them on average."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Below this a qubit's readout tells almost nothing: noise would grow by its inverse.
_LEAST_CONTRAST = 0.1


class UnreadableQubit(ValueError):
    """A qubit whose readout is close to a coin."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Readout:
    """Probabilities of reading the wrong bit, independent from qubit to qubit, each of shape (qubits,).

    Args:
        up: of reading 1 for |0>.
        down: of reading 0 for |1>.

    Undoing is exact on average for such errors, and unbiased shot by shot: a Z that was read as z counts as
    (z - down + up) / (1 - up - down). Source: Bravyi et al. 2021, arXiv:2006.14044, section II (tensored model).

    Raises:
        UnreadableQubit: where up + down is close to 1.
    """

    up: Tensor
    down: Tensor

    def __post_init__(self) -> None:
        worst = int(self.contrast.argmin())
        if self.contrast[worst] < _LEAST_CONTRAST:
            raise UnreadableQubit(
                f"Qubit {worst} of the circuit reads 1 for 0 with probability {self.up[worst]:.2f} and 0 for 1 with "
                f"{self.down[worst]:.2f}: nothing can be learnt from it. Use other qubits."
            )

    @property
    def contrast(self) -> Tensor:
        """What is left of a Z, shape (qubits,)."""
        return 1 - self.up - self.down

    def factors(self, bits: Tensor) -> Tensor:
        """What each Z counts for bits (N, qubits) of 0 and 1."""
        return (1 - 2 * bits - self.down + self.up) / self.contrast

    def undone(self, table: Tensor) -> Tensor:
        """A table of values by outcome, (2^qubits, M), as one of values by outcome as it was read."""
        for qubit, (up, down, contrast) in enumerate(zip(self.up, self.down, self.contrast, strict=True)):
            halves = table.view(2**qubit, 2, -1, table.shape[1])
            zero, one = halves[:, 0], halves[:, 1]
            table = torch.stack(
                [((1 - down) * zero - up * one) / contrast, ((1 - up) * one - down * zero) / contrast], dim=1
            ).reshape(table.shape)
        return table
