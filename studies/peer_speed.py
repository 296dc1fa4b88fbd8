"""How long does a whole gradient take, ours beside other toolkits, each driven in its best documented way?

`python studies/peer_speed.py` times five workloads (see `WORKLOADS`) in one run: routes take turns, warm, each
toolkit in a process of its own; figures are medians with the shortest and the longest round. Gradients are compared
with ours, so a fast wrong answer shows, and a toolkit that is not installed costs one line. Tables are printed, and
written to `results/peer_speed/` after every workload; `--only` has a folder of its own there.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import torch

from studies.engine.provenance import provenance
from studies.peers import ensemble, growth, hybrid_step, ising_on_gpu, ring_case, ring_gradient
from studies.peers.comparison import Row, Verdict, compared, judged
from studies.peers.route import OURS, Driver, Route, collect, installed
from studies.peers.separate import separate
from studies.peers.tables import Report, Table, of_rows, of_verdicts
from studies.peers.targets import TARGETS
from studies.peers.timing import take_turns

# A route that is expected to take longer than this for a larger case is left out of it.
LONGEST_SECONDS = 20.0


class Case(Protocol):
    """A size of a workload."""

    @property
    def name(self) -> str: ...

    @property
    def units(self) -> int: ...


SomeCase = TypeVar("SomeCase", bound=Case)


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is measured.

    Args:
        repeats: timed runs of a route, at most.
        budget: seconds of timed runs of a route, after which three are enough.
        quick: tiny sizes, to see that everything runs.
    """

    repeats: int
    budget: float
    quick: bool


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a workload gives: tables, targets with their verdicts, lines for what was not run."""

    tables: Sequence[Table]
    verdicts: Sequence[Verdict] = ()
    skipped: Sequence[str] = ()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def compare(
    workload: str, name: str, drivers: Sequence[Driver[SomeCase]], cases: Sequence[SomeCase], effort: Effort
) -> Findings:
    """Every driver on every case; in a process of its own unless that would take longer than the work."""
    with nullcontext(drivers) if effort.quick else separate(drivers) as lent:
        return _compare(workload, name, list(lent), cases, effort)


def _compare(
    workload: str, name: str, drivers: Sequence[Driver[SomeCase]], cases: Sequence[SomeCase], effort: Effort
) -> Findings:
    rows: list[Row] = []
    skipped: list[str] = []
    for case in cases:
        _say(f"{workload}: {case.name}")
        routes, missing = collect(drivers, case)
        routes, dear = _affordable(routes, rows, case)
        timings, failed = take_turns(routes, repeats=effort.repeats, budget=effort.budget, say=_say)
        rows += compared(workload, case.name, case.units, timings)
        skipped += [*missing, *dear, *(f"{workload}, {case.name}: {line}" for line in failed)]
    verdicts = [] if effort.quick else judged([t for t in TARGETS if t.workload == workload], rows)
    title = f"{workload[0].upper()}{workload[1:]}"
    return Findings(tables=[of_rows(name, title, rows, verdicts)], verdicts=verdicts, skipped=skipped)


def _affordable(routes: Sequence[Route], rows: Sequence[Row], case: Case) -> tuple[list[Route], list[str]]:
    """Routes without those of others that would take too long, going by their last case and the units of this one."""
    last = {(row.toolkit, row.method): row for row in rows}
    kept, lines = [], []
    for route in routes:
        row = last.get((route.toolkit, route.method))
        expected = 0.0 if row is None else row.median * case.units / row.units
        if route.toolkit == OURS or expected < LONGEST_SECONDS:
            kept.append(route)
        else:
            lines.append(f"{route.name}, {case.name}: skipped, about {expected:.0f} s expected")
    return kept, lines


def _gradient(effort: Effort) -> Findings:
    cases = ring_case.QUICK_SIZES if effort.quick else ring_case.SIZES
    return compare(ring_case.WORKLOAD, "gradient", ring_gradient.DRIVERS, cases, effort)


def _hybrid(effort: Effort) -> Findings:
    cases = hybrid_step.QUICK_CASES if effort.quick else hybrid_step.CASES
    return compare(hybrid_step.WORKLOAD, "hybrid", hybrid_step.DRIVERS, cases, effort)


def _ensemble(effort: Effort) -> Findings:
    cases = ensemble.QUICK_CASES if effort.quick else ensemble.CASES
    return compare(ensemble.WORKLOAD, "ensemble", ensemble.DRIVERS, cases, effort)


def _growth(effort: Effort) -> Findings:
    sweeps = growth.QUICK_SWEEPS if effort.quick else growth.SWEEPS
    _say(growth.WORKLOAD)
    return Findings(tables=growth.tables(sweeps, repeats=effort.repeats, budget=min(1.0, effort.budget)))


def _gpu(effort: Effort) -> Findings:
    line = ising_on_gpu.missing_device()
    if line is not None:
        return Findings(tables=(), skipped=[line])
    cases = ising_on_gpu.QUICK_CASES if effort.quick else ising_on_gpu.CASES
    return compare(ising_on_gpu.WORKLOAD, "gpu", ising_on_gpu.DRIVERS, cases, effort)


WORKLOADS: Mapping[str, Callable[[Effort], Findings]] = {
    "gradient": _gradient,
    "hybrid": _hybrid,
    "ensemble": _ensemble,
    "growth": _growth,
    "gpu": _gpu,
}


def about(arguments: Sequence[str]) -> dict[str, object]:
    """Where the figures come from: code, packages, computer, threads."""
    drivers = [*ring_gradient.DRIVERS, *hybrid_step.DRIVERS, *ensemble.DRIVERS]
    packages = dict.fromkeys(["torch", "numpy", "qiskit", *(name for d in drivers for name in d.packages)])
    known = provenance([], workers=0)
    known["command"] = " ".join(["python studies/peer_speed.py", *arguments])
    known["packages"] = installed(list(packages))
    known["threads"] = (
        f"{torch.get_num_threads()} (OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')})"
    )
    if torch.cuda.is_available():
        known["device"] = torch.cuda.get_device_name()
    del known["workers"]
    return known


def run(names: Sequence[str], effort: Effort, folder: Path, arguments: Sequence[str]) -> Report:
    """Runs the workloads, writing after each what there is."""
    report = Report(about=about(arguments))
    verdicts: list[Verdict] = []
    measured: list[Table] = []
    for name in names:
        findings = WORKLOADS[name](effort)
        measured += findings.tables
        verdicts += findings.verdicts
        report.tables = [*measured, of_verdicts(verdicts)] if verdicts else list(measured)
        report.skip(findings.skipped)
        report.write(folder)
    return report


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=9, help="timed runs of a route, at most (default 9)")
    parser.add_argument(
        "--budget", type=float, default=6.0, help="seconds of a route after which 3 runs do (default 6)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: to see that all runs, not to time it"
    )
    parser.add_argument("--only", choices=list(WORKLOADS), help="one workload")
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="where tables go (default results)"
    )
    given = list(sys.argv[1:] if arguments is None else arguments)
    chosen = parser.parse_args(given)
    repeats = min(chosen.repeats, 2) if chosen.quick else chosen.repeats
    effort = Effort(repeats=repeats, budget=chosen.budget, quick=chosen.quick)
    folder = chosen.results / "peer_speed"
    names = list(WORKLOADS)
    if chosen.only:
        folder, names = folder / chosen.only, [chosen.only]
    print(run(names, effort, folder, given).markdown())


if __name__ == "__main__":
    main()
