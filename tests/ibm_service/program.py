"""A program that pays for two jobs: what `kills` kills."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp
from qiskit_ibm_runtime import QiskitRuntimeService, executor_sampler

from hybrid import Objective
from hybrid.backends import DeviceBackend, open_backend
from hybrid.ibm.runner import PaidRunner
from hybrid.ibm.waiting import Pace

CALLS = 2
# Imported here, so that a process that is forked from one with this module starts in milliseconds.
_NEEDED = (QiskitRuntimeService, executor_sampler)


def program(task: str, folder: str, environment: dict[str, str], grace: float = 1.5) -> None:
    """Two values on the loopback's fake device, in the journal under `task`; writes them to a file at the end."""
    warnings.simplefilter("ignore")
    os.environ.update(environment, USAGE_DATA_OPT_OUT="True")
    circuit = QuantumCircuit(2)
    circuit.rx(Parameter("t"), 0)
    circuit.cx(0, 1)
    objective = Objective(circuit, SparsePauliOp(["ZZ"], [1.0]))
    backend = open_backend(
        "ibm:fake_manila", spend=100, task=task, journal=Path(folder) / "jobs.sqlite", poll=0.05, back_off=0.2,
        grace=grace, say=lambda line: None,
    )  # fmt: skip
    assert isinstance(backend, DeviceBackend)
    assert isinstance(backend.runner, PaidRunner)
    backend.runner.pace = Pace(count=1_000)  # the service here has no rate
    values = [
        float(
            objective.value([0.3 * k], backend=backend, total_shots=50, rng=np.random.default_rng(k)).values
        )
        for k in range(CALLS)
    ]
    (Path(folder) / f"{task}.done").write_text(str(values))
