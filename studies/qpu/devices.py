"""Devices of the study, mitigation around them, and what a QPU would take for the same jobs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from classical.cost import Cost
from hybrid.backends import DeviceBackend, ReadoutMitigated, ZeroNoise, open_backend
from hybrid.backends.device import AbstractDeviceBackend
from hybrid.devices.jobs import Job
from hybrid.devices.prices import Prices, Pricing
from hybrid.devices.runner import AbstractRunner, Ran
from hybrid.devices.transpiling import Transpiler

PLAIN, READOUT, ZERO_NOISE, BOTH = "none", "readout", "zero noise", "both"
MITIGATIONS = (PLAIN, READOUT, ZERO_NOISE, BOTH)
READOUT_ERROR = 0.02
"""Probability of reading the wrong bit, for both bits and every qubit, where the study sets the noise."""
SINGLE_PER_PAIR = 0.1
"""Error of a single-qubit rotation over that of a two-qubit gate."""
PAIR_GATES = ("cx", "cz")
ROTATIONS = ("rx", "ry", "rz")
SIMULATION: dict[str, Any] = {"method": "density_matrix", "max_parallel_threads": 1}


@dataclass(frozen=True, kw_only=True, eq=False)
class AsOnQpu(AbstractRunner):
    """Runs jobs on a simulator, and prices them as IBM's QPUs are priced.

    Args:
        runner: a simulator's.
        equal_shots: that of `runner`, true of IBM's client.
    """

    runner: AbstractRunner
    pricing: Pricing
    equal_shots: bool

    def price(self, job: Job) -> Cost:
        return self.pricing.quote(job).cost

    def run(self, job: Job, seed: int) -> Ran:
        return self.runner.run(job, seed)


def as_on_qpu(device: DeviceBackend) -> DeviceBackend:
    """The same device, priced as if it were a QPU; what it runs costs what it did."""
    pricing = Pricing(target=device.transpiler.target, prices=Prices.load())
    runner = AsOnQpu(runner=device.runner, pricing=pricing, equal_shots=device.runner.equal_shots)
    return replace(device, runner=runner)


def noise_model(two_qubit_error: float, *, readout_error: float = READOUT_ERROR) -> Any:
    """Depolarising noise after every CX and CZ, a tenth of it after every RX, RY and RZ, and readout errors.

    The error p is qiskit's `depolarizing_error(p, 2)`: with probability p the pair is replaced by noise. Gates that
    turn to a measurement basis have none.
    """
    from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error

    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(two_qubit_error, 2), list(PAIR_GATES))
    single = depolarizing_error(SINGLE_PER_PAIR * two_qubit_error, 1)
    model.add_all_qubit_quantum_error(single, list(ROTATIONS))
    right = 1 - readout_error
    model.add_all_qubit_readout_error(ReadoutError([[right, readout_error], [readout_error, right]]))
    return model


@lru_cache(maxsize=4)
def depolarising_device(two_qubit_error: float) -> DeviceBackend:
    """Aer with the noise of `noise_model`, which takes gates as they stand."""
    return _aer(noise_model(two_qubit_error), "Aer with depolarising noise", Transpiler())


@lru_cache(maxsize=1)
def manila_on_aer() -> DeviceBackend:
    """Aer with the noise, gates and couplings of IBM's fake Manila, without IBM's client: several times faster."""
    from qiskit_aer.noise import NoiseModel
    from qiskit_ibm_runtime.fake_provider import FakeManilaV2

    fake = FakeManilaV2()
    name = "Aer with the noise of fake manila"
    return _aer(NoiseModel.from_backend(fake), name, Transpiler(backend=fake))


def _aer(noise: Any, name: str, transpiler: Transpiler) -> DeviceBackend:
    made = open_backend("aer", noise_model=noise, **SIMULATION)
    assert isinstance(made, DeviceBackend)
    return as_on_qpu(replace(made, transpiler=transpiler, name=name))


@lru_cache(maxsize=4)
def named_device(name: str) -> DeviceBackend:
    """A simulated device of `open_backend`, priced as if it were a QPU."""
    made = open_backend(name)
    assert isinstance(made, DeviceBackend)
    return as_on_qpu(made)


def mitigated(device: DeviceBackend, mitigation: str, calibration_shots: int) -> AbstractDeviceBackend:
    """The device with one of `MITIGATIONS`; extrapolation goes by a line through one and three times the noise."""
    wrapped: AbstractDeviceBackend = device
    if mitigation in (READOUT, BOTH):
        wrapped = ReadoutMitigated(device, calibration_shots)
    return ZeroNoise(wrapped) if mitigation in (ZERO_NOISE, BOTH) else wrapped


def shots_left(total_shots: int, mitigation: str, calibration_shots: int) -> int:
    """What a budget leaves for the circuits when the readout calibration, of two circuits, is paid from it."""
    return total_shots - (2 * calibration_shots if mitigation in (READOUT, BOTH) else 0)
