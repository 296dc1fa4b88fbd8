"""The whole way with the unmodified IBM client over loopback, Aer behind it: faults, bad input, secrets."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp

from hybrid import Objective, ParameterShift
from hybrid.backends import DeviceBackend, ReadoutMitigated, ZeroNoise, open_backend
from hybrid.devices.transpiling import DoesNotFit
from hybrid.ibm.errors import IBMFailure, NoAccount, TooExpensive, UnknownDevice
from tests.hybrid.samples import Z_LIMIT

pytest.importorskip("qiskit_ibm_runtime")

from studies.qpu_speed import payload_bytes, planned
from tests.ibm_service import LoopbackService, Rules
from tests.ibm_service.fault_table import CASES, outcome
from tests.ibm_service.kills import run as run_kills

# The client warns of much, and of its own.
pytestmark = pytest.mark.filterwarnings("ignore")

# Those that take a second or less; `python -m tests.ibm_service.fault_table` runs all.
QUICK = [
    "none",
    "POST 429, three times",
    "POST 500, twice",
    "POST accepted, reply lost",
    "the same, listing lags 1 s",
    "GET job dropped",
    "GET results 429 without Retry-After",
    "token expires for good",
    "job cancelled by others",
    "409, the instance's usage is up",
]


@pytest.mark.parametrize("name", QUICK)
def test_a_fault_leaves_the_jobs_that_were_intended(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    came = outcome(case, tmp_path)
    assert came.jobs == case.jobs
    assert bool(came.sentences) == case.stops
    assert came.right is (None if case.jobs == 0 else True)
    assert all("\n" not in sentence for sentence in came.sentences)


def test_kills_at_random_moments_pay_nothing_twice_and_lose_nothing(tmp_path: Path) -> None:
    tally = run_kills(6, tmp_path, seed=3)
    assert tally.kills >= 6
    assert (tally.duplicates, tally.lost) == (0, 0)


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackService]:
    rules = Rules(submissions_per_minute=1_000, offline=("fake_lima",))
    with LoopbackService(tmp_path / "service", rules=rules, devices=("fake_manila", "fake_lima")) as opened:
        for name, value in opened.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("USAGE_DATA_OPT_OUT", "True")
        yield opened


def _objective(qubits: int = 3) -> Objective:
    return Objective(efficient_su2(qubits, reps=1), SparsePauliOp(["Z" * qubits, "X" * qubits], [1.0, 0.5]))


def _open(tmp_path: Path, name: str = "ibm:fake_manila", **options: Any) -> DeviceBackend:
    given = {
        "spend": 1_000,
        "journal": tmp_path / "jobs.sqlite",
        "poll": 0.1,
        "say": lambda line: None,
        **options,
    }
    backend = open_backend(name, **given)
    assert isinstance(backend, DeviceBackend)
    return backend


def _gradient(backend: Any, objective: Objective, shots: int = 12_000) -> Any:
    theta = np.linspace(0.2, 1.5, objective.num_params)
    return ParameterShift().gradient(
        objective, theta, backend=backend, total_shots=shots, rng=np.random.default_rng(0)
    )


def test_a_gradient_is_one_job_as_priced_and_agrees_with_the_local_mode(
    service: LoopbackService, tmp_path: Path
) -> None:
    objective = _objective()
    backend = _open(
        tmp_path, options={"twirling": {"enable_measure": True}, "execution": {"rep_delay": 1e-4}}
    )
    gradient = _gradient(backend, objective)
    priced = gradient.plan.price(backend)
    assert len(service.jobs()) == gradient.cost.jobs == priced.jobs == 1
    assert (gradient.cost.circuits, gradient.cost.shots) == (priced.circuits, priced.shots)
    assert gradient.cost.qpu_seconds == pytest.approx(service.jobs()[0].billed_seconds)
    assert gradient.cost.qpu_seconds == pytest.approx(priced.qpu_seconds, rel=0.1)
    local = _gradient(open_backend("fake:manila"), objective)
    spread = (gradient.std_errors**2 + local.std_errors**2).sqrt()
    # Twirled readout is another noise than plain one: a few percent of the values.
    assert ((gradient.values - local.values).abs() < Z_LIMIT * spread + 0.05).all()


def test_mitigation_stays_one_job(service: LoopbackService, tmp_path: Path) -> None:
    gradient = _gradient(ZeroNoise(ReadoutMitigated(_open(tmp_path), calibration_shots=200)), _objective())
    assert len(service.jobs()) == gradient.cost.jobs == 1


def test_a_session_is_told_with_its_bound_and_closed(service: LoopbackService, tmp_path: Path) -> None:
    said: list[str] = []
    backend = _open(tmp_path, mode="session", most_seconds=60, say=said.append)
    assert said[0].startswith("fake_manila: opening a session, at most $96.00")
    assert _gradient(backend, _objective()).cost.jobs == 1
    backend.close()
    assert [
        path for method, path, _ in service.requests if method in ("PATCH", "DELETE") and "/sessions/" in path
    ]


BAD = [
    ({"name": "ibm:nowhere"}, UnknownDevice, "There is no device 'nowhere'.*this account sees fake_lima, fake_manila"),
    ({"name": "ibm:fake_lima"}, UnknownDevice, "is offline"),
    ({"mode": "lease"}, ValueError, "must be one of"),
    ({"mode": "session"}, ValueError, "bills the clock"),
    ({"mode": "session", "most_seconds": 3_600}, ValueError, "above the"),
    ({"plan": "golden"}, ValueError, "must be one of"),
    ({"spend": -1}, ValueError, "at least 0"),
    ({"spend": "much"}, ValueError, "number of dollars"),
    ({"budget": 3}, ValueError, "has no option 'budget'"),
    ({"options": {"environment": {"private": True}}}, ValueError, "read only once"),
    ({"options": {"twirl": True}}, ValueError, "twirl"),
    ({"options": "twirling"}, ValueError, "must be a dictionary"),
    ({"options": {"default_shots": 7}}, ValueError, "has no meaning here"),
    ({"options": {"execution": {"rep_delay": -1}}}, ValueError, "at least 0"),
    ({"mode": "session", "most_seconds": "60"}, ValueError, "must be a positive number"),
    ({"task": 5}, ValueError, "must be a name"),
    ({"poll": -1}, ValueError, "at least 0"),
    ({"journal": 5}, ValueError, "must be a path"),
    ({"prices": 5}, ValueError, "must be the path"),
    ({"spend": True}, ValueError, "number of dollars"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "kind", "message"), BAD, ids=[str(case[0]) for case in BAD])
def test_bad_input_is_one_sentence_and_nothing_is_submitted(
    options: dict[str, Any], kind: type, message: str, service: LoopbackService, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=message) as caught:
        _gradient(_open(tmp_path, **options), _objective())
    assert "\n" not in str(caught.value)
    assert not service.jobs()


def test_too_many_qubits_and_too_high_a_price_submit_nothing(
    service: LoopbackService, tmp_path: Path
) -> None:
    with pytest.raises(DoesNotFit, match="has 6 qubits, but fake_manila has 5"):
        _gradient(_open(tmp_path), _objective(6))
    with pytest.raises(TooExpensive, match="allow it with spend="):
        _gradient(_open(tmp_path, spend=None), _objective())
    assert not service.jobs()


def test_no_account_and_a_wrong_token_are_one_sentence(
    service: LoopbackService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "wrong-token-0123456789")
    with pytest.raises(NoAccount, match="save an account") as caught:
        _open(tmp_path)
    assert "wrong-token" not in str(caught.value)
    for name in ("QISKIT_IBM_TOKEN", "QISKIT_IBM_INSTANCE", "QISKIT_IBM_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(NoAccount, match="set QISKIT_IBM_TOKEN"):
        _open(tmp_path)


def test_the_token_is_nowhere(
    service: LoopbackService,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG", logger="hybrid")
    own = tmp_path / "own"
    said: list[str] = []
    told: list[str] = []
    _gradient(_open(own, task="t", say=said.append), _objective())
    processes = subprocess.run(
        ["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True
    ).stdout
    service.expire_token(for_good=True)
    for options in ({"task": "u"}, {"name": "ibm:nowhere"}):
        try:
            _gradient(_open(own, say=said.append, **options), _objective())
        except IBMFailure:
            told.append(traceback.format_exc())
    assert told
    listed = subprocess.run(
        [sys.executable, "-m", "studies", "jobs", "fetch", "--journal", str(own / "jobs.sqlite")],
        capture_output=True, text=True, cwd=Path(__file__).parents[2], env=os.environ.copy(), check=False,
    )  # fmt: skip
    assert listed.returncode in (0, 2)
    shown = capfd.readouterr()
    texts = [*said, *told, processes, listed.stdout, listed.stderr, shown.out, shown.err, caplog.text]
    assert not [text for text in texts if service.token in text]
    written = [path for path in own.rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if service.token.encode() in path.read_bytes()]


def test_jobs_are_listed_and_fetched_from_the_command_line(service: LoopbackService, tmp_path: Path) -> None:
    journal = str(tmp_path / "jobs.sqlite")
    _gradient(_open(tmp_path, task="mine"), _objective())

    def jobs(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "studies", "jobs", *words, "--journal", journal]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False
        )

    listed = jobs("list")
    assert listed.returncode == 0, listed.stderr
    assert "mine" in listed.stdout
    assert "done" in listed.stdout
    refused = jobs("cancel", "nothing")
    assert refused.returncode == 2
    assert "has no job 'nothing'" in refused.stderr
    journal = str(tmp_path / "none.sqlite")
    assert "There is no journal" in jobs("list").stderr


def test_a_wide_gradient_is_a_small_payload() -> None:
    _, plan = planned(20, 4)
    backend = open_backend("fake:fez")
    assert isinstance(backend, DeviceBackend)
    job = backend.assembly(plan.requests()).job
    assert (len(job.pubs), job.executions) == (2, 1_600_000)
    assert payload_bytes(job) < 100_000


def test_a_circuit_without_parameters_runs_too(service: LoopbackService, tmp_path: Path) -> None:
    circuit = QuantumCircuit(2)
    circuit.x(0)
    objective = Objective(circuit, SparsePauliOp(["IZ", "XX"], [1.0, 1.0]))
    rng = np.random.default_rng(0)
    value = objective.value([], backend=_open(tmp_path), total_shots=3_000, rng=rng)
    assert float(value.values) == pytest.approx(-1, abs=0.15)
    assert len(service.jobs()) == 1
