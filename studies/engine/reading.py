"""Reading the rows of a study."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from studies.engine.errors import RowConflict
from studies.engine.folder import Folder
from studies.engine.row import Row
from studies.engine.task import canonical_json

if TYPE_CHECKING:
    import pandas as pd

_RELATIVE, _ABSOLUTE = 1e-9, 1e-12
"""Two computers may differ in the last bits of a sum; more than this is another number."""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """All rows of a results folder, with what is wrong with them.

    The rows are in the order in which their attempts began, ties broken by content, so merging folders in any
    order gives the same scan.
    """

    rows: list[Row]
    headings: list[dict[str, Any]] = field(default_factory=list)
    """What each run said of itself: commit, versions, computer, in the order of the runs."""
    foreign: list[str] = field(default_factory=list)
    """Lines that are no rows, by file and line, with the reason. They are left alone."""

    def first_ok(self) -> dict[str, Row]:
        """The first good row of each task, by id."""
        first: dict[str, Row] = {}
        for row in self.rows:
            if row.outcome.status == "ok":
                first.setdefault(row.task.id, row)
        return first

    def attempts(self) -> dict[str, int]:
        """How often each task was tried so far, by id."""
        return {row.task.id: row.attempt for row in sorted(self.rows, key=lambda row: row.attempt)}

    def conflicts(self) -> list[str]:
        """One sentence for each task whose good rows differ in their metrics; timing and cost may differ."""
        first, told = self.first_ok(), {}
        for row in self.rows:
            if row.outcome.status != "ok" or row.task.id in told:
                continue
            name = _difference(first[row.task.id].outcome.metrics, row.outcome.metrics)
            if name is not None:
                told[row.task.id] = (
                    f"Task {row.task.id[:12]} {canonical_json(row.task.spec)} has two good rows that differ "
                    f"in `{name}`: the first is used. Raise the version of the study to compute it anew."
                )
        return sorted(told.values())


def scan(folder: Folder) -> Scan:
    """Reads every shard of a folder; a line that is no row is noted and stops nothing."""
    rows: list[tuple[str, bytes, Row]] = []
    headings: list[dict[str, Any]] = []
    foreign: list[str] = []
    for shard in folder.shards():
        for number, line in enumerate(_whole_lines(shard), start=1):
            heading = _heading(line)
            if heading is not None:
                headings.append(heading)
                continue
            try:
                row = Row.from_line(line)
            except ValueError as reason:
                foreign.append(f"{shard.name}, line {number}: {reason}")
            else:
                rows.append((row.outcome.started, line, row))
    rows.sort(key=lambda entry: entry[:2])
    headings.sort(key=lambda heading: (str(heading.get("started", "")), json.dumps(heading, sort_keys=True)))
    return Scan(rows=[row for *_, row in rows], headings=headings, foreign=foreign)


def read_rows(folder: str | Path, ids: Collection[str] | None = None) -> pd.DataFrame:
    """The good rows of a results folder such as `results/gradient_scaling`, one row a task.

    Columns: the keys of the spec, the metrics and the timing by their own names, then `cost_...`,
        `wall_seconds`, `cpu_seconds` and `id`. The order is that of the specs, whatever the order of the
        work. Only rows
    of the version in `study.json` are taken, and of two good rows of a task the first.

    Args:
        folder: the folder of one study.
        ids: only these tasks.

    Raises:
        RowConflict: when two good rows of one task have different metrics.
    """
    place = Folder(path=Path(folder))
    settings = place.read_settings()
    found = scan(place)
    conflicts = found.conflicts()
    if conflicts:
        raise RowConflict(" ".join(conflicts))
    good = found.first_ok().values()
    return frame(
        row
        for row in good
        if row.task.version == settings.get("version") and (ids is None or row.task.id in ids)
    )


def frame(rows: Iterable[Row]) -> pd.DataFrame:
    """A table of rows, ordered by their specs."""
    import pandas as pd

    ordered = sorted(rows, key=lambda row: (_sort_key(row.task.spec), row.task.id))
    return pd.DataFrame([_flat(row) for row in ordered])


def _flat(row: Row) -> dict[str, object]:
    outcome = row.outcome
    costs = {} if outcome.cost is None else outcome.cost.figures()
    return {
        **row.task.spec,
        **outcome.metrics,
        **outcome.timing,
        **{f"cost_{name}": value for name, value in costs.items()},
        "wall_seconds": outcome.wall_seconds,
        "cpu_seconds": outcome.cpu_seconds,
        "id": row.task.id,
    }


def _sort_key(value: object) -> tuple[object, ...]:
    """A key that orders any JSON values: nothing, then numbers, then text, then the rest."""
    if value is None:
        return (0,)
    if isinstance(value, int | float):
        return (1, value)
    if isinstance(value, str):
        return (2, value)
    if isinstance(value, Mapping):
        return (3, *((name, _sort_key(item)) for name, item in sorted(value.items())))
    assert isinstance(value, list)
    return (4, *(_sort_key(item) for item in value))


def _whole_lines(shard: Path) -> list[bytes]:
    """The lines of a shard that end in a newline; what follows is still being written, or torn."""
    return shard.read_bytes().split(b"\n")[:-1]


def _heading(line: bytes) -> dict[str, Any] | None:
    if not line.startswith(b'{"run":'):
        return None
    try:
        content = json.loads(line)["run"]
    except (ValueError, KeyError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _difference(mine: object, yours: object, name: str = "metrics") -> str | None:
    """The name of the first metric in which two rows differ, or None."""
    if isinstance(mine, Mapping) and isinstance(yours, Mapping):
        if set(mine) != set(yours):
            return sorted(set(mine) ^ set(yours))[0]
        pairs = [(key, mine[key], yours[key]) for key in sorted(mine)]
        return next((found for key, *pair in pairs if (found := _difference(*pair, name=str(key)))), None)
    if isinstance(mine, list) and isinstance(yours, list) and len(mine) == len(yours):
        return next((name for a, b in zip(mine, yours, strict=True) if _difference(a, b, name)), None)
    if _is_number(mine) and _is_number(yours):
        return None if math.isclose(mine, yours, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE) else name
    return None if mine == yours and type(mine) is type(yours) else name


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
