"""`python -m studies jobs`: what was submitted to a QPU, fetching it and stopping it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studies.engine.errors import BadRequest
from studies.engine.grid import grid_of
from studies.engine.terminal import print_grid

if TYPE_CHECKING:
    from hybrid.ibm.journal import Entry, Journal

_Journal = Annotated[Path, typer.Option(help="File of the jobs.")]
_Task = Annotated[str | None, typer.Option(help="Jobs of this task only.")]
_JOURNAL = Path("results") / "jobs.sqlite"

JOBS = typer.Typer(no_args_is_help=True, help="See to jobs on QPUs.")


@JOBS.command(name="list")
def list_jobs(journal: _Journal = _JOURNAL, task: _Task = None) -> None:
    """List the jobs of the journal, with what they were estimated and billed. Asks no service."""
    entries = _opened(journal).entries(task)
    headings = [
        "task",
        "call",
        "device",
        "state",
        "job",
        "executions",
        "estimated s",
        "billed s",
        "dollars",
        "since",
    ]
    print_grid(grid_of(headings, [_row(entry) for entry in entries]))


@JOBS.command()
def fetch(journal: _Journal = _JOURNAL, task: _Task = None) -> None:
    """Collect the results of jobs that were submitted; submits nothing."""
    from hybrid.ibm.errors import IBMFailure
    from hybrid.ibm.managing import collect
    from hybrid.ibm.service import IBMService

    book = _opened(journal)
    try:
        lines = list(collect(book, IBMService(), task))
        print("\n".join(lines) or "Nothing to fetch: every job has its result and bill.")
    except IBMFailure as error:
        raise BadRequest(str(error)) from None


@JOBS.command()
def cancel(
    job: Annotated[str, typer.Argument(help="Id of a job, as `jobs list` has it.")],
    journal: _Journal = _JOURNAL,
) -> None:
    """Stop a job. What it has used is billed."""
    from hybrid.ibm.errors import IBMFailure
    from hybrid.ibm.managing import cancel as stop
    from hybrid.ibm.service import IBMService

    book = _opened(journal)
    try:
        print(stop(book, IBMService(), job))
    except IBMFailure as error:
        raise BadRequest(str(error)) from None


def _opened(path: Path) -> Journal:
    from hybrid.ibm.journal import Journal, JournalUnwritable

    if not path.exists():
        raise BadRequest(
            f"There is no journal {path}: nothing was submitted from here, or name it with --journal."
        )
    try:
        return Journal(path)
    except JournalUnwritable as error:
        raise BadRequest(str(error)) from None


def _row(entry: Entry) -> list[object]:
    state = f"{entry.state}, {len(entry.duplicates)} duplicates" if entry.duplicates else entry.state
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.intended))
    call = "ended" if entry.call < 0 else f"{entry.call}.{entry.part}" if entry.part else entry.call
    figures = [entry.executions, entry.estimated_seconds, entry.billed_seconds, entry.estimated_dollars]
    return [entry.task, call, entry.backend, state, entry.job_id or "", *figures, since]
