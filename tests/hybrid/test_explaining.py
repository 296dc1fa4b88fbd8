"""What every estimator would cost, as a table: a row for each, and refusals in words."""

from __future__ import annotations

import pytest

from hybrid import Objective, explain
from hybrid.gradients import ESTIMATORS
from hybrid.shots import LEAST_SHOTS
from tests.systems import product_local


def test_every_estimator_has_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    objective = product_local().objective()
    explanation = explain(objective, total_shots=6000)
    assert capsys.readouterr().out == f"{explanation}\n"
    assert [line.estimator for line in explanation.lines] == list(ESTIMATORS)
    for line, kind in zip(explanation.lines, ESTIMATORS.values(), strict=True):
        if not line.note.startswith("refused"):
            assert line.circuits == kind().price(objective).circuits
        assert line.note in str(explanation)


def test_a_budget_that_is_too_small_shows_the_least() -> None:
    line = explain(product_local().objective(), total_shots=1, display=False).lines[0]
    assert line.note == "too few shots"
    assert line.least_shots == LEAST_SHOTS * (line.circuits or 0) > 1


@pytest.mark.parametrize("total_shots", [0, -5])
def test_shots_below_one_are_refused(total_shots: int) -> None:
    with pytest.raises(ValueError, match=f"`total_shots` must be at least 1, but is {total_shots}"):
        explain(product_local().objective(), total_shots=total_shots)


def test_a_circuit_without_parameters_is_refused_by_all() -> None:
    system = product_local()
    fixed = Objective(system.circuit.assign_parameters(system.theta), system.observable)
    for line in explain(fixed, display=False).lines:
        assert line.note.startswith("refused: The circuit has no free parameters")
