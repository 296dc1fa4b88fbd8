"""One paid job whatever happens: every fault, the unmodified IBM client over loopback, Aer behind it.

`python -m tests.ibm_service.fault_table` prints a table: jobs that the service has and bills after the fault, whether
the values are right, and what the program said. Where it stops, it is started again, as a user would.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp

from hybrid import Objective, ParameterShift
from hybrid.backends import DeviceBackend, open_backend
from hybrid.gradients import Gradient
from hybrid.ibm.errors import IBMFailure
from hybrid.ibm.runner import PaidRunner
from hybrid.ibm.waiting import Pace
from tests.ibm_service import Fault, LoopbackService, Rules

JOBS, JOB, RESULTS = r"^/jobs$", r"^/jobs/[^/]+$", r"/results$"
Prepare = Callable[[LoopbackService], None]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fault: rules of the service, faults from the start, or what is done to it before the gradient.

    `stops`: the program ends with a sentence, and a second start goes on. `jobs`: how many the service is to have.
    """

    rules: Mapping[str, Any] | None = None
    faults: tuple[Fault, ...] = ()
    before: Prepare | None = None
    stops: bool = False
    jobs: int = 1


def _post(kind: Any, times: int = 1, **more: Any) -> tuple[Fault, ...]:
    return (Fault("POST", JOBS, kind, times=times, **more),)


def _get(path: str, kind: Any, times: int = 1, **more: Any) -> tuple[Fault, ...]:
    return (Fault("GET", path, kind, times=times, **more),)


CASES: Mapping[str, Case] = {
    "none": Case(),
    "POST 429, three times": Case(faults=_post("status", 3, status=429)),
    "POST 429 with Retry-After": Case(faults=_post("status", status=429, retry_after=1)),
    "POST 500, twice": Case(faults=_post("status", 2, status=500)),
    "POST connection dropped, twice": Case(faults=_post("drop", 2)),
    "POST accepted, reply lost": Case(faults=_post("lose_reply")),
    "the same, listing lags 1 s": Case(faults=_post("lose_reply"), rules={"listing_lag_seconds": 1.0}),
    "POST hangs": Case(faults=_post("hang", hang_seconds=4.0)),
    "GET job 500, three times": Case(faults=_get(JOB, "status", 3, status=500)),
    "GET job dropped": Case(faults=_get(JOB, "drop")),
    "GET results 503, twice": Case(faults=_get(RESULTS, "status", 2, status=503)),
    "GET results 429 without Retry-After": Case(faults=_get(RESULTS, "status", status=429)),
    "GET results 429 with Retry-After": Case(faults=_get(RESULTS, "status", status=429, retry_after=1)),
    "GET results dropped": Case(faults=_get(RESULTS, "drop")),
    "GET results hangs": Case(faults=_get(RESULTS, "hang", hang_seconds=4.0)),
    "queue of 2 s": Case(rules={"queue_seconds": 2.0}),
    "token expires": Case(before=lambda service: service.expire_token()),
    "token expires for good": Case(
        before=lambda service: service.expire_token(for_good=True), stops=True, jobs=0
    ),
    "job cancelled by others": Case(before=lambda service: service.cancel_next(), stops=True, jobs=2),
    "409, the instance's usage is up": Case(rules={"usage_limit_seconds": 1.0}, stops=True, jobs=0),
    "five a minute are used up": Case(
        rules={"submissions_per_minute": 1, "minute_seconds": 2.0}, before=lambda service: _use_up()
    ),
}


def _use_up() -> None:
    """One submission of somebody else."""
    with gradient_program(Path(tempfile.mkdtemp()), "other") as run:
        run()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a case."""

    jobs: int
    billed_seconds: float
    right: bool | None
    """Whether the gradient is the service's; None where there is none."""
    sentences: tuple[str, ...]
    seconds: float


def outcome(case: Case, folder: Path) -> Outcome:
    """Runs a case; a program that stops is started once more."""
    rules = Rules(**{"submissions_per_minute": 1_000, **(case.rules or {})})
    before = dict(os.environ)
    sentences: list[str] = []
    found: Gradient | None = None
    with LoopbackService(folder / "service", rules=rules, faults=()) as service:
        os.environ.update(service.environment(), USAGE_DATA_OPT_OUT="True")
        try:
            start = time.monotonic()
            for attempt in range(2):
                try:
                    with gradient_program(folder, "task") as run:
                        if attempt == 0:
                            if case.before is not None:
                                case.before(service)
                            for fault in case.faults:
                                service.inject(fault)
                        found = run()
                    break
                except IBMFailure as error:
                    sentences.append(str(error))
            seconds = time.monotonic() - start
        finally:
            os.environ.clear()
            os.environ.update(before)
        own = [job for job in service.jobs() if job.number > (1 if case.before and case.rules else 0)]
        return Outcome(
            jobs=len(own),
            billed_seconds=sum(job.billed_seconds or 0.0 for job in own),
            right=None if found is None else _is_right(found),
            sentences=tuple(sentences),
            seconds=seconds,
        )


@contextmanager
def gradient_program(folder: Path, task: str) -> Any:
    """What a user runs: a gradient of two parameters on the fake device; gives the call that runs it."""
    first, second = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(2)
    circuit.rx(first, 0)
    circuit.cx(0, 1)
    circuit.ry(second, 1)
    objective = Objective(circuit, SparsePauliOp(["ZI", "IZ"], [1.0, 1.0]))
    backend = open_backend(
        "ibm:fake_manila", spend=1_000, task=task, journal=folder / "jobs.sqlite", reply=2.0, poll=0.1, back_off=0.2,
        grace=2.0, say=lambda line: None,
    )  # fmt: skip
    assert isinstance(backend, DeviceBackend)
    assert isinstance(backend.runner, PaidRunner)
    # The service's own limit is what is tested; ours would never meet it.
    backend.runner.pace = Pace(count=1_000)

    def run() -> Gradient:
        rng = np.random.default_rng(0)
        return ParameterShift().gradient(objective, THETA, backend=backend, total_shots=4_000, rng=rng)

    yield run


THETA = np.array([0.4, 1.1])
# <Z0 + Z1> = cos a + cos a cos b.
_EXACT = np.array([-np.sin(0.4) * (1 + np.cos(1.1)), -np.cos(0.4) * np.sin(1.1)])
_DEVICE_NOISE = 0.12


def _is_right(gradient: Gradient) -> bool:
    return bool(
        np.abs(gradient.values.numpy() - _EXACT).max()
        < _DEVICE_NOISE + 4.5 * float(gradient.std_errors.max())
    )


def main() -> None:
    print(
        "| fault | jobs billed | wanted | right values | seconds | what it says |\n|---|---|---|---|---|---|"
    )
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            came = outcome(case, Path(folder))
        right = {True: "yes", False: "NO", None: "none"}[came.right]
        said = " / ".join(sentence[:90] for sentence in came.sentences)
        print(f"| {name} | {came.jobs} | {case.jobs} | {right} | {came.seconds:.1f} | {said} |", flush=True)


if __name__ == "__main__":
    main()
