"""What circuits and shots would take and cost on an IBM Quantum device, before any is made: an estimate, and named so.

A backend prices its own transpiled circuits (`Plan.price`, `hybrid/devices/prices.py`); here nothing is transpiled.

Time, by IBM's own formula: 2 s a job plus (repetition delay + circuit length) an execution. Source: IBM Quantum
documentation, "Estimate job run time". Device times: the calibration data that qiskit-ibm-runtime 0.51 ships for
`ibm_fez` (Heron r2). Prices, pay-as-you-go, and delays: `hybrid/devices/prices.toml`. An ancilla's gates are left out:
nanoseconds beside a delay of 250 microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from qiskit import QuantumCircuit

from classical.cost import Cost
from hybrid.devices.prices import DEFAULT_PLAN, Prices
from hybrid.gradients.base import AbstractGradientEstimator, AbstractShotEstimator
from hybrid.objective import Objective


@dataclass(frozen=True, kw_only=True)
class Device:
    """Durations in seconds and the price of a second."""

    name: str
    one_qubit_seconds: float
    two_qubit_seconds: float
    measure_seconds: float
    reset_seconds: float

    @property
    def repetition_seconds(self) -> float:
        """Between two executions."""
        return Prices.load().rep_delay_seconds

    @property
    def job_seconds(self) -> float:
        """What a job takes beside its circuits."""
        return Prices.load().job_seconds

    @property
    def dollars_per_second(self) -> float:
        return Prices.load().of_plan(DEFAULT_PLAN)


HERON = Device(
    name="IBM Heron",
    one_qubit_seconds=24e-9,
    two_qubit_seconds=84e-9,
    measure_seconds=1.56e-6,
    reset_seconds=1.58e-6,
)

# An RX or RY is two sx and frame changes, which take no time.
_PULSES_PER_ROTATION = 2
_FRAME_CHANGES = ("rz", "p", "s", "sdg", "t", "tdg", "z", "id", "barrier")


def circuit_seconds(circuit: QuantumCircuit, device: Device = HERON) -> float:
    """Length of one execution without routing: reset, depth in two-qubit and one-qubit gates, measurement."""
    pairs = circuit.depth(lambda item: item.operation.num_qubits > 1)
    singles = circuit.depth(
        lambda item: item.operation.num_qubits == 1 and item.operation.name not in _FRAME_CHANGES
    )
    gates = pairs * device.two_qubit_seconds + singles * _PULSES_PER_ROTATION * device.one_qubit_seconds
    return device.reset_seconds + gates + device.measure_seconds


def device_cost(
    estimator: AbstractGradientEstimator,
    objective: Objective,
    *,
    total_shots: int,
    rows: int = 1,
    device: Device = HERON,
) -> Cost:
    """Returns what gradients at `rows` parameter rows would cost on `device`, one job a stage; all estimated.

    Raises:
        BudgetTooSmall: as the estimator's plan does.
    """
    planned = estimator.price(objective, rows=rows, total_shots=total_shots)
    jobs = estimator.allocation.num_stages if isinstance(estimator, AbstractShotEstimator) else 1
    seconds = jobs * device.job_seconds + planned.shots * (
        device.repetition_seconds + circuit_seconds(objective.circuit, device)
    )
    return planned + Cost(
        jobs=jobs,
        qpu_seconds=seconds,
        dollars=seconds * device.dollars_per_second,
        sources={"jobs": "computed", "qpu_seconds": "estimated", "dollars": "estimated"},
    )
