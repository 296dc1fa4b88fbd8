"""The main study at a size of seconds: equal budgets, prices, controls, and what it says of few rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from classical.cost import Cost
from studies.circuits import angle_classifier
from studies.engine import Task, read_rows
from studies.engine.command_line import command_line
from studies.gradient_scaling import STUDY, Params
from studies.scaling import gradient_alone, hybrid_step
from studies.scaling.gradient_alone import Grid
from studies.scaling.hybrid_step import FEW, SHIFT, SIMULTANEOUS, Training

TINY = Params(
    grid=Grid(
        qubits=(2, 3), layers=(1, 2, 3), total_shots=600, sweep_qubits=2, sweep_layers=1,
        sweep_shots=(200, 800, 3200), sweep_replicates=6, replicates=2,
    ),
    training=Training(
        encoders=("MPO", "low rank"), pretrain_steps=3, steps=2, batch=4, shots_per_circuit=20, num_train=200,
        num_test=50, checkpoints=2, replicates=2,
    ),
)  # fmt: skip
SMALL = replace(STUDY, presets={"quick": TINY})


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    results = tmp_path_factory.mktemp("results")
    status = command_line(
        ["run", "gradient_scaling", "--results", str(results), "--workers", "0"], {"gradient_scaling": SMALL}
    )
    assert status == 0
    assert (results / "gradient_scaling" / "report.html").exists()
    return read_rows(results / "gradient_scaling")


def test_every_task_costs_what_was_planned(rows: pd.DataFrame) -> None:
    done = rows.set_index("id")
    for task in SMALL.tasks_of("quick"):
        planned = gradient_scaling_price(task)
        assert planned.circuits == done.loc[task.id, "cost_circuits"], dict(task.spec)
        assert planned.shots == done.loc[task.id, "cost_shots"], dict(task.spec)


def gradient_scaling_price(task: Task) -> Cost:
    assert SMALL.price is not None
    return SMALL.price(task)


def test_sampled_methods_of_part_a_spend_the_same_shots(rows: pd.DataFrame) -> None:
    part = rows[rows["part"] == gradient_alone.PART]
    sampled = part[part["total_shots"].notna()]
    assert sampled["method"].nunique() == 3
    assert (sampled["cost_shots"] == sampled["total_shots"]).all()


def test_sampled_methods_of_part_b_spend_the_same_shots(rows: pd.DataFrame) -> None:
    part = rows[(rows["part"] == hybrid_step.PART) & (rows["cost_shots"] > 0)]
    assert set(part["method"]) == {SHIFT, FEW, SIMULTANEOUS}
    assert part["cost_shots"].nunique() == 1
    assert part.groupby("method")["steps"].first().to_dict() == {SHIFT: 2, FEW: 20, SIMULTANEOUS: 20}


def test_phases_of_the_ledger_add_up_to_what_was_spent(rows: pd.DataFrame) -> None:
    part = rows[rows["part"] == hybrid_step.PART]
    for column in ("circuits", "shots"):
        by_phase = part[f"phase_{column}"].map(lambda phases: sum(phases.values()))
        assert (by_phase == part[f"cost_{column}"]).all()
    spent = part[part["method"] == SHIFT]["phase_shots"].iloc[0]
    assert spent["circuits"] > 0 and spent["backward of the circuit"] > spent["circuits"]
    assert spent["encoder forward"] == spent["backward of the encoder"] == spent["optimiser"] == 0


def test_parameter_shift_without_shots_trains_as_backprop_does(rows: pd.DataFrame) -> None:
    part = rows[rows["part"] == hybrid_step.PART]
    wide = part.pivot_table(index=["encoder", "replicate"], columns="method", values="accuracy_equal_steps")
    assert (wide["parameter-shift"] == wide["backprop"]).all()


def test_compressed_encoders_and_the_control_have_the_sizes_that_are_claimed(rows: pd.DataFrame) -> None:
    part = rows[rows["part"] == hybrid_step.PART]
    dense = 784 * 256 + 256 * 64
    rest = 256 + 64 + 64 * 4 + 4
    kept = (part["encoder_params"] - rest) / dense
    assert ((kept / 0.3 - 1).abs() < 0.02).all()
    assert part["middle_params"].nunique() == 1


def test_no_weight_of_the_classifier_is_without_effect() -> None:
    from hybrid import Adjoint, Objective
    from hybrid.backends import Exact

    circuit, _, observables = angle_classifier(hybrid_step.NUM_QUBITS, hybrid_step.NUM_LAYERS)
    objective = Objective(circuit, observables)
    theta = np.random.default_rng(0).uniform(0, 6, objective.num_params)
    slopes = Adjoint().gradient(objective, theta, backend=Exact()).values
    assert (slopes.abs().max(0).values > 1e-3).all()


def test_exact_methods_of_part_a_are_exact(rows: pd.DataFrame) -> None:
    part = rows[(rows["part"] == gradient_alone.PART) & rows["total_shots"].isna()]
    assert (part["squared_error"] < 1e-20).all()


@pytest.mark.parametrize("seed", range(6))
def test_any_part_of_the_rows_makes_a_report(rows: pd.DataFrame, seed: int) -> None:
    rng = np.random.default_rng(seed)
    some = rows.iloc[np.sort(rng.choice(len(rows), size=rng.integers(1, len(rows)), replace=False))]
    for part in (some, some[some["part"] == gradient_alone.PART], some[some["part"] == hybrid_step.PART]):
        if len(part):
            assert SMALL.answer(part)
            SMALL.tables(part)
            SMALL.figures(part)


def test_whole_rows_make_every_figure_and_table(rows: pd.DataFrame) -> None:
    names = ["cost", "error", "prediction", "phases", "accuracy"]
    assert [figure.name for figure in SMALL.figures(rows)] == names
    assert len(SMALL.tables(rows)) == 2
    assert not any("rows so far" in sentence for sentence in SMALL.answer(rows))


def test_the_study_prices_a_device_apart_from_what_it_spends(rows: pd.DataFrame, tmp_path: Path) -> None:
    assert (rows["cost_dollars"] == 0).all()
    sampled = rows[rows["cost_shots"] > 0]
    assert (sampled["device_dollars"] > 3.2).all()
