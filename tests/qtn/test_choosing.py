"""The choice under a budget, against every choice there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from math import exp, inf, nan

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qtn.compression.choosing import Candidate, Choice, choose

Problem = dict[str, list[Candidate]]


def _matrix(*pairs: tuple[float, float]) -> list[Candidate]:
    """Candidates of these (cost, loss)."""
    return [
        Candidate(name=f"c{index}", loss=loss, costs={"parameters": cost})
        for index, (cost, loss) in enumerate(pairs)
    ]


def _names(choice: Choice) -> dict[str, str]:
    return {matrix: candidate.name for matrix, candidate in choice.candidates.items()}


def _every_choice(problem: Mapping[str, Sequence[Candidate]]) -> list[tuple[float, float]]:
    """(cost, loss) of each."""
    return [
        (sum(each.costs["parameters"] for each in taken), sum(each.loss for each in taken))
        for taken in product(*problem.values())
    ]


def _optimum(problem: Mapping[str, Sequence[Candidate]], budget: float) -> float:
    return min(loss for cost, loss in _every_choice(problem) if cost <= budget)


_PAIRS = st.tuples(st.integers(0, 30), st.integers(0, 40))
PROBLEMS = st.lists(st.lists(_PAIRS, min_size=1, max_size=5), min_size=1, max_size=4).map(
    lambda rows: {f"m{index}": _matrix(*row) for index, row in enumerate(rows)}
)


def _budgets(problem: Problem) -> tuple[int, int]:
    """The least and the greatest cost of a choice."""
    costs = [int(cost) for cost, _ in _every_choice(problem)]
    return min(costs), max(costs)


@given(st.data())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_the_optimum_lies_between_the_bound_and_the_loss(data: st.DataObject) -> None:
    problem = data.draw(PROBLEMS)
    budget = data.draw(st.integers(*_budgets(problem)))
    choice = choose(problem, budget)
    assert choice.costs["parameters"] == sum(each.costs["parameters"] for each in choice.candidates.values())
    assert choice.loss == sum(each.loss for each in choice.candidates.values())
    assert choice.costs["parameters"] <= budget
    assert choice.bound <= _optimum(problem, budget) <= choice.loss
    assert choice.gap == choice.loss - choice.bound


@given(st.data())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_the_bound_is_the_dual_at_the_multiplier_and_no_multiplier_gives_more(data: st.DataObject) -> None:
    problem = data.draw(PROBLEMS)
    budget = data.draw(st.integers(*_budgets(problem)))
    choice = choose(problem, budget)

    def dual(multiplier: float) -> float:
        rows = problem.values()
        return (
            sum(min(c.loss + multiplier * c.costs["parameters"] for c in row) for row in rows)
            - multiplier * budget
        )

    assert dual(choice.multiplier) == pytest.approx(choice.bound, abs=1e-9)
    for factor in (0.0, 0.5, 0.9, 1.1, 2.0):
        assert dual(choice.multiplier * factor) <= choice.bound + 1e-9


@given(PROBLEMS)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_larger_budget_gives_no_larger_loss_bound_or_multiplier(problem: Problem) -> None:
    least, greatest = _budgets(problem)
    choices = [choose(problem, budget) for budget in range(least, greatest + 2)]
    for small, large in pairwise(choices):
        assert large.loss <= small.loss
        assert large.bound <= small.bound
        assert large.multiplier <= small.multiplier


def test_most_choices_are_the_best_there_is() -> None:
    # Spectra that fall exponentially, with a jump to no loss at all for the dense candidate.
    problem = {
        f"m{row}": _matrix(
            *(((3 + row) * rank, round(1000 * exp(-rank * (0.3 + 0.2 * row)))) for rank in range(1, 6)),
            ((3 + row) * 8, 0),
        )
        for row in range(4)
    }
    least, greatest = _budgets(problem)
    every = _every_choice(problem)
    budgets = range(least, greatest + 1)
    best = [min(loss for cost, loss in every if cost <= budget) for budget in budgets]
    losses = [choose(problem, budget).loss for budget in budgets]
    hits = sum(loss == optimum for loss, optimum in zip(losses, best, strict=True))
    assert hits >= 0.9 * len(best)
    assert sum(losses) <= 1.01 * sum(best)


@given(st.lists(_PAIRS, min_size=1, max_size=8), st.integers(0, 30))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_single_matrix_takes_its_best_candidate_and_of_equals_the_cheaper_then_the_first(
    pairs: list[tuple[int, int]], budget: int
) -> None:
    affordable = [(loss, cost, index) for index, (cost, loss) in enumerate(pairs) if cost <= budget]
    if not affordable:
        return
    choice = choose({"only": _matrix(*pairs)}, budget)
    assert _names(choice) == {"only": f"c{min(affordable)[2]}"}


def test_what_the_walk_leaves_is_spent_on_candidates_off_the_hull() -> None:
    problem = {"a": _matrix((0, 10), (6, 9), (10, 0)), "b": _matrix((0, 0.5), (1, 0))}
    choice = choose(problem, 9)
    assert _names(choice) == {"a": "c1", "b": "c1"}
    assert (choice.loss, choice.multiplier) == (9.0, 1.0)
    assert choice.bound == 10.5 - 9 * 1.0


def test_equal_matrices_and_equal_candidates_are_chosen_the_same_every_time() -> None:
    row = _matrix((4, 1.0), (2, 1.0), (2, 1.0), (5, 0.0))
    problem = {"a": row, "b": row, "c": row}
    assert _names(choose(problem, 6)) == {"a": "c1", "b": "c1", "c": "c1"}
    choice = choose(problem, 9)
    assert sorted(_names(choice).values()) == ["c1", "c1", "c3"]
    assert choose(problem, 9) == choice


def test_of_equal_losses_the_cheaper_is_taken() -> None:
    rows = {"dear": _matrix((0, 1.0), (3, 0.0)), "cheap": _matrix((0, 1.0), (2, 0.0))}
    for problem in (rows, dict(reversed(rows.items()))):
        choice = choose(problem, 4)
        assert (choice.loss, choice.costs) == (1.0, {"parameters": 2.0})


def test_a_line_of_equal_steps_is_walked_to_its_end() -> None:
    line = _matrix(*((rank, 10.0 - rank) for rank in range(11)))
    for budget in range(21):
        choice = choose({"a": line, "b": line}, budget)
        assert (choice.loss, choice.gap) == (20.0 - budget, 0.0)
    threes = _matrix(*((3 * rank, 9.0 - 3 * rank) for rank in range(4)))
    twos = _matrix(*((2 * rank, 8.0 - 2 * rank) for rank in range(5)))
    assert choose({"threes": threes, "twos": twos}, 5).loss == 17.0 - 5.0


def test_costs_are_summed_without_rounding() -> None:
    problem = {name: _matrix((0.1, 1.0), (0.7, 0.5)) for name in "abc"}
    with pytest.raises(ValueError, match=r"must be at least 0.3\d* parameters, the least .* but is 0.3\."):
        choose(problem, 0.3)  # Three times the double nearest 0.1 is above the double nearest 0.3.
    assert choose({name: _matrix((2**53, 1.0), (2**53 + 1, 0.0)) for name in "ab"}, 2**54 + 1).loss == 1.0


def test_a_budget_above_everything_takes_the_least_losses() -> None:
    problem = {"a": _matrix((1, 3.0), (9, 1.0), (12, 1.0)), "b": _matrix((5, -2.0), (7, 4.0))}
    for budget in (14, 1e9, inf):
        choice = choose(problem, budget)
        assert _names(choice) == {"a": "c1", "b": "c0"}
        assert (choice.loss, choice.bound, choice.multiplier) == (-1.0, -1.0, 0.0)
        assert choice.costs == {"parameters": 14.0}


def test_a_budget_out_of_reach_is_refused_with_the_least_in_reach() -> None:
    problem = {"a": _matrix((1234567, 3.0), (2000000, 1.0)), "b": _matrix((5, 2.0))}
    with pytest.raises(
        ValueError, match=r"`budget` must be at least 1234572 parameters, .* but is 1234571\."
    ):
        choose(problem, 1234571)
    assert choose(problem, 1234572).loss == 5.0
    for budget in (nan, -1.0, -inf):
        with pytest.raises(ValueError, match=rf"`budget` must be a number of at least 0, but is {budget}\."):
            choose(problem, budget)


def _shapes() -> Problem:
    """An MPO that is better than low rank at equal parameters but slower than dense."""
    rows = [("dense", 0.0, 64, 64), ("rank", 4.0, 32, 32), ("mpo", 1.0, 32, 90), ("thin", 9.0, 8, 8)]
    row = [
        Candidate(name=name, loss=loss, costs={"parameters": parameters, "operations": operations})
        for name, loss, parameters, operations in rows
    ]
    return {"a": row, "b": row}


def test_caps_leave_out_what_costs_too_much() -> None:
    free = choose(_shapes(), 64)
    assert _names(free) == {"a": "mpo", "b": "mpo"}
    assert free.costs == {"parameters": 64.0, "operations": 180.0}
    assert choose(_shapes(), 64, caps={"operations": 90 / 64}) == free
    capped = choose(_shapes(), 64, caps={"operations": 1.0})
    assert _names(capped) == {"a": "rank", "b": "rank"}
    assert capped.bound <= capped.loss == 8.0
    assert _names(choose(_shapes(), inf, caps={"operations": 0.5})) == {"a": "rank", "b": "rank"}


def test_the_unit_is_what_the_budget_limits() -> None:
    choice = choose(_shapes(), 122, unit="operations")
    assert sorted(_names(choice).values()) == ["dense", "rank"]
    assert choice.costs["operations"] <= 122


def test_caps_and_units_that_mean_nothing_are_refused() -> None:
    for unit, caps in (("joules", {}), ("parameters", {"joules": 1.0})):
        with pytest.raises(
            ValueError, match=r"Cost `joules` must be one .* are \['parameters', 'operations'\]"
        ):
            choose(_shapes(), 64, unit=unit, caps=caps)
    for cap in (nan, -1.0, inf):
        with pytest.raises(ValueError, match=rf"cap on `operations` must be .* at least 0, but is {cap}\."):
            choose(_shapes(), 64, caps={"operations": cap})
    with pytest.raises(
        ValueError, match=r"Matrix `a` must have a candidate within the caps .*, but has none"
    ):
        choose(_shapes(), 64, caps={"operations": 0.1})
    with pytest.raises(ValueError, match=r"Matrix `b` must have a candidate `dense` for the caps"):
        choose({"a": _shapes()["a"], "b": _shapes()["b"][1:]}, 99, caps={"operations": 1.0})


@pytest.mark.parametrize(
    ("loss", "cost", "message"),
    [
        (nan, 1.0, "The loss of candidate `bad` of matrix `second` must be a finite number, but is nan."),
        (torch.tensor(0.5), 1.0, "`bad` of matrix `second` must be a finite number, but is 0.5"),
        (-inf, 1.0, "The loss of candidate `bad` of matrix `second` must be a finite number, but is -inf."),
        (0.0, nan, "`parameters` of candidate `bad` of matrix `second` must be .* at least 0, but is nan."),
        (0.0, -1.0, "`parameters` of candidate `bad` of matrix `second` must be .* at least 0, but is -1.0."),
        (
            0.0,
            inf,
            "`parameters` of candidate `bad` of matrix `second` must be a finite number .*, but is inf.",
        ),
    ],
)
def test_losses_and_costs_that_are_no_numbers_are_refused(loss: float, cost: float, message: str) -> None:
    bad = Candidate(name="bad", loss=loss, costs={"parameters": cost})
    with pytest.raises(ValueError, match=message):
        choose({"first": _matrix((1, 1.0)), "second": [*_matrix((1, 1.0)), bad]}, 10)


def test_candidates_that_cannot_be_compared_are_refused() -> None:
    other = Candidate(name="other", loss=1.0, costs={"bytes": 8})
    with pytest.raises(
        ValueError, match=r"`other` of matrix `a` must be those .* \['parameters'\], .*'bytes'"
    ):
        choose({"a": [*_matrix((1, 1.0)), other]}, 10)
    with pytest.raises(ValueError, match=r"Matrix `a` must have .* different names, but has \['c0', 'c0'\]"):
        choose({"a": _matrix((1, 1.0)) * 2}, 10)
    with pytest.raises(ValueError, match=r"Matrix `b` must have at least one candidate .*, but has \[\]"):
        choose({"a": _matrix((1, 1.0)), "b": []}, 10)
    with pytest.raises(ValueError, match=r"`candidates` must name at least one matrix, but is empty"):
        choose({}, 10)
