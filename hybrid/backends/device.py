"""Any device or sampler as a backend: one job for all that is asked at once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from classical.cost import Cost
from hybrid.backends.base import AbstractBackend, Measured, Request, require_shots
from hybrid.circuits import AbstractCircuits, AncillaCircuits
from hybrid.devices.jobs import Assembly, assembled
from hybrid.devices.moments import Sums
from hybrid.devices.readout import Readout
from hybrid.devices.runner import AbstractRunner, Ran
from hybrid.devices.transpiling import Transpiler
from hybrid.target import Target


class AbstractDeviceBackend(AbstractBackend):
    """A backend whose circuits have shots and whose device noise can be scaled by folding gates."""

    def check(self, total_shots: int | Tensor | None, rng: np.random.Generator | None) -> None:
        without = ", which has no exact values: use the backend Exact for those."
        require_shots(total_shots, rng, where="on a device", without=without)

    def run(
        self,
        target: Target,
        circuits: AbstractCircuits,
        *,
        shots: Tensor | None,
        rng: np.random.Generator | None,
    ) -> Measured:
        self.check(shots, rng)
        assert shots is not None
        (measured,) = self.run_together([Request(target=target, circuits=circuits, shots=shots)], rng=rng)
        return measured

    @abstractmethod
    def run_together(self, requests: Sequence[Request], *, rng: np.random.Generator | None) -> list[Measured]:
        """Returns what each request gives, from one job."""

    @abstractmethod
    def price(self, requests: Sequence[Request]) -> Cost:
        """Returns what that job will cost."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DeviceBackend(AbstractDeviceBackend):
    """Circuits on a device: transpiled once, one PUB a measurement basis, one job for all that is asked together.

    The cost has the circuits and shots that were run; on a device that wants equal shots, up to 1 % fewer than planned.

    Args:
        runner: who runs the job.
        transpiler: makes the device's circuits.
        name: for people.
    """

    runner: AbstractRunner
    transpiler: Transpiler
    name: str = "device"

    def run_together(self, requests: Sequence[Request], *, rng: np.random.Generator | None) -> list[Measured]:
        self.check(0, rng)
        assembly = self.assembly(requests)
        return decoded(requests, assembly, self.execute(assembly, rng))

    def price(self, requests: Sequence[Request]) -> Cost:
        return self.priced(requests, self.assembly(requests))

    def close(self) -> None:
        """Ends what the runner has opened: a session or a batch."""
        self.runner.close()

    def assembly(self, requests: Sequence[Request]) -> Assembly:
        """The job for these requests."""
        return assembled(requests, self.transpiler, equal_shots=self.runner.equal_shots)

    def priced(self, requests: Sequence[Request], assembly: Assembly) -> Cost:
        """The price of an assembled job."""
        return _counted(requests, assembly, "computed") + self.runner.price(assembly.job)

    def execute(self, assembly: Assembly, rng: np.random.Generator | None) -> Ran:
        """Runs an assembled job; nothing is run for one without circuits."""
        assert rng is not None
        seed = int(rng.integers(2**31))
        return self.runner.run(assembly.job, seed) if assembly.pubs else Ran(bits=(), cost=Cost())


def decoded(
    requests: Sequence[Request],
    assembly: Assembly,
    ran: Ran,
    readouts: Sequence[Readout | None] | None = None,
) -> list[Measured]:
    """What each request gave; the job's cost stands with the first.

    Args:
        readouts: for each PUB, the readout errors that are undone.
    """
    sums = [
        Sums.zeros(
            len(request.target.groups),
            request.circuits.num_circuits,
            request.circuits.num_rows,
            request.target.num_observables,
        )
        for request in requests
    ]
    undone = readouts or [None] * len(assembly.owners)
    for owner, bits, readout in zip(assembly.owners, ran.bits, undone, strict=False):
        sums[owner.request].add(owner, bits, readout)
    counted = _counted(requests, assembly, "measured")
    return [
        Measured(
            group_values=found.means(),
            group_covariances=found.covariances(),
            constants=_constants(request),
            cost=counted + ran.cost if i == 0 else Cost(),
        )
        for i, (request, found) in enumerate(zip(requests, sums, strict=True))
    ]


def _constants(request: Request) -> Tensor:
    constants = request.target.constants
    return torch.zeros_like(constants) if isinstance(request.circuits, AncillaCircuits) else constants


def _counted(requests: Sequence[Request], assembly: Assembly, source: str) -> Cost:
    """Circuits (rows times circuits times bases that get shots; repeats are none) and shots of a job."""
    circuits = {
        (owner.request, owner.group_index, int(s), int(b))
        for owner in assembly.owners
        for s, b in zip(owner.circuits, owner.rows, strict=True)
    }
    return Cost(
        circuits=len(circuits) + assembly.extra_circuits,
        shots=assembly.executions,
        sources={"circuits": source, "shots": source},  # pyright: ignore[reportArgumentType]
    )
