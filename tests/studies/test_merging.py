from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.engine.errors import BadRequest, StoreLocked
from studies.engine.folder import Folder
from studies.engine.merging import merge
from studies.engine.reading import Scan, scan
from studies.engine.store import Store
from tests.studies.samples import make_folder, make_row

lines = st.integers(0, 5).map(lambda number: make_row(number, second=number).to_line())
shards = st.dictionaries(st.sampled_from(["a.jsonl", "b.jsonl"]), st.lists(lines, max_size=4).map(b"".join))


def snapshot(root: Path) -> dict[str, bytes]:
    return {shard.name: shard.read_bytes() for shard in Folder.of(root, "toy").shards()}


def as_sets(root: Path) -> set[tuple[str, bytes]]:
    return {(name, line) for name, content in snapshot(root).items() for line in content.splitlines()}


def merged(base: Path, name: str, others: list[Path]) -> tuple[Path, Scan]:
    root = base / name
    merge(root, others)
    return root, scan(Folder.of(root, "toy"))


@settings(deadline=None, max_examples=60)
@given(st.lists(shards, min_size=1, max_size=3), st.randoms())
def test_merging_is_a_union(contents: list[dict[str, bytes]], chance: object) -> None:
    with tempfile.TemporaryDirectory() as place:
        base = Path(place)
        others = [base / f"other-{index}" for index in range(len(contents))]
        for other, content in zip(others, contents, strict=True):
            make_folder(other, content)
        shuffled = list(others)
        chance.shuffle(shuffled)  # pyright: ignore[reportAttributeAccessIssue]
        first, one = merged(base, "first", others)
        second, two = merged(base, "second", shuffled)
        assert as_sets(first) == set().union(*(as_sets(other) for other in others)) == as_sets(second)
        assert set(one.first_ok()) == set(two.first_ok()) and len(one.rows) == len(two.rows)
        before = snapshot(first)
        assert sum(merge(first, [*others, second]).values()) == 0
        assert snapshot(first) == before


def test_unfinished_line_stays_behind(tmp_path: Path) -> None:
    make_folder(tmp_path / "other", {"a.jsonl": make_row(1).to_line() + b'{"id":"half'})
    assert merge(tmp_path / "results", [tmp_path / "other"]) == {"toy": 1}
    assert snapshot(tmp_path / "results") == {"a.jsonl": make_row(1).to_line()}


def test_folder_in_use_is_not_merged_into(tmp_path: Path) -> None:
    make_folder(tmp_path / "other", {"a.jsonl": make_row(1).to_line()})
    with Store(Folder.of(tmp_path / "results", "toy")), pytest.raises(StoreLocked):
        merge(tmp_path / "results", [tmp_path / "other"])


def test_folder_is_not_merged_with_itself(tmp_path: Path) -> None:
    make_folder(tmp_path, {"a.jsonl": make_row(1).to_line()})
    with pytest.raises(BadRequest, match="must be another one than the results folder"):
        merge(tmp_path, [tmp_path])


def test_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="must be a results folder, with <study>/rows/ inside, but has none"):
        merge(tmp_path / "results", [tmp_path])
