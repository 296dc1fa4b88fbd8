"""Who runs a job: a simulator here, or a service that bills."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from classical.cost import Cost
from hybrid.devices.circuits import BITS
from hybrid.devices.jobs import Job


@dataclass(frozen=True, kw_only=True, eq=False)
class Ran:
    """What a job gave: for each PUB its bits (rows, shots, bytes), and what it cost beside circuits and shots."""

    bits: tuple[np.ndarray, ...]
    cost: Cost


class AbstractRunner(ABC):
    """Runs jobs.

    `equal_shots`: whether all circuits of a job must have the same number of shots.
    """

    equal_shots: bool

    @abstractmethod
    def price(self, job: Job) -> Cost:
        """Jobs, seconds and dollars that `run` will take; nothing is run."""

    @abstractmethod
    def run(self, job: Job, seed: int) -> Ran:
        """Returns what came; `seed` is for simulators, which draw shots from it."""

    def close(self) -> None:
        """Ends what was opened, if anything was."""
        return


@dataclass(frozen=True, kw_only=True, eq=False)
class SamplerRunner(AbstractRunner):
    """Runs jobs on a qiskit SamplerV2 of this process, which costs nothing.

    Args:
        make: gives the sampler for a seed and the largest number of shots of a circuit.
        equal_shots: True for IBM's client.
        seeded: whether `make` uses the seed. The job is then cut into calls with a seed each: IBM's client in local
            mode draws all PUBs of a call from the same random numbers, Aer those with different shots.
    """

    make: Callable[[int, int], Any]
    equal_shots: bool = False
    seeded: bool = False

    def price(self, job: Job) -> Cost:
        return Cost(jobs=1, sources={"jobs": "computed"})

    def run(self, job: Job, seed: int) -> Ran:
        calls: dict[int, list[int]] = {}
        for i, pub in enumerate(job.pubs):
            apart = i if self.equal_shots else pub.shots
            calls.setdefault(apart if self.seeded else 0, []).append(i)
        seeds = np.random.SeedSequence(seed).generate_state(len(calls)) // 2  # samplers take 31 bits
        bits: dict[int, np.ndarray] = {}
        for own, places in zip(seeds, calls.values(), strict=True):
            call = Job(pubs=tuple(job.pubs[i] for i in places))
            result = self.make(int(own), job.most_shots).run(sampler_pubs(call)).result()
            bits |= dict(zip(places, bits_of(result, call.shapes), strict=True))
        cost = Cost(jobs=1, sources={"jobs": "measured"})
        return Ran(bits=tuple(bits[i] for i in range(len(job.pubs))), cost=cost)


def sampler_pubs(job: Job) -> list[Any]:
    """The job as a SamplerV2 takes it; a circuit without parameters stands there once for each of its rows."""
    made: list[Any] = []
    for pub in job.pubs:
        arguments = pub.arguments
        if arguments.shape[1]:
            made.append((pub.circuit, arguments, pub.shots))
        else:
            made += [(pub.circuit, None, pub.shots)] * len(arguments)
    return made


def bits_of(result: Any, shapes: Sequence[tuple[int, int, int]]) -> tuple[np.ndarray, ...]:
    """Bits (rows, shots, bytes) of each PUB in a PrimitiveResult.

    Raises:
        UnusableResult: where they are not those that were asked for.
    """
    arrays = iter([np.asarray(one.data[BITS].array) for one in result])
    found: list[np.ndarray] = []
    for rows, shots, size in shapes:
        pieces: list[np.ndarray] = []
        while sum(map(len, pieces)) < rows:
            array = next(arrays, np.zeros((0, 0, 0), np.uint8))
            piece = array[None] if array.ndim == 2 else array
            if piece.shape[1:] != (shots, size) or sum(map(len, pieces)) + len(piece) > rows:
                raise UnusableResult(
                    f"The sampler gave bits of shape {array.shape} where {(rows, shots, size)} (rows, shots, bytes) "
                    "was asked for."
                )
            pieces.append(piece)
        found.append(pieces[0] if len(pieces) == 1 else np.concatenate(pieces))
    return tuple(found)


class UnusableResult(RuntimeError):
    """A sampler or device gave what cannot be what was asked for."""
