"""Shots of all components by the gain per shot of the whole step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hybrid.optimisers.adaptive import AbstractAdaptive


@dataclass(frozen=True, kw_only=True)
class GCANS(AbstractAdaptive):
    """Global coupled adaptive number of shots.

    A step gains `(a - L a^2 / 2) ||g||^2 - (L a^2 / 2) sum_i v_i / s_i` at the least, on average. For N shots in all
    the noise is least at s_i = N sigma_i / sum_j sigma_j, sigma_i the root of v_i, where it is (sum_j sigma_j)^2 / N;
    then the gain per shot is largest at N = 2 L a / (2 - L a) * (sum_j sigma_j)^2 / ||g||^2. So
    s_i = 2 L a / (2 - L a) * sigma_i sum_j sigma_j / ||g||^2.
    Source: Gu, Lowe, Dub, Coles and Arrasmith 2021, arXiv:2108.10434.
    """

    @property
    def name(self) -> str:
        return "gCANS"

    def wanted_shots(self, slopes: Tensor, variances: Tensor, lipschitz: float, extra: float) -> Tensor:
        return global_shots(slopes, variances, self.learning_rate, lipschitz, extra)


def global_shots(
    slopes: Tensor, variances: Tensor, learning_rate: float, lipschitz: float, extra: float = 0.0
) -> Tensor:
    """Returns the shots (P,) at which the whole step gains most per shot."""
    factor = 2 * lipschitz * learning_rate / (2 - lipschitz * learning_rate)
    sigmas = variances.sqrt()
    return factor * sigmas * sigmas.sum() / (slopes @ slopes + extra)
