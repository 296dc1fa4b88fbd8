"""The report of a study: one page that stands alone, made from rows."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from classical.cost import Cost
from studies.engine import figures
from studies.engine.attempt import describe
from studies.engine.folder import Folder, write_whole
from studies.engine.grid import Grid, grid_of, grid_of_frame
from studies.engine.reading import Scan, frame
from studies.engine.study import Study
from studies.engine.task import Task


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What the rows of a preset say: all that the terminal and the page show."""

    frame: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    """By title."""
    answer: list[str]
    figures: list[figures.Figure]
    troubles: list[str]
    """Why the tables, the answer or the figures could not be made: too few rows, most often."""


def findings(study: Study, tasks: Sequence[Task], found: Scan) -> Findings:
    """The findings of a study from the rows read so far; with no good row, empty ones."""
    good = found.first_ok()
    rows = [good[task.id] for task in tasks if task.id in good]
    data = frame(rows)
    troubles: list[str] = []
    made: dict[str, Any] = {"tables": {}, "answer": [], "figures": []}
    makers = {"tables": study.tables, "answer": study.answer, "figures": study.figures}
    for name, make in makers.items():
        if not rows:
            break
        try:
            with figures.look():
                made[name] = make(data)
        except (
            Exception
        ) as error:  # the code of a study, on rows that may be too few for it; told on the page
            why = describe(error)
            count = f"{len(rows)} of {len(tasks)} tasks"
            troubles.append(f"The {name} could not be made from {count}: {why} (in {why.where}).")
    return Findings(frame=data, troubles=troubles, **made)


def write_report(
    folder: Folder, study: Study, preset: str, tasks: Sequence[Task], found: Scan, result: Findings
) -> Path:
    """Writes figures and `report.html`, and gives the path of the page. The same rows give the same bytes."""
    for figure in result.figures:
        figure.save(folder.figures)
    write_whole(folder.report, _page(study, preset, tasks, found, result).encode())
    return folder.report


def _page(study: Study, preset: str, tasks: Sequence[Task], found: Scan, result: Findings) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("studies.engine", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    ids = {task.id for task in tasks}
    drawn = [
        {"name": each.name, "caption": each.caption, "image": base64.b64encode(each.svg()).decode("ascii")}
        for each in result.figures
    ]
    return environment.get_template("report.html.j2").render(
        study=study,
        preset=preset,
        total=len(tasks),
        done=len(result.frame),
        answer=result.answer,
        troubles=result.troubles,
        tables={title: grid_of_frame(table) for title, table in result.tables.items()},
        figures=drawn,
        params=grid_of(
            ["parameter", "value"], [[key, _text(value)] for key, value in study.params_of(preset).items()]
        ),
        failures=_failures(found, ids),
        conflicts=found.conflicts(),
        foreign=found.foreign,
        cost=_costs(found, ids),
        runs=_runs(found),
    )


def _failures(found: Scan, ids: set[str]) -> Grid:
    """Tasks without a good row by the status and message of their last attempt, with the number of tasks."""
    good = found.first_ok()
    last = {row.task.id: row.outcome for row in found.rows if row.task.id in ids and row.task.id not in good}
    counts = Counter((outcome.status, str(outcome.failure)) for outcome in last.values())
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return grid_of(["status", "tasks", "message"], [[status, count, text] for (status, text), count in order])


def _costs(found: Scan, ids: set[str]) -> Grid:
    """Attempts, time and the sum of all costs; "not measured" where any part was not."""
    rows = [row for row in found.rows if row.task.id in ids]
    total = sum((row.outcome.cost for row in rows if row.outcome.cost is not None), Cost())
    worked = sum(row.outcome.wall_seconds or 0.0 for row in rows)
    lines: list[list[object]] = [
        ["attempts", len(rows), ""],
        ["time of all workers, seconds", worked, "measured"],
    ]
    for name, value in total.figures().items():
        if value != 0:
            words = name.replace("_", " ")
            lines.append([words, "not measured" if value is None else value, total.sources.get(name, "")])
    return grid_of(["what", "how much", "source"], lines)


def _runs(found: Scan) -> Grid:
    """What the runs said of themselves: one column for all runs of the same code on the same computer."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for heading in found.headings:
        same = {key: value for key, value in heading.items() if key not in ("started", "command")}
        groups.setdefault(json.dumps(same, sort_keys=True), []).append(heading)
    sets = list(groups.values())
    lines: list[list[object]] = [
        ["runs", *(len(runs) for runs in sets)],
        ["first began", *(_text(runs[0].get("started")) for runs in sets)],
        ["last began", *(_text(runs[-1].get("started")) for runs in sets)],
        ["last command", *(_text(runs[-1].get("command")) for runs in sets)],
    ]
    keys = dict.fromkeys(key for text in groups for key in json.loads(text))
    lines += [[key, *(_text(runs[0].get(key)) for runs in sets)] for key in keys]
    return grid_of(["", *(f"computer and code {n}" for n in range(1, len(sets) + 1))], lines)


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(item)}" for name, item in value.items())
    return value if isinstance(value, str) else json.dumps(value)
