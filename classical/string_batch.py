"""Many Pauli strings that move through the same circuit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from classical.paulis import PauliString
from classical.walk_model import Permutation

Bools = NDArray[np.bool_]


class StringBatch:
    """Strings with signs: bits `x` and `z`, shape (qubits, strings), and `signs`, 1 or -1, shape (strings,)."""

    def __init__(self, x: Bools, z: Bools, signs: NDArray[np.int8] | None = None) -> None:
        self.x, self.z = x, z
        self.signs = np.ones(x.shape[1], dtype=np.int8) if signs is None else signs

    @staticmethod
    def of(strings: Sequence[PauliString], num_qubits: int) -> StringBatch:
        x = np.array([[s.x >> q & 1 for s in strings] for q in range(num_qubits)], dtype=bool)
        z = np.array([[s.z >> q & 1 for s in strings] for q in range(num_qubits)], dtype=bool)
        return StringBatch(x.reshape(num_qubits, -1), z.reshape(num_qubits, -1))

    def __len__(self) -> int:
        return self.x.shape[1]

    def letters(self, qubit: int) -> NDArray[np.int64]:
        """Each string's letter on a qubit: 0, 1, 2, 3 for I, X, Z, Y."""
        return self.x[qubit] + 2 * self.z[qubit].astype(np.int64)

    def kept(self, which: Bools) -> StringBatch:
        """Some of the strings."""
        return StringBatch(self.x[:, which], self.z[:, which], self.signs[which])

    def with_others(self, other: StringBatch) -> StringBatch:
        """These strings, then others."""
        return StringBatch(
            np.hstack([self.x, other.x]), np.hstack([self.z, other.z]), np.append(self.signs, other.signs)
        )

    def anticommuting(self, letters: str, qubits: Sequence[int]) -> Bools:
        """Which strings anticommute with letters on qubits."""
        odd = np.zeros(len(self), dtype=bool)
        for letter, q in zip(letters, qubits, strict=True):
            if letter != "Z":
                odd ^= self.z[q]
            if letter != "X":
                odd ^= self.x[q]
        return odd

    def turn(self, letters: str, qubits: Sequence[int], which: Bools) -> None:
        """Takes Q to i P Q, for strings `which` that anticommute with P."""
        string = PauliString.of(letters, tuple(qubits))
        # Phases in powers of i, where Y = i X Z: those of both strings in the form X Z, of reordering, and back.
        places = list(qubits)
        before = (self.x[places] & self.z[places]).sum(0)
        px = np.array([string.x >> q & 1 for q in places], dtype=bool)[:, None]
        pz = np.array([string.z >> q & 1 for q in places], dtype=bool)[:, None]
        crossed = (pz & self.x[places]).sum(0)
        self.x[places] ^= px & which
        self.z[places] ^= pz & which
        after = (self.x[places] & self.z[places]).sum(0)
        phase = 1 + (string.x & string.z).bit_count() + before + 2 * crossed - after
        self.signs[which] *= (1 - phase[which] % 4).astype(np.int8)

    def pull(self, move: Permutation) -> None:
        """Takes Q behind a Clifford gate U to U^dagger Q U before it."""
        codes = np.zeros(len(self), dtype=np.int64)
        for j, q in enumerate(move.qubits):
            codes |= self.letters(q) << 2 * j
        new = np.array(move.codes)[codes]
        self.signs *= np.array(move.signs, dtype=np.int8)[codes]
        for j, q in enumerate(move.qubits):
            self.x[q] = new >> 2 * j & 1
            self.z[q] = new >> 2 * j + 1 & 1

    def closed(self, sites: Sequence[Sequence[float]]) -> NDArray[np.float64]:
        """Products of one weight a qubit, letters in the order I, X, Z, Y, without the signs; shape (strings,)."""
        values = np.ones(len(self))
        for qubit, weights in enumerate(sites):
            values *= np.array(weights)[self.letters(qubit)]
        return values
