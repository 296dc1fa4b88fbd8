"""Adaptive shots, each of which draws its measurement group."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from hybrid.allocation import RandomTerms
from hybrid.gradients.base import AbstractShotEstimator
from hybrid.gradients.parameter_shift import ParameterShift
from hybrid.optimisers.adaptive import AbstractAdaptive
from hybrid.optimisers.icans import individual_shots


@dataclass(frozen=True, kw_only=True)
class Rosalin(AbstractAdaptive):
    """iCANS with weighted random sampling: a shot draws what it measures, in proportion to its coefficients.

    So a slope is unbiased with two shots a circuit, however many measurement groups there are, and first steps are
    cheap. Groups are drawn, not single terms as in the source: terms of a group share a shot.
    Source: Arrasmith, Cincio, Somma and Coles 2020, arXiv:2004.06252.
    """

    rule: AbstractShotEstimator = field(default_factory=lambda: ParameterShift(allocation=RandomTerms()))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.rule.allocation, RandomTerms):
            raise ValueError(
                f"Argument `rule` of Rosalin must draw its terms, but shares shots by {self.rule.allocation.name}: "
                "give it the allocation RandomTerms(), or take ICANS."
            )

    @property
    def name(self) -> str:
        return "Rosalin"

    def wanted_shots(self, slopes: Tensor, variances: Tensor, lipschitz: float, extra: float) -> Tensor:
        return individual_shots(slopes, variances, self.learning_rate, lipschitz, extra)
