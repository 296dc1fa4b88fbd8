"""Parts of the study of measurement overhead at a size of seconds: repeatable, priced, drawn and told."""

from __future__ import annotations

import math
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hybrid.optimisers import GCANS, ICANS, FixedShots, Rosalin
from studies.engine import Task
from studies.overhead import (
    adaptive,
    adaptive_drawings,
    adaptive_words,
    commuting,
    commuting_drawings,
    commuting_words,
    descent,
    descent_drawings,
    descent_words,
)
from studies.overhead.descent_selection import crossings

GRIDS: dict[ModuleType, Any] = {
    adaptive: adaptive.Grid(total_shots=1_500, steps=3, ising_qubits=2, ising_layers=1, replicates=2),
    commuting: commuting.Grid(
        error_qubits=(3, 4, 5),
        error_repeats=20,
        error_replicates=2,
        qubits=4,
        steps=4,
        pictures=40,
        replicates=2,
    ),
    descent: descent.Grid(layered_qubits=(2, 3), commuting_qubits=(4,), repeats=40, replicates=2),
}
DRAWN: dict[ModuleType, tuple[ModuleType, ModuleType]] = {
    adaptive: (adaptive_drawings, adaptive_words),
    commuting: (commuting_drawings, commuting_words),
    descent: (descent_drawings, descent_words),
}
each_part = pytest.mark.parametrize("part", list(GRIDS), ids=lambda part: part.PART)


# --- the parts ----------------------------------------------------------------------------------------


def _tasks(part: ModuleType) -> list[Task]:
    return [Task(study="measurement_overhead", version=1, spec=spec) for spec in part.specs(GRIDS[part])]


def _rows(part: ModuleType) -> pd.DataFrame:
    return _rows_of(part.PART)


@cache
def _rows_of(name: str) -> pd.DataFrame:
    (part,) = (part for part in GRIDS if name == part.PART)
    rows = []
    for task in _tasks(part):
        found = part.run(task)
        cost = found.pop("cost")
        rows.append({**task.spec, **found, "cost_shots": cost.shots, "cost_circuits": cost.circuits})
    return pd.DataFrame(rows)


@each_part
def test_tasks_are_distinct_and_repeatable(part: ModuleType) -> None:
    tasks = _tasks(part)
    assert len({task.id for task in tasks}) == len(tasks)
    assert all(task.spec["part"] == part.PART for task in tasks)
    for task in (tasks[0], tasks[-1]):
        assert part.run(task) == part.run(task)
        assert part.duration(task) > 0


@each_part
def test_prices_are_what_is_run(part: ModuleType) -> None:
    for task, row in zip(_tasks(part), _rows(part).to_dict("records"), strict=True):
        price = part.price(task)
        if part is adaptive:
            assert row["planned_shots"] == row["cost_shots"] <= price.shots
        if price.sources["shots"] == "computed":
            assert price.shots == row["cost_shots"]
        if price.sources["circuits"] == "computed":
            assert price.circuits == row["cost_circuits"]
        computed = price.sources["shots"] == price.sources["circuits"] == "computed"
        assert computed == (part is commuting or task.spec["method"] in (adaptive.DESCENT, adaptive.ADAM))


@each_part
def test_every_part_is_drawn_and_told(part: ModuleType) -> None:
    drawings, words = DRAWN[part]
    rows = _rows(part)
    (figure,) = drawings.figures(rows)
    assert figure.svg().startswith(b"<?xml")
    assert len(figure.points) > 3
    assert len(words.table(rows)) > 2
    told = words.sentences(rows)
    assert len(told) >= 2
    assert not any("nan" in sentence.lower().split() for sentence in told)
    for none in (rows.iloc[:0], pd.DataFrame()):
        assert drawings.figures(none) == []
        assert words.sentences(none) == []
        assert words.table(none).empty


def test_methods_are_the_optimisers_that_they_name() -> None:
    objective, _ = adaptive.objective_of(adaptive.ISING, 2, 1)
    kinds = {adaptive.INDIVIDUAL: ICANS, adaptive.GLOBAL: GCANS, adaptive.DRAWN: Rosalin}
    for task in _tasks(adaptive):
        spec: dict[str, Any] = dict(task.spec)
        if spec["problem"] == adaptive.ISING:
            made = adaptive.optimiser_of(spec, objective)
            assert type(made) is kinds.get(spec["method"], FixedShots)
            if isinstance(made, FixedShots):
                assert made.step_shots == 500
                assert (made.update == "Adam") == (spec["method"] == adaptive.ADAM)
            else:
                assert made.learning_rate == pytest.approx(spec["rate"] * 2 / 3)  # pyright: ignore
    starts = {
        str(adaptive.start(task, objective))
        for task in _tasks(adaptive)
        if task.spec["problem"] == adaptive.ISING and task.spec["replicate"] == 0
    }
    assert len(starts) == 1


@pytest.mark.parametrize(("factor", "word"), [(3.0, "it loses"), (0.3, "it wins"), (1.0, "no difference")])
def test_who_loses_is_said(factor: float, word: str) -> None:
    rows = _rows(adaptive).copy()
    rng = np.random.default_rng(7)
    rows["end_error"] = 0.1 * np.exp(0.01 * rng.normal(size=len(rows)))
    rows.loc[rows["method"] == adaptive.DRAWN, "end_error"] *= factor
    told = [line for line in adaptive_words.sentences(rows) if line.startswith("H2: against")]
    assert f"Rosalin ends at {factor:.2g}" in told[0] or factor == 1
    assert word in told[0].split("Rosalin ends")[1]


def test_a_broken_ledger_is_said() -> None:
    rows = _rows(adaptive).copy()
    assert any("none more than its budget" in line for line in adaptive_words.sentences(rows))
    rows.loc[rows.index[0], "cost_shots"] = 10**6
    assert any("1 went over the budget" in line for line in adaptive_words.sentences(rows))


def test_commuting_generators_take_fewer_shots() -> None:
    rows = _rows(commuting)
    errors = rows[rows["quantity"] == commuting.ERROR]
    assert (errors["error_ratio"] > 2).all()
    training = rows[rows["quantity"] == commuting.TRAINING]
    model = commuting.classifier_of(4)
    equal = commuting.equal_shots(model, 1)
    assert 0 <= 2 * model.num_strings - 4 * equal < 4
    curves = {method: data["curve"].iloc[0] for method, data in training.groupby("method")}
    # All start alike, and spend as planned.
    assert len({tuple(curve[0]) for curve in curves.values()}) == 1
    assert curves[commuting.FEW][-1][1] == 4 * 20 * (20 + 4)


def test_measured_shots_are_near_the_theorys() -> None:
    part = crossings(_rows(descent))
    ratio = (part["measured_shots"] / part["predicted_shots"]).dropna()
    assert len(ratio) >= 8
    assert 0.4 < math.exp(np.log(ratio).mean()) < 2.5
    assert (part["predicted_shots"] >= part["least_shots"]).all()
