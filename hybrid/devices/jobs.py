"""A job: all circuits of some requests as few parameterised circuits with rows of angles."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from qiskit import QuantumCircuit

from classical.measurement import AbstractMeasurementGroup
from classical.program import FixedUnitary, Program
from hybrid.backends.base import Request
from hybrid.devices.circuits import BITS
from hybrid.devices.transpiling import Transpiler

# What rounding to equal shots may leave unused, of all shots.
_MOST_UNUSED = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class Pub:
    """One circuit with rows of angles, each run with `shots` shots.

    Args:
        circuit: as the device runs it, parameter k being rotation k, measured into the register `BITS`.
        angles: shape (rows, rotations), float64.
        content: says what the circuit is, before it was transpiled.
    """

    circuit: QuantumCircuit
    angles: np.ndarray
    shots: int
    content: str

    @property
    def executions(self) -> int:
        return len(self.angles) * self.shots

    @property
    def arguments(self) -> np.ndarray:
        """Angles of the parameters that the transpiled circuit still has, in its order."""
        kept = [parameter.index for parameter in self.circuit.parameters]  # pyright: ignore
        return self.angles[:, kept]

    @property
    def num_bits(self) -> int:
        return next(register.size for register in self.circuit.cregs if register.name == BITS)


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """What is submitted at once."""

    pubs: tuple[Pub, ...]

    @property
    def executions(self) -> int:
        """Circuits run, each row and shot being one."""
        return sum(pub.executions for pub in self.pubs)

    @property
    def most_shots(self) -> int:
        """Of one circuit."""
        return max((pub.shots for pub in self.pubs), default=0)

    @property
    def fingerprint(self) -> str:
        """A hash of circuits and shots; angles, which rounding may move, are compared as numbers."""
        text = "\n".join(f"{pub.content} {pub.angles.shape} {pub.shots}" for pub in self.pubs)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def shapes(self) -> tuple[tuple[int, int, int], ...]:
        """Of each PUB's bits as they come back: rows, shots, bytes."""
        return tuple((len(pub.angles), pub.shots, -(-pub.num_bits // 8)) for pub in self.pubs)

    @property
    def angles(self) -> np.ndarray:
        """Of all rows, one after the other."""
        return np.concatenate([pub.angles.ravel() for pub in self.pubs]) if self.pubs else np.zeros(0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Owner:
    """Whose values a PUB measures: its row r is circuit `circuits[r]` at parameter row `rows[r]` of a request."""

    request: int
    group_index: int
    group: AbstractMeasurementGroup
    circuits: np.ndarray
    rows: np.ndarray


@dataclass(kw_only=True)
class Assembly:
    """A job and the owners of its first PUBs; PUBs that a wrapper adds follow, `extra_circuits` in all."""

    pubs: list[Pub] = field(default_factory=list)
    owners: list[Owner] = field(default_factory=list)
    extra_circuits: int = 0

    @property
    def job(self) -> Job:
        return Job(pubs=tuple(self.pubs))

    @property
    def executions(self) -> int:
        return sum(pub.executions for pub in self.pubs)


def assembled(requests: Sequence[Request], transpiler: Transpiler, *, equal_shots: bool) -> Assembly:
    """Returns one job for all requests: a PUB for each program and basis, with all its rows.

    Args:
        equal_shots: the device wants one number of shots a job. Rows are then repeated; up to 1 % of the shots are
            left unused where numbers have no common part.
    """
    shots = [request.shots for request in requests]
    unit = shot_unit(shots) if equal_shots else None
    made = Assembly()
    for r, request in enumerate(requests):
        first = 0
        for target, angles in request.circuits.realised(request.target):
            count = angles.shape[0]
            for g, group in enumerate(target.groups):
                column = request.shots[first : first + count, g].numpy()
                _add(
                    made,
                    transpiler,
                    target.program,
                    group,
                    angles.numpy(),
                    column,
                    unit,
                    (r, g, first),
                    request,
                )
            first += count
    return made


def _add(
    made: Assembly,
    transpiler: Transpiler,
    program: Program,
    group: AbstractMeasurementGroup,
    angles: np.ndarray,  # shape: (circuits, rows, rotations)
    shots: np.ndarray,  # shape: (circuits,)
    unit: int | None,
    place: tuple[int, int, int],
    request: Request,
) -> None:
    """Adds the PUBs of one program in one basis: one, or one for each number of shots where these may differ."""
    request_index, group_index, first = place
    repeats = shots // unit if unit else np.ones_like(shots)
    for count in [unit] if unit else sorted({int(n) for n in shots if n > 0}):
        chosen = (repeats > 0).nonzero()[0] if unit else (shots == count).nonzero()[0]
        if not len(chosen):
            continue
        chosen = np.repeat(chosen, repeats[chosen])
        rows = np.arange(angles.shape[1])
        made.pubs.append(
            Pub(
                circuit=transpiler.measured(program, group.named_gates, request.folding),
                angles=angles[chosen].reshape(len(chosen) * len(rows), angles.shape[2]),
                shots=int(count),
                content=f"{described(program)} {group.named_gates} x{request.folding}",
            )
        )
        made.owners.append(
            Owner(
                request=request_index,
                group_index=group_index,
                group=group,
                circuits=first + np.repeat(chosen, len(rows)),
                rows=np.tile(rows, len(chosen)),
            )
        )


def shot_unit(tables: Sequence[torch.Tensor]) -> int:
    """The largest number of shots of which all are nearly multiples: at most 1 % is left unused, and none loses all."""
    counts = torch.cat([table.flatten() for table in tables]).numpy()
    counts = counts[counts > 0]
    if not len(counts):
        return 1
    least = int(counts.min())
    for unit in sorted({least // k for k in range(1, least + 1)}, reverse=True):
        if (counts % unit).sum() <= _MOST_UNUSED * counts.sum():
            return unit
    return 1


def described(program: Program) -> str:
    """A short text that is the same for the same gates."""
    digest = hashlib.sha256(f"{program.num_qubits}".encode())
    for gate in program.gates:
        digest.update(str(gate.qubits).encode())
        if isinstance(gate, FixedUnitary):
            digest.update((np.round(gate.matrix.resolve_conj().numpy(), 9) + 0.0).tobytes())
        else:
            digest.update(gate.letters.encode())
    return digest.hexdigest()
