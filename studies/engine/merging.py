"""Bringing results of several computers into one folder."""

from __future__ import annotations

from pathlib import Path

from studies.engine.errors import BadRequest
from studies.engine.folder import Folder, write_whole
from studies.engine.lock import FolderLock


def merge(root: Path, others: list[Path]) -> dict[str, int]:
    """Adds the lines of other results roots to this one; gives how many lines each study gained.

    It is a union of sets of (shard, line): merging twice changes nothing, and the order of merging does not
    matter to any reader. Nothing is ever removed, and the other folders are only read.

    Raises:
        BadRequest: when one of the others holds no results.
    """
    gained: dict[str, int] = {}
    for other in others:
        studies = [path.parent for path in sorted(other.glob("*/rows")) if path.is_dir()]
        if not studies:
            raise BadRequest(
                f"The folder {other} must be a results folder, with <study>/rows/ inside, but has none."
            )
        for path in studies:
            source = Folder.of(other, path.name)
            target = Folder.of(root, path.name)
            if target.path.resolve() == source.path.resolve():
                raise BadRequest(f"The folder {other} must be another one than the results folder {root}.")
            with FolderLock(target.path):
                target.rows.mkdir(exist_ok=True)
                added = sum(_merge_shard(shard, target.rows / shard.name) for shard in source.shards())
                if source.settings.is_file() and not target.settings.exists():
                    write_whole(target.settings, source.settings.read_bytes())
            gained[path.name] = gained.get(path.name, 0) + added
    return gained


def _merge_shard(source: Path, target: Path) -> int:
    """Adds what is missing in the target, and gives how many lines that was.

    An unfinished last line stays behind on both sides: in the source its writer may still live.
    """
    theirs = source.read_bytes().split(b"\n")[:-1]
    ours = target.read_bytes().split(b"\n")[:-1] if target.exists() else []
    known = set(ours)
    missing = [line for line in dict.fromkeys(theirs) if line not in known]
    if missing:
        write_whole(target, b"".join(line + b"\n" for line in ours + missing))
    return len(missing)
