"""The study of measurement overhead: theory, equal bills, fits, controls, and a report from any part of the rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp, Statevector, random_statevector

from hybrid import Objective
from hybrid.backends import Exact
from studies.engine import Task, read_rows
from studies.engine.command_line import command_line
from studies.measurement_overhead import STUDY, Params
from studies.overhead import gradient_error, grouping, slopes
from studies.overhead.gradient_error import FINITE_DIFFERENCES, METHODS, PARAMETER_SHIFT
from studies.overhead.grouping import CASES, GROUND, RANDOM, SHADOWS, Case, heisenberg, maximum_cut
from studies.overhead.grouping_selection import grouped, mean_square
from studies.overhead.states import at_state, ground_state

TINY = Params(
    grids={
        grouping.PART: grouping.Grid(
            cases=(
                Case(hamiltonian="H2", state=GROUND, repeats=10),
                Case(hamiltonian="Heisenberg", state=GROUND, repeats=0),
                Case(hamiltonian="transverse Ising", state=RANDOM, repeats=10),
                Case(hamiltonian="MaxCut", state=RANDOM, repeats=10),
            ),
            total_shots=4_000,
            shadow_shots=20,
            shadow_repeats=10,
        ),
        gradient_error.PART: gradient_error.Grid(
            qubits=2, layers=(2, 4, 8), shots_each=(32, 128, 512), repeats=8, replicates=2
        ),
    }
)
SMALL = replace(STUDY, presets={"quick": TINY})


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    command = ["run", STUDY.name, "--results", str(folder), "--workers", "0"]
    assert command_line(command, {STUDY.name: SMALL}) == 0
    return folder / STUDY.name


@pytest.fixture(scope="module")
def rows(results: Path) -> pd.DataFrame:
    return read_rows(results)


def _of(rows: pd.DataFrame, part: str) -> pd.DataFrame:
    return rows[rows["part"] == part].dropna(axis="columns", how="all").infer_objects()


# --- states and Hamiltonians --------------------------------------------------------------------------


@pytest.mark.parametrize("qubits", [1, 2, 3, 5])
def test_a_state_is_prepared_as_it_is(qubits: int) -> None:
    state = random_statevector(2**qubits, seed=qubits)
    rng = np.random.default_rng(qubits)
    labels = ["".join(rng.choice(list("IXYZ"), qubits)) for _ in range(8)] + ["Y" * qubits]
    for label in labels:
        observable = SparsePauliOp([label, "Z" * qubits], np.array([1.0, 0.3]))
        objective = at_state(Objective(QuantumCircuit(qubits), observable), np.asarray(state.data))
        value = float(objective.value([], backend=Exact()).values)
        assert value == pytest.approx(state.expectation_value(observable).real, abs=1e-12)


def test_ground_states_have_their_energies() -> None:
    # Two spins: the singlet of Heisenberg's model at -3.
    assert ground_state(heisenberg(2))[0] == pytest.approx(-3)
    # A ring of four with one chord: two triangles, of which every cut misses an edge; 4 of 5 edges.
    assert ground_state(maximum_cut(4))[0] == pytest.approx((1 - 4) / 2)
    dense, sparse = np.linalg.eigvalsh(heisenberg(8).to_matrix())[0], ground_state(heisenberg(8))
    assert sparse[0] == pytest.approx(dense)
    assert Statevector(sparse[1]).expectation_value(heisenberg(8)).real == pytest.approx(dense)


def test_every_grouping_of_a_case_is_at_the_same_state(rows: pd.DataFrame) -> None:
    part = _of(rows, grouping.PART)
    for _, data in part.groupby(["hamiltonian", "state"]):
        assert len(data) == len(CASES)
        assert np.ptp(data["exact"].to_numpy(dtype=float)) < 1e-10


# --- theory and statistics ----------------------------------------------------------------------------


def test_the_largest_of_normal_errors() -> None:
    assert slopes._largest_normal(1) == pytest.approx(np.sqrt(2 / np.pi))
    assert slopes._largest_normal(2) == pytest.approx(2 / np.sqrt(np.pi))
    drawn = np.abs(np.random.default_rng(0).normal(size=(20_000, 64))).max(1)
    assert slopes._largest_normal(64) == pytest.approx(drawn.mean(), abs=4.5 * drawn.std() / np.sqrt(20_000))


def test_the_interval_of_squared_errors_holds_the_truth() -> None:
    drawn = np.random.default_rng(1).normal(size=(4_000, 12)) ** 2
    intervals = [mean_square(each) for each in drawn]
    held = np.mean([each.low <= 1 <= each.high for each in intervals if each.low and each.high])
    assert held == pytest.approx(0.95, abs=4.5 * np.sqrt(0.05 * 0.95 / 4_000))


def _power_rows(params: float, error: float, scatter: float) -> pd.DataFrame:
    """Rows of errors that follow shots = 100 d^params / error^-error, with scatter in ln(error)."""
    rng = np.random.default_rng(2)
    lines = []
    for replicate in range(4):
        for size in (16, 32, 64, 128):
            for shots_each in (64, 256, 1024):
                shots = shots_each * 4 * size
                found = (shots / 100 / size**params) ** (1 / error) * np.exp(scatter * rng.normal())
                lines.append(
                    {
                        "part": gradient_error.PART,
                        "method": PARAMETER_SHIFT,
                        "replicate": replicate,
                        "num_params": size,
                        "shots_each": shots_each,
                        "total_shots": shots,
                        "device_seconds": 2 + 2.5e-4 * shots,
                        **dict.fromkeys(slopes.NORMS, found),
                    }
                )
    return pd.DataFrame(lines)


@pytest.mark.parametrize(("params", "error"), [(1.0, -2.0), (2.0, -2.0), (2.5, -3.0)])
def test_exponents_are_found_again(params: float, error: float) -> None:
    exact = slopes.growths(_power_rows(params, error, 0.0))
    assert len(exact) == len(slopes.NORMS)
    for each in exact:
        assert (each.params.value, each.error.value) == pytest.approx((params, error))
        expected = 100 * each.sizes**params * each.target**error
        np.testing.assert_allclose(each.shots, np.tile(expected, (4, 1)), rtol=1e-9)
    for each in slopes.growths(_power_rows(params, error, 0.03)):
        for found, truth in ((each.params, params), (each.error, error)):
            assert found.low is not None and found.high is not None
            assert found.low < truth < found.high < found.low + 0.5


# --- tasks and rows -----------------------------------------------------------------------------------


def test_ids_are_stable() -> None:
    specs = [next(iter(part.specs(TINY.grids[part.PART]))) for part in (grouping, gradient_error)]
    ids = [Task(study=STUDY.name, version=1, spec=spec).id[:8] for spec in specs]
    assert ids == ["a3115261", "9d134976"]


def test_every_preset_makes_tasks() -> None:
    counts = [len(STUDY.tasks_of(preset)) for preset in ("quick", "full", "paper")]
    assert counts == sorted(counts) and counts[0] > 150


def test_every_task_costs_what_was_planned(rows: pd.DataFrame) -> None:
    assert SMALL.price is not None
    done = rows.set_index("id").fillna({"cost_circuits": 0, "cost_shots": 0})
    for task in SMALL.tasks_of("quick"):
        planned = SMALL.price(task)
        assert planned.circuits == done.loc[task.id, "cost_circuits"], dict(task.spec)
        assert planned.shots == done.loc[task.id, "cost_shots"], dict(task.spec)


def test_budgets_are_equal(rows: pd.DataFrame) -> None:
    part = _of(rows, gradient_error.PART)
    for _, data in part.groupby(["layers", "shots_each"]):
        assert data["total_shots"].nunique() == 1
        assert set(data["cost_shots"]) == {8 * data["total_shots"].iloc[0]}
    part = _of(rows, grouping.PART)
    part = part[(part["repeats"] > 0) & (part["commuting"] != SHADOWS)]
    assert set(part["cost_shots"]) == {4 * 10 * 4_000}  # four allocations, ten values


def test_parameter_shift_goes_as_claimed(rows: pd.DataFrame) -> None:
    found = {(each.method, each.norm): each for each in slopes.growths(_of(rows, gradient_error.PART))}
    assert {method for method, _ in found} == set(METHODS)
    shift = found[PARAMETER_SHIFT, slopes.COMPONENT]
    assert shift.params.value == pytest.approx(1, abs=0.35) and shift.error.value == pytest.approx(
        -2, abs=0.25
    )
    whole = found[PARAMETER_SHIFT, slopes.LENGTH]
    assert whole.params.value == pytest.approx(2, abs=0.35)
    central = found[FINITE_DIFFERENCES, slopes.COMPONENT]
    assert central.error.value == pytest.approx(-3, abs=0.6)


def test_hydrogen_saves_circuits_not_shots_and_a_diagonal_is_one_circuit(rows: pd.DataFrame) -> None:
    for case in grouped(_of(rows, grouping.PART)):
        groups = [each for each in case if each.row["commuting"] != SHADOWS]
        if case[0].place[0] == "H2":
            assert [each.circuits for each in groups] == [14, 5, 5, 2, 2]
            assert [each.best for each in groups] == pytest.approx([0.12485] * 5, abs=1e-4)
        if case[0].place[0] == "MaxCut":
            assert [each.circuits for each in groups] == [5, 1, 1, 1, 1]
        if case[0].place == ("Heisenberg", GROUND):
            assert [each.circuits for each in groups] == [9, 3, 3, 2, 2]
            assert [each.best for each in groups[1:]] == pytest.approx([12, 12, 16, 16])


def _raised(arms: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    return {name: {**arm, "constant": 1.01 * arm["constant"]} for name, arm in arms.items()}


def test_controls_and_verdicts_come_from_the_rows(rows: pd.DataFrame) -> None:
    said = " ".join(SMALL.answer(rows))
    assert "fully, sorted has 2 circuits and K 16, qubit-wise, sorted 3 and 12, 1.33 times fewer" in said
    assert said.count("as it must be") == 3 and "broken" not in said
    bent = rows.copy()
    raised = (bent["hamiltonian"] == "H2") & (bent["commuting"] == "fully")
    bent["arms"] = bent["arms"].where(~raised, bent["arms"].map(_raised, na_action="ignore"))
    bent.loc[bent["hamiltonian"] == "MaxCut", "groups"] = 2
    bent["reported_squares"] = [
        [2 * x for x in each] if isinstance(each, list) else each for each in bent["reported_squares"]
    ]
    said = " ".join(SMALL.answer(bent))
    assert said.count("the study is broken") == 2 and said.count("the error bars are wrong") == 1
    assert "as it must be" not in said


def test_whole_rows_make_every_figure_and_table(rows: pd.DataFrame, results: Path) -> None:
    names = {"grouping_molecules", "grouping_spins", "gradient_error"}
    assert {figure.name for figure in SMALL.figures(rows)} == names
    assert len(SMALL.tables(rows)) == 2
    for name in names:
        assert (results / "figures" / f"{name}.svg").stat().st_size > 1000
    assert (results / "report.html").exists()


@pytest.mark.parametrize("seed", range(4))
def test_any_part_of_the_rows_makes_a_report(rows: pd.DataFrame, seed: int) -> None:
    rng = np.random.default_rng(seed)
    some = rows.iloc[np.sort(rng.choice(len(rows), size=rng.integers(1, len(rows)), replace=False))]
    for part in (some, *(some[some["part"] == name] for name in TINY.grids)):
        if len(part):
            assert SMALL.answer(part)
            SMALL.tables(part)
            SMALL.figures(part)
