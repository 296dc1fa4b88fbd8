"""The study of vanishing gradients: circuits, exact values beside measured ones, laws, and what it says of few rows."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.quantum_info import Operator, Statevector

from classical.variance_theory import deep_first, product_global, product_local, rx_ry_global, rx_ry_local
from hybrid.devices.prices import DEFAULT_PLAN, Prices
from hybrid.ensembles import sampled_losses
from studies.barren import depth, large, money, noise, qubit_words, qubits, selection, starts, verdict
from studies.barren.circuits import (
    CIRCUITS,
    PRODUCT,
    PRODUCT_TWO,
    RANDOM_AXES,
    REGULAR_CUT,
    identity_blocks,
    laid,
)
from studies.barren.costs import GLOBAL, LOCAL, PAIR, observable
from studies.barren.draws import GAUSSIAN, IDENTITY, LAYERWISE, STARTS, UNIFORM, drawn, laws
from studies.barren.exact import FIRST, MIDDLE, exact_moments
from studies.barren.measuring import derivatives, estimate_of, objective_of, plain, positions
from studies.barren.qubits import COST_AXES, Curve
from studies.barren_plateau import STUDY, Params
from studies.engine import Task, read_rows
from studies.engine.command_line import command_line
from studies.engine.statistics import Estimate

SIZES = (2, 3, 4, 6)
TINY = Params(
    qubits=qubits.Grid(
        curves=(
            Curve(circuit=RANDOM_AXES, cost=PAIR, layers=3, qubits=SIZES, samples=250),
            Curve(circuit="RY, cz chain", cost=PAIR, layers=2, qubits=SIZES, samples=250),
            Curve(circuit="free fermions", cost=PAIR, layers=2, qubits=SIZES, samples=250),
            Curve(circuit=PRODUCT, cost=LOCAL, layers=1, qubits=SIZES, samples=2000, fixed=True),
            Curve(circuit=PRODUCT, cost=GLOBAL, layers=1, qubits=SIZES, samples=2000, fixed=True),
            Curve(circuit=PRODUCT_TWO, cost=GLOBAL, layers=1, qubits=(2, 8), samples=100, fixed=True),
        )
    ),
    depth=depth.Grid(qubits=(3,), layers=(1, 4), samples=200),
    starts=starts.Grid(qubits=(2, 3), layers=4, samples=250),
    noise=noise.Grid(qubits=(2,), layers=(2, 5), factors=(1.0, 0.9), most_measured=2, samples=250),
    large=large.Grid(qubits=(2, 4, 8)),
    verdict=verdict.Grid(
        qubits=(2, 3, 4), cases=(verdict.Case(circuit=PRODUCT, cost=LOCAL),), samples=20, rows=2
    ),
)
SMALL = replace(STUDY, presets={"quick": TINY})


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    command = ["run", "barren_plateau", "--results", str(folder), "--workers", "0"]
    assert command_line(command, {"barren_plateau": SMALL}) == 0
    return folder / "barren_plateau"


@pytest.fixture(scope="module")
def rows(results: Path) -> pd.DataFrame:
    return read_rows(results)


# --- circuits and costs -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CIRCUITS)
def test_every_circuit_has_its_parameters_once_by_layer(name: str) -> None:
    each = laid(name, 4, 3)
    places = [place for layer in each.layers for place in layer]
    assert sorted(places) == list(range(len(each.parameters)))
    assert set(each.circuit.parameters) == set(each.parameters)


def test_a_regular_graph_is_one() -> None:
    for size in (4, 6, 8, 10):
        each = laid(REGULAR_CUT, size, 1)
        assert len(set(each.edges)) == 3 * size // 2
        assert np.bincount(np.array(each.edges).ravel(), minlength=size).tolist() == [3] * size
    with pytest.raises(ValueError, match="even number of nodes"):
        laid(REGULAR_CUT, 5, 1)


def test_identity_blocks_are_the_identity() -> None:
    each = identity_blocks(3, 8)
    row = drawn(IDENTITY, each, 1, np.random.default_rng(0))[0]
    bound = each.circuit.assign_parameters(dict(zip(each.parameters, row, strict=True)))
    start = QuantumCircuit(3)
    start.ry(math.pi / 4, range(3))
    np.testing.assert_allclose(Operator(bound).data, Operator(start).data, atol=1e-12)
    assert len(each.layers) == 8
    other = row.copy()
    other[0] += 0.3
    moved = each.circuit.assign_parameters(dict(zip(each.parameters, other, strict=True)))
    assert abs(Operator(moved).data - Operator(start).data).max() > 0.01


def test_costs_are_those_of_the_probabilities() -> None:
    each = laid(COST_AXES, 3, 2)
    row = drawn(UNIFORM, each, 1, np.random.default_rng(1))[0]
    bound = each.circuit.assign_parameters(dict(zip(each.parameters, row, strict=True)))
    chances = Statevector(bound).probabilities()
    singles = [Statevector(bound).probabilities([q])[0] for q in range(3)]
    for cost, value in ((GLOBAL, 1 - chances[0]), (LOCAL, 1 - np.mean(singles))):
        found = sampled_losses(objective_of(each, cost), row[None])
        assert found.values.item() == pytest.approx(value, abs=1e-12)
    with pytest.raises(ValueError, match="`cost`"):
        observable("price", each)


def test_starts_draw_what_they_say() -> None:
    rng = np.random.default_rng(2)
    each = starts.circuit_of(GAUSSIAN, 2, 8)
    small = drawn(GAUSSIAN, each, 4000, rng)
    # Variance 1 / (4 * 2 * 10); a relative error of 0.4 percent.
    assert small.var() == pytest.approx(1 / 80, rel=0.02)
    held = drawn(LAYERWISE, each, 5, rng)
    second = [place for layer in each.layers[4:] for place in layer]
    assert (held[:, second] == 0).all()
    assert (np.delete(held, second, axis=1) != 0).all()
    assert laws(IDENTITY, identity_blocks(2, 8)) is None


# --- exact values -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 5])
def test_the_walk_has_the_closed_forms(size: int) -> None:
    forms = {
        (PRODUCT, LOCAL): product_local, (PRODUCT, GLOBAL): product_global,
        (PRODUCT_TWO, LOCAL): rx_ry_local, (PRODUCT_TWO, GLOBAL): rx_ry_global,
    }  # fmt: skip
    for (circuit, cost), form in forms.items():
        each = laid(circuit, size, 1)
        found = exact_moments(objective_of(each, cost), cost, laws(UNIFORM, each))
        assert found is not None
        assert float(found.derivatives[0]) == pytest.approx(form(size), rel=1e-10)


def test_deep_random_circuits_reach_their_limit() -> None:
    task = Task(
        study="any", version=1,
        spec={"part": "qubits", "circuit": RANDOM_AXES, "cost": PAIR, "qubits": 3, "layers": 105, "samples": 10},
    )  # fmt: skip
    cell = qubits.run(task)["derivatives"][FIRST]
    assert cell["exact_second_moment"] == pytest.approx(deep_first(3), rel=1e-6)
    assert cell["predicted"] == pytest.approx(4.2328e-2, rel=1e-4)


@pytest.mark.parametrize("layers", [5, 20])
def test_noise_after_layers_has_the_known_variance(layers: int) -> None:
    """q = 0.99 on four qubits, first RX, by another calculation."""
    known = {5: 3.140e-2, 20: 1.009e-2}[layers]
    each = laid(COST_AXES, 4, layers)
    found = exact_moments(
        objective_of(each, PAIR), PAIR, laws(UNIFORM, each), noise.noise_of(each, 0.99, noise.LAYER)
    )
    assert found is not None
    assert float(found.derivatives[0]) == pytest.approx(known, rel=5e-4)


@pytest.mark.parametrize("place", noise.PLACES)
def test_density_matrices_have_the_noise_of_the_walk(place: str) -> None:
    """1,500 samples of kurtosis 4: a bias of 20 percent would be 4.5 standard errors."""
    each = laid(COST_AXES, 2, 3)
    angles = drawn(UNIFORM, each, 1500, np.random.default_rng(3))
    exact = exact_moments(
        objective_of(each, PAIR), PAIR, laws(UNIFORM, each), noise.noise_of(each, 0.8, place)
    )
    assert exact is not None
    squares = noise.noisy_derivatives(each, angles, 0.8, place).values[:, 0].numpy() ** 2
    error = squares.std() / math.sqrt(len(squares))
    assert abs(squares.mean() - float(exact.derivatives[0])) < 4.5 * error
    assert error < 0.06 * squares.mean()
    clean = noise.noisy_derivatives(each, angles[:5], 1.0, place).values
    torch.testing.assert_close(clean, derivatives(objective_of(each, PAIR), each, angles[:5], 0).values)


def test_a_large_circuit_has_the_variance_of_the_dense_walk() -> None:
    for spec in large.specs(large.Grid(qubits=(6,))):
        found = large.run(Task(study="any", version=1, spec=spec))["derivatives"][FIRST]
        each = laid(COST_AXES, 6, spec["layers"])
        dense = exact_moments(objective_of(each, spec["cost"]), spec["cost"], laws(UNIFORM, each))
        assert dense is not None
        assert found["exact_second_moment"] == pytest.approx(float(dense.derivatives[0]), rel=1e-3)


def test_positions_are_layers_that_differ() -> None:
    assert positions(laid(COST_AXES, 2, 1)) == {FIRST: 0}
    assert positions(laid(COST_AXES, 2, 2)) == {FIRST: 0, MIDDLE: 1}
    assert positions(laid(COST_AXES, 2, 9)) == {FIRST: 0, MIDDLE: 4, "last": 8}


def test_estimates_survive_a_row() -> None:
    for each in (
        Estimate(value=1.0, low=0.5, high=2.0, count=9),
        Estimate(value=0.0, low=None, high=None, count=3, needs=70),
    ):
        assert estimate_of(plain(each)) == each


# --- rows, laws and words -----------------------------------------------------------------------------


def test_measured_variances_hold_the_exact_ones(rows: pd.DataFrame) -> None:
    """Of all intervals, 95 in 100; four and a half standard errors below that is a failure."""
    found = [*selection.of_qubits(rows), *selection.of_depth(rows), *selection.of_starts(rows)]
    held, known = (sum(each) for each in zip(*(curve.held() for curve in found), strict=True))
    assert known > 50
    assert held / known > 0.95 - 4.5 * math.sqrt(0.05 * 0.95 / known)


def test_means_of_starts_are_subtracted(rows: pd.DataFrame) -> None:
    """A Gaussian start has a mean gradient: its mean square is the larger, exactly and measured."""
    (curve,) = [each for each in selection.of_starts(rows) if each.name == GAUSSIAN]
    assert (curve.exact_second_moments > 2 * curve.exact).all()
    for spread, square in zip(curve.variances, curve.second_moments, strict=True):
        assert spread is not None and square is not None and square.value > 2 * spread.value


def test_the_controls_come_out(rows: pd.DataFrame) -> None:
    said = [each for each in SMALL.answer(rows) if each.startswith("Control, ")]
    assert len(said) == 3
    assert all(each.startswith("Control, as known") for each in said)


def test_a_control_that_fails_says_so(rows: pd.DataFrame) -> None:
    """Curves exchanged: the exponential one is told to be a power, and the other way round."""
    found = selection.of_qubits(rows)
    (local,) = selection.picked(found, circuit=PRODUCT, cost=LOCAL)
    (whole,) = selection.picked(found, circuit=PRODUCT, cost=GLOBAL)
    swapped = [replace(local, cost=GLOBAL), replace(whole, cost=LOCAL)]
    said = qubit_words.controls(swapped, [])
    assert sum(each.startswith("Control, NOT as known") for each in said) == 2


def test_points_without_interval_say_how_many_samples_they_need(rows: pd.DataFrame) -> None:
    (curve,) = [
        each for each in selection.of_qubits(rows) if each.circuit == PRODUCT_TWO and each.cost == GLOBAL
    ]
    last = curve.variances[-1]
    assert last is not None and last.low is None and last.needs > last.count
    table = qubit_words.table([curve])
    assert f"needs {last.needs:,} samples" in table["variance at the largest"][0]
    assert curve.growth is None or curve.growth.left_out >= 1


def test_shots_for_a_sign_are_those_of_a_single_rotation() -> None:
    """The cost (1 - Z) / 2 of RY: V = 1/8; a shot of the two shifted circuits has (1 - E^2) / 4, of mean 1/8."""
    spec = {
        "part": "qubits",
        "circuit": PRODUCT,
        "cost": GLOBAL,
        "depth": "1 layer",
        "qubits": 1,
        "layers": 1,
        "samples": 3000,
    }
    made = qubits.run(Task(study="any", version=1, spec=spec))
    made.pop("cost")
    # 100 rows of (1 - sin^2 t) / 4, whose mean is off by 0.009 in a standard error.
    assert made["shot_variance"] == pytest.approx(1 / 8, abs=4.5 * 0.009)
    assert made["shift_circuits"] == 2
    (curve,) = selection.of_qubits(pd.DataFrame([{**spec, **made}]))
    bill = money.bill(curve, 0)
    assert bill is not None
    variance = made["derivatives"][FIRST]["variance"][0]
    assert bill.shots == pytest.approx(1.645**2 * made["shot_variance"] / variance)
    assert bill.low is not None and bill.high is not None and bill.low < bill.shots < bill.high
    prices = Prices.load()
    assert bill.dollars == pytest.approx(bill.seconds * prices.of_plan(DEFAULT_PLAN))
    assert bill.seconds == pytest.approx(
        prices.job_seconds + bill.shots * (prices.rep_delay_seconds + made["circuit_seconds"])
    )


def test_ids_are_stable() -> None:
    ids = [task.id[:8] for task in SMALL.tasks_of("quick")]
    assert len(set(ids)) == len(ids)
    assert ids[0] == "84598918"


@pytest.mark.parametrize("preset", STUDY.presets)
def test_every_preset_makes_tasks_with_all_circuits_and_starts(preset: str) -> None:
    made = [dict(task.spec) for task in STUDY.tasks_of(preset)]
    assert {spec["circuit"] for spec in made if spec["part"] == qubits.PART} == set(CIRCUITS)
    assert {spec["start"] for spec in made if spec["part"] == starts.PART} == set(STARTS)
    assert STUDY.duration is not None
    assert min(STUDY.duration(task) for task in STUDY.tasks_of(preset)) > 0


def test_whole_rows_make_every_figure_and_table(rows: pd.DataFrame, results: Path) -> None:
    names = ["qubits", "hardware_efficient", "depth", "large", "noise", "starts", "verdict", "money"]
    assert [figure.name for figure in SMALL.figures(rows)] == names
    for name in names:
        assert (results / "figures" / f"{name}.svg").stat().st_size > 1000
    assert len(SMALL.tables(rows)) == 4
    assert not any("rows so far" in sentence for sentence in SMALL.answer(rows))


def test_any_part_of_the_rows_makes_a_report(rows: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)
    some = rows.iloc[np.sort(rng.choice(len(rows), size=rng.integers(1, len(rows)), replace=False))]
    parts = (qubits, depth, starts, noise, large, verdict)
    for part in (some, rows.iloc[:1], rows.iloc[-1:], *(rows[rows["part"] == each.PART] for each in parts)):
        if len(part):
            assert SMALL.answer(part)
            SMALL.tables(part)
            SMALL.figures(part)
