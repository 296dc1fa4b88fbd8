"""Classical shadows: expectation values and gradients from random Pauli bases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from scipy.integrate import quad
from scipy.special import ndtr
from torch import Tensor

from classical.cost import Cost
from classical.measurement import MeasurementGroup
from hybrid.allocation.base import AbstractAllocation, affordable, shared
from hybrid.backends.base import AbstractBackend, Measured
from hybrid.circuits import FreeCircuits
from hybrid.estimating import Theta, WithRespectTo, check_kinds, checked_task, random_source
from hybrid.gradients import Gradient, ParameterShift
from hybrid.objective import Objective, Value
from hybrid.plan import Part, Plan, allocated
from hybrid.shadow_variance import letter_codes
from hybrid.shots import LEAST_SHOTS, whole_shots

_LETTERS = np.array(list("XYZ"))


@dataclass(frozen=True, kw_only=True)
class ClassicalShadows:
    """Every shot measures each qubit in X, Y or Z by chance; one set of shots serves any observable.

    A Pauli term of weight w is seen by one shot in 3^w, whose outcome counts 3^w times: unbiased, with variance
    3^w - <P>^2 for one shot. Equal bases are one circuit with several shots. Error bars come from the spread of the
    single shots. Cost: up to one circuit a shot; all rows of a call share the draw of bases; a simulation keeps
    24 * 2^qubits bytes for each. Source: Huang, Kueng and Preskill 2020, arXiv:2002.08953.

    Args:
        batches: odd; with 1 the mean of all shots, otherwise the median of the means of so many batches of shots,
            whose error bar takes those means as normal.

    Raises:
        ValueError: for an even or negative number of batches.
    """

    batches: int = 1

    def __post_init__(self) -> None:
        if type(self.batches) is not int or self.batches < 1 or self.batches % 2 == 0:
            raise ValueError(f"Argument `batches` must be odd and at least 1, but is {self.batches!r}.")

    def plan(
        self, objective: Objective, theta: Theta, *, total_shots: int, rng: np.random.Generator | None
    ) -> Plan:
        """Returns the circuits for expectation values at `theta`, `total_shots` for each row.

        Raises:
            BudgetTooSmall: for fewer than two shots a batch.
        """
        rows, batch = objective.rows(theta)
        part = Part(
            target=objective.target,
            circuits=FreeCircuits(
                angles=objective.program.angles(rows.detach()).expand(self.batches, -1, -1)
            ),
            weights=torch.full((1, 1, self.batches, 1), 1 / self.batches, dtype=torch.float64),
        )
        plan = Plan(
            estimator="classical shadows",
            objective=objective,
            wrt=torch.zeros(0, dtype=torch.int64),
            parts=(part,),
            total_shots=None,
            allocation=Snapshots(drawn=()),
            batch=batch,
        )
        return _with_random_bases(plan, total_shots, rng)

    def combine(self, plan: Plan, measured: Sequence[Measured]) -> Value:
        """Returns expectation values from what the plan's circuits gave, part by part; pure."""
        means = torch.cat([each.values for each in measured])  # (batches, B, M)
        spread = torch.cat([each.variances() for each in measured]).mean(0).clamp_min(0).sqrt()
        shaped = plan.objective.shaped
        return Value(
            values=shaped(means.median(0).values, plan.batch),
            std_errors=shaped(spread * _spread_of_median(len(means)), plan.batch),
            cost=sum((each.cost for each in measured), Cost()),
        )

    def value(
        self,
        objective: Objective,
        theta: Theta,
        *,
        backend: AbstractBackend,
        total_shots: int,
        rng: np.random.Generator | None,
    ) -> Value:
        """Returns expectation values at `theta`, shape (*batch, P), from `total_shots` for each row."""
        check_kinds(objective, backend)
        backend.check(whole_shots(total_shots), rng)
        plan = self.plan(objective, theta, total_shots=total_shots, rng=rng)
        return self.combine(plan, plan.run(backend, rng))


def shadow_gradient_plan(
    objective: Objective,
    theta: Theta,
    *,
    total_shots: int,
    rng: np.random.Generator | None,
    wrt: WithRespectTo | None = None,
    rule: ParameterShift | None = None,
) -> Plan:
    """Returns a parameter-shift plan in which each shifted circuit is measured in random bases of its own."""
    rule = ParameterShift() if rule is None else rule
    task = checked_task(objective, theta, total_shots=total_shots, wrt=wrt, wanted="gradient")
    exact = rule.plan(objective, theta, wrt=wrt)
    assert task.total_shots is not None
    return _with_random_bases(exact, task.total_shots, rng)


def shadow_gradient(
    objective: Objective,
    theta: Theta,
    *,
    backend: AbstractBackend,
    total_shots: int,
    rng: np.random.Generator | None,
    wrt: WithRespectTo | None = None,
    rule: ParameterShift | None = None,
) -> Gradient:
    """Returns the parameter-shift gradient from classical shadows, `total_shots` for each row, even over circuits.

    Raises:
        BudgetTooSmall: for fewer than two shots a circuit.
    """
    rule = ParameterShift() if rule is None else rule
    check_kinds(objective, backend)
    backend.check(whole_shots(total_shots), rng)
    plan = shadow_gradient_plan(objective, theta, total_shots=total_shots, rng=rng, wrt=wrt, rule=rule)
    return rule.combine(plan, plan.run(backend, rng))


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshots(AbstractAllocation):
    """Shots as they were drawn, in groups whose coefficients hold how often each was drawn.

    The mean is the sum over groups, as always; the error is that of single shots about the mean of all.

    Args:
        drawn: shots (1, G) of each part.
    """

    drawn: tuple[Tensor, ...]
    rows_share_draws: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "classical shadows"

    @property
    def favours_few_circuits(self) -> bool:
        return False

    def first(
        self, total_shots: int, sizes: Sequence[Tensor], rng: np.random.Generator | None
    ) -> tuple[Tensor, ...]:
        return self.drawn

    def settle(self, sizes: Tensor, shots: Tensor, stages: Sequence[Measured], share: float) -> Measured:
        (measured,) = stages
        if measured.group_covariances is None or len(measured.group_values) != shots.shape[1]:
            raise ValueError(
                "ClassicalShadows needs a backend that gives values and covariances by measurement group."
            )
        count = shots.T.to(torch.float64)[..., None, None]  # (G, 1, 1, 1)
        total = count.sum()
        mean = measured.group_values.sum(0)
        away = measured.group_values * (total / count) - mean
        # What one shot of a group spreads, (count - 1) times, and where the group's mean stands, count times.
        inside = (measured.group_covariances * ((count - 1) / count * total**2)[..., None]).sum(0)
        between = torch.einsum("gsbm,gsbn->sbmn", away * count, away)
        return replace(
            measured,
            group_values=mean[None],
            group_covariances=((inside + between) / (total * (total - 1)))[None],
        )


def _with_random_bases(plan: Plan, total_shots: int, rng: np.random.Generator | None) -> Plan:
    """The plan with each of its circuits as a part of its own, measured in bases of its own."""
    rng = random_source(rng, "classical shadows")
    circuits = [(part, s) for part in plan.parts for s in range(part.circuits.num_circuits)]
    pieces = [torch.ones(1, 1) for _ in circuits]
    total = affordable(total_shots, pieces)
    codes = letter_codes(plan.objective.labels)
    parts, drawn = [], []
    simulators = {}  # goes with the plan, as what it keeps of each basis must
    for (part, s), shots in zip(circuits, shared(total, pieces, LEAST_SHOTS), strict=True):
        bases = rng.integers(0, 3, size=(int(shots), codes.shape[1]))
        distinct, counts = np.unique(bases, axis=0, return_counts=True)
        shares = counts / int(shots)
        coefficients = plan.objective.coefficients
        groups = tuple(
            _snapshot(codes, coefficients, each, share)
            for each, share in zip(distinct, shares.tolist(), strict=True)
        )
        made = replace(
            part,
            target=replace(part.target, groups=groups, _simulators=simulators, _derived={}),
            circuits=FreeCircuits(angles=part.circuits.all_angles()[s : s + 1]),
            weights=part.weights[:, :, s : s + 1],
        )
        parts.append(made)
        drawn.append(torch.from_numpy(counts)[None])
    allocation = Snapshots(drawn=tuple(drawn))
    return replace(
        plan,
        parts=allocated(parts, total, allocation, rng),
        total_shots=total,
        allocation=allocation,
    )


def _snapshot(codes: np.ndarray, coefficients: Tensor, basis: np.ndarray, share: float) -> MeasurementGroup:
    """What a shot in a basis says of the observables, times the share of shots that it has."""
    seen = np.flatnonzero(((codes == basis) | (codes < 0)).all(1))
    supports = tuple(tuple(np.flatnonzero(codes[term] >= 0).tolist()) for term in seen)
    scale = share * 3.0 ** torch.tensor([len(support) for support in supports], dtype=torch.float64)
    letters = "".join(_LETTERS[basis])
    if not supports:  # a shot that none of the terms is seen by
        return MeasurementGroup(
            basis=letters, supports=((),), coefficients=coefficients.new_zeros(1, coefficients.shape[1])
        )
    return MeasurementGroup(
        basis=letters, supports=supports, coefficients=coefficients[seen] * scale[:, None]
    )


def _spread_of_median(count: int) -> float:
    """Standard deviation of the median of `count` standard normal numbers, `count` odd."""
    half = count // 2
    peak = count * math.comb(2 * half, half) / math.sqrt(2 * math.pi)

    def moment(x: float) -> float:
        return x**2 * math.exp(-(x**2) / 2) * (ndtr(x) * ndtr(-x)) ** half

    return math.sqrt(peak * quad(moment, -math.inf, math.inf)[0])
