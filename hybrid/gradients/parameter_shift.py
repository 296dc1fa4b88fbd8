"""Parameter-shift rules: exact derivatives from shifted circuits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from classical.generators import Generator, generators
from hybrid.circuits import FreeCircuits, ShiftedCircuits
from hybrid.gradients.base import AbstractShotEstimator
from hybrid.gradients.shift_rules import ShiftRule, equidistant, two_term
from hybrid.objective import Objective
from hybrid.plan import Part

Rule = Literal["cheapest", "occurrences", "frequencies"]


@dataclass(frozen=True, kw_only=True)
class ParameterShift(AbstractShotEstimator):
    """Exact derivatives from shifted circuits.

    Two rules. By occurrence: every rotation `exp(-i a P / 2)` with P^2 = 1 obeys
    dE/da = (E(a + s) - E(a - s)) / (2 sin s), and the chain rule through the affine angles adds up occurrences. By
    frequency: rotations of one parameter that commute and stand side by side are moved together; when the
    frequencies of their sum are multiples 1 ... R of one, 2R circuits do. So shared, scaled and controlled parameters
    are exact either way.

    Cost: 2 circuits for each rotation, or 2R for each such group, times measurement bases. Unbiased. Source: Schuld et
    al. 2019, arXiv:1811.11184, eq. 9; Wierichs et al. 2022, arXiv:2107.12390, eq. 15; see `shift_rules`.

    Args:
        shift: s in radians, in (0, pi), for one frequency; pi/2 has the least variance on average over angles, which
            grows as 1 / sin^2 s.
        rule: "cheapest" goes by frequency where that takes fewer circuits and, at this allocation of shots, no more
            noise; "frequencies" wherever it takes fewer circuits; "occurrences" never.
    """

    shift: float = math.pi / 2
    rule: Rule = "cheapest"

    def __post_init__(self) -> None:
        if not 0 < self.shift < math.pi:
            raise ValueError(f"Argument `shift` must lie strictly between 0 and pi, but is {self.shift}.")
        if self.rule not in get_args(Rule):
            raise ValueError(f"Argument `rule` must be one of {list(get_args(Rule))}, but is {self.rule!r}.")

    @property
    def name(self) -> str:
        return "parameter-shift"

    def parts(
        self,
        objective: Objective,
        rows: Tensor,
        wrt: Tensor,
        *,
        total_shots: int | None,
        rng: np.random.Generator | None,
    ) -> Sequence[Part]:
        key = ("parameter-shift", self, tuple(wrt.tolist()))
        single, together = objective.kept(key, lambda: self._moves(objective, wrt))
        angles = objective.program.angles(rows)
        parts = []
        if len(single.rotations):
            circuits = ShiftedCircuits(angles=angles, rotations=single.rotations, shifts=single.shifts)
            parts.append(Part(target=objective.target, circuits=circuits, weights=single.weights))
        if len(together.moves):
            circuits = FreeCircuits(angles=angles + together.moves[:, None])
            parts.append(Part(target=objective.target, circuits=circuits, weights=together.weights))
        return parts

    def _moves(self, objective: Objective, wrt: Tensor) -> tuple[_Single, _Together]:
        grouped = self._grouped(objective, wrt)
        return self._by_occurrence(objective, wrt, grouped), _by_frequency(objective, wrt, grouped)

    def _grouped(self, objective: Objective, wrt: Tensor) -> list[_Moved]:
        """What is moved together: generators for which the rule by frequency is chosen."""
        if self.rule == "occurrences":
            return []
        found = []
        for column, parameter in enumerate(wrt.tolist()):
            for each in _kept_generators(objective, parameter):
                rule = self._cheaper(each)
                if rule is not None:
                    found.append(_Moved(column, each, rule))
        return found

    def _cheaper(self, each: Generator) -> ShiftRule | None:
        """The rule by frequency where it is chosen; None where the one by occurrence is."""
        multiples = each.num_multiples
        if multiples is None or multiples >= len(each.rotations):
            return None
        largest = each.frequencies[-1]
        rule = (
            two_term(largest, self.shift) if multiples == 1 else equidistant(multiples, largest / multiples)
        )
        if self.rule == "frequencies":
            return rule
        singles = [two_term(abs(factor), self.shift).weights for factor in each.factors]
        plain = ShiftRule(shifts=(), weights=tuple(w for pair in singles for w in pair))
        few = self.allocation.favours_few_circuits
        slack = 1 + 1e-9
        cheaper = rule.noise(favours_few_circuits=few) <= slack * plain.noise(favours_few_circuits=few)
        return rule if cheaper else None

    def _by_occurrence(self, objective: Objective, wrt: Tensor, grouped: Sequence[_Moved]) -> _Single:
        program = objective.program
        chain = program.coefficients[:, wrt].clone()
        for moved in grouped:
            chain[list(moved.generator.rotations), moved.column] = 0
        used = chain.any(1).nonzero()[:, 0]
        # The i-th rotation that is used has its plus circuit at 2i and its minus circuit at 2i + 1.
        signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(len(used))
        weights = chain[used].T.repeat_interleave(2, dim=1) * signs / (2 * math.sin(self.shift))
        return _Single(
            rotations=used.repeat_interleave(2), shifts=self.shift * signs, weights=weights[None, ..., None]
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Single:
    """Circuits in each of which one rotation is moved, and their weights (1, P, S, 1)."""

    rotations: Tensor
    shifts: Tensor
    weights: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class _Together:
    """Circuits in each of which several rotations are moved, (S, rotations), and their weights (1, P, S, 1)."""

    moves: Tensor
    weights: Tensor


@dataclass(frozen=True)
class _Moved:
    """A generator of the parameter in column `column` of the gradient, and the rule for it."""

    column: int
    generator: Generator
    rule: ShiftRule


def _kept_generators(objective: Objective, parameter: int) -> tuple[Generator, ...]:
    return objective.kept(("generators", parameter), lambda: generators(objective.program, parameter))


def _by_frequency(objective: Objective, wrt: Tensor, grouped: Sequence[_Moved]) -> _Together:
    program = objective.program
    count = sum(len(moved.rule.shifts) for moved in grouped)
    moves = torch.zeros(count, program.num_rotations, dtype=torch.float64)
    weights = torch.zeros(len(wrt), count, dtype=torch.float64)
    at = 0
    for moved in grouped:
        factors = torch.tensor(moved.generator.factors, dtype=torch.float64)
        for shift, weight in zip(moved.rule.shifts, moved.rule.weights, strict=True):
            moves[at, list(moved.generator.rotations)] = factors * shift
            weights[moved.column, at] = weight
            at += 1
    return _Together(moves=moves, weights=weights[None, ..., None])
