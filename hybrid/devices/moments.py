"""From measured bits to values with covariances: parities are taken shot by shot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from classical.measurement import AbstractMeasurementGroup, MeasurementGroup
from hybrid.devices.jobs import Owner
from hybrid.devices.readout import Readout

# Up to so many qubits outcomes are counted; beyond, each shot is taken on its own.
_COUNTED_QUBITS = 12
_SHOTS_AT_ONCE = 2**18


@dataclass(kw_only=True, eq=False)
class Sums:
    """Sums over the shots of each circuit of a request: shots (G, S, B), values (G, S, B, M), products (..., M, M)."""

    shots: Tensor
    values: Tensor
    products: Tensor

    @staticmethod
    def zeros(groups: int, circuits: int, rows: int, observables: int) -> Sums:
        shape = (groups, circuits, rows)
        made = [
            torch.zeros(shape + more, dtype=torch.float64)
            for more in ((), (observables,), (observables,) * 2)
        ]
        return Sums(shots=made[0], values=made[1], products=made[2])

    def add(self, owner: Owner, bits: np.ndarray, readout: Readout | None) -> None:
        """Adds the shots of a PUB, bits (rows, shots, bytes) as qiskit packs them."""
        values, products = moments(bits, owner.group, readout)
        place = (
            torch.full((len(owner.rows),), owner.group_index),
            *map(torch.from_numpy, (owner.circuits, owner.rows)),
        )
        shots = torch.full((len(owner.rows),), float(bits.shape[1]), dtype=torch.float64)
        self.shots.index_put_(place, shots, accumulate=True)
        self.values.index_put_(place, values, accumulate=True)
        self.products.index_put_(place, products, accumulate=True)

    def means(self) -> Tensor:
        """Shape (G, S, B, M); zero without shots."""
        return self.values / self.shots.clamp_min(1)[..., None]

    def covariances(self) -> Tensor:
        """Of the means, shape (G, S, B, M, M): the unbiased sample covariance of a shot by the number of shots."""
        means = self.means()
        count = self.shots[..., None, None]
        centred = self.products - count * means[..., :, None] * means[..., None, :]
        return centred / (count.clamp_min(1) * (count - 1).clamp_min(1))


def moments(
    bits: np.ndarray,  # shape: (rows, shots, bytes)
    group: AbstractMeasurementGroup,
    readout: Readout | None = None,
) -> tuple[Tensor, Tensor]:
    """Sums over shots of the values (rows, M) and of their products (rows, M, M).

    With `readout`, values are those that a perfect readout would have on average.
    """
    if group.num_qubits <= _COUNTED_QUBITS or not isinstance(group, MeasurementGroup):
        return _counted(bits, group, readout)
    rows, shots, _ = bits.shape
    at_once = max(1, _SHOTS_AT_ONCE // max(1, shots))
    parts = [_shot_by_shot(bits[i : i + at_once], group, readout) for i in range(0, rows, at_once)]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def unpacked(bits: np.ndarray, num_bits: int) -> np.ndarray:
    """Bits (..., bytes) as qiskit packs them, big-endian, as (..., num_bits) with bit i of the register at i."""
    return np.unpackbits(bits, axis=-1)[..., : -num_bits - 1 : -1]


def packed(bits: np.ndarray) -> np.ndarray:
    """Undoes `unpacked`."""
    missing = -bits.shape[-1] % 8
    padded = np.concatenate([np.zeros((*bits.shape[:-1], missing), np.uint8), bits[..., ::-1]], axis=-1)
    return np.packbits(padded, axis=-1)


def _counted(
    bits: np.ndarray, group: AbstractMeasurementGroup, readout: Readout | None
) -> tuple[Tensor, Tensor]:
    rows, n = bits.shape[0], group.num_qubits
    weights = 1 << np.arange(n)[::-1]
    outcomes = unpacked(bits, n) @ weights + (np.arange(rows) << n)[:, None]
    counts = np.bincount(outcomes.ravel(), minlength=rows << n).reshape(rows, 1 << n)
    table = group.eigenvalues if readout is None else readout.undone(group.eigenvalues)
    both = torch.from_numpy(counts).to(torch.float64)
    count = table.shape[1]
    products = (table[:, :, None] * table[:, None, :]).reshape(-1, count**2)
    return both @ table, (both @ products).reshape(rows, count, count)


def _shot_by_shot(
    bits: np.ndarray, group: MeasurementGroup, readout: Readout | None
) -> tuple[Tensor, Tensor]:
    rows, shots, _ = bits.shape
    values = shot_values(unpacked(bits, group.num_qubits).reshape(rows * shots, -1), group, readout)
    values = values.view(rows, shots, -1)
    return values.sum(1), values.mT @ values


def shot_values(bits: np.ndarray, group: MeasurementGroup, readout: Readout | None = None) -> Tensor:
    """Value of each observable's part for each shot, bits (N, qubits), shape (N, M)."""
    if readout is None:
        support = _support(group.supports, group.num_qubits)
        # Parities as sums in float32: exact up to 2^24 qubits.
        odd = (torch.from_numpy(bits.astype(np.float32)) @ support) % 2
        return (1 - 2 * odd).to(torch.float64) @ group.coefficients
    factors = readout.factors(torch.from_numpy(bits.astype(np.float64)))
    terms = torch.stack([factors[:, list(support)].prod(1) for support in group.supports], dim=1)
    return terms @ group.coefficients


def _support(supports: Sequence[tuple[int, ...]], num_qubits: int) -> Tensor:
    matrix = torch.zeros(num_qubits, len(supports))
    for column, support in enumerate(supports):
        matrix[list(support), column] = 1
    return matrix
