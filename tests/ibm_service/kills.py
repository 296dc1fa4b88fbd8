"""Programs that are killed at random moments: how many jobs are paid twice or lost?

`python -m tests.ibm_service.kills --kills 30` prints a table. Each cell is a program of two values, each one job, on
the loopback service with a listing lag. It is started, killed by SIGKILL at a random moment and started again, until
it ends; then the service must have exactly the jobs that were intended.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.ibm_service import LoopbackService, Rules
from tests.ibm_service.program import CALLS, program

LISTING_LAG_SECONDS = 1.0
_PRELOADED = [
    "tests.ibm_service.kills",
    "hybrid",
    "qiskit_ibm_runtime",
    "qiskit_ibm_runtime.executor_sampler",
]


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What the kills left: jobs at the service beyond those intended, and intended ones without a result."""

    kills: int
    cells: int
    duplicates: int
    lost: int


def run(kills: int, folder: Path, seed: int = 0, grace: float = 1.5) -> Tally:
    """Kills until there were `kills`; returns the tally."""
    # A child imports this module a second time, of which Python warns.
    os.environ["PYTHONWARNINGS"] = "ignore"
    rng = np.random.default_rng(seed)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    rules = Rules(listing_lag_seconds=LISTING_LAG_SECONDS, submissions_per_minute=10_000, queue_seconds=0.1)
    killed = cells = 0
    with LoopbackService(folder / "service", rules=rules) as service:
        arguments = (str(folder), service.environment(), grace)
        _finish(context.Process(target=program, args=("warm", *arguments)))
        start = time.monotonic()
        _finish(context.Process(target=program, args=("timed", *arguments)))
        seconds = time.monotonic() - start
        while killed < kills:
            task = f"cell-{cells}"
            while not (folder / f"{task}.done").exists():
                process = context.Process(target=program, args=(task, *arguments))
                process.start()
                process.join(rng.uniform(0, 1.1 * seconds) if killed < kills else None)
                if process.is_alive():
                    process.kill()
                    process.join()
                    killed += 1
            cells += 1
        jobs = [job for job in service.jobs() if job.state != "CANCELLED"]
    intended = CALLS * (cells + 2)
    done = CALLS * len(list(folder.glob("*.done")))
    return Tally(kills=killed, cells=cells, duplicates=max(0, len(jobs) - intended), lost=intended - done)


def _finish(process: multiprocessing.process.BaseProcess) -> None:
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"The program ended with {process.exitcode}.")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--grace",
        type=float,
        default=1.5,
        help=f"seconds; the listing lags by {LISTING_LAG_SECONDS} (default 1.5)",
    )
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        tally = run(chosen.kills, Path(folder), chosen.seed, chosen.grace)
    print("| kills | programs | jobs twice | jobs lost |\n|---|---|---|---|")
    print(f"| {tally.kills} | {tally.cells} | {tally.duplicates} | {tally.lost} |")


if __name__ == "__main__":
    main()
