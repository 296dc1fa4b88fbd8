from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from studies.engine.errors import StoreLocked, StoreRefused, StoreWriteFailed
from studies.engine.folder import Folder
from studies.engine.reading import scan
from studies.engine.row import Row
from studies.engine.store import Store
from tests.studies.samples import make_folder, make_row


def write_rows(root: Path, count: int) -> Path:
    """The shard that holds this many rows."""
    folder = Folder.of(root, "toy")
    with Store(folder, heading={"commit": "abc"}) as store:
        for number in range(count):
            store.append(make_row(number, second=number))
    (shard,) = folder.shards()
    return shard


def numbers(root: Path) -> list[object]:
    return [row.task.spec["number"] for row in scan(Folder.of(root, "toy")).rows]


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    write_rows(tmp_path, 3)
    found = scan(Folder.of(tmp_path, "toy"))
    assert found.rows == [make_row(number, second=number) for number in range(3)]
    assert found.headings == [{"commit": "abc"}] and found.foreign == []


def test_lines_begin_with_the_id(tmp_path: Path) -> None:
    shard = write_rows(tmp_path, 1)
    assert (
        shard.read_bytes()
        .splitlines()[1]
        .startswith(b'{"id":"' + make_row(0).task.id.encode() + b'","status":"ok"')
    )


def test_shard_cut_at_any_byte_loses_only_the_torn_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: None)  # two thousand shards need not reach the disk
    content = write_rows(tmp_path / "whole", 5).read_bytes()
    ends = [index + 1 for index, byte in enumerate(content) if byte == ord("\n")]
    for cut in range(ends[-4], len(content) + 1):
        root = tmp_path / str(cut)
        folder = make_folder(root, {"a-1-1.jsonl": content[:cut]})
        whole = sum(end <= cut for end in ends) - 1
        with Store(folder) as store:
            assert bool(store.repaired) == (cut not in ends)
            store.append(make_row(99, second=59))
        assert numbers(root) == [*range(whole), 99]
        torn = folder.rows / "a-1-1.jsonl.torn"
        kept = torn.read_bytes()[:-1] if torn.exists() else b""
        assert (folder.rows / "a-1-1.jsonl").read_bytes() + kept == content[:cut]


def test_last_line_of_garbage_is_set_aside_too(tmp_path: Path) -> None:
    good = make_row(1).to_line()
    folder = make_folder(tmp_path, {"a-1-1.jsonl": good + b"\0\0\0\n"})
    with Store(folder) as store:
        assert store.repaired == ["a-1-1.jsonl: 4 bytes of an unfinished row set aside"]
    assert (folder.rows / "a-1-1.jsonl").read_bytes() == good
    assert (folder.rows / "a-1-1.jsonl.torn").read_bytes() == b"\0\0\0\n\n"


def test_foreign_lines_are_told_and_left_alone(tmp_path: Path) -> None:
    good = [make_row(number).to_line() for number in range(3)]
    other = json.loads(good[0])
    lines = [
        (b"not json\n", "is not JSON"),
        (b'{"run": 1}\n', "is not a row of results"),
        (b"[1]\n", "is not a row of results"),
        (b"[" * 100_000 + b"\n", "is not JSON"),
        (b"\xff\xfe\n", "is not JSON"),
        (
            json.dumps(other | {"spec": {"number": 7}}).encode() + b"\n",
            "has an id that is not the one of its spec",
        ),
        (json.dumps(other | {"version": 2}).encode() + b"\n", "has an id that is not the one of its spec"),
        (json.dumps(other | {"schema": 2}).encode() + b"\n", "has the schema 2, not 1"),
        (json.dumps(other | {"status": "fine"}).encode() + b"\n", "is a damaged row (ValueError)"),
        (json.dumps(other | {"metrics": [1]}).encode() + b"\n", "is a damaged row (ValueError)"),
        (json.dumps(other | {"cost": {"wings": 2}}).encode() + b"\n", "is a damaged row (TypeError)"),
        (json.dumps(other | {"times": None}).encode() + b"\n", "is a damaged row (TypeError)"),
        (json.dumps({"id": other["id"], "schema": 1}).encode() + b"\n", "is a damaged row (KeyError)"),
    ]
    content = good[0] + b"".join(line for line, _ in lines) + good[1] + good[2]
    folder = make_folder(tmp_path, {"a-1-1.jsonl": content})
    with Store(folder):
        found = scan(folder)
    assert found.foreign == [f"a-1-1.jsonl, line {n}: {why}" for n, (_, why) in enumerate(lines, start=2)]
    assert len(found.rows) == 3
    assert (folder.rows / "a-1-1.jsonl").read_bytes() == content


def test_second_writer_is_refused_and_told_who_writes(tmp_path: Path) -> None:
    folder = Folder.of(tmp_path, "toy")
    with (
        Store(folder),
        pytest.raises(StoreLocked, match=f"being written by process {os.getpid()}"),
        Store(folder),
    ):
        pass
    with Store(folder):  # the lock went with its owner
        pass


def test_parts_run_side_by_side_but_no_part_twice(tmp_path: Path) -> None:
    folder = Folder.of(tmp_path, "toy")
    with Store(folder, "1/2") as one, Store(folder, "2/2") as two:
        one.append(make_row(1, second=1))
        two.append(make_row(2, second=2))
        with pytest.raises(StoreLocked), Store(folder, "1/2"):
            pass
        with pytest.raises(StoreLocked), Store(folder):
            pass
    assert numbers(tmp_path) == [1, 2]


def test_row_of_a_living_neighbour_is_not_taken_for_torn(tmp_path: Path) -> None:
    folder = Folder.of(tmp_path, "toy")
    with Store(folder, "1/2") as one:
        one.append(make_row(1))
        (shard,) = folder.shards()
        with shard.open("ab") as file:
            file.write(b'{"id":"half')
        with Store(folder, "2/2") as two:
            assert two.repaired == []
    with Store(folder) as alone:
        assert len(alone.repaired) == 1


def test_short_write_is_cut_and_earlier_rows_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder.of(tmp_path, "toy")
    write = os.write
    room = [len(make_row(1).to_line()) + 100]

    def full_disk(file: int, content: bytes) -> int:
        if room[0] <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = content[: room[0]]
        room[0] -= len(part)
        return write(file, part)

    with Store(folder) as store:
        monkeypatch.setattr(os, "write", full_disk)
        store.append(make_row(1))
        with pytest.raises(
            StoreWriteFailed, match=r"No space left on device, \d+ bytes free\. All earlier rows"
        ):
            store.append(make_row(2))
        monkeypatch.undo()
        (shard,) = folder.shards()
        assert shard.read_bytes().endswith(make_row(1).to_line())
        store.append(make_row(3))
    assert numbers(tmp_path) == [1, 3]


def test_failed_sync_is_a_failed_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_disk(file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Store(Folder.of(tmp_path, "toy")) as store:
        store.append(make_row(1))
        monkeypatch.setattr(os, "fsync", broken_disk)
        with pytest.raises(StoreWriteFailed, match="Input/output error"):
            store.append(make_row(2))
    assert numbers(tmp_path) == [1]


def test_nothing_to_store_leaves_no_shard(tmp_path: Path) -> None:
    with Store(Folder.of(tmp_path, "toy")):
        pass
    assert Folder.of(tmp_path, "toy").shards() == []


def test_linked_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    root = tmp_path / "results"
    root.mkdir()
    (root / "toy").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreRefused, match="must be a plain folder, but is a symbolic link"):
        Folder.of(root, "toy")
    (root / "inner").mkdir()
    (root / "inner" / "rows").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreRefused, match="symbolic link"):
        Folder.of(root, "inner")


def test_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "toy").touch()
    with pytest.raises(StoreRefused, match="must be a folder, but is a file"):
        Folder.of(tmp_path, "toy")


@pytest.mark.parametrize("status", ["ok", "error", "timeout", "lost", "skipped"])
def test_line_and_row_are_inverse(status: str) -> None:
    row = make_row(status=status)  # pyright: ignore[reportArgumentType]
    assert Row.from_line(row.to_line()) == row
