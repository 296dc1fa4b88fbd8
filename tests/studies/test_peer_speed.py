"""The comparison with other toolkits: their gradients are ours, and the machinery says what it measured."""

from __future__ import annotations

import csv
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studies import peer_speed
from studies.peers import ensemble, growth, hybrid_step, ising_on_gpu, ring_case, ring_gradient
from studies.peers.comparison import Row, Target, compared, judged
from studies.peers.route import OURS, Driver, Route, collect
from studies.peers.separate import separate
from studies.peers.tables import Report, of_rows, of_verdicts
from studies.peers.targets import TARGETS
from studies.peers.timing import Timing, first_calls, take_turns

# What other toolkits warn of when they are imported is theirs to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

RING = ring_case.QUICK_SIZES[0]
STEP = hybrid_step.QUICK_CASES[0]
RANDOM = ensemble.QUICK_CASES[0]


def _rows(drivers: Sequence[Driver], driver: Driver, case: peer_speed.Case) -> list[Row]:
    """Rows of a driver and of ours, or a skipped test."""
    if any(importlib.util.find_spec(name) is None for name in driver.modules):
        pytest.skip(f"{driver.toolkit} is not installed")
    chosen = [drivers[0]] if driver is drivers[0] else [drivers[0], driver]
    routes, skipped = collect(chosen, case)
    timings, failed = first_calls(routes)
    assert skipped == failed == []
    for timing in timings:
        timing.seconds.append(timing.first)
    return compared("test", case.name, case.units, timings)


def _ids(driver: Driver) -> str:
    return driver.toolkit


@pytest.mark.parametrize("driver", ring_gradient.DRIVERS, ids=_ids)
def test_every_toolkit_gives_our_gradient_of_a_ring(driver: Driver) -> None:
    for row in _rows(ring_gradient.DRIVERS, driver, RING):
        assert row.agrees, row
        assert row.deviation < 1e-8 or row.method == ring_case.SHOTS, row


@pytest.mark.parametrize("driver", hybrid_step.DRIVERS, ids=_ids)
def test_every_toolkit_gives_our_gradients_of_the_hybrid_step(driver: Driver) -> None:
    for row in _rows(hybrid_step.DRIVERS, driver, STEP):
        assert row.agrees, row
        assert row.deviation < 1e-8 or "float32" in row.note, row


@pytest.mark.parametrize("driver", ensemble.DRIVERS, ids=_ids)
def test_every_toolkit_gives_our_derivatives_of_random_circuits(driver: Driver) -> None:
    for row in _rows(ensemble.DRIVERS, driver, RANDOM):
        assert row.deviation < 1e-8, row


def test_the_hybrid_step_differentiates_everything_that_is_trained() -> None:
    row = hybrid_step.ours(STEP)[0].run()
    assert row.shape == (4 * 4 + 4 + 24 + 4 + 1,)
    assert (
        np.count_nonzero(np.abs(row) > 1e-12) >= len(row) - 4
    )  # the last RZ of a qubit has no effect on <Z>


def test_both_rules_agree_on_the_ising_chain() -> None:
    case = ising_on_gpu.IsingCase(qubits=4, layers=2, device="cpu")
    rows = _rows(ising_on_gpu.DRIVERS, ising_on_gpu.DRIVERS[0], case)
    assert [row.method for row in rows] == [ising_on_gpu.ADJOINT, ising_on_gpu.SHIFT]
    assert all(row.agrees for row in rows)


def test_a_missing_toolkit_is_one_line() -> None:
    absent = Driver(
        toolkit="Nobody", packages=("nobody",), modules=("no_such_module",), routes=lambda case: []
    )
    routes, skipped = collect([ring_gradient.DRIVERS[0], absent], RING)
    assert skipped == ["Nobody: skipped, no_such_module not installed"]
    assert {route.toolkit for route in routes} == {OURS}


def _broken() -> np.ndarray:
    raise ValueError("no such gate\nand more")


def test_a_toolkit_that_breaks_is_one_line_and_ours_an_error() -> None:
    breaks = Route(method="m", run=_broken)
    broken = Driver(toolkit="Broken", packages=("b",), modules=(), routes=lambda case: [breaks])
    unbuilt = Driver(toolkit="Unbuilt", packages=("b",), modules=(), routes=lambda case: [][1])
    routes, skipped = collect([broken, unbuilt], RING)
    assert skipped == ["Unbuilt: skipped, IndexError: list index out of range"]
    timings, failed = first_calls(routes)
    assert timings == []
    assert failed == ["Broken, m: skipped, ValueError: no such gate"]
    with pytest.raises(ValueError, match="no such gate"):
        first_calls([replace(breaks, toolkit=OURS)])


def _unbuilt(case: object) -> list[Route]:
    raise IndexError(f"no case {case}")


def test_toolkits_in_processes_of_their_own_answer_the_same() -> None:
    unbuilt = Driver(toolkit="Unbuilt", packages=("b",), modules=(), routes=_unbuilt)
    with separate([ring_gradient.DRIVERS[0], unbuilt]) as lent:
        routes, skipped = collect(lent, RING)
        assert skipped == [f"Unbuilt: skipped, IndexError: no case {RING}"[: len(skipped[0])]]
        here = ring_gradient.ours(RING)
        assert [route.method for route in routes] == [route.method for route in here]
        np.testing.assert_allclose(routes[0].run(), here[0].run(), atol=1e-12)
        assert routes[0].seconds(2) > 0


def test_routes_take_turns_until_they_have_their_repeats_or_their_budget() -> None:
    calls: list[str] = []

    def route(name: str) -> Route:
        def run() -> np.ndarray:
            calls.append(name)
            return np.zeros(1)

        return Route(method=name, run=run)

    timings, failed = take_turns([route("a"), route("b")], repeats=4, budget=100.0)
    assert failed == []
    assert [len(timing.seconds) for timing in timings] == [4, 4]
    # Once each, then rounds of many short runs, by turns.
    assert "".join(name for name, _ in groupby(calls)) == "ab" * 5
    assert calls.count("a") > 100
    timings, _ = take_turns([route("a")], repeats=4, budget=0.0)
    assert len(timings[0].seconds) == 3


def _timing(
    toolkit: str, method: str, seconds: float, gradient: float = 1.0, against: str | None = None
) -> Timing:
    route = Route(method=method, run=lambda: np.zeros(1), toolkit=toolkit, version="1", against=against)
    times = [seconds, 0.9 * seconds, 1.1 * seconds]
    return Timing(route=route, gradient=np.array([gradient]), first=2 * seconds, seconds=times)


def _target(bound: float, *toolkits: str, at_least: bool = True, per_unit: bool = False) -> Target:
    return Target(
        workload="w",
        claim="c",
        above=tuple(("case", toolkit, "m") for toolkit in toolkits),
        below=(("case", OURS, "m"),),
        bound=bound,
        at_least=at_least,
        per_unit=per_unit,
    )


def test_a_fast_wrong_answer_shows_and_counts_for_nothing() -> None:
    timings = [
        _timing(OURS, "m", 1.0),
        _timing("Right", "m", 9.0, against="m"),
        _timing("Wrong", "m", 0.1, 2.0),
    ]
    rows = compared("w", "case", 1, timings)
    assert [row.agrees for row in rows] == [True, True, False]
    assert rows[2].deviation == 1.0
    assert rows[1].ratio == 9.0
    assert rows[0].ratio is None
    both, wrong = judged([_target(5, "Right", "Wrong"), _target(5, "Wrong")], rows)
    assert both.value == 9.0
    assert both.reached is True
    assert both.row is rows[1]
    assert both.least == pytest.approx(9 * 0.9 / 1.1)
    assert wrong.reached is None
    assert wrong.outcome == "not measured"


def test_a_target_is_missed_by_its_ratio_and_may_count_by_units() -> None:
    rows = compared("w", "case", 1, [_timing(OURS, "m", 1.0), _timing("Peer", "m", 4.0)])
    rows[1] = replace(rows[1], units=8)
    outcomes = [
        verdict.outcome
        for verdict in judged(
            [_target(5, "Peer"), _target(5, "Peer", at_least=False), _target(0.5, "Peer", per_unit=True)],
            rows,
        )
    ]
    assert outcomes == ["missed", "reached", "reached"]


def test_a_gradient_of_another_length_does_not_agree() -> None:
    longer = replace(_timing("Peer", "m", 1.0), gradient=np.ones(2))
    rows = compared("w", "case", 1, [_timing(OURS, "m", 1.0), longer])
    assert not rows[1].agrees


def test_every_target_names_a_route_that_exists() -> None:
    pytest.importorskip("pennylane")
    known: set[tuple[str, str, str]] = set()
    workloads: list[tuple[str, Any, Any]] = [
        (ring_case.WORKLOAD, ring_gradient.DRIVERS, RING),
        (hybrid_step.WORKLOAD, hybrid_step.DRIVERS, STEP),
        (ensemble.WORKLOAD, ensemble.DRIVERS, RANDOM),
    ]
    for workload, drivers, quick in workloads:
        known |= {(workload, route.toolkit, route.method) for route in collect(drivers, quick)[0]}
    cases = {case.name for case in (*ring_case.SIZES, *hybrid_step.CASES, *ensemble.CASES)}
    for target in TARGETS:
        for case, toolkit, method in (*target.above, *target.below):
            assert case in cases
            assert (target.workload, toolkit, method) in known


def test_all_tables_hold_the_same_figures(tmp_path: Path) -> None:
    timings = [_timing(OURS, "m", 1.0), _timing("Peer | other", "m", 1.25, against="m")]
    rows = compared("w", "case", 1, timings)
    verdicts = judged([_target(2, "Peer | other")], rows)
    report = Report(
        about={"packages": {"a": "1"}}, tables=[of_rows("t", "Title", rows, verdicts), of_verdicts(verdicts)]
    )
    report.skip(["x: skipped", "x: skipped"])
    report.write(tmp_path)
    whole = json.loads((tmp_path / "results.json").read_text())
    with (tmp_path / "t.csv").open() as file:
        lines = list(csv.DictReader(file))
    page = (tmp_path / "results.md").read_text()
    assert page == report.markdown()
    assert whole["tables"]["t"][1]["median ms"] == float(lines[1]["median ms"]) == 1250.0
    assert whole["tables"]["t"][1]["target"] == lines[1]["target"] == ">= 2 missed"
    assert whole["skipped"] == ["x: skipped"]
    assert page.count("x: skipped") == 1
    assert "| Peer / other |" in page
    assert "packages: a 1" in page


def test_growth_fits_find_an_exponent_and_leave_small_peaks_out() -> None:
    records = [
        {
            "axis": "a",
            "fixed": "f",
            "method": "m",
            "size": size,
            "median ms": 3.0 * size**1.5,
            "peak bytes": 2**20 * size,
        }
        for size in (1.0, 2.0, 4.0, 8.0, 16.0)
    ]
    time, memory = growth.fitted(records)
    assert time["exponent"] == pytest.approx(1.5)
    assert (time["from"], time["to"], time["points"]) == (1.0, 16.0, 5)
    assert (memory["from"], memory["points"]) == (8.0, 2)
    assert memory["low"] is None


def test_fixed_angles_leave_as_many_parameters_as_asked_for() -> None:
    for count in (1, 3, 8):
        gradient = growth.routes(growth.Point(qubits=2, layers=2, params=count))[0].run()
        assert gradient.shape == (1, count)


def test_a_route_that_would_take_too_long_is_one_line() -> None:
    slow = replace(compared("w", "batch 8", 8, [_timing("Peer", "m", 3.0)])[0])
    routes = [Route(method="m", run=_broken, toolkit=name) for name in (OURS, "Peer")]
    case = hybrid_step.StepCase(batch=64)
    kept, lines = peer_speed._affordable(routes, [slow, replace(slow, toolkit=OURS)], case)
    assert [route.toolkit for route in kept] == [OURS]
    assert lines == ["Peer, m, batch 64: skipped, about 24 s expected"]


def test_the_quick_run_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    peer_speed.main(["--quick", "--repeats", "1", "--results", str(tmp_path)])
    folder = tmp_path / "peer_speed"
    whole = json.loads((folder / "results.json").read_text())
    assert {"gradient", "hybrid", "ensemble", "growth", "growth_fits"} <= set(whole["tables"])
    assert all(
        record["agrees"] for name in ("gradient", "hybrid", "ensemble") for record in whole["tables"][name]
    )
    assert capsys.readouterr().out.strip() == (folder / "results.md").read_text().strip()
    peer_speed.main(["--quick", "--only", "ensemble", "--results", str(tmp_path)])
    assert (folder / "ensemble" / "ensemble.csv").exists()
