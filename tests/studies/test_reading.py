from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from studies.engine import RowConflict, read_rows
from studies.engine.errors import BadRequest
from studies.engine.outcome import Outcome
from studies.engine.reading import scan
from studies.engine.row import Row
from studies.engine.task import Task
from tests.studies.samples import make_folder, make_row


def test_frame_has_spec_metrics_timing_and_cost_by_name(tmp_path: Path) -> None:
    make_folder(tmp_path, {"a.jsonl": make_row(3).to_line()})
    rows = read_rows(tmp_path / "toy")
    assert len(rows) == 1
    row = rows.iloc[0]
    assert (row["number"], row["average"], row["clock"], row["cost_circuits"], row["cost_shots"]) == (
        3,
        0.5,
        0.25,
        2,
        10,
    )
    assert (row["wall_seconds"], row["cpu_seconds"], row["id"]) == (0.5, 0.25, make_row(3).task.id)


def test_frame_is_in_the_order_of_the_specs_whatever_the_order_of_work(tmp_path: Path) -> None:
    lines = [make_row(number, second=number % 7).to_line() for number in range(12)]
    frames = []
    for seed in range(3):
        random.Random(seed).shuffle(lines)
        make_folder(tmp_path / str(seed), {"a.jsonl": b"".join(lines[:5]), "b.jsonl": b"".join(lines[5:])})
        frames.append(read_rows(tmp_path / str(seed) / "toy"))
    assert frames[0]["number"].tolist() == list(range(12))
    assert frames[0].equals(frames[1]) and frames[0].equals(frames[2])


def test_specs_of_many_types_have_an_order(tmp_path: Path) -> None:
    values = [None, 1, 2.5, True, "a", "b", [1, "x"], [1, None], {"k": 1}]
    lines = [
        Row(
            task=Task(study="toy", version=1, spec={"v": value}), attempt=1, outcome=make_row().outcome
        ).to_line()
        for value in values
    ]
    make_folder(tmp_path, {"a.jsonl": b"".join(reversed(lines))})
    assert len(read_rows(tmp_path / "toy")) == len(values)


def test_first_good_row_counts_and_failures_do_not(tmp_path: Path) -> None:
    lines = [
        make_row(1, status="error", second=1),
        make_row(1, 0.5, second=2),
        make_row(1, 0.5, second=3),
        make_row(2, status="lost", second=4),
    ]
    folder = make_folder(tmp_path, {"a.jsonl": b"".join(line.to_line() for line in reversed(lines))})
    assert scan(folder).first_ok()[make_row(1).task.id].outcome.started.endswith(":02.000000+00:00")
    rows = read_rows(tmp_path / "toy")
    assert rows["number"].tolist() == [1]
    assert rows["clock"].tolist() == [2.25]


def test_rows_of_other_versions_are_left_aside(tmp_path: Path) -> None:
    old = replace(make_row(1), task=Task(study="toy", version=2, spec={"number": 1}))
    make_folder(tmp_path, {"a.jsonl": old.to_line() + make_row(2).to_line()})
    assert read_rows(tmp_path / "toy")["number"].tolist() == [2]


def test_only_the_tasks_asked_for_are_read(tmp_path: Path) -> None:
    make_folder(tmp_path, {"a.jsonl": make_row(1).to_line() + make_row(2).to_line()})
    assert read_rows(tmp_path / "toy", ids={make_row(2).task.id})["number"].tolist() == [2]


def test_good_rows_that_differ_are_a_conflict_by_name(tmp_path: Path) -> None:
    lines = make_row(1, 0.5, second=1).to_line() + make_row(1, 0.6, second=2).to_line()
    folder = make_folder(tmp_path, {"a.jsonl": lines})
    with pytest.raises(RowConflict, match=r'\{"number":1\} has two good rows that differ in `average`'):
        read_rows(tmp_path / "toy")
    assert len(scan(folder).conflicts()) == 1


@pytest.mark.parametrize(
    ("mine", "yours", "name"),
    [
        ({"a": 1.0}, {"a": 1.0 + 1e-12}, None),
        ({"a": 1}, {"a": 1.0}, None),
        ({"a": 1.0}, {"a": 1.0 + 1e-6}, "a"),
        ({"a": [1.0, 2.0]}, {"a": [1.0, 2.5]}, "a"),
        ({"a": [1.0]}, {"a": [1.0, 2.0]}, "a"),
        ({"a": 1}, {"b": 1}, "a"),
        ({"a": {"b": "x"}}, {"a": {"b": "y"}}, "b"),
        ({"a": True}, {"a": 1}, "a"),
        ({"a": None}, {"a": 0.0}, "a"),
    ],
)
def test_last_bits_are_no_conflict(
    mine: dict[str, object], yours: dict[str, object], name: str | None
) -> None:
    def row(metrics: dict[str, object], second: int) -> Row:
        outcome = Outcome(status="ok", metrics=metrics, started=f"2026-01-01T00:00:{second:02d}")
        return Row(task=make_row(1).task, attempt=1, outcome=outcome)

    from studies.engine.reading import Scan

    conflicts = Scan(rows=[row(mine, 1), row(yours, 2)]).conflicts()
    assert [f"`{name}`" in sentence for sentence in conflicts] == ([] if name is None else [True])


def test_line_that_is_still_being_written_is_passed_over(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, {"a.jsonl": make_row(1).to_line() + make_row(2).to_line()[:-1]})
    found = scan(folder)
    assert found.rows == [make_row(1)] and found.foreign == []


def test_folder_without_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="There are no results in"):
        read_rows(tmp_path / "toy")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_damaged_settings_are_told(tmp_path: Path, content: bytes) -> None:
    folder = make_folder(tmp_path, {})
    folder.settings.write_bytes(content)
    with pytest.raises(BadRequest, match=r"study\.json must"):
        read_rows(folder.path)
