"""The metric inside layers of commuting rotations, one circuit for each layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hybrid.backends.base import Measured
from hybrid.circuits import FreeCircuits
from hybrid.metrics.base import AbstractShotMetric, MetricPlan
from hybrid.metrics.blocks import Block, blocks
from hybrid.objective import Objective
from hybrid.plan import Part


@dataclass(frozen=True, kw_only=True)
class BlockDiagonalMetric(AbstractShotMetric):
    """Blocks of the metric for rotations of one layer; entries between layers are zero, and left out.

    A layer is a set of rotations that commute and can stand side by side: each rotation goes to the earliest
    layer that the circuit allows, whatever the order in which it was written. On the circuit cut before the
    layer, the metric of its rotations is the covariance of their Pauli strings, (<P_j P_k> - <P_j><P_k>) / 4.
    All strings and products are measured at once, as sums by parameter, so that parameters with several
    rotations of a layer, and their errors, come out of the chain rule exactly. What a parameter does in
    different layers adds up without the part between them.

    With shots the product of two means that share them is too large by their covariance, which is measured
    and taken off: values are unbiased. `std_errors` go to second order in the errors of the means: their
    square is right on average but for a share of order 1 / N^2 with N shots a circuit, and where the first
    order vanishes, as at <P> = 0, up to 1.4 times too large, estimates below zero counting as zero.

    Cost: one circuit a layer. A layer of U parameters measures U (U + 3) / 2 sums: 8 * 2^qubits bytes for
    each, once for layers that are alike. Unbiased within layers. Source: Stokes et al. 2020,
    arXiv:1909.02108.
    """

    @property
    def name(self) -> str:
        return "block-diagonal metric"

    def parts(
        self,
        objective: Objective,
        rows: Tensor,
        wrt: Tensor,
        *,
        total_shots: int | None,
        rng: np.random.Generator | None,
    ) -> tuple[Sequence[Part], tuple[Block, ...]]:
        program = objective.program
        found = objective.kept(("metric blocks", tuple(wrt.tolist())), lambda: tuple(blocks(program, wrt)))
        angles = program.angles(rows)
        parts = [
            Part(
                target=block.target,
                circuits=FreeCircuits(angles=angles[None, :, block.rotations]),
                weights=_weights(block),
            )
            for block in found
        ]
        return parts, found

    def join(self, plan: MetricPlan, measured: Sequence[Measured]) -> tuple[Tensor, Tensor]:
        count = len(plan.circuits.wrt)
        values = torch.zeros(plan.circuits.num_rows, count, count, dtype=torch.float64)
        variances = torch.zeros_like(values)
        for block, result in zip(plan.details, measured, strict=True):
            first, second = block.group.pairs()
            found, noise = _covariances(result, first, second)
            rows, columns = block.columns[first], block.columns[second]
            for total, each in ((values, found / 4), (variances, noise / 16)):
                total[:, rows, columns] += each
                apart = rows != columns
                total[:, columns[apart], rows[apart]] += each[:, apart]
        return values, variances


def _covariances(result: Measured, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Covariances of the pairs of sums, and the variances of these estimates, both (B, pairs)."""
    count = result.values.shape[-1] - len(first)
    means, products = result.values[0, :, :count], result.values[0, :, count:]
    one, other = means[:, first], means[:, second]
    plain = products - one * other
    if result.covariances is None:
        return plain, torch.zeros_like(plain)
    noise = result.covariances[0]
    pair = count + torch.arange(len(first))
    shared = noise[:, first, second]
    spread, spread_other = noise[:, first, first], noise[:, second, second]
    # First order in the means. Measured on the same shots it is too small by 4 / N of it, and the measured
    # square of a mean too large by its variance. One over the shots is what means vary less than one shot.
    variances = (
        noise[:, pair, pair]
        + other**2 * spread
        + one**2 * spread_other
        + 2 * one * other * shared
        - 2 * other * noise[:, pair, first]
        - 2 * one * noise[:, pair, second]
    )
    alone = first == second
    one_shot = plain[:, alone].sum(1, keepdim=True)
    per_shot = torch.where(one_shot > 0, spread[:, alone].sum(1, keepdim=True) / one_shot, 0.0)
    return plain + shared, variances * (1 + 4 * per_shot) - (spread * spread_other + shared**2)


def _weights(block: Block) -> Tensor:
    """How much each sum counts in the block, shape (1, 1, 1, sums): a mean by what it is multiplied with."""
    squares = torch.ones(block.group.num_observables, dtype=torch.float64)
    sizes = block.group.sums.norms.square()
    # A sum stands beside each other one once, beside itself twice over.
    squares[: len(sizes)] = sizes.sum() + 3 * sizes
    return squares.sqrt()[None, None, None]
