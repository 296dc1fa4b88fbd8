"""Simultaneous perturbation of the overlap: the whole metric from four circuits a draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hybrid.backends.base import Measured
from hybrid.circuits import FreeCircuits
from hybrid.estimating import check_directions, check_step, random_source
from hybrid.metrics.base import AbstractShotMetric, MetricPlan
from hybrid.metrics.overlap import overlap_angles, overlap_target
from hybrid.objective import Objective
from hybrid.plan import Part

# Signs of the four overlaps, at steps D + D', D, -D + D', -D.
_SIGNS = torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Directions:
    """Random signs D and D', both of shape (K, B, P), and the step."""

    first: Tensor
    second: Tensor
    step: float


@dataclass(frozen=True, kw_only=True)
class SPSAMetric(AbstractShotMetric):
    """Mean over K pairs of random sign vectors of -(dF / 4 c^2) (D D'^T + D' D^T) / 2.

    F(t') = |<psi(t)|psi(t')>|^2 falls as 1 - x g x, and dF = F(t + cD + cD') - F(t + cD) - F(t - cD + cD') +
    F(t - cD) is -4 c^2 D g D' to leading order. Each overlap is the circuit followed by its inverse at the
    other point, and the share of shots that come back to |0...0>.

    Cost: 4 K circuits of twice the length, whatever the number of parameters. Unbiased as c falls; every
    entry carries the size of all others as noise, so the result need not be positive: `NaturalGradient` says
    what becomes of that. `std_errors` are one number for all entries, made of the differences that were
    measured; its square is right on average over draws and entries. The bias is not in them: (c Omega)^2 / 3
    of the metric for one rotation, about (c Omega)^2 / 2 for many. Shots that all come back to |0...0> have
    no spread, as any sample variance has not. Source: Gacon et al. 2021, arXiv:2103.09232.

    Args:
        directions: K.
        step: c in radians; None: 0.01 / Omega without shots, where the bias and the rounding of complex64 are
            both small, and (27 / 4N)^(1/6) / Omega with N shots a circuit, Omega the root of the sum of
            squares of all parameters' largest frequencies. For one rotation at <P> = 0 the bias is c^2 / 12
            and the variance 3 / (32 c^2 N), because overlaps close to one have little shot noise: their sum
            of squares is least there.
    """

    directions: int = 1
    step: float | None = None

    def __post_init__(self) -> None:
        check_directions(self.directions)
        check_step(self.step)

    @property
    def name(self) -> str:
        return "SPSA metric"

    def parts(
        self,
        objective: Objective,
        rows: Tensor,
        wrt: Tensor,
        *,
        total_shots: int | None,
        rng: np.random.Generator | None,
    ) -> tuple[Sequence[Part], Directions]:
        step = self._step(objective, wrt, total_shots)
        target = objective.kept(("overlap",), lambda: overlap_target(objective.program))
        shape = (2, self.directions, len(rows), len(wrt))
        drawn = torch.from_numpy(random_source(rng, self.name).integers(0, 2, size=shape) * 2.0 - 1.0)
        first, second = drawn
        moves = torch.stack([first + second, first, second - first, -first], dim=1).flatten(
            0, 1
        )  # (4K, B, P)
        there = rows.expand(len(moves), -1, -1).clone()
        there[..., wrt] += step * moves
        part = Part(
            target=target,
            circuits=FreeCircuits(angles=overlap_angles(target, rows, there)),
            weights=torch.ones(1, 1, len(moves), 1, dtype=torch.float64),
        )
        return [part], Directions(first=first, second=second, step=step)

    def _step(self, objective: Objective, wrt: Tensor, total_shots: int | None) -> float:
        if self.step is not None:
            return self.step
        reach = max(float(objective.program.max_frequencies()[wrt].norm()), 1e-12)
        if total_shots is None:
            return 0.01 / reach
        return (27 / 4 * 4 * self.directions / total_shots) ** (1 / 6) / reach

    def join(self, plan: MetricPlan, measured: Sequence[Measured]) -> tuple[Tensor, Tensor]:
        drawn: Directions = plan.details
        count = drawn.first.shape[-1]
        scale = -_SIGNS / (4 * drawn.step**2)
        by_draw = measured[0].values[..., 0].unflatten(0, (-1, 4))  # (K, 4, B)
        shot = measured[0].variances()[..., 0].unflatten(0, (-1, 4))
        slopes = torch.einsum("ksb,s->kb", by_draw, scale)  # D g D' and noise
        noise = torch.einsum("ksb,s->kb", shot, scale**2)
        half = torch.einsum("kb,kbp,kbq->bpq", slopes, drawn.first, drawn.second) / len(slopes)
        # The sum over entries of a draw's square is slope^2 |S|^2, S the symmetric product of signs; the mean
        # of slope^2 less its shot noise is the sum over entries of g^2.
        squares = (count**2 + (drawn.first * drawn.second).sum(-1) ** 2) / 2
        total = (slopes**2 * (squares - 1) + noise).mean(0)
        variances = total / (count**2 * len(slopes))
        return (half + half.mT) / 2, variances[:, None, None].expand_as(half)
