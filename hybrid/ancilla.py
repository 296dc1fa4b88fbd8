"""The Hadamard test as a real circuit: one more qubit, which controls a Pauli string."""

from __future__ import annotations

import torch

from classical.measurement import AbstractMeasurementGroup, MeasurementGroup
from classical.program import PAULI_MATRICES, TURNS_TO_Z, FixedUnitary, PauliRotation, Program
from hybrid.target import Target


def with_ancilla(target: Target, rotation: int) -> Target:
    """Returns the target with an ancilla, the last qubit, that controls the Pauli string of `rotation` behind it.

    Its observables are Y of the ancilla times the target's, without constants: their values are Im <psi|O|chi>, the
    derivative by the angle of that rotation. Source: Li et al. 2017, arXiv:1611.09301; Mitarai and Fujii 2019,
    arXiv:1901.00015.
    """
    program = target.program
    ancilla = program.num_qubits
    gates: list[PauliRotation | FixedUnitary] = [FixedUnitary(qubits=(ancilla,), matrix=TURNS_TO_Z["X"])]
    seen = 0
    for gate in program.gates:
        gates.append(gate)
        if isinstance(gate, PauliRotation):
            if seen == rotation:
                gates += [
                    controlled(letter, ancilla, q)
                    for letter, q in zip(gate.letters, gate.qubits, strict=True)
                ]
            seen += 1
    return Target(
        program=Program(
            num_qubits=ancilla + 1,
            gates=tuple(gates),
            num_params=program.num_params,
            factors=program.factors,
            offsets=program.offsets,
        ),
        groups=tuple(_with_y(group, ancilla) for group in target.groups),
        constants=torch.zeros_like(target.constants),
    )


def controlled(letter: str, control: int, qubit: int) -> FixedUnitary:
    """A Pauli matrix on `qubit`, controlled by `control`."""
    matrix = torch.eye(4, dtype=torch.complex128)
    matrix[2:, 2:] = PAULI_MATRICES[letter]
    return FixedUnitary(qubits=(control, qubit), matrix=matrix)


def _with_y(group: AbstractMeasurementGroup, ancilla: int) -> MeasurementGroup:
    """The group's terms times Y of the ancilla."""
    assert isinstance(group, MeasurementGroup), "a Hadamard test measures Pauli terms"
    return MeasurementGroup(
        basis=group.basis + "Y",
        num_qubits=ancilla + 1,
        named_gates=(*group.named_gates, ("sdg", (ancilla,)), ("h", (ancilla,))),
        supports=tuple((*support, ancilla) for support in group.supports),
        coefficients=group.coefficients,
    )
