"""What the service takes in one job, and splitting above it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hybrid.devices.jobs import Job, Pub
from hybrid.ibm.errors import TooLarge

# Low-level instructions of a gate, as the service counts them.
_INSTRUCTIONS = {"rz": 1, "sx": 2, "x": 2, "cz": 5, "ecr": 5, "cx": 5, "measure": 10, "reset": 17}
_START = 50


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Of one job. Source: IBM Quantum documentation, "Job limits", as of November 2026.

    Args:
        executions: circuits times shots.
        instructions: low-level instructions on one qubit, over all rows.
        seconds: longest `max_execution_time`.
    """

    executions: int = 10_000_000
    instructions: int = 26_800_000
    seconds: float = 10_800.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """A job as parts that are within the limits; PUB j of part i holds rows of PUB `places[i][j]`."""

    parts: tuple[Job, ...]
    places: tuple[tuple[int, ...], ...]

    def joined(self, bits: Sequence[Sequence[np.ndarray]], count: int) -> tuple[np.ndarray, ...]:
        """Bits of the whole job's `count` PUBs from those of the parts."""
        found: list[list[np.ndarray]] = [[] for _ in range(count)]
        for places, arrays in zip(self.places, bits, strict=True):
            for place, array in zip(places, arrays, strict=True):
                found[place].append(array)
        return tuple(np.concatenate(arrays) for arrays in found)


def split(job: Job, limits: Limits) -> Split:
    """Returns the job as one part where it is within the limits, else as few parts of whole rows.

    Raises:
        TooLarge: when a single row is above the limits.
    """
    parts: list[list[Pub]] = [[]]
    places: list[list[int]] = [[]]
    executions = instructions = 0
    for index, pub in enumerate(job.pubs):
        heavy = instructions_on_a_qubit(pub)
        if pub.shots > limits.executions or heavy > limits.instructions:
            raise TooLarge(
                f"One circuit with {pub.shots:,} shots and {heavy:,} instructions on a qubit is above what a job may "
                f"hold, {limits.executions:,} executions and {limits.instructions:,} instructions: use fewer shots or "
                "gates."
            )
        row = 0
        while row < len(pub.angles):
            fits = min(
                (limits.executions - executions) // pub.shots,
                (limits.instructions - instructions) // max(1, heavy),
            )
            if fits == 0:
                parts.append([])
                places.append([])
                executions = instructions = 0
                continue
            piece = replace(pub, angles=pub.angles[row : row + fits])
            parts[-1].append(piece)
            places[-1].append(index)
            executions += piece.executions
            instructions += heavy * len(piece.angles)
            row += fits
    return Split(parts=tuple(Job(pubs=tuple(part)) for part in parts), places=tuple(map(tuple, places)))


def instructions_on_a_qubit(pub: Pub) -> int:
    """Low-level instructions of one row on its busiest qubit."""
    counts: dict[object, int] = {}
    for item in pub.circuit.data:
        weight = _INSTRUCTIONS.get(item.operation.name, 0 if item.operation.name == "barrier" else 5)
        for qubit in item.qubits:
            counts[qubit] = counts.get(qubit, _START) + weight
    return max(counts.values(), default=0)
