"""Pauli strings of chains and rings, as labels with qubit 0 first."""

from __future__ import annotations

from collections.abc import Sequence

from classical.program import Program, ProgramBuilder


def word(num_qubits: int, letters: dict[int, str]) -> str:
    return "".join(letters.get(q, "I") for q in range(num_qubits))


def pairs(num_qubits: int, letter: str, *, ring: bool = False) -> list[str]:
    """Of neighbours, each once."""
    last = num_qubits if ring and num_qubits > 2 else num_qubits - 1
    return [word(num_qubits, {q: letter, (q + 1) % num_qubits: letter}) for q in range(last)]


def singles(num_qubits: int, letter: str) -> list[str]:
    return [word(num_qubits, {q: letter}) for q in range(num_qubits)]


def ising(num_qubits: int, *, ring: bool = False) -> list[str]:
    return pairs(num_qubits, "Z", ring=ring) + singles(num_qubits, "X")


def layered(sums: Sequence[Sequence[str]], layers: int) -> Program:
    """Layers of rotations; the strings of a sum share the parameter."""
    builder = ProgramBuilder(len(sums[0][0]), layers * len(sums))
    for k, labels in enumerate([*sums] * layers):
        for label in labels:
            qubits = tuple(q for q, letter in enumerate(label) if letter != "I")
            builder.rotation("".join(label[q] for q in qubits), qubits, {k: 1.0})
    return builder.build()
