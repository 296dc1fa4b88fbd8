"""Qiskit samplers and vendors' backends as backends of ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from qiskit.primitives import BackendSamplerV2, BaseSamplerV2
from qiskit.providers import BackendV2

from classical.cost import Cost
from hybrid.backends.device import DeviceBackend
from hybrid.devices.jobs import Job, Pub
from hybrid.devices.moments import packed
from hybrid.devices.runner import AbstractRunner, Ran, SamplerRunner, UnusableResult
from hybrid.devices.transpiling import Transpiler

_SELF_TEST_SHOTS = 200
_LEAST_RIGHT = 0.6


def from_sampler(
    sampler: BaseSamplerV2, *, backend: Any = None, optimization_level: int = 1, seed: int = 0
) -> DeviceBackend:
    """Returns a qiskit SamplerV2 as a backend: one PUB a measurement basis, with all shifted rows.

    Args:
        backend: the BackendV2 that circuits are transpiled for; the sampler's own, if it names one. Without any they
            are handed over as they are, which simulators take.
        optimization_level, seed: of transpiling.

    Raises:
        TypeError: for what is no SamplerV2.
        ValueError: for a sampler with a whole number as seed: equal circuits, or calls, would get equal shots.
        UnusableResult: for a BackendSamplerV2 that does not read a prepared qubit.
    """
    if not isinstance(sampler, BaseSamplerV2):
        raise TypeError(f"Argument `sampler` must be a qiskit SamplerV2, but is a {type(sampler).__name__}.")
    seed_of_all = _fixed_seed(sampler)
    if seed_of_all is not None:
        raise ValueError(
            f"Argument `sampler` has the fixed seed {seed_of_all}, from which circuits or calls are drawn anew: "
            "shifted circuits would share their noise. Leave it out, give a StatevectorSampler a numpy Generator, or "
            "use `open_backend`, which seeds every circuit from `rng`."
        )
    own = _backend_of(sampler) if backend is None else backend
    made = DeviceBackend(
        runner=SamplerRunner(make=lambda seed, shots: sampler, equal_shots=_wants_equal_shots(sampler)),
        transpiler=Transpiler(backend=own, optimization_level=optimization_level, seed=seed),
        name=type(sampler).__name__,
    )
    if isinstance(sampler, BackendSamplerV2):
        self_test(made)
    return made


def from_vendor(
    backend: BackendV2, *, optimization_level: int = 1, seed: int = 0, **options: Any
) -> DeviceBackend:
    """Returns a vendor's BackendV2 as a backend, through `backend.run(list of circuits)`: one call a gradient.

    First a known circuit is run. `options` go to `backend.run`.

    Raises:
        UnusableResult: when the known circuit's outcome is impossible.
    """
    if not isinstance(backend, BackendV2):
        raise TypeError(f"Argument `backend` must be a qiskit BackendV2, but is a {type(backend).__name__}.")
    made = DeviceBackend(
        runner=VendorRunner(backend=backend, options=options),
        transpiler=Transpiler(backend=backend, optimization_level=optimization_level, seed=seed),
        name=str(backend.name),
    )
    self_test(made)
    return made


@dataclass(frozen=True, kw_only=True, eq=False)
class VendorRunner(AbstractRunner):
    """Binds every row and hands all circuits over in one call; one call for each number of shots."""

    backend: BackendV2
    options: dict[str, Any]
    equal_shots: bool = False

    def price(self, job: Job) -> Cost:
        return Cost(jobs=len({pub.shots for pub in job.pubs}), dollars=None, sources={"jobs": "computed"})

    def run(self, job: Job, seed: int) -> Ran:
        bits: list[np.ndarray | None] = [None] * len(job.pubs)
        calls = sorted({pub.shots for pub in job.pubs})
        for shots in calls:
            chosen = [i for i, pub in enumerate(job.pubs) if pub.shots == shots]
            bound = [
                job.pubs[i].circuit.assign_parameters(row) for i in chosen for row in job.pubs[i].arguments
            ]
            submitted: Any = self.backend.run(bound, shots=shots, **self.options)
            result = submitted.result()
            counts = result.get_counts()
            listed = counts if isinstance(counts, list) else [counts]
            at = 0
            for i in chosen:
                rows = len(job.pubs[i].angles)
                found = listed[at : at + rows]
                bits[i] = np.stack([_bits(each, job.pubs[i].num_bits, shots) for each in found])
                at += rows
        cost = Cost(jobs=len(calls), dollars=None, qpu_seconds=None, sources={"jobs": "measured"})
        return Ran(bits=tuple(each for each in bits if each is not None), cost=cost)


def self_test(backend: DeviceBackend) -> None:
    """Prepares |0> and |1> and reads them; raises UnusableResult when the answer is impossible."""
    circuit = backend.transpiler.readout_circuit((0,))
    angles = np.array([[0.0], [np.pi]])
    pub = Pub(circuit=circuit, angles=angles, shots=_SELF_TEST_SHOTS, content="self-test")
    (bits,) = backend.runner.run(Job(pubs=(pub,)), seed=0).bits
    ones = (bits & 1).mean((1, 2))
    if ones[0] > 1 - _LEAST_RIGHT or ones[1] < _LEAST_RIGHT:
        raise UnusableResult(
            f"{backend.name} reads 1 in {ones[0]:.0%} of shots for a qubit in |0> and in {ones[1]:.0%} for one in |1>, "
            "which cannot be: its results are not usable this way. Try the vendor's own SamplerV2 with `from_sampler`."
        )


def _bits(counts: dict[str, int], num_bits: int, shots: int) -> np.ndarray:
    """Counts by bit string as packed bits (shots, bytes)."""
    rows = []
    for text, count in counts.items():
        # The last letter is bit 0.
        row = np.array([int(letter) for letter in text.replace(" ", "")[::-1][:num_bits]], dtype=np.uint8)
        rows.append(np.repeat(row[None], count, axis=0))
    bits = np.concatenate(rows) if rows else np.zeros((0, num_bits), np.uint8)
    if len(bits) != shots:
        raise UnusableResult(f"The device gave {len(bits)} shots where {shots} were asked for.")
    return packed(bits)


def _backend_of(sampler: Any) -> Any:
    """The device that a sampler names, as `backend` or `backend()`, where it is one to transpile for.

    Of Aer's sampler its simulator, where that has a noise model: noise stands on gates by their names.
    """
    own = getattr(sampler, "_backend", None)
    if type(sampler).__module__.startswith("qiskit_aer") and isinstance(own, BackendV2):
        return own if getattr(own.options, "noise_model", None) is not None else None
    named = getattr(sampler, "backend", None)
    named = named() if callable(named) else named
    return named if isinstance(named, BackendV2) else None


def _fixed_seed(sampler: Any) -> int | None:
    """The whole number that a simulating sampler draws from each time, if it has one."""
    options = getattr(sampler, "options", None)
    places = [
        getattr(sampler, "seed", None),
        getattr(sampler, "_seed", None),
        getattr(options, "seed_simulator", None),
        getattr(getattr(options, "simulator", None), "seed_simulator", None),
    ]
    return next((int(seed) for seed in places if isinstance(seed, (int, np.integer))), None)


def _wants_equal_shots(sampler: BaseSamplerV2) -> bool:
    """IBM's client refuses a job with several numbers of shots."""
    return type(sampler).__module__.startswith("qiskit_ibm_runtime")
