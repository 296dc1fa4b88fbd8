"""The map of verdicts: its criterion, the classical ways beside state vectors, and what it says of known circuits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp

from hybrid import Objective
from studies.barren import verdict, verdict_drawings, verdict_words
from studies.barren.circuits import FREE_FERMIONS, PRODUCT, REGULAR_CUT, RING_CUT, Laid
from studies.barren.costs import BONDS, GLOBAL, LOCAL, PAIR
from studies.barren.draws import UNIFORM, drawn
from studies.barren.measuring import circuit_of, objective_of
from studies.barren.qubits import COST_AXES
from studies.barren.simulability import (
    FERMIONS,
    LIGHT_CONE,
    MATRIX_PRODUCT,
    PROPAGATION,
    NotSimulable,
    Simulated,
    by_light_cone,
    by_propagation,
    norm,
    simulated,
)
from studies.barren.verdict import BARREN, NEITHER, SIMULABLE, Case, Grid, cells, falls_exponentially
from studies.engine import Task

SIZES = np.array([4.0, 6.0, 8.0])


def test_the_criterion_tells_exponentials_from_powers() -> None:
    assert falls_exponentially(SIZES, 2.0**-SIZES) == (True, pytest.approx(np.log(2)))
    assert falls_exponentially(SIZES, 0.1 * 2.0 ** (-SIZES / 3))[0] is False
    # A power this steep falls fast enough at such sizes, but is straight against ln n.
    barren, rate = falls_exponentially(SIZES, SIZES**-4.0)
    assert rate > verdict.LEAST_RATE
    assert barren is False
    assert falls_exponentially(SIZES, np.array([1.0, 0.0, 0.0])) == (False, 0.0)


def _found(circuit: str, cost: str, layers: int, qubits: int = 6) -> dict[str, Simulated]:
    each = circuit_of(circuit, qubits, layers)
    return simulated(objective_of(each, cost), drawn(UNIFORM, each, 3, np.random.default_rng(5)))


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_cones_grow_by_a_qubit_a_layer(layers: int) -> None:
    found = _found(COST_AXES, PAIR, layers)[LIGHT_CONE]
    assert found.size == 2 + layers
    assert found.error < 1e-12


def test_cones_as_wide_as_the_register_are_no_way() -> None:
    assert LIGHT_CONE not in _found(COST_AXES, PAIR, 4)
    assert LIGHT_CONE not in _found(COST_AXES, GLOBAL, 1)


def test_light_cones_keep_constants_and_shared_angles() -> None:
    angles = ParameterVector("t", 2)
    circuit = QuantumCircuit(4)
    circuit.ry(0.4, range(4))
    for a, b in ((0, 1), (1, 2), (2, 3)):
        circuit.rzz(2 * angles[0], a, b)
    circuit.cx(0, 1)
    circuit.rx(angles[1] + 0.3, range(4))
    observable = SparsePauliOp.from_list([("IIII", 0.7), ("IIYZ", 1.0), ("ZIII", -2.0)])
    objective = Objective(circuit, observable)
    assert norm(objective) == 3
    rows = np.random.default_rng(0).uniform(0, 6, (3, 2))
    assert simulated(objective, rows)[LIGHT_CONE].error < 1e-12
    objective = Objective(circuit, SparsePauliOp("ZIIZ"))
    with pytest.raises(NotSimulable, match="cone of 4 qubits"):
        by_light_cone(objective, rows)


@pytest.mark.parametrize(("circuit", "cost"), [(FREE_FERMIONS, PAIR), (RING_CUT, BONDS)])
def test_free_fermions_are_exact_at_any_depth(circuit: str, cost: str) -> None:
    found = _found(circuit, cost, 6)[FERMIONS]
    assert found.size == 12
    assert found.error < 1e-12
    assert found.seconds > 0


def test_matrix_product_states_are_cut_at_n() -> None:
    # On four qubits a bond of 4 is exact, on eight one of 8 is half of the whole.
    assert _found(COST_AXES, PAIR, 20, qubits=4)[MATRIX_PRODUCT].error < 1e-9
    cut = _found(COST_AXES, PAIR, 20, qubits=8)[MATRIX_PRODUCT]
    assert cut.size == 8
    assert cut.error > verdict.WITHIN


def test_random_graphs_are_no_free_fermions() -> None:
    assert FERMIONS not in _found(REGULAR_CUT, BONDS, 1)


def test_propagation_is_exact_where_all_strings_are_kept() -> None:
    each: Laid = circuit_of(COST_AXES, 4, 1)
    objective = objective_of(each, LOCAL)
    rows = drawn(UNIFORM, each, 2, np.random.default_rng(1))
    try:
        import pauli_prop  # pyright: ignore  # noqa: F401
    except ModuleNotFoundError:
        with pytest.raises(NotSimulable, match="pauli-prop is not installed"):
            by_propagation(objective, rows)
        assert PROPAGATION not in simulated(objective, rows)
    else:
        assert simulated(objective, rows)[PROPAGATION].error < 1e-12


TINY = Grid(
    qubits=(3, 4, 5),
    cases=(
        Case(circuit=PRODUCT, cost=GLOBAL),
        Case(circuit=PRODUCT, cost=LOCAL),
        Case(circuit=FREE_FERMIONS, cost=PAIR, layers=(6,)),
        Case(circuit=RING_CUT, cost=BONDS, layers=(2,)),
    ),
    samples=50,
    rows=2,
)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    lines: list[dict[str, Any]] = []
    for spec in verdict.specs(TINY):
        metrics = verdict.run(Task(study="barren_plateau", version=1, spec=spec))
        timing = metrics.pop("timing")
        lines.append({**spec, **metrics, **timing})
    return pd.DataFrame(lines)


def test_known_circuits_get_their_verdicts(rows: pd.DataFrame) -> None:
    found = {(each.circuit, each.cost): each for each in cells(rows)}
    assert len(found) == 4
    assert {each.qubits for each in found.values()} == {5}
    product = found[PRODUCT, GLOBAL]
    assert product.verdict == BARREN
    assert product.is_exact
    assert product.variance == pytest.approx((3 / 8) ** 4 / 8)
    assert product.rate == pytest.approx(np.log(8 / 3))
    local = found[PRODUCT, LOCAL]
    assert local.verdict == SIMULABLE
    assert local.errors[LIGHT_CONE] < 1e-12
    assert local.variance == pytest.approx(1 / (8 * 25))
    assert found[FREE_FERMIONS, PAIR].verdict == SIMULABLE
    assert found[FREE_FERMIONS, PAIR].errors[FERMIONS] < 1e-12
    assert not found[RING_CUT, BONDS].is_exact


def test_exact_ways_are_named_before_others(rows: pd.DataFrame) -> None:
    named = {(each.circuit, each.cost): each.best for each in cells(rows)}
    assert named[PRODUCT, LOCAL] == LIGHT_CONE
    assert named[FREE_FERMIONS, PAIR] == FERMIONS
    assert named[PRODUCT, GLOBAL] == MATRIX_PRODUCT


def test_the_nearest_way_is_named_where_none_is_within_a_percent() -> None:
    lines = [_row(n, 1.0, 0.5) for n in (4, 6, 8)]
    for line in lines:
        line["ways"][PROPAGATION] = {"error": 0.4, "size": 9}
        line["way_seconds"][PROPAGATION] = 0.2
    (cell,) = cells(pd.DataFrame(lines))
    assert cell.best == PROPAGATION


def _row(qubits: int, variance: float, error: float | None) -> dict[str, Any]:
    ways = {} if error is None else {MATRIX_PRODUCT: {"error": error, "size": 4}}
    return {
        "part": verdict.PART, "circuit": "some", "cost": PAIR, "layers": 1, "qubits": qubits, "simulated_rows": 2,
        "largest_variance": variance, "is_exact": True, "ways": ways,
        "way_seconds": dict.fromkeys(ways, 0.1),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("base", "error", "expected"),
    [
        (1.0, 0.009, SIMULABLE),
        (1.0, 0.011, NEITHER),
        (1.0, None, NEITHER),
        (0.5, 0.0, BARREN),
        (0.0, 0.0, NEITHER),
    ],
)
def test_verdicts_follow_from_law_and_error(base: float, error: float | None, expected: str) -> None:
    made = pd.DataFrame([_row(n, base**n, error) for n in (4, 6, 8)])
    (cell,) = cells(made)
    assert cell.verdict == expected
    (line,) = verdict_words.table([cell]).to_dict("records")
    assert line["verdict"] == expected
    assert (line["simulated by"] == "–") is (error is None)


def test_two_sizes_carry_no_verdict(rows: pd.DataFrame) -> None:
    assert cells(rows[rows["qubits"] < 5]) == []
    assert cells(rows.iloc[:0]) == []
    assert verdict_words.sentences([]) == []
    assert verdict_drawings.figures(rows[rows["qubits"] < 5]) == []


def test_words_claim_no_advantage(rows: pd.DataFrame) -> None:
    said = " ".join(verdict_words.sentences(cells(rows)))
    assert "Of 4 circuits, depths and sizes (5 qubits), 1 are barren" in said
    assert "3 are trainable" in said
    assert "no claim of a quantum advantage" in said
    made = pd.DataFrame([_row(n, 1.0, 0.5) for n in (4, 6, 8)])
    assert "Neither was shown for some, Z0 Z1, 1 layer, 8 qubits." in verdict_words.sentences(cells(made))


def test_the_map_has_a_point_for_each_cell(rows: pd.DataFrame) -> None:
    (figure,) = verdict_drawings.figures(rows)
    assert list(figure.points["verdict"]) == [each.verdict for each in cells(rows)]
    assert b"<svg" in figure.svg()
