"""Shots of each component by its own gain per shot."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hybrid.optimisers.adaptive import AbstractAdaptive


@dataclass(frozen=True, kw_only=True)
class ICANS(AbstractAdaptive):
    """Individual coupled adaptive number of shots.

    A step from a slope g_i with one-shot variance v_i gains, in the worst case that L allows,
    `(a - L a^2 / 2) g_i^2 - L a^2 v_i / (2 s_i)` on average: per shot most at
    s_i = 2 L a / (2 - L a) * v_i / g_i^2. No component gets more than the one that gains most per shot.
    Source: Kuebler, Arrasmith, Cincio and Coles 2020, arXiv:1909.09083, algorithm 1 (iCANS1).
    """

    @property
    def name(self) -> str:
        return "iCANS"

    def wanted_shots(self, slopes: Tensor, variances: Tensor, lipschitz: float, extra: float) -> Tensor:
        return individual_shots(slopes, variances, self.learning_rate, lipschitz, extra)


def individual_shots(
    slopes: Tensor, variances: Tensor, learning_rate: float, lipschitz: float, extra: float = 0.0
) -> Tensor:
    """Returns the shots (P,) at which each component gains most per shot, none above those of the best one."""
    factor = 2 * lipschitz * learning_rate / (2 - lipschitz * learning_rate)
    shots = (factor * variances / (slopes**2 + extra)).nan_to_num(nan=0.0, posinf=torch.inf).clamp_min(1)
    best = gain_per_shot(slopes, variances, shots, learning_rate, lipschitz).argmax()
    return shots.clamp_max(shots[best])


def gain_per_shot(
    slopes: Tensor, variances: Tensor, shots: Tensor, learning_rate: float, lipschitz: float
) -> Tensor:
    """Returns what a step along each component gains for each of its shots, (P,), on average and at the least."""
    along = (learning_rate - lipschitz * learning_rate**2 / 2) * slopes**2
    noise = lipschitz * learning_rate**2 * variances / (2 * shots)
    return torch.where(torch.isinf(shots), 0.0, (along - noise) / shots)
