"""The choice of one candidate for every matrix of a model, under one budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor, fsum, inf, isfinite

from qtn.compression.hulls import HullWalk, Point, frontier, whole_numbers


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One form that a matrix can take: dense, of low rank, an MPO of some sites and bonds."""

    name: str
    loss: float
    """Predicted change of the loss, in one unit over all matrices."""
    costs: Mapping[str, float]
    """Such as parameters, bytes, operations or communicated bytes, by name."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The candidate of each matrix, and how far from the best choice it can be."""

    candidates: Mapping[str, Candidate]
    loss: float
    """Sum over the matrices."""
    costs: Mapping[str, float]
    """Sums over the matrices, of every cost that the candidates state."""
    multiplier: float
    """Loss that one more unit of the budget would save, by the Lagrangian; 0 when the budget does not bind."""
    bound: float
    """The Lagrangian dual bound: no choice within the budget and the caps has a smaller loss."""

    @property
    def gap(self) -> float:
        """At most so much above the least possible loss is the loss."""
        return self.loss - self.bound


def choose(
    candidates: Mapping[str, Sequence[Candidate]],
    budget: float,
    *,
    unit: str = "parameters",
    caps: Mapping[str, float] | None = None,
) -> Choice:
    """Takes one candidate for each matrix, with a small sum of losses and a sum of costs within the budget.

    The multiplier is found by bisection: at each multiplier every matrix takes the least of
    loss + multiplier * cost, which walks along the lower convex hulls of all matrices at once. What is then
    left of the budget is spent by a greedy step: each candidate of each matrix, on its hull or off it, is
    tried with the other matrices as far along the walk as the budget allows, and the best is taken. A larger
    budget thus never gives a larger loss. Of equal losses the cheaper is taken, of equal candidates the
    first given. Choosing is a multiple-choice knapsack; the optimum is not promised, its distance is
    bounded by `gap`.

    Args:
        candidates: For each matrix by name, what it can become. To let a matrix stay as it is, give that too.
        budget: The largest sum of costs; infinity allows everything.
        unit: The name of the cost that the budget limits.
        caps: For some costs by name, the largest ratio to the cost of the candidate called "dense" of the
            same matrix: `{"operations": 1.0}` leaves out whatever is slower than dense.

    Raises:
        ValueError: A matrix has no candidates, or two of one name, or none within the caps, or no "dense"
            one to compare with; candidates state different costs; a loss is not finite, or a cost not finite
            or negative; the unit or a cap is unknown; the budget cannot be reached (the message says what
            can).

    Cost: O(n log^2 n) for n candidates in all. Arithmetic is exact; the results are rounded once.

    Source: Everett, Operations Research 11, 399 (1963), for the multiplier; Sinha and Zoltners, Operations
    Research 27, 503 (1979), for the hulls and the bound.
    """
    _check(candidates, unit, caps or {})
    if not budget >= 0:
        raise ValueError(f"Argument `budget` must be a number of at least 0, but is {budget}.")
    allowed = {matrix: _within(each, caps or {}, matrix) for matrix, each in candidates.items()}
    costs, cost_scale = whole_numbers([[one.costs[unit] for one in each] for each in allowed.values()])
    losses, loss_scale = whole_numbers([[one.loss for one in each] for each in allowed.values()])
    frontiers = [
        frontier(Point(cost, loss, position) for position, (cost, loss) in enumerate(zip(*row, strict=True)))
        for row in zip(costs, losses, strict=True)
    ]
    walk = HullWalk(frontiers)
    limit = (
        walk.greatest_cost if budget == inf else min(walk.greatest_cost, floor(Fraction(budget) * cost_scale))
    )
    if limit < walk.least_cost:
        raise ValueError(
            f"Argument `budget` must be at least {walk.least_cost / cost_scale:.17g} {unit}, the least that "
            f"the candidates can reach, but is {budget}."
        )
    _, _, num_steps, fixed, point = min(
        (*found, row, point)
        for row, points in enumerate(frontiers)
        for point in points
        if (found := walk.with_fixed(row, point, limit)) is not None
    )
    chosen = {
        matrix: each[(point if row == fixed else walk.reached(row, num_steps)).position]
        for row, (matrix, each) in enumerate(allowed.items())
    }
    rate, bound = walk.dual(limit)
    return Choice(
        candidates=chosen,
        loss=fsum(each.loss for each in chosen.values()),
        costs={name: fsum(each.costs[name] for each in chosen.values()) for name in _stated(candidates)},
        multiplier=float(rate * cost_scale / loss_scale),
        bound=float(bound / loss_scale),
    )


def _stated(candidates: Mapping[str, Sequence[Candidate]]) -> list[str]:
    """The names of the costs."""
    return list(next(iter(candidates.values()))[0].costs)


def _within(candidates: Sequence[Candidate], caps: Mapping[str, float], matrix: str) -> Sequence[Candidate]:
    """The candidates of one matrix that keep the caps."""
    if not caps:
        return candidates
    dense = next((each for each in candidates if each.name == "dense"), None)
    if dense is None:
        raise ValueError(f"Matrix `{matrix}` must have a candidate `dense` for the caps to compare with.")
    limits = {name: cap * dense.costs[name] for name, cap in caps.items()}
    kept = [each for each in candidates if all(each.costs[name] <= limit for name, limit in limits.items())]
    if not kept:
        raise ValueError(
            f"Matrix `{matrix}` must have a candidate within the caps {dict(caps)}, but has none."
        )
    return kept


def _check(candidates: Mapping[str, Sequence[Candidate]], unit: str, caps: Mapping[str, float]) -> None:
    if not candidates:
        raise ValueError("Argument `candidates` must name at least one matrix, but is empty.")
    for matrix, each in candidates.items():
        names = [candidate.name for candidate in each]
        if not names or len(set(names)) < len(names):
            raise ValueError(
                f"Matrix `{matrix}` must have at least one candidate and all of different names, but has {names}."
            )
    stated = _stated(candidates)
    for name in (unit, *caps):
        if name not in stated:
            raise ValueError(f"Cost `{name}` must be one that the candidates state, which are {stated}.")
    for name, cap in caps.items():
        if not (isfinite(cap) and cap >= 0):
            raise ValueError(f"The cap on `{name}` must be a finite ratio of at least 0, but is {cap}.")
    for matrix, each in candidates.items():
        for candidate in each:
            which = f"candidate `{candidate.name}` of matrix `{matrix}`"
            if not _is_finite(candidate.loss):
                raise ValueError(f"The loss of {which} must be a finite number, but is {candidate.loss}.")
            if candidate.costs.keys() != set(stated):
                raise ValueError(
                    f"The costs of {which} must be those of the others, {stated}, but are {list(candidate.costs)}."
                )
            for name, cost in candidate.costs.items():
                if not (_is_finite(cost) and cost >= 0):
                    raise ValueError(
                        f"Cost `{name}` of {which} must be a finite number of at least 0, but is {cost}."
                    )


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and isfinite(value)
