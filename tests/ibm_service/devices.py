"""Devices: the client's fake backends, with their noise, and a mock twin of each for dry runs."""

from __future__ import annotations

import importlib
import inspect
import json
from functools import cache, cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from qiskit import QuantumCircuit
from qiskit.transpiler import Target
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime.fake_provider.fake_backend import FakeBackendV2


class Device:
    """A named device behind which Aer runs with the noise of a fake backend."""

    def __init__(self, name: str, *, online: bool = True) -> None:
        self.name = name
        self.online = online
        self._fake = _fake_backend(name)

    @property
    def is_mock(self) -> bool:
        return False

    @cached_property
    def target(self) -> Target:
        return self._fake.target

    def simulator(self, circuit: QuantumCircuit) -> AerSimulator:
        """A simulator with the noise of the circuit's qubits."""
        qubits = {
            circuit.find_bit(qubit).index for instruction in circuit.data for qubit in instruction.qubits
        }
        return _simulator(self._fake.backend_name, frozenset(qubits))

    @cached_property
    def configuration(self) -> dict[str, Any]:
        return {**self._snapshot(self._fake.conf_filename), "backend_name": self.name}

    @cached_property
    def properties(self) -> dict[str, Any]:
        return {**self._snapshot(self._fake.props_filename), "backend_name": self.name}

    def listing(self, queue_length: int) -> dict[str, Any]:
        """The device's entry in the list of devices."""
        qubits = self.configuration["n_qubits"]
        entry = {
            "name": self.name,
            "qubits": qubits,
            "physical_qubits": qubits,
            "status": {"name": "online" if self.online else "offline"},
            "queue_length": queue_length,
            "clops": {"type": "hardware", "value": self.configuration.get("clops_h") or 0},
            "processor_type": self.configuration["processor_type"],
        }
        return {**entry, "class": "mock"} if self.is_mock else entry

    def status(self, queue_length: int) -> dict[str, Any]:
        return {
            "state": self.online,
            "status": "active" if self.online else "maintenance",
            "message": "",
            "length_queue": queue_length,
            "backend_version": self.configuration["backend_version"],
        }

    def _snapshot(self, filename: str) -> dict[str, Any]:
        return json.loads((Path(self._fake.dirname) / filename).read_text())


class MockDevice(Device):
    """The twin of a device for dry runs: random results of the right shape, no QPU time."""

    def __init__(self, twin: Device) -> None:
        self.name = "mock_" + twin.name.partition("_")[2]
        self.online = twin.online
        self._fake = twin._fake

    @property
    def is_mock(self) -> bool:
        return True


@cache
def _fake_backend(name: str) -> FakeBackendV2:
    """The client's fake backend of this name, such as `fake_manila`."""
    package = f"qiskit_ibm_runtime.fake_provider.backends.{name.removeprefix('fake_')}"
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError:
        raise ValueError(f"There is no fake backend {name!r}.") from None
    for _, kind in inspect.getmembers(module, inspect.isclass):
        if issubclass(kind, FakeBackendV2) and getattr(kind, "backend_name", None) == name:
            return kind()
    raise ValueError(f"There is no fake backend {name!r}.")


@cache
def _simulator(name: str, qubits: frozenset[int]) -> AerSimulator:
    """The noise of all qubits of a large device would take Aer seconds in every run."""
    whole = _fake_backend(name).target
    part = Target(num_qubits=whole.num_qubits, dt=whole.dt, qubit_properties=whole.qubit_properties)
    for operation in whole.operation_names:
        properties = {
            place: value for place, value in whole[operation].items() if place and qubits.issuperset(place)
        }
        if properties:
            part.add_instruction(whole.operation_from_name(operation), properties)
    backend = SimpleNamespace(version=2, operation_names=list(part.operation_names), target=part, dt=part.dt)
    # One thread: on small circuits more of them only wait for each other, and the client needs one too.
    simulator = AerSimulator(noise_model=NoiseModel.from_backend(backend), max_parallel_threads=1)
    # Aer drops idle qubits, but first refuses circuits as wide as a large device.
    simulator.set_max_qubits(10_000)
    return simulator


def make_devices(names: tuple[str, ...], offline: tuple[str, ...]) -> dict[str, Device]:
    """The named devices and a mock twin of each, by name."""
    unknown = set(offline) - set(names)
    if unknown:
        raise ValueError(f"Offline devices that are not among the devices: {', '.join(sorted(unknown))}.")
    devices = [Device(name, online=name not in offline) for name in names]
    return {device.name: device for device in [*devices, *(MockDevice(device) for device in devices)]}
