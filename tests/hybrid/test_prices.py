"""Prices before they are paid: IBM's formula on a real device's durations, and price tables of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit

from hybrid import Objective, ParameterShift
from hybrid.backends import DeviceBackend, open_backend
from hybrid.devices import prices as price_module
from hybrid.devices.jobs import Job, Pub
from hybrid.devices.prices import Prices, Pricing, circuit_seconds
from hybrid.ibm.errors import TooLarge
from hybrid.ibm.limits import Limits, split
from studies.circuits import hardware_efficient, transverse_ising

pytest.importorskip("qiskit_ibm_runtime")


def _gradient_job(qubits: int, layers: int, shots: int) -> tuple[Job, DeviceBackend]:
    """A whole gradient as one job on a fake Heron."""
    backend = open_backend("fake:fez")
    assert isinstance(backend, DeviceBackend)
    objective = Objective(hardware_efficient(qubits, layers, "cx chain"), transverse_ising(qubits))
    theta = np.linspace(0.1, 2, objective.num_params)
    circuits = 2 * objective.program.num_rotations * 2
    plan = ParameterShift(rule="occurrences").plan(objective, theta, total_shots=circuits * shots)
    return backend.assembly(plan.requests()).job, backend


# Executions and seconds of reference gradients on Heron; two rows, of the value itself, are not in a gradient.
@pytest.mark.parametrize(
    ("qubits", "layers", "executions", "seconds"), [(4, 3, 240_000, 64), (20, 4, 1_600_000, 413)]
)
def test_a_gradient_on_heron_costs_what_the_formula_says(
    qubits: int, layers: int, executions: int, seconds: float
) -> None:
    job, backend = _gradient_job(qubits, layers, 2_500)
    assert job.executions == executions
    quote = Pricing(target=backend.transpiler.target, prices=Prices.load()).quote(job)
    assert quote.qpu_seconds == pytest.approx(seconds, rel=0.03)
    assert quote.dollars == pytest.approx(1.6 * quote.qpu_seconds)
    assert quote.open_share == pytest.approx(quote.qpu_seconds / 600)
    assert "of the open plan's month" in str(quote)


def test_the_length_of_a_circuit_is_its_longest_path() -> None:
    circuit = QuantumCircuit(2, 1)
    circuit.sx(0)
    circuit.sx(0)
    circuit.sx(1)
    circuit.rz(0.3, 1)
    circuit.cz(0, 1)
    circuit.measure(1, 0)
    expected = 1.58e-6 + 2 * 24e-9 + 84e-9 + 1.56e-6
    assert circuit_seconds(circuit, None) == pytest.approx(expected, rel=1e-12)


def test_a_repetition_delay_of_ones_own_counts() -> None:
    circuit = QuantumCircuit(1)
    pub = Pub(circuit=circuit, angles=np.zeros((1, 0)), shots=1_000_000, content="")
    job = Job(pubs=(pub,))
    quotes = [
        Pricing(target=None, prices=Prices.load(), rep_delay_seconds=delay).quote(job)
        for delay in (0.0, 1e-4)
    ]
    assert quotes[1].qpu_seconds - quotes[0].qpu_seconds == pytest.approx(100)


def test_a_price_table_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Path(price_module.__file__).with_name("prices.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(own.replace("pay-as-you-go = 1.60", "pay-as-you-go = 9.99"))
    assert Prices.load(path).of_plan("pay-as-you-go") == 9.99
    monkeypatch.setenv(price_module.PRICES_VARIABLE, str(path))
    assert Prices.load().of_plan("pay-as-you-go") == 9.99
    assert Prices.load().date


def test_a_bad_price_table_or_plan_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    (tmp_path / "old.toml").write_text("date = 1")
    with pytest.raises(ValueError, match="cannot be read"):
        Prices.load(tmp_path / "old.toml")
    with pytest.raises(ValueError, match="cannot be read"):
        Prices.load(tmp_path / "none.toml")
    own = Path(price_module.__file__).with_name("prices.toml").read_text()
    path.write_text(own.replace("flex = 1.20", "flex = -1.20"))
    with pytest.raises(ValueError, match="a figure is negative"):
        Prices.load(path)
    with pytest.raises(ValueError, match="must be one of"):
        Prices.load().of_plan("golden")


def test_only_a_job_above_the_limits_is_split() -> None:
    job, _ = _gradient_job(4, 3, 2_500)
    assert len(split(job, Limits()).parts) == 1
    parts = split(job, Limits(executions=100_000))
    assert [part.executions for part in parts.parts] == [100_000, 100_000, 40_000]
    rows = [[np.arange(len(pub.angles))[:, None, None] for pub in part.pubs] for part in parts.parts]
    angles = [[pub.angles for pub in part.pubs] for part in parts.parts]
    for found, pub in zip(parts.joined(angles, len(job.pubs)), job.pubs, strict=True):
        np.testing.assert_array_equal(found, pub.angles)
    assert sum(len(each) for part in rows for each in part) == sum(len(pub.angles) for pub in job.pubs)
    heavy = split(job, Limits(instructions=10_000))
    assert len(heavy.parts) > 1
    with pytest.raises(TooLarge, match="use fewer shots"):
        split(job, Limits(executions=1_000))
