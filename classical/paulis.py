"""Products of Pauli strings, in bit arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from classical.program import FixedUnitary, PauliRotation, pauli_matrix

_BITS = {"I": (0, 0), "X": (1, 0), "Y": (1, 1), "Z": (0, 1)}
_LETTERS = {bits: letter for letter, bits in _BITS.items()}


@dataclass(frozen=True)
class PauliString:
    """`i^phase` times letters: qubit q has X where bit q of `x` is set, Z where that of `z` is, Y for both."""

    x: int
    z: int
    phase: int = 0

    @staticmethod
    def of(letters: str, qubits: tuple[int, ...] | None = None) -> PauliString:
        """From letters, `letters[j]` on `qubits[j]`; on qubits 0, 1, ... by default."""
        x = z = 0
        for qubit, letter in zip(range(len(letters)) if qubits is None else qubits, letters, strict=True):
            a, b = _BITS[letter]
            x |= a << qubit
            z |= b << qubit
        return PauliString(x, z)

    def __matmul__(self, other: PauliString) -> PauliString:
        """The operator product."""
        x, z = self.x ^ other.x, self.z ^ other.z
        # Y = i X Z: phases of both in the form X Z, of reordering, and back.
        phase = self.phase + other.phase + (self.x & self.z).bit_count() + (other.x & other.z).bit_count()
        phase += 2 * (self.z & other.x).bit_count() - (x & z).bit_count()
        return PauliString(x, z, phase % 4)

    def commutes(self, other: PauliString) -> bool:
        return ((self.x & other.z).bit_count() + (self.z & other.x).bit_count()) % 2 == 0

    @property
    def sign(self) -> int:
        """+1 or -1; only of a Hermitian string."""
        assert self.phase % 2 == 0
        return 1 - self.phase

    @property
    def support(self) -> int:
        """Bits of the qubits with a letter."""
        return self.x | self.z

    def letters(self, num_qubits: int) -> str:
        """Letters, qubit 0 first, without the phase."""
        return "".join(_LETTERS[self.x >> q & 1, self.z >> q & 1] for q in range(num_qubits))


def generator(gate: PauliRotation) -> PauliString:
    """The string that a rotation turns about."""
    return PauliString.of(gate.letters, gate.qubits)


@dataclass(frozen=True, eq=False)
class CliffordMap:
    """How a Clifford gate U turns Pauli strings, P to U P U^dagger."""

    images: dict[tuple[int, int], PauliString]
    """By the bits (x, z) of X or Z on one of the gate's qubits."""
    inside: int

    @staticmethod
    def of(gate: FixedUnitary) -> CliffordMap | None:
        """From a gate's matrix; None when it is not Clifford. Cost: 2 width 4^width traces."""
        images: dict[tuple[int, int], PauliString] = {}
        for place, qubit in enumerate(gate.qubits):
            for letter in "XZ":
                word = "I" * place + letter + "I" * (len(gate.qubits) - place - 1)
                turned = gate.matrix @ pauli_matrix(word) @ gate.matrix.mH
                image = _as_string(turned, gate.qubits)
                if image is None:
                    return None
                bits = _BITS[letter]
                images[bits[0] << qubit, bits[1] << qubit] = image
        return CliffordMap(images, sum(1 << q for q in gate.qubits))

    def __call__(self, string: PauliString) -> PauliString:
        if not string.support & self.inside:
            return string
        image = PauliString(string.x & ~self.inside, string.z & ~self.inside, string.phase)
        for x, z in self.images:
            # X before Z on each qubit: Y = i X Z.
            if string.x & x or string.z & z:
                image = image @ self.images[x, z]
        both = string.x & string.z & self.inside
        return PauliString(image.x, image.z, (image.phase + both.bit_count()) % 4)


def _as_string(matrix: Tensor, qubits: tuple[int, ...]) -> PauliString | None:
    """A matrix that is plus or minus a Pauli string, as such; None when it is not."""
    for word in map("".join, product("IXYZ", repeat=len(qubits))):
        overlap = torch.trace(pauli_matrix(word) @ matrix).real / len(matrix)
        if abs(abs(overlap) - 1) < 1e-9:
            string = PauliString.of(word, qubits)
            return PauliString(string.x, string.z, 0 if overlap > 0 else 2)
    return None
