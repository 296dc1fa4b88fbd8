"""What our side of a QPU job takes: beside the client's own time, beside one job a circuit, in bytes, and on disk.

`python studies/qpu_speed.py` prints a table. IBM's client runs in its local mode, Aer behind it; no QPU is used.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import fake_provider
from qiskit_ibm_runtime.executor.executor import QUANTUM_PROGRAM_PARAMS_CONVERTERS
from qiskit_ibm_runtime.executor_sampler import Sampler
from qiskit_ibm_runtime.executor_sampler.prepare import prepare

from hybrid import Objective, ParameterShift
from hybrid.backends import DeviceBackend, Request, open_backend
from hybrid.devices.jobs import Job
from hybrid.devices.runner import sampler_pubs
from hybrid.ibm.journal import Intent, Journal
from hybrid.plan import Plan
from studies.circuits import hardware_efficient, transverse_ising

SHOTS = 2_500
RULE = ParameterShift(rule="occurrences")


def planned(qubits: int, layers: int) -> tuple[Objective, Plan]:
    """A transverse-field Ising objective, and the plan of its gradient with 2,500 shots a circuit and basis."""
    objective = Objective(hardware_efficient(qubits, layers, "cx chain"), transverse_ising(qubits))
    theta = np.linspace(0.1, 2.0, objective.num_params)
    circuits = 2 * objective.program.num_rotations * len(objective.groups)
    return objective, RULE.plan(objective, theta, total_shots=circuits * SHOTS)


def seconds(call: Callable[[], Any]) -> float:
    """Of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def opened(name: str) -> DeviceBackend:
    """A fake device, that of IBM's client in local mode."""
    backend = open_backend(name)
    assert isinstance(backend, DeviceBackend)
    return backend


def one_job(plan: Plan, repeats: int) -> tuple[float, float]:
    """Median seconds of a whole gradient on fake Manila, a fresh backend each time, and of the client's part in it."""
    wholes, parts = [], []
    for seed in range(repeats):
        backend = opened("fake:manila")
        wholes.append(seconds(lambda b=backend, s=seed: plan.run(b, np.random.default_rng(s))))
        job = backend.assembly(plan.requests()).job
        parts.append(seconds(lambda b=backend, j=job: b.runner.run(j, 0)))
    return statistics.median(wholes), statistics.median(parts)


def one_job_a_circuit(plan: Plan) -> float:
    """Seconds of the same circuits as other bridges run them, each transpiled and run alone, with the same client."""
    backend = fake_provider.FakeManilaV2()
    bare = open_backend("aer")
    assert isinstance(bare, DeviceBackend)
    job = bare.assembly(plan.requests()).job
    start = time.perf_counter()
    for pub in job.pubs:
        for row in pub.arguments:
            manager = generate_preset_pass_manager(optimization_level=1, backend=backend, seed_transpiler=0)
            circuit = manager.run(pub.circuit.assign_parameters(row))
            Sampler(mode=backend).run([(circuit,)], shots=pub.shots).result()
    return time.perf_counter() - start


def payload_bytes(job: Job) -> int:
    """Bytes of the job as the client sends it."""
    program, options = prepare(sampler_pubs(job), Sampler(mode=fake_provider.FakeManilaV2()).options)
    encoded = QUANTUM_PROGRAM_PARAMS_CONVERTERS["v2.0"].encoder(program, options)
    return len(json.dumps(encoded.model_dump(mode="json")))


def journal_seconds(job: Job, count: int) -> float:
    """What the journal adds to a job: intent, attempt, id and a small result, each on disk before the next step."""
    bits = tuple(np.zeros((rows, 100, size), np.uint8) for rows, _, size in job.shapes)
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "jobs.sqlite")
        start = time.perf_counter()
        for call in range(count):
            intent = Intent(
                task="speed", call=call, part=0, backend="none", fingerprint=job.fingerprint, angles=job.angles,
                shapes=job.shapes, executions=job.executions, estimated_seconds=1.0, estimated_dollars=1.0,
            )  # fmt: skip
            tag = f"tag-{call}"
            journal.claim(intent, tag)
            journal.attempted(tag)
            journal.submitted(tag, [f"job-{call}"])
            journal.done(tag, bits, 1.0)
        return (time.perf_counter() - start) / count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5, help="of the whole gradient (default 5)")
    repeats = parser.parse_args().repeats
    _, small = planned(4, 3)
    opened("fake:manila")  # imports
    whole, client = one_job(small, repeats)
    separate = one_job_a_circuit(small)
    manila = opened("fake:manila")
    job = manila.assembly(small.requests()).job
    fez = opened("fake:fez")
    _, large = planned(20, 4)
    fez.assembly(large.requests())  # transpiled once
    wide = fez.assembly(large.requests()).job
    _, many = planned(8, 16)
    requests: list[Request] = many.requests()
    fez.assembly(requests)
    preparing = statistics.median(
        [seconds(lambda: sampler_pubs(fez.assembly(requests).job)) for _ in range(repeats)]
    )
    rows = [
        (
            "4 qubits, P = 24, 2,500 shots, fake Manila: whole gradient, one job, transpiling included",
            f"{whole:.3f} s",
        ),
        ("of that, not the client's own time", f"{max(0.0, whole - client):.3f} s"),
        ("the same circuits, one job each", f"{separate:.1f} s, {separate / whole:.0f} x"),
        (
            "20 qubits, P = 160, two bases, 1.6 million executions: payload",
            f"{payload_bytes(wide) / 1e6:.3f} MB",
        ),
        (f"preparing a job of {many.cost.circuits:,} rows", f"{preparing:.3f} s"),
        ("the journal, a job", f"{1e3 * journal_seconds(job, 50):.1f} ms"),
    ]
    print("| what | measured |\n|---|---|")
    for what, measured in rows:
        print(f"| {what} | {measured} |")


if __name__ == "__main__":
    main()
