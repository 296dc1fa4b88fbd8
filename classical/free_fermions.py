"""Circuits of free fermions: losses from 2n by 2n matrices, at any depth.

With gamma_2j = A...A B_j and gamma_2j+1 = A...A C_j for letters A, B, C, the strings i gamma_a gamma_b span so(2n).
Rotations about them turn planes of Majorana operators, so the means <i gamma_a gamma_b> are all that a loss in so(2n)
needs, whatever the input state. Source: Valiant 2002, doi:10.1137/S0097539700377025; Terhal and DiVincenzo 2002,
arXiv:quant-ph/0108010.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from classical.paulis import PauliString, generator
from classical.program import PAULI_MATRICES, FixedUnitary, PauliRotation, Program

_FRAMES = ("ZXY", "XYZ", "YZX")
_SURE = 1e-12

Array = NDArray[np.float64]
Plane = tuple[int, int, float]
"""a, b and the sign s: the string is s times i gamma_a gamma_b."""
Bits = tuple[int, int]


class NoFreeFermions(ValueError):
    """The circuit or the observable is none of free fermions."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FreeFermions:
    """A circuit of free fermions from a product state.

    Args:
        planes: of each rotation.
        start: <i gamma_a gamma_b> of the input state, antisymmetric, (2n, 2n).
        quadratic: the plane of each string of the algebra.
    """

    program: Program
    planes: tuple[Plane, ...]
    start: Tensor
    quadratic: dict[Bits, Plane]

    @staticmethod
    def of(program: Program) -> FreeFermions:
        """Reads a circuit; fixed gates on one qubit may stand before everything else on it.

        Closing a ring takes a string that is one of so(2n) times A on all qubits: it is taken where the input state has
        a sure value of that product, which all of so(2n) keeps.

        Raises:
            NoFreeFermions: for other fixed gates, and rotations outside so(2n) with A = X, Y and Z.
        """
        bloch = _input_vectors(program)
        strings = [generator(gate) for gate in program.gates if isinstance(gate, PauliRotation)]
        for frame in _FRAMES:
            quadratic = _quadratic(program.num_qubits, frame, bloch)
            if all((each.x, each.z) in quadratic for each in strings):
                return FreeFermions(
                    program=program,
                    planes=tuple(quadratic[each.x, each.z] for each in strings),
                    start=_start(program.num_qubits, frame, bloch),
                    quadratic=quadratic,
                )
        raise NoFreeFermions(
            f"The rotations of the circuit are not all in so({2 * program.num_qubits}), with strings of X, Y or Z: "
            "simulate it in another way."
        )

    def values(self, theta: Tensor, terms: Sequence[tuple[str, float]]) -> Tensor:
        """Losses, shape (rows,), for rows of parameters (rows, parameters); terms have labels with qubit 0 first.

        Cost: rows times rotations times 2n, and rows times 4 n^2 numbers in memory.

        Raises:
            NoFreeFermions: for a term outside so(2n).
        """
        constant, read = 0.0, []
        for label, coefficient in terms:
            string = PauliString.of(label)
            if not string.support:
                constant += coefficient
            elif (string.x, string.z) in self.quadratic:
                a, b, sign = self.quadratic[string.x, string.z]
                read.append((a, b, sign * coefficient))
            else:
                raise NoFreeFermions(f"The term {label} is not in so({2 * self.program.num_qubits}).")
        # numpy's steps on one thread are quicker than torch's on several for matrices this small.
        means = np.repeat(self.start.numpy()[:, :, None], len(theta), axis=2)
        for (a, b, sign), angle in zip(
            self.planes, self.program.angles(theta.detach()).numpy().T, strict=True
        ):
            cosine, sine = np.cos(angle), sign * np.sin(angle)
            _turn(means[a], means[b], cosine, sine)
            _turn(means[:, a], means[:, b], cosine, sine)
        found = torch.full((len(theta),), constant, dtype=torch.float64)
        for a, b, weight in read:
            found = found + weight * torch.from_numpy(means[a, b])
        return found


def _turn(first: Array, second: Array, cosine: Array, sine: Array) -> None:
    """Turns rows in place."""
    before = first.copy()
    first[:] = cosine * first + sine * second
    second[:] = cosine * second - sine * before


def _majoranas(num_qubits: int, frame: str) -> list[PauliString]:
    through, *ends = frame
    return [PauliString.of(through * q + end, tuple(range(q + 1))) for q in range(num_qubits) for end in ends]


def _quadratic(num_qubits: int, frame: str, bloch: Tensor) -> dict[Bits, Plane]:
    """Strings s i gamma_a gamma_b, and their products with the parity where that is sure."""
    parity = PauliString.of(frame[0] * num_qubits)
    sure = float(bloch[:, "XYZ".index(frame[0])].prod())
    majoranas = _majoranas(num_qubits, frame)
    found: dict[Bits, Plane] = {}
    for a, first in enumerate(majoranas):
        for b, second in enumerate(majoranas[:a]):
            # i times i^phase is the sign.
            product = second @ first
            sign = float(product.phase - 2)
            found.setdefault((product.x, product.z), (b, a, sign))
            if abs(abs(sure) - 1) < _SURE:
                string = PauliString(product.x, product.z)
                twin = parity @ string
                found.setdefault((twin.x, twin.z), (b, a, sign * twin.sign * round(sure)))
    return found


def _start(num_qubits: int, frame: str, bloch: Tensor) -> Tensor:
    majoranas = _majoranas(num_qubits, frame)
    means = torch.zeros(2 * num_qubits, 2 * num_qubits, dtype=torch.float64)
    for a, first in enumerate(majoranas):
        for b, second in enumerate(majoranas[:a]):
            product = second @ first
            letters = product.letters(num_qubits)
            factors = (bloch[q, "XYZ".index(letter)] for q, letter in enumerate(letters) if letter != "I")
            value = (product.phase - 2) * reduce(torch.mul, factors)
            means[b, a], means[a, b] = value, -value
    return means


def _input_vectors(program: Program) -> Tensor:
    """Bloch vectors behind the fixed gates that come first on each qubit."""
    states = torch.zeros(program.num_qubits, 2, dtype=torch.complex128)
    states[:, 0] = 1
    touched: set[int] = set()
    for gate in program.gates:
        if isinstance(gate, FixedUnitary):
            qubit, *others = gate.qubits
            if others or qubit in touched:
                raise NoFreeFermions(
                    f"A fixed gate stands on qubits {gate.qubits}; only single-qubit ones that come first are read."
                )
            states[qubit] = gate.matrix @ states[qubit]
        else:
            touched |= set(gate.qubits)
    paulis = torch.stack([PAULI_MATRICES[letter] for letter in "XYZ"])
    return torch.einsum("qi,pij,qj->qp", states.conj(), paulis, states).real
