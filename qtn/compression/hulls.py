"""The walk along the lower convex hulls of several sets of points, in exact arithmetic."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from math import lcm
from typing import NamedTuple


class Point(NamedTuple):
    """One thing that can be taken; whole numbers, so that sums and comparisons are exact."""

    cost: int
    loss: int
    position: int


def whole_numbers(rows: Sequence[Sequence[float]]) -> tuple[list[list[int]], int]:
    """The numbers times a scale that makes all of them whole, and the scale."""
    exact = [[Fraction(value) for value in row] for row in rows]
    scale = lcm(*(value.denominator for row in exact for value in row))
    return [[value.numerator * (scale // value.denominator) for value in row] for row in exact], scale


def frontier(points: Iterable[Point]) -> list[Point]:
    """The points that no other one beats in cost or loss without being worse in the other, cheapest first."""
    kept: list[Point] = []
    for point in sorted(points):
        if not kept or point.loss < kept[-1].loss:
            kept.append(point)
    return kept


def saving_rate(old: Point, new: Point) -> Fraction:
    """The loss saved for each unit of cost."""
    return Fraction(old.loss - new.loss, new.cost - old.cost)


def lower_hull(points: Sequence[Point]) -> list[Point]:
    """The points of a frontier on its lower convex hull: no step saves at a higher rate than the one before."""
    hull: list[Point] = []
    for point in points:
        while len(hull) > 1 and saving_rate(hull[-2], hull[-1]) < saving_rate(hull[-1], point):
            hull.pop()
        hull.append(point)
    return hull


class HullWalk:
    """All rows start at their cheapest point; each step moves the row on that saves most for its cost.

    After some steps the points are those of least loss + multiplier * cost, with a multiplier between the
    saving rates of the last step and the next.
    """

    def __init__(self, frontiers: Sequence[Sequence[Point]]) -> None:
        self._hulls = [lower_hull(points) for points in frontiers]
        steps = [
            (saving_rate(old, new), row, old, new)
            for row, hull in enumerate(self._hulls)
            for old, new in pairwise(hull)
        ]
        # The sort is stable: steps of one row stay in their order, also where their rates are equal.
        steps.sort(key=lambda step: -step[0])
        self._rates = [rate for rate, _, _, _ in steps]
        self._steps_of: list[list[int]] = [[] for _ in frontiers]
        for number, (_, row, _, _) in enumerate(steps):
            self._steps_of[row].append(number)
        starts = [hull[0] for hull in self._hulls]
        cost, loss = sum(point.cost for point in starts), sum(point.loss for point in starts)
        self._costs = list(accumulate((new.cost - old.cost for _, _, old, new in steps), initial=cost))
        self._losses = list(accumulate((new.loss - old.loss for _, _, old, new in steps), initial=loss))

    @property
    def least_cost(self) -> int:
        """Of all rows at their cheapest."""
        return self._costs[0]

    @property
    def greatest_cost(self) -> int:
        """Of all rows at their least loss."""
        return self._costs[-1]

    def reached(self, row: int, num_steps: int) -> Point:
        """Where a row stands after so many steps of the walk."""
        return self._hulls[row][bisect_left(self._steps_of[row], num_steps)]

    def dual(self, limit: int) -> tuple[Fraction, Fraction]:
        """The multiplier of a limit on the cost, and the least loss that the Lagrangian allows there."""
        num_steps = bisect_right(self._costs, limit) - 1
        rate = self._rates[num_steps] if num_steps < len(self._rates) else Fraction(0)
        return rate, self._losses[num_steps] - rate * (limit - self._costs[num_steps])

    def with_fixed(self, row: int, point: Point, limit: int) -> tuple[int, int, int] | None:
        """One row at a point and the others as far as a limit on the cost lets them walk.

        Returns:
            Loss, cost and steps walked, or `None` if the others cannot even start.
        """

        def cost(num_steps: int) -> int:
            return self._costs[num_steps] - self.reached(row, num_steps).cost + point.cost

        num_steps = bisect_right(range(len(self._costs)), limit, key=cost) - 1
        if num_steps < 0:
            return None
        loss = self._losses[num_steps] - self.reached(row, num_steps).loss + point.loss
        return loss, cost(num_steps), num_steps
