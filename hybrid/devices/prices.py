"""QPU seconds and dollars of a job, before it is run."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from qiskit import QuantumCircuit
from qiskit.transpiler import Target

from classical.cost import Cost
from hybrid.devices.jobs import Job

PRICES_VARIABLE = "QTN_PRICES"
DEFAULT_PLAN = "pay-as-you-go"
_OWN = Path(__file__).with_name("prices.toml")
# Where a device does not give a duration: those of IBM's Heron r2, as calibration data of `ibm_fez` have them.
_READOUT_SECONDS, _RESET_SECONDS = 1.56e-6, 1.58e-6
_TWO_QUBIT_SECONDS, _ONE_QUBIT_SECONDS = 84e-9, 24e-9
_FREE = ("rz", "p", "id", "barrier", "delay")


@dataclass(frozen=True, kw_only=True)
class Prices:
    """A price table with its date and source.

    Args:
        dollars_per_second: by plan.
        open_seconds, open_days: what the open plan gives, in how many days.
        job_seconds: what a job takes beside its circuits.
        rep_delay_seconds: between executions, where the device does not say.
    """

    date: str
    source: str
    dollars_per_second: Mapping[str, float]
    open_seconds: float
    open_days: int
    job_seconds: float
    rep_delay_seconds: float

    @staticmethod
    def load(path: Path | str | None = None) -> Prices:
        """Reads a price table: `path`, or the one that the environment variable QTN_PRICES names, or ours.

        Raises:
            ValueError: for a file that is missing or lacks an entry.
        """
        if path is not None and not isinstance(path, (str, Path)):
            raise ValueError(f"Argument `prices` must be the path of a price table, but is {path!r}.")
        return _load(Path(path or os.environ.get(PRICES_VARIABLE) or _OWN))

    def of_plan(self, plan: str) -> float:
        """Dollars a second."""
        if plan not in self.dollars_per_second:
            raise ValueError(
                f"Argument `plan` must be one of {sorted(self.dollars_per_second)}, but is {plan!r}."
            )
        return self.dollars_per_second[plan]


@lru_cache(maxsize=16)
def _load(path: Path) -> Prices:
    try:
        table = tomllib.loads(path.read_text())
        made = Prices(
            date=str(table["date"]),
            source=str(table["source"]),
            dollars_per_second={name: float(each) for name, each in table["dollars_per_second"].items()},
            open_seconds=float(table["open_plan"]["seconds"]),
            open_days=int(table["open_plan"]["days"]),
            job_seconds=float(table["job"]["overhead_seconds"]),
            rep_delay_seconds=float(table["job"]["rep_delay_seconds"]),
        )
        figures = [*made.dollars_per_second.values(), made.job_seconds, made.rep_delay_seconds]
        if min(figures) < 0 or made.open_seconds <= 0:
            raise ValueError("a figure is negative")
        return made
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"The price table {path} cannot be read ({type(error).__name__}: {error}): copy {_OWN.name} from the "
            "package and change its figures."
        ) from error


@dataclass(frozen=True, kw_only=True)
class Quote:
    """What a job will cost, estimated: prints as one line."""

    executions: int
    qpu_seconds: float
    dollars: float
    open_share: float
    """Of what the open plan gives."""
    plan: str
    date: str
    jobs: int = 1

    def __str__(self) -> str:
        jobs = "one job" if self.jobs == 1 else f"{self.jobs} jobs"
        return (
            f"{self.executions:,} executions in {jobs}: about {self.qpu_seconds:,.0f} s of QPU time, "
            f"${self.dollars:,.2f} ({self.plan}, prices of {self.date}), {self.open_share:.0%} of the open plan's "
            "month"
        )

    @property
    def cost(self) -> Cost:
        return Cost(
            jobs=self.jobs,
            qpu_seconds=self.qpu_seconds,
            dollars=self.dollars,
            sources={"jobs": "computed", "qpu_seconds": "estimated", "dollars": "estimated"},
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Pricing:
    """How a device's jobs are priced.

    IBM's formula: seconds of a job plus (repetition delay + reset + circuit) an execution. Source: IBM Quantum
    documentation, "Estimate job run time".

    Args:
        target: gives durations.
        rep_delay_seconds: between executions; None for the price table's.
    """

    target: Target | None
    prices: Prices
    plan: str = DEFAULT_PLAN
    rep_delay_seconds: float | None = None

    def quote(self, *jobs: Job) -> Quote:
        """The price of jobs."""
        delay = self.prices.rep_delay_seconds if self.rep_delay_seconds is None else self.rep_delay_seconds
        executed = sum(
            pub.executions * (delay + circuit_seconds(pub.circuit, self.target))
            for job in jobs
            for pub in job.pubs
        )
        seconds = len(jobs) * self.prices.job_seconds + executed
        return Quote(
            executions=sum(job.executions for job in jobs),
            qpu_seconds=seconds,
            dollars=seconds * self.prices.of_plan(self.plan),
            open_share=seconds / self.prices.open_seconds,
            plan=self.plan,
            date=self.prices.date,
            jobs=len(jobs),
        )


def circuit_seconds(circuit: QuantumCircuit, target: Target | None) -> float:
    """Length of one execution: reset, then the longest path through gates and measurements."""
    ends = [0.0] * circuit.num_qubits
    place = {qubit: i for i, qubit in enumerate(circuit.qubits)}
    for item in circuit.data:
        qubits = tuple(place[qubit] for qubit in item.qubits)
        end = max((ends[q] for q in qubits), default=0.0) + _seconds(item.operation.name, qubits, target)
        for qubit in qubits:
            ends[qubit] = end
    return _seconds("reset", (0,), target) + max(ends, default=0.0)


def _seconds(name: str, qubits: tuple[int, ...], target: Target | None) -> float:
    known: Any = None
    if target is not None and name in target.operation_names:
        properties = target[name].get(qubits) if target[name] else None
        known = None if properties is None else properties.duration
    if known is not None:
        return float(known)
    if name in _FREE:
        return 0.0
    if name in ("measure", "reset"):
        return _READOUT_SECONDS if name == "measure" else _RESET_SECONDS
    return _ONE_QUBIT_SECONDS if len(qubits) == 1 else _TWO_QUBIT_SECONDS
