"""What the verbs of the command line do."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from classical.cost import Cost
from studies.engine.attempt import now
from studies.engine.errors import BadRequest
from studies.engine.folder import Folder
from studies.engine.grid import grid_of, grid_of_frame
from studies.engine.lookup import Registry, load_study
from studies.engine.merging import merge
from studies.engine.progress import Progress, duration_in_words
from studies.engine.protocol import Engine
from studies.engine.provenance import provenance
from studies.engine.reading import Scan, scan
from studies.engine.runner import Summary, run_tasks
from studies.engine.stop import StopRequest
from studies.engine.store import Store
from studies.engine.study import Study
from studies.engine.task import SCHEMA, Task
from studies.engine.terminal import print_grid

SPEND_VARIABLE = "QTN_SPEND"
"""Where tasks, in whatever process, find how many dollars they may spend together."""


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """The options of the verb `run`."""

    preset: str = "quick"
    results: Path = Path("results")
    workers: int | None = None
    """Processes; None for all cores, 0 for none."""
    scheduler: str | None = None
    shard: str | None = None
    limit: int | None = None
    spend: float | None = None
    """Dollars that tasks may spend on QPUs."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"Argument `workers` must be at least 0, but is {self.workers}.")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"Argument `limit` must be at least 1, but is {self.limit}.")
        if self.spend is not None and not self.spend >= 0:
            raise ValueError(f"Argument `spend` must be at least 0 dollars, but is {self.spend}.")
        if self.scheduler is not None and self.workers is not None:
            raise ValueError("Argument `workers` must be left out with `scheduler`, which has its own.")

    def part_of(self, tasks: list[Task]) -> list[Task]:
        """The tasks of part k/N, dealt out like cards."""
        if self.shard is None:
            return tasks
        number, _, parts = self.shard.partition("/")
        if not (number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
            raise ValueError(f"Argument `shard` must be k/N with 1 <= k <= N, but is {self.shard!r}.")
        return tasks[int(number) - 1 :: int(parts)]

    def engine(self) -> tuple[Engine, int]:
        """The engine, and how many processes of this computer work for it."""
        if self.scheduler is not None:
            from studies.engine.cluster import Cluster

            return Cluster(self.scheduler), 0
        workers = _cores() if self.workers is None else self.workers
        if workers == 0:
            from studies.engine.serial import Serial

            return Serial(), 0
        from studies.engine.pool import Pool

        return Pool(workers), workers

    def options(self) -> list[str]:
        """The options that repeat the run, without the place of the results."""
        given = {
            "preset": self.preset,
            "workers": self.workers,
            "shard": self.shard,
            "limit": self.limit,
            "spend": self.spend,
        }
        words = [f"--{name} {value}" for name, value in given.items() if value is not None]
        return words if self.scheduler is None else [*words, "--scheduler ADDRESS"]


def list_studies(registry: Registry) -> None:
    """Prints name, question and presets of each study."""
    studies = [load_study(name, registry) for name in sorted(registry)]
    rows = [[study.name, ", ".join(study.presets), study.question] for study in studies]
    print_grid(grid_of(["study", "presets", "question"], rows))


def plan(study: Study, preset: str, results: Path) -> None:
    """Prints the tasks of a preset and the price of those without a result."""
    tasks = study.tasks_of(preset)
    done = scan(Folder.of(results, study.name)).first_ok()
    missing = [task for task in tasks if task.id not in done]
    lines: list[list[object]] = [
        ["tasks", len(tasks), ""],
        ["tasks done", len(tasks) - len(missing), ""],
        ["tasks to do", len(missing), ""],
    ]
    if study.price is None:
        lines.append(["price", "this study names none", ""])
    else:
        total = sum((study.price(task) for task in missing), Cost())
        shown = ("circuits", "shots", "jobs", "qpu_seconds", "dollars", "wall_seconds", "flops")
        for name in shown:
            value = getattr(total, name)
            if value != 0 or name in ("circuits", "shots", "qpu_seconds", "dollars"):
                source = total.sources.get(name, "")
                lines.append([name.replace("_", " "), "unknown" if value is None else value, source])
        if study.free_seconds and total.qpu_seconds:
            share = f"{total.qpu_seconds / study.free_seconds:.0%}"
            lines.append(["of a free plan's month", share, total.sources.get("qpu_seconds", "")])
    if study.bill is not None:
        bill = sum(study.bill(task) for task in missing)
        lines.append(
            ["dollars really spent", round(bill, 2), "estimated; `run` wants --spend" if bill else ""]
        )
    print_grid(grid_of(["plan of " + study.name, preset, "source"], lines))


def _check_bill(study: Study, tasks: list[Task], spend: float | None) -> None:
    """Refuses tasks that would spend more than is allowed; tells them, by the environment, what that is."""
    bill = sum(study.bill(task) for task in tasks) if study.bill is not None else 0.0
    if bill > (spend or 0.0):
        allowed = "nothing is allowed" if spend is None else f"${spend:,.2f} are allowed"
        raise BadRequest(
            f"The tasks to do spend about ${bill:,.2f} on a QPU, but {allowed}: run with --spend {math.ceil(bill)} or "
            "more. Nothing was submitted."
        )
    if spend is not None:
        os.environ[SPEND_VARIABLE] = str(spend)


def run(study: Study, request: RunRequest) -> int:
    """Runs what is missing and writes the report; gives the exit status."""
    all_tasks = study.tasks_of(request.preset)
    tasks = request.part_of(all_tasks)
    engine, workers = request.engine()
    folder = Folder.of(request.results, study.name)
    own = [f"--{name} {text}" for name, text in study.given.items()]
    heading = provenance(["run", study.name, *own, *request.options()], workers)
    with StopRequest() as stop, Store(folder, request.shard, heading) as store:
        for repair in store.repaired:
            print(f"{repair} (kept in {folder.rows}/*.torn)", file=sys.stderr)
        found = scan(folder)
        done = found.first_ok()
        missing = [task for task in tasks if task.id not in done][: request.limit]
        before = [task for task in tasks if task.id in done]
        folder.write_settings(_settings(folder, study, request.preset))
        _check_bill(study, missing, request.spend)
        print(f"{study.name}, {request.preset}: {len(missing)} tasks to do, {len(before)} done before.")
        with Progress(missing, len(before), study.duration) as progress:
            summary = run_tasks(
                study, before + missing, store=store, found=found, engine=engine, progress=progress, stop=stop
            )
        if stop.signal is not None:
            print(f"Stopped at {summary.done} of {summary.total} tasks. The same command again goes on.")
            return 128 + stop.signal
        status = _report(folder, study, request.preset, all_tasks, scan(folder))
    return max(status, _tell_failures(summary))


def status(study: Study, asked: str | None, results: Path) -> None:
    """Prints how many tasks are done, failed and left, and what is wrong with the rows."""
    folder = Folder.of(results, study.name)
    study, preset = _last(folder, study, asked)
    tasks = study.tasks_of(preset)
    found = scan(folder)
    done = found.first_ok()
    last = {row.task.id: row.outcome for row in found.rows}
    counts: dict[str, int] = {"ok": 0}
    for task in tasks:
        state = "ok" if task.id in done else last[task.id].status if task.id in last else "not tried"
        counts[state] = counts.get(state, 0) + 1
    rows = [["tasks", len(tasks)], *([state, count] for state, count in counts.items())]
    seconds = sum(row.outcome.wall_seconds or 0.0 for row in found.rows)
    print_grid(
        grid_of(["status of " + study.name, preset], [*rows, ["work so far", duration_in_words(seconds)]])
    )
    _tell_problems(found)


def report(study: Study, asked: str | None, results: Path) -> int:
    """Writes the report from the rows there are; gives the exit status."""
    folder = Folder.of(results, study.name)
    study, preset = _last(folder, study, asked)
    return _report(folder, study, preset, study.tasks_of(preset), scan(folder))


def merge_results(results: Path, others: list[Path]) -> None:
    """Merges, and prints what each study gained."""
    gained = merge(results, others)
    print_grid(grid_of(["study", "lines added"], [[name, count] for name, count in gained.items()]))


def _report(folder: Folder, study: Study, preset: str, tasks: list[Task], found: Scan) -> int:
    # Drawing takes a second to import, which a run that is stopped early need not spend.
    from studies.engine.report import findings, write_report

    result = findings(study, tasks, found)
    path = write_report(folder, study, preset, tasks, found, result)
    for title, table in result.tables.items():
        print(f"\n{title}")
        print_grid(grid_of_frame(table))
    print()
    for sentence in (*result.answer, *result.troubles):
        print(sentence)
    _tell_problems(found)
    print(f"Report: {path}")
    return 1 if found.conflicts() else 0


def _tell_failures(summary: Summary) -> int:
    if summary.statuses["skipped"]:
        why = f"; the first: {summary.first_skip}" if summary.first_skip else "."
        print(f"{summary.statuses['skipped']} tasks were skipped{why}", file=sys.stderr)
    if not summary.failed:
        return 0
    print(
        f"studies: {summary.failed} of {summary.total} tasks failed; the first: {summary.first_failure}. "
        "The next run tries them again.",
        file=sys.stderr,
    )
    return 1


def _tell_problems(found: Scan) -> None:
    for sentence in found.conflicts():
        print(f"Conflict. {sentence}", file=sys.stderr)
    if found.foreign:
        print(f"{len(found.foreign)} lines are no rows; the first: {found.foreign[0]}.", file=sys.stderr)


def _cores() -> int:
    """The cores that this process may use, which on a cluster are not all there are."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def _last(folder: Folder, study: Study, asked: str | None) -> tuple[Study, str]:
    """The preset asked for, or that of the last run with its options."""
    if asked is not None:
        return study, asked
    settings = folder.read_settings()
    return study.with_options(settings.get("options", {})), settings["preset"]


def _settings(folder: Folder, study: Study, preset: str) -> dict[str, object]:
    try:
        created = folder.read_settings().get("created", now())
    except BadRequest:  # none there yet, or damaged: it is written anew
        created = now()
    return {
        "study": study.name,
        "version": study.version,
        "question": study.question,
        "preset": preset,
        "params": study.params_of(preset),
        "options": dict(study.given),
        "schema": SCHEMA,
        "created": created,
    }
