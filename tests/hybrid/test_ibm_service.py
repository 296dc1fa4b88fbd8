"""The loopback IBM service, seen through the unmodified client."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.providers.exceptions import QiskitBackendNotFoundError
from qiskit.transpiler import generate_preset_pass_manager

pytest.importorskip("qiskit_ibm_runtime")

from qiskit_ibm_runtime import Batch, QiskitRuntimeService, Session
from qiskit_ibm_runtime.accounts.exceptions import InvalidAccountError
from qiskit_ibm_runtime.api.exceptions import RequestsApiError
from qiskit_ibm_runtime.exceptions import (
    IBMNotAuthorizedError,
    IBMRuntimeError,
    RuntimeInvalidStateError,
    RuntimeJobFailureError,
    RuntimeJobMaxTimeoutError,
    RuntimeJobNotFound,
)
from qiskit_ibm_runtime.executor_sampler import Sampler

from tests.ibm_service import Fault, LoopbackService, Rules
from tests.ibm_service.execution import JOB_SECONDS, REPETITION_DELAY, circuit_seconds
from tests.ibm_service.faults import parse_fault

# The client warns of much, and filters are common to all threads of the process.
pytestmark = pytest.mark.filterwarnings("ignore")

FREE = Rules(submissions_per_minute=1000)
Open = Callable[..., LoopbackService]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens services to which the environment leads, and closes them at the end."""
    # Else the client looks through the whole stack at each request, which takes most of a test's time.
    monkeypatch.setenv("USAGE_DATA_OPT_OUT", "True")
    with ExitStack() as stack:

        def open_service(rules: Rules = FREE, folder: Path = tmp_path, **settings: Any) -> LoopbackService:
            service = stack.enter_context(LoopbackService(folder, rules=rules, **settings))
            for name, value in service.environment().items():
                monkeypatch.setenv(name, value)
            return service

        yield open_service


def rotation(backend: Any) -> QuantumCircuit:
    """RX by a parameter on qubit 0, measured; qubit 1 is flipped, measured into the higher bit."""
    circuit = QuantumCircuit(2, 2)
    circuit.rx(Parameter("t"), 0)
    circuit.x(1)
    circuit.measure([0, 1], [0, 1])
    return generate_preset_pass_manager(1, backend=backend, seed_transpiler=1).run(circuit)


def submit(tag: str | None = None, *, shots: int = 100, client: Any = None, **options: Any) -> Any:
    """A small job; the client is a fresh one unless given."""
    client = QiskitRuntimeService() if client is None else client
    backend = client.backend("fake_manila")
    sampler = Sampler(backend, options=options)
    if tag is not None:
        sampler.options.environment.job_tags = [tag]
    return sampler.run([(rotation(backend), [[0.3]])], shots=shots)


def result(job: Any, **settings: Any) -> Any:
    return job.result(poll_interval=0.1, **settings)


def counts(service: LoopbackService, method: str, path: str) -> int:
    return sum(seen[:2] == (method, path) for seen in service.requests)


def test_the_client_finds_the_devices(opened: Open) -> None:
    opened(Rules(offline=("fake_lima",)), devices=("fake_manila", "fake_lima"))
    client = QiskitRuntimeService()
    assert client.instances()[0]["plan"] == "loopback"
    assert {backend.name for backend in client.backends()} == {"fake_manila", "fake_lima"}
    assert {backend.name for backend in client.backends(include_mocks=True)} > {"mock_manila", "mock_lima"}
    backend = client.least_busy()
    assert backend.name == "fake_manila" and backend.num_qubits == 5
    assert backend.status().operational and backend.properties() is not None
    assert math.isclose(backend.default_rep_delay, REPETITION_DELAY)
    assert not client.backend("fake_lima").status().operational
    with pytest.raises(IBMRuntimeError, match="1004"):
        Sampler(client.backend("fake_lima")).run([(rotation(backend), [0.3])], shots=1)


def test_a_job_of_two_circuits_gives_the_right_bits(opened: Open) -> None:
    service = opened()
    client = QiskitRuntimeService()
    backend = client.backend("fake_manila")
    isa = rotation(backend)
    angles = np.linspace(0.0, np.pi, 6).reshape(2, 3, 1)
    job = Sampler(backend).run([(isa, angles), (isa, [[0.0], [np.pi]])], shots=4000)
    first, second = result(job)
    bits = first.data.c
    assert bits.array.shape == (2, 3, 4000, 1) and bits.num_bits == 2
    ones = bits.slice_bits([0]).bitcount().mean(axis=-1)
    np.testing.assert_allclose(1 - 2 * ones, np.cos(angles[..., 0]), atol=0.12)
    assert bits.slice_bits([1]).bitcount().mean() > 0.9
    assert second.data.c.slice_bits([0]).bitcount().mean(axis=-1)[0] < 0.1

    (stored,) = service.jobs()
    assert stored.state == "DONE" and stored.executions == 8 * 4000
    length = circuit_seconds(isa, backend.target)
    assert math.isclose(length, isa.estimate_duration(backend.target), rel_tol=1e-6)
    expected = JOB_SECONDS + stored.executions * (REPETITION_DELAY + length)
    assert math.isclose(stored.billed_seconds, expected, rel_tol=1e-6)
    assert math.isclose(job.usage(), expected, rel_tol=1e-6)
    assert math.isclose(job.usage_estimation["quantum_seconds"], expected, rel_tol=1e-6)
    assert job.metrics()["usage"]["status"] == "complete"
    assert math.isclose(client.usage()["usage_consumed_seconds"], expected, rel_tol=1e-6)
    assert job.inputs["schema_version"] == "v2.0" and "executions on fake_manila" in job.logs()


def test_results_follow_from_seed_and_job_number(opened: Open, tmp_path: Path) -> None:
    def bits(folder: str, seed: int) -> list[np.ndarray]:
        opened(Rules(seed=seed, submissions_per_minute=99), tmp_path / folder)
        backend = QiskitRuntimeService().backend("fake_manila")
        isa = rotation(backend)
        jobs = [Sampler(backend).run([(isa, [[1.0], [1.0]]), (isa, [[1.0]])], shots=200) for _ in range(2)]
        return [row for job in jobs for pub in result(job) for row in pub.data.c.array]

    first, again, other = bits("a", 0), bits("b", 0), bits("c", 1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    # Neither rows nor circuits nor jobs share their noise.
    assert len({row.tobytes() for row in first}) == len(first) == 6


def test_twirled_circuits_run_too(opened: Open) -> None:
    opened()
    options = {"twirling": {"enable_gates": True, "enable_measure": True, "num_randomizations": 4}}
    (pub,) = result(submit(shots=400, **options))
    assert pub.data.c.array.shape == (1, 400, 1)
    assert pub.data.c.slice_bits([1]).bitcount().mean() > 0.9


def test_jobs_are_listed_by_tag_state_and_time(opened: Open) -> None:
    service = opened()
    client = QiskitRuntimeService()
    jobs = [submit(tag, client=client) for tag in ("a", "b", "a")]
    for job in jobs:
        result(job)

    def found(**filters: Any) -> list[str]:
        return [job.job_id() for job in client.jobs(**{"limit": None, **filters})]

    first, second, third = (job.job_id() for job in jobs)
    assert found(job_tags=["a"]) == [third, first]
    assert found(job_tags=["a", "b"]) == []
    assert found(job_tags=["a"], descending=False) == [first, third]
    assert found(limit=1, skip=1) == [second]
    assert found(pending=True) == [] and len(found(pending=False)) == 3
    created = service.jobs()[1].created
    assert found(created_after=created) == [third, second]
    assert found(created_before=created - timedelta(microseconds=1)) == [first]
    assert found(created_after=datetime.now(UTC)) == []
    assert jobs[0].update_tags(["c"]) == ["c"]
    assert found(job_tags=["c"]) == [first]
    np.testing.assert_array_equal(result(client.job(second))[0].data.c.array, result(jobs[1])[0].data.c.array)
    client.delete_job(second)
    assert found() == [third, first]
    with pytest.raises(RuntimeJobNotFound):
        client.job(second)


def test_a_new_job_is_missing_from_the_listings_for_a_while(opened: Open) -> None:
    service = opened(Rules(listing_lag_seconds=0.7))
    client = QiskitRuntimeService()
    job = submit("late", client=client)
    assert client.jobs(job_tags=["late"], limit=None) == []
    assert client.job(job.job_id()).tags == ["late"] and len(service.jobs()) == 1
    time.sleep(0.7)
    assert len(client.jobs(job_tags=["late"], limit=None)) == 1


class TestFaults:
    """The reference's table of what the stock client does."""

    def test_submission_with_a_server_error_is_retried(self, opened: Open) -> None:
        service = opened(faults=[Fault("POST", "^/jobs$", "status", 500, times=2)])
        submit()
        assert len(service.jobs()) == 1 and counts(service, "POST", "/jobs") == 3

    @pytest.mark.parametrize(
        ("fault", "status", "stored"),
        [
            (Fault("POST", "^/jobs$", "status", 429), 429, 0),
            (Fault("POST", "^/jobs$", "status", 409), 409, 0),
            (Fault("POST", "^/jobs$", "drop"), -1, 0),
            (Fault("POST", "^/jobs$", "lose_reply"), -1, 1),
            (Fault("POST", "^/jobs$", "hang", hang_seconds=0.3), -1, 0),
        ],
        ids=lambda value: value.kind if isinstance(value, Fault) else str(value),
    )
    def test_other_faults_of_a_submission_are_not_retried(
        self, opened: Open, fault: Fault, status: int, stored: int
    ) -> None:
        service = opened()
        service.inject(fault)
        with pytest.raises(IBMRuntimeError) as caught:
            submit("mine")
        assert isinstance(caught.value.__context__, RequestsApiError)
        assert caught.value.__context__.status_code == status
        assert counts(service, "POST", "/jobs") == 1
        assert [job.tags for job in service.jobs()] == [("mine",)] * stored
        found = QiskitRuntimeService().jobs(job_tags=["mine"], limit=None)
        assert len(found) == stored
        for job in found:
            assert len(result(job)) == 1

    @pytest.mark.parametrize(
        "fault",
        [
            Fault("GET", "/results$", "status", 503),
            Fault("GET", "/results$", "status", 429, retry_after=0),
            Fault("GET", "/results$", "drop"),
            Fault("GET", "/results$", "lose_reply"),
        ],
        ids=lambda fault: f"{fault.kind}-{fault.status}",
    )
    def test_fetching_a_result_is_retried(self, opened: Open, fault: Fault) -> None:
        service = opened(faults=[fault])
        job = submit()
        assert len(result(job)) == 1
        assert counts(service, "GET", f"/jobs/{job.job_id()}/results") == 2

    def test_too_many_requests_without_a_time_escapes(self, opened: Open) -> None:
        opened(faults=[Fault("GET", "/results$", "status", 429)])
        job = submit()
        with pytest.raises(RequestsApiError) as caught:
            result(job)
        assert not isinstance(caught.value, IBMRuntimeError) and caught.value.status_code == 429

    def test_a_request_that_hangs_outlasts_the_timeout(self, opened: Open) -> None:
        service = opened()
        job = submit()
        service.inject(Fault("GET", "^/jobs/[^/]+$", "hang", hang_seconds=0.6))
        start = time.monotonic()
        result(job, timeout=0.2)
        assert time.monotonic() - start > 0.5

    def test_faults_are_read_from_text(self) -> None:
        fault = parse_fault("status:post:^/jobs$:status=503:times=2:retry_after=1")
        assert fault == Fault("POST", "^/jobs$", "status", 503, 1.0, 2)
        with pytest.raises(ValueError, match="reads kind:METHOD:path"):
            parse_fault("drop")


class TestRules:
    def test_submission_rate(self, opened: Open) -> None:
        service = opened(Rules(minute_seconds=1.5))
        client = QiskitRuntimeService()
        for _ in range(5):
            submit(client=client)
        with pytest.raises(IBMRuntimeError, match="1202") as caught:
            submit(client=client)
        assert caught.value.__context__.status_code == 429  # type: ignore[union-attr]
        response = caught.value.__context__.__cause__.response  # type: ignore[union-attr]
        assert 1 <= int(response.headers["Retry-After"]) <= 2
        assert len(service.jobs()) == 5
        time.sleep(float(response.headers["Retry-After"]))
        submit(client=client)
        assert len(service.jobs()) == 6

    def test_executions(self, opened: Open) -> None:
        service = opened(Rules(most_executions=100))
        submit(shots=100)
        with pytest.raises(IBMRuntimeError, match="101 executions, more than the 100") as caught:
            submit(shots=101)
        assert caught.value.__context__.status_code == 400  # type: ignore[union-attr]
        assert len(service.jobs()) == 1

    def test_usage_limit(self, opened: Open) -> None:
        service = opened(Rules(usage_limit_seconds=3.0))
        client = QiskitRuntimeService()
        submit(client=client)
        with pytest.raises(IBMRuntimeError, match="Usage exceeds") as caught:
            submit(client=client)
        assert caught.value.__context__.status_code == 409  # type: ignore[union-attr]
        assert len(service.jobs()) == 1

    def test_circuits_that_the_device_cannot_run(self, opened: Open) -> None:
        service = opened()
        backend = QiskitRuntimeService().backend("fake_manila")
        circuit = QuantumCircuit(2)
        circuit.h(0)
        circuit.measure_all()
        job = Sampler(backend).run([circuit], shots=10)
        with pytest.raises(RuntimeJobFailureError, match="instruction h on qubits"):
            result(job)
        assert service.jobs()[0].state == job.status() == "ERROR" and job.usage() == 0

    def test_longest_execution_time(self, opened: Open) -> None:
        service = opened()
        job = submit(shots=10_000, max_execution_time=3)
        with pytest.raises(RuntimeJobMaxTimeoutError, match="1305"):
            result(job)
        assert service.jobs()[0].state == job.status() == "ERROR" and job.usage() == 3
        assert len(result(submit(max_execution_time=3))) == 1


def test_jobs_come_out_cancelled(opened: Open) -> None:
    service = opened(Rules(queue_seconds=0.5))
    client = QiskitRuntimeService()
    job = submit(client=client)
    job.cancel()
    assert service.jobs()[0].state == "CANCELLED"
    with pytest.raises(RuntimeInvalidStateError, match="cannot be cancelled"):
        job.cancel()
    service.cancel_next()
    other = submit(client=client)
    with pytest.raises(RuntimeInvalidStateError, match="was cancelled"):
        result(other)
    assert len(result(submit(client=client))) == 1


def test_a_reopened_folder_keeps_its_jobs(opened: Open) -> None:
    service = opened(Rules(queue_seconds=1000.0))
    port = int(service.url.split(":")[2].split("/")[0])
    client = QiskitRuntimeService()
    job = submit("kept", client=client)
    assert job.status() == "QUEUED"
    service.close()
    service = opened(port=port)
    first = result(job)
    service.close()
    service = opened(port=port)
    (kept,) = client.jobs(job_tags=["kept"], limit=None)
    np.testing.assert_array_equal(result(kept)[0].data.c.array, first[0].data.c.array)
    assert [job.state for job in service.jobs()] == ["DONE"]


def test_a_token_expires(opened: Open) -> None:
    service = opened()
    client = QiskitRuntimeService()
    job = submit(client=client)
    service.expire_token()
    with pytest.raises(IBMNotAuthorizedError):
        job.status()
    # The client takes a refused list of devices for an empty one.
    with pytest.raises(QiskitBackendNotFoundError):
        client.backend("fake_manila")
    assert len(result(QiskitRuntimeService().job(job.job_id()))) == 1
    service.expire_token(for_good=True)
    with pytest.raises(InvalidAccountError):
        QiskitRuntimeService()


def test_private_results_are_read_once(opened: Open) -> None:
    opened()
    job = submit(environment={"private": True})
    assert len(result(job)) == 1
    with pytest.raises(RequestsApiError):
        result(job)


def test_a_wrong_key_is_refused(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    opened()
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "another")
    with pytest.raises(InvalidAccountError):
        QiskitRuntimeService()


def test_a_dry_run_costs_nothing(opened: Open) -> None:
    service = opened()
    backend = QiskitRuntimeService().backend("fake_manila")
    job = Sampler(backend).run([(rotation(backend), [[0.3]])], shots=400, dry_run=True)
    (pub,) = result(job)
    assert abs(pub.data.c.slice_bits([1]).bitcount().mean() - 0.5) < 0.2
    assert job.backend().name == service.jobs()[0].backend == "mock_manila"
    assert job.usage_estimation["quantum_seconds"] > 2 and job.usage() == 0


@pytest.mark.parametrize("mode", [Session, Batch])
def test_sessions_and_batches(opened: Open, mode: Any) -> None:
    service = opened()
    client = QiskitRuntimeService()
    backend = client.backend("fake_manila")
    with mode(backend=backend, max_time="1h") as session:
        assert session.status() == "Pending" and session.details()["max_time"] == 3600
        job = Sampler(mode=session).run([(rotation(backend), [[0.3]])], shots=100)
        assert len(result(job)) == 1
        assert session.status() == "In progress, accepting new jobs"
    assert session.status() == "Closed" and session.usage() > 0
    (listed,) = client.jobs(session_id=session.session_id, limit=None)
    assert listed.job_id() == service.jobs()[0].id and listed.session_id == session.session_id
    reopened = mode.from_id(session.session_id, client)
    reopened._active = True
    with pytest.raises(IBMRuntimeError, match="1217"):
        Sampler(mode=reopened).run([(rotation(backend), [[0.3]])], shots=100)
    reopened.cancel()


def test_it_runs_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.ibm_service",
        "--folder",
        str(tmp_path),
        "--fault",
        "drop:GET:/status$",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        for _ in range(6):
            name, _, value = process.stdout.readline().strip().removeprefix("export ").partition("=")
            monkeypatch.setenv(name, value)
        assert len(result(submit())) == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0
        assert "Traceback" not in process.stderr.read()
    assert list((tmp_path / "jobs").glob("*.result.json"))
