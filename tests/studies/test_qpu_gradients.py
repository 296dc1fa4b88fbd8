"""The study of noisy devices at a size of seconds: theory, equal budgets, prices, the control and what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp

from hybrid import Adjoint, Objective, ParameterShift
from hybrid.backends import Exact, Sampled
from hybrid.devices.jobs import Job, Pub
from studies.engine import Task, read_rows
from studies.engine.command_line import command_line
from studies.qpu import error_rate, selection, sources, theory, training
from studies.qpu.devices import (
    BOTH,
    MITIGATIONS,
    PLAIN,
    READOUT_ERROR,
    depolarising_device,
    named_device,
    noise_model,
)
from studies.qpu.molecule import excitations, ground_energy, hydrogen
from studies.qpu.thresholds import crossing, jackknife, threshold
from studies.qpu.training import Training
from studies.qpu_gradients import STUDY, Params

TINY = Params(
    sources=sources.Grid(qubits=2, layers=1, repeats=3, total_shots=2_000, calibration_shots=100),
    error_rate=error_rate.Grid(
        qubits=2, layers=(1, 2), two_qubit_errors=(1e-3, 0.9), total_shots=1_200, calibration_shots=100, replicates=2
    ),
    training=Training(
        steps=1, step_shots=600, reading_shots=600, calibration_shots=50, replicates=2
    ),
)  # fmt: skip
SMALL = replace(STUDY, presets={"quick": TINY})


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv(sources.DEVICE_VARIABLE, raising=False)
        command = ["run", "qpu_gradients", "--results", str(folder), "--workers", "0"]
        assert command_line(command, {"qpu_gradients": SMALL}) == 0
    return folder / "qpu_gradients"


@pytest.fixture(scope="module")
def rows(results: Path) -> pd.DataFrame:
    return read_rows(results)


# --- the theory ---------------------------------------------------------------------------------------


def test_a_two_qubit_error_is_a_pauli_error_of_fifteen_sixteenths() -> None:
    from qiskit_aer.noise import depolarizing_error

    kept = max(depolarizing_error(0.08, 2).probabilities)
    assert kept == pytest.approx(1 - 15 / 16 * 0.08)


def test_the_factor_is_exact_where_the_pair_is_the_register() -> None:
    """By density matrices; rotations have no noise here, which would be one of single qubits."""
    from qiskit_aer import AerSimulator
    from qiskit_aer.noise import NoiseModel, depolarizing_error

    theta = ParameterVector("theta", 4)
    circuit = QuantumCircuit(2)
    for layer in range(2):
        circuit.ry(theta[2 * layer], 0)
        circuit.ry(theta[2 * layer + 1], 1)
        circuit.cx(0, 1)
    error, angles = 0.07, np.array([0.3, 0.9, -0.4, 1.1])
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(error, 2), ["cx"])
    values = []
    for noise in (None, model):
        bound = circuit.assign_parameters(angles)
        bound.save_density_matrix()  # pyright: ignore[reportAttributeAccessIssue]
        simulator = AerSimulator(method="density_matrix", noise_model=noise)
        density = simulator.run(bound).result().data()["density_matrix"]
        values.append(density.expectation_value(SparsePauliOp(["ZZ", "XI"], np.array([1.0, 0.5]))).real)
    assert values[1] == pytest.approx(theory.survival(error, pairs=2, singles=0) * values[0], rel=1e-9)


def test_a_rotation_on_one_qubit_shrinks_as_the_theory_says() -> None:
    circuit = QuantumCircuit(1)
    for angle in ParameterVector("theta", 3):
        circuit.rx(angle, 0)
    objective = Objective(circuit, SparsePauliOp("Z"))
    theta = np.array([0.2, 0.5, 0.4])
    exact = Adjoint().gradient(objective, theta, backend=Exact()).values
    noisy = error_rate.noisy_gradient(objective, theta, 0.5)
    factor = float(theory.survival(0.5, pairs=0, singles=3)) * (1 - 2 * READOUT_ERROR)
    torch.testing.assert_close(noisy, factor * exact)


def test_without_noise_the_noisy_gradient_is_the_exact_one_as_it_is_read() -> None:
    objective = error_rate.objective_of(3, 1)
    theta = np.linspace(0.2, 1.4, objective.num_params)
    read = Objective(objective.circuit, error_rate._as_read(objective))
    exact = Adjoint().gradient(read, theta, backend=Exact()).values
    torch.testing.assert_close(error_rate.noisy_gradient(objective, theta, 0.0), exact)


def test_mitigation_gives_length_back_and_costs_noise() -> None:
    lengths = {name: float(theory.length(0.01, 24, 48, 0.95, name)) for name in MITIGATIONS}
    assert lengths[PLAIN] < lengths["readout"] < lengths[BOTH] < 1
    assert theory.noise_growth(0.95, "zero noise") == pytest.approx(2)
    for name in MITIGATIONS:
        assert theory.length(0.0, 24, 48, 1.0, name) == pytest.approx(1)


def test_expected_cosine_is_that_of_noisy_vectors() -> None:
    rng = np.random.default_rng(0)
    exact = rng.normal(size=400)
    drawn = exact + rng.normal(size=(200, 400)) * 1.5
    cosines = drawn @ exact / np.linalg.norm(drawn, axis=1) / np.linalg.norm(exact)
    expected = theory.expected_cosine(np.linalg.norm(exact), 1.5 * np.sqrt(400))
    assert cosines.mean() == pytest.approx(float(expected), abs=0.01)


# --- devices ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["aer", "fake:manila"])
def test_pubs_of_a_job_share_no_random_numbers(name: str) -> None:
    """One and the same circuit, with the same shots and with others: bits agree by half, not all."""
    device = depolarising_device(0.01) if name == "aer" else named_device(name)
    circuit = device.transpiler.readout_circuit((0,))
    angle = np.array([[np.pi / 2]])
    shots = (400, 400) if device.runner.equal_shots else (400, 400, 500)
    pubs = tuple(Pub(circuit=circuit, angles=angle, shots=count, content="half") for count in shots)
    first, *others = (bits[0, :400, 0] for bits in device.runner.run(Job(pubs=pubs), seed=3).bits)
    for other in others:
        assert 120 < (first == other).sum() < 280


# --- thresholds ---------------------------------------------------------------------------------------


def test_a_crossing_lies_between_points_in_log_place() -> None:
    assert crossing([1e-3, 1e-1], [0.75, 0.25], 0.5) == pytest.approx(1e-2)
    assert crossing([1e-3, 1e-1], [0.75, 0.6], 0.5) is None
    assert crossing([1e-3, 1e-1], [0.4, 0.3], 0.5) is None
    first = crossing([1, 2, 3, 4], [0.9, 0.4, 0.8, 0.1], 0.5)
    assert first is not None and 1 < first < 2


def test_leaving_one_out_gives_the_interval_of_a_mean() -> None:
    from studies.engine.statistics import mean

    values = np.random.default_rng(1).normal(size=(9, 1))
    found, known = jackknife(values, lambda rows: float(rows.mean())), mean(values[:, 0])
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((known.value, known.low, known.high))


def test_the_interval_of_a_threshold_holds_the_truth() -> None:
    places = np.geomspace(1e-3, 1e-1, 9)
    truth = 0.5 - 0.4 * np.log10(places / 1.3e-2)
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(200):
        found = threshold(places, truth + 0.05 * rng.normal(size=(12, 9)), 0.5)
        assert found is not None and found.low is not None and found.high is not None
        held += found.low < 1.3e-2 < found.high
    assert 180 <= held <= 200


# --- the molecule -------------------------------------------------------------------------------------


def test_the_circuit_reaches_the_ground_state_of_hydrogen() -> None:
    objective = Objective(excitations(), hydrogen())
    assert ground_energy() == pytest.approx(-1.137270, abs=1e-6)
    assert float(objective.value(np.zeros(3), backend=Exact()).values) == pytest.approx(-1.116684, abs=1e-6)
    double = np.linspace(0, 0.5, 501)
    angles = np.stack([double, 0 * double, 0 * double], axis=1)
    least = float(objective.value(angles, backend=Exact()).values.min())
    assert least == pytest.approx(ground_energy(), abs=1e-6)


def test_the_interval_of_a_bias_holds_the_truth() -> None:
    rng = np.random.default_rng(4)
    exact = np.ones(16) / 4
    for size in (0.0, 0.02, 0.3):
        held = 0
        for _ in range(200):
            drawn = exact * (1 - size) + 0.04 * rng.normal(size=(24, 16))
            source = selection.Source(
                label="any", exact=exact, gradients=drawn, std_errors=drawn, rows=pd.DataFrame()
            )
            low, high = source.bias.low, source.bias.high
            assert low is not None and high is not None
            held += low <= size <= high
        assert held >= 184, size


# --- tasks and rows -----------------------------------------------------------------------------------


def test_ids_are_stable() -> None:
    specs = [
        next(iter(sources.specs(sources.Grid(repeats=1)))),
        next(iter(error_rate.specs(error_rate.Grid(qubits=2, layers=(1,), total_shots=100, replicates=1)))),
        next(
            iter(
                training.specs(
                    Training(steps=1, step_shots=1, reading_shots=1, calibration_shots=1, replicates=1)
                )
            )
        ),
    ]
    ids = [Task(study="qpu_gradients", version=1, spec=spec).id[:8] for spec in specs]
    assert ids == ["dca9e3e4", "70d44928", "74324bbe"]


def test_every_preset_makes_tasks_and_a_qpu_comes_only_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert STUDY.bill is not None
    monkeypatch.delenv(sources.DEVICE_VARIABLE, raising=False)
    for preset in STUDY.presets:
        assert len(STUDY.tasks_of(preset)) > 100
    without = STUDY.tasks_of("quick")
    assert sum(STUDY.bill(task) for task in without) == 0
    monkeypatch.setenv(sources.DEVICE_VARIABLE, "ibm_fez")
    paid = [task for task in STUDY.tasks_of("quick") if task not in without]
    assert {str(task.spec["source"]) for task in paid} == {"ibm:ibm_fez"} and len(paid) == 10
    assert 100 < sum(STUDY.bill(task) for task in paid) < 200


def test_a_qpu_is_opened_with_its_part_of_the_dollars_and_a_name_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(sources.DEVICE_VARIABLE, "ibm_fez")
    task = next(task for task in SMALL.tasks_of("quick") if str(task.spec.get("source")).startswith("ibm:"))
    asked: list[tuple[str, float | None, str]] = []

    def opened(name: str, *, spend: float | None, task: str) -> Sampled:
        asked.append((name, spend, task))
        return Sampled()

    monkeypatch.setattr(sources, "open_backend", opened)
    for allowed in (None, "200", "20"):
        if allowed is None:
            monkeypatch.delenv(sources.SPEND_VARIABLE, raising=False)
        else:
            monkeypatch.setenv(sources.SPEND_VARIABLE, allowed)
        assert sources.run(task)["device_dollars"] > 3.2
    names, spends, tasks = zip(*asked, strict=True)
    assert set(names) == {"ibm:ibm_fez"} and set(tasks) == {f"qpu_gradients {task.id[:16]}"}
    assert spends == (None, 20.0, sources.bill(task))


def test_every_task_costs_what_was_planned(rows: pd.DataFrame) -> None:
    assert SMALL.price is not None
    done = rows.set_index("id").fillna({"cost_circuits": 0, "cost_shots": 0})
    for task in SMALL.tasks_of("quick"):
        planned = SMALL.price(task)
        assert planned.circuits == done.loc[task.id, "cost_circuits"], dict(task.spec)
        assert planned.shots == done.loc[task.id, "cost_shots"], dict(task.spec)


def test_budgets_are_equal(rows: pd.DataFrame) -> None:
    part = rows[(rows["part"] == error_rate.PART) & (rows["mitigation"] != error_rate.WITHOUT_SHOTS)]
    assert set(part["cost_shots"]) == {1_200}
    part = rows[(rows["part"] == training.PART) & (rows["method"] != training.EXACT)]
    assert set(part["cost_shots"]) == {600 + 600}
    part = rows[(rows["part"] == sources.PART) & (rows["source"] != sources.EXACT)]
    assert ((part["cost_shots"] / 2_000 - 1).abs() < 0.05).all()


def test_dollars_of_a_simulation_are_estimates_and_not_spent(rows: pd.DataFrame) -> None:
    assert (rows["cost_dollars"].fillna(0) == 0).all()
    assert (rows.loc[rows["cost_shots"] > 0, "device_dollars"] > 3.2).all()


def test_shots_alone_give_no_bias(rows: pd.DataFrame) -> None:
    found = {each.label: each for each in selection.sources(rows)}
    assert list(found) == ["exact", "sampled", "fake Manila", "fake Manila, mitigated"]
    chance = found["sampled"].chance
    assert chance is not None and chance > 1e-3
    assert found["exact"].chance is None
    assert found["exact"].bias.value < 1e-12


def test_the_control_sees_a_bias_that_is_there() -> None:
    objective = sources.objective_of(2, 1)
    theta = np.linspace(0.3, 1.2, objective.num_params)
    exact = Adjoint().gradient(objective, theta, backend=Exact()).values.numpy()
    rng = np.random.default_rng(3)
    drawn = ParameterShift().gradient(
        objective, np.tile(theta, (40, 1)), backend=Sampled(), total_shots=4_000, rng=rng
    )
    values, errors = drawn.values.numpy(), drawn.std_errors.numpy()
    for factor, null in ((1.0, True), (0.9, False)):
        source = selection.Source(
            label="any", exact=exact, gradients=factor * values, std_errors=errors, rows=pd.DataFrame()
        )
        assert source.chance is not None
        assert (source.chance > 1e-3) == null
        low = source.bias.low
        assert low is not None and (low < 0.03) == null


def test_noise_of_error_one_leaves_nothing(rows: pd.DataFrame) -> None:
    for each in selection.curves(rows):
        assert abs(each.length[error_rate.WITHOUT_SHOTS][:, -1]).max() < 0.2
        assert each.length[error_rate.WITHOUT_SHOTS][:, 0].min() > 0.85


def test_whole_rows_make_every_figure_and_table(rows: pd.DataFrame, results: Path) -> None:
    assert [figure.name for figure in SMALL.figures(rows)] == ["sources", "drowning", "training"]
    assert len(SMALL.tables(rows)) == 3
    assert not any("rows so far" in sentence for sentence in SMALL.answer(rows))
    assert any(sentence.startswith("Control") for sentence in SMALL.answer(rows))
    for name in ("sources", "drowning", "training"):
        assert (results / "figures" / f"{name}.svg").stat().st_size > 1000
    assert (results / "report.html").exists()


@pytest.mark.parametrize("seed", range(6))
def test_any_part_of_the_rows_makes_a_report(rows: pd.DataFrame, seed: int) -> None:
    rng = np.random.default_rng(seed)
    some = rows.iloc[np.sort(rng.choice(len(rows), size=rng.integers(1, len(rows)), replace=False))]
    for part in (some, *(some[some["part"] == each.PART] for each in (sources, error_rate, training))):
        if len(part):
            assert SMALL.answer(part)
            SMALL.tables(part)
            SMALL.figures(part)


def test_noise_stands_on_the_gates_of_the_circuit() -> None:
    assert set(noise_model(0.01).noise_instructions) == {"cx", "cz", "rx", "ry", "rz", "measure"}
