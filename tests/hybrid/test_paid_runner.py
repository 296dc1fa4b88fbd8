"""Exactly one paid job for each that was intended, whatever the service does; and never a word of a secret."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector

from hybrid.devices.circuits import measuring_circuit
from hybrid.devices.jobs import Job, Pub
from hybrid.devices.prices import Prices, Pricing
from hybrid.devices.runner import UnusableResult
from hybrid.ibm.errors import (
    IBMFailure,
    JobFailed,
    NotThereYet,
    Refused,
    TooExpensive,
    TooLarge,
    http_status,
    redacted,
)
from hybrid.ibm.journal import Intent, Journal, JournalConflict, JournalUnwritable
from hybrid.ibm.limits import Limits
from hybrid.ibm.managing import cancel, collect
from hybrid.ibm.runner import PaidRunner
from hybrid.ibm.waiting import NoReply, Pace, Patience, within
from tests.hybrid.paid_service import MemoryService, hanging, raising


def _job(shift: float = 0.0, shots: int = 7, rows: int = 3) -> Job:
    circuit = QuantumCircuit(1)
    (angle,) = ParameterVector("angle", 1)
    circuit.rx(angle, 0)
    measured = circuit.compose(measuring_circuit(1, ()), inplace=False)
    if measured is None:
        raise AssertionError
    angles = np.linspace(0, 1, rows)[:, None] + shift
    return Job(pubs=(Pub(circuit=measured, angles=angles, shots=shots, content="rx"),))


def _runner(tmp_path: Path, service: MemoryService, **changes: Any) -> PaidRunner:
    """A runner as a fresh process would make it."""
    given: dict[str, Any] = {
        "service": service,
        "device": "memory",
        "journal": Journal(tmp_path / "jobs.sqlite"),
        "pricing": Pricing(target=None, prices=Prices.load()),
        "task": "task",
        "spend": 1_000.0,
        "pace": Pace(count=100, seconds=1.0),
        "patience": Patience(result=2.0, reply=0.3, grace=0.3, poll=0.02, tries=5, back_off=0.01),
        "say": lambda line: None,
    }
    return PaidRunner(**{**given, **changes})


@pytest.mark.parametrize(
    "faults",
    [
        {},
        {"submit": [raising("slow down", 429)] * 3},
        {"submit": [raising("dropped")] * 2},
        {"after_submit": [raising("reply lost")]},
        {"submit": [raising("oops", 500)] * 4},
        {"after_submit": [raising("gateway", 502)]},
        {"after_submit": [hanging(0.6)]},
        {"after_submit": [raising("reply lost")], "find": [raising("no search", 503)] * 3},
        {"state": [raising("dropped")] * 3, "fetch": [raising("busy", 429)] * 2},
        {"state": [hanging(0.6)]},
        {"fetch": [hanging(0.6), raising("dropped")]},
        {"billed_seconds": [raising("no metrics", 500)]},
    ],
    ids=[
        "no fault", "429 x3", "dropped x2", "reply lost", "500 x4", "502 after acceptance", "hanging submission",
        "reply lost, search down", "faults while waiting", "hanging read", "hanging fetch", "no bill",
    ],
)  # fmt: skip
@pytest.mark.parametrize("lag", [0.0, 0.1])
def test_one_paid_job_whatever_happens(faults: dict[str, list[Callable]], lag: float, tmp_path: Path) -> None:
    service = MemoryService(listing_lag=lag, faults={name: list(each) for name, each in faults.items()})
    ran = _runner(tmp_path, service).run(_job(), seed=0)
    assert len(service.jobs) == 1
    assert [bits.shape for bits in ran.bits] == [(3, 7, 1)]
    assert ran.cost.jobs == 1
    assert ran.cost.qpu_seconds is not None
    if "billed_seconds" not in faults:
        assert ran.cost.qpu_seconds == 3.0
        assert ran.cost.sources["qpu_seconds"] == "measured"
    # A rerun pays nothing and gives the same bits.
    again = _runner(tmp_path, service).run(_job(), seed=1)
    assert len(service.jobs) == 1
    np.testing.assert_array_equal(again.bits[0], ran.bits[0])


@pytest.mark.parametrize("where", ["submit", "after_submit", "state", "fetch"])
def test_a_rerun_goes_on_where_a_kill_came(where: str, tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    service = MemoryService(listing_lag=0.1, faults={where: [kill]})
    with pytest.raises(Killed):
        _runner(tmp_path, service).run(_job(), seed=0)
    _runner(tmp_path, service).run(_job(), seed=0)
    assert len(service.jobs) == 1


def test_calls_are_told_apart_by_number_and_held_against_their_content(tmp_path: Path) -> None:
    service = MemoryService()
    first = _runner(tmp_path, service)
    one, two = first.run(_job(), seed=0), first.run(_job(), seed=0)
    assert len(service.jobs) == 2
    assert not np.array_equal(one.bits[0], two.bits[0])
    again = _runner(tmp_path, service)
    np.testing.assert_array_equal(again.run(_job(5e-10), seed=0).bits[0], one.bits[0])
    with pytest.raises(JournalConflict, match="angles differ by 1e-06"):
        again.run(_job(1e-6), seed=0)
    with pytest.raises(JournalConflict, match="circuits or shots"):
        _runner(tmp_path, service).run(_job(shots=8), seed=0)
    with pytest.raises(JournalConflict, match="for the device memory"):
        _runner(tmp_path, service, device="other").run(_job(), seed=0)
    assert len(service.jobs) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413])
def test_a_refusal_is_not_repeated(status: int, tmp_path: Path) -> None:
    service = MemoryService(faults={"submit": [raising("Usage exceeds instance limit", status)]})
    with pytest.raises(Refused, match="nothing was run"):
        _runner(tmp_path, service).run(_job(), seed=0)
    assert not service.jobs
    _runner(tmp_path, service).run(_job(), seed=0)
    assert len(service.jobs) == 1


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_failed_job_stops_and_a_rerun_submits_it_anew(state: Any, tmp_path: Path) -> None:
    service = MemoryService()
    runner = _runner(tmp_path, service)
    service.faults["after_submit"] = [lambda: setattr(service.jobs["job-0"], "state", state)]
    with pytest.raises(JobFailed, match="It was billed 3 s; a rerun submits it anew") as caught:
        runner.run(_job(), seed=0)
    assert service.secret not in str(caught.value)
    # What the first job cost counts: 4.80 dollars are gone.
    price = runner.quote(_job()).dollars
    with pytest.raises(TooExpensive, match=r"With the \$4.80"):
        _runner(tmp_path, service, spend=price + 4.7).run(_job(), seed=0)
    _runner(tmp_path, service, spend=price + 4.9).run(_job(), seed=0)
    assert len(service.jobs) == 2
    assert [entry.state for entry in Journal(tmp_path / "jobs.sqlite").entries()] == [state, "done"]


def test_a_job_that_takes_long_is_collected_later(tmp_path: Path) -> None:
    service = MemoryService()
    service.faults["after_submit"] = [lambda: setattr(service.jobs["job-0"], "state", "waiting")]
    runner = _runner(tmp_path, service, patience=Patience(result=0.05, poll=0.01))
    with pytest.raises(NotThereYet, match="collects it without paying again"):
        runner.run(_job(), seed=0)
    journal = Journal(tmp_path / "jobs.sqlite")
    assert list(collect(journal, service)) == ["task, call 0: job job-0 is waiting"]
    service.jobs["job-0"].state = "done"
    service.jobs["job-0"].billed = None
    assert list(collect(journal, service)) == ["task, call 0: job job-0 fetched"]
    service.jobs["job-0"].billed = 4.0
    assert list(collect(journal, service)) == ["task, call 0: job job-0 was billed 4.0 s"]
    assert list(collect(journal, service)) == []
    ran = _runner(tmp_path, service).run(_job(), seed=0)
    assert ran.cost.qpu_seconds == 4.0
    assert len(service.jobs) == 1


def test_jobs_are_cancelled_by_id(tmp_path: Path) -> None:
    service = MemoryService()
    service.faults["after_submit"] = [lambda: setattr(service.jobs["job-0"], "state", "waiting")]
    with pytest.raises(NotThereYet):
        _runner(tmp_path, service, patience=Patience(result=0.05, poll=0.01)).run(_job(), seed=0)
    journal = Journal(tmp_path / "jobs.sqlite")
    with pytest.raises(IBMFailure, match="has no job 'job-7'"):
        cancel(journal, service, "job-7")
    service.faults["cancel"] = [raising("too late", 409)]
    with pytest.raises(IBMFailure, match="was not cancelled"):
        cancel(journal, service, "job-0")
    assert cancel(journal, service, "job-0") == "Job job-0 is cancelled."
    assert journal.entries()[0].state == "cancelled"


# --- money ------------------------------------------------------------------------------------------------


def test_nothing_is_submitted_above_what_may_be_spent(tmp_path: Path) -> None:
    service = MemoryService()
    price = _runner(tmp_path, service).quote(_job()).dollars
    with pytest.raises(TooExpensive, match=r"allow it with spend=\d+"):
        _runner(tmp_path, service, spend=None).run(_job(), seed=0)
    with pytest.raises(TooExpensive, match="above the"):
        _runner(tmp_path, service, spend=0.9 * price).run(_job(), seed=0)
    assert not service.jobs
    assert not [entry for entry in Journal(tmp_path / "jobs.sqlite").entries() if entry.attempted]
    # What the task has used already counts: 3 s billed at 1.60 dollars.
    runner = _runner(tmp_path, service, spend=3 * 1.6 + 0.5 * price)
    runner.run(_job(), seed=0)
    with pytest.raises(TooExpensive, match=r"With the \$4.80"):
        runner.run(_job(), seed=0)
    # A rerun collects what is paid for whatever may be spent.
    _runner(tmp_path, service, spend=None).run(_job(), seed=0)
    assert len(service.jobs) == 1


def test_the_service_is_told_a_bound_and_a_job_above_it_is_refused(tmp_path: Path) -> None:
    service = MemoryService()
    runner = _runner(tmp_path, service)
    runner.run(_job(), seed=0)
    assert service.jobs["job-0"].most_seconds == pytest.approx(runner.quote(_job()).qpu_seconds + 10, abs=1)
    with pytest.raises(TooLarge, match="use fewer shots or circuits"):
        _runner(tmp_path, service, limits=Limits(seconds=5), task="short").run(_job(), seed=0)


def test_a_job_above_the_limits_is_split_and_joined(tmp_path: Path) -> None:
    service = MemoryService()
    ran = _runner(tmp_path, service, limits=Limits(executions=14)).run(_job(), seed=0)
    assert len(service.jobs) == 2
    assert ran.bits[0].shape == (3, 7, 1)
    assert ran.cost.jobs == 2
    assert ran.cost.qpu_seconds == 6.0


# --- the journal, the pace and the watchdog ---------------------------------------------------------------


def test_a_journal_that_cannot_be_written_stops_before_the_next_submission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalUnwritable, match="Name another"):
        Journal(tmp_path / "file" / "jobs.sqlite")
    service = MemoryService()
    runner = _runner(tmp_path, service)
    runner.run(_job(), seed=0)
    runner.journal._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(JournalUnwritable, match="nothing more is submitted"):
        runner.run(_job(), seed=0)
    assert len(service.jobs) == 1


def test_a_result_of_another_shape_is_refused(tmp_path: Path) -> None:
    from qiskit.primitives import StatevectorSampler

    from hybrid.devices.runner import bits_of, sampler_pubs

    job = _job()
    result = StatevectorSampler(seed=np.random.default_rng(0)).run(sampler_pubs(job)).result()
    assert bits_of(result, job.shapes)[0].shape == (3, 7, 1)
    with pytest.raises(UnusableResult, match="was asked for"):
        bits_of(result, ((3, 8, 1),))
    with pytest.raises(UnusableResult, match="was asked for"):
        bits_of(result, ((4, 7, 1),))


def test_the_journal_keeps_what_it_is_told(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "deep" / "jobs.sqlite")
    job = _job()
    intent = Intent(
        task="t", call=2, part=0, backend="b", fingerprint=job.fingerprint, angles=job.angles, shapes=job.shapes,
        executions=job.executions, estimated_seconds=1.5, estimated_dollars=2.4,
    )  # fmt: skip
    entry, fresh = journal.claim(intent, "tag")
    assert fresh
    assert (entry.state, entry.attempted, entry.shapes) == ("intended", None, ((3, 7, 1),))
    entry, fresh = Journal(journal.path).claim(intent, "other tag")
    assert not fresh
    assert entry.tag == "tag"
    journal.submitted("tag", ["a", "b"])
    assert journal.entries("t")[0].duplicates == ("b",)
    bits = (np.arange(6, dtype=np.uint8).reshape(1, 6, 1), np.zeros((2, 1, 3), np.uint8))
    journal.done("tag", bits, None)
    for before, after in zip(bits, journal.result("tag"), strict=True):
        np.testing.assert_array_equal(before, after)
    assert journal.entries("nobody") == []
    with pytest.raises(JournalConflict, match="differ by"):
        journal.claim(replace(intent, angles=intent.angles[:-1]), "tag")


def test_submissions_keep_their_pace_over_processes(tmp_path: Path) -> None:
    slept: list[float] = []
    pace = Pace(count=2, seconds=30.0)
    for _ in range(2):
        journal = Journal(tmp_path / "jobs.sqlite")
        pace.wait(journal, slept.append)
        journal.attempted("tag")
    assert slept == []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        raise TimeoutError

    with pytest.raises(TimeoutError):
        pace.wait(Journal(tmp_path / "jobs.sqlite"), sleep)
    assert 25 < slept[0] <= 30


def test_a_reply_that_does_not_come_is_not_waited_for() -> None:
    assert within(1.0, lambda: 3, "x") == 3
    with pytest.raises(NoReply, match=r"No answer to a question within 0\.05 s"):
        within(0.05, hanging(0.3), "a question")
    with pytest.raises(KeyError):
        within(1.0, lambda: {}["a"], "x")


def test_statuses_are_found_where_the_client_hides_them() -> None:
    try:
        try:
            raising("inner", 418)()
        except RuntimeError:
            raise ValueError("outer") from None
    except ValueError as error:
        assert http_status(error) == 418
    assert http_status(ValueError()) is None


@pytest.mark.parametrize(
    "text",
    [
        "Bearer abc.def",
        "apikey=xyz",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6.eyJzdWIiOiIxMjM0",
        "canary12345678901234567",
    ],
)
def test_what_could_be_a_secret_is_cut_out(text: str) -> None:
    assert redacted(f"bad {text} here") == "bad *** here"
    assert redacted("short secret s3", ("s3",)) == "short secret ***"
    assert redacted("fake_manila is offline") == "fake_manila is offline"
