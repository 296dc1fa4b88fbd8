"""The bars-and-dots task of Bowles, Wierichs and Park, and its commuting classifier, simulated by sampling.

Data: binary pictures of one dimension on a ring; in a bar half the pixels stand together, among dots they are every
second one; pixels are -1 there and 1 elsewhere, with normal noise of standard deviation 1 added, and halved. Circuit:
RY of each pixel on its qubit, then exp(-i w P / 2) for all strings P of one to three X, one weight for all turns of a
string; the class is the sign of the mean of all Z. Source: arXiv:2306.14962v4, section 6, and the code that its authors
published with it, which sets 16 qubits, 1,000 pictures, batches of 20 and Adam.

The strings commute with each other and with the last state's measurement of a derivative, so that shots are drawn
exactly without a state vector: see `commuting_gradients`. The state itself takes one Walsh-Hadamard transform.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from classical.cost import Cost

Array = NDArray[np.float64]
_MOST_WEIGHT = 3
# Numbers of one block of shots, or of states, which are handled together.
_BLOCK = 2**22


def pictures(count: int, pixels: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Returns pictures (count, pixels) and classes (count,), 1 for a bar and -1 for dots."""
    half = pixels // 2
    starts, classes = rng.integers(pixels, size=count), rng.integers(2, size=count)
    strides = np.where(classes == 1, 1, 2)
    places = (starts[:, None] + strides[:, None] * np.arange(half)) % pixels
    clean = np.ones((count, pixels))
    np.put_along_axis(clean, places, -1.0, axis=1)
    noisy = clean + rng.normal(size=clean.shape)
    return noisy / 2, np.where(classes == 1, 1.0, -1.0)


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """The commuting circuit on a ring of qubits; pictures `x` are of shape (B, qubits).

    `weights` are of shape (P,); for values and samples of them also (B, P), a row for each picture.
    """

    qubits: int

    @cached_property
    def supports(self) -> list[list[tuple[int, ...]]]:
        """Qubits of each string, in lists of those that share a weight."""
        turns: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
        for size in range(1, min(_MOST_WEIGHT, self.qubits) + 1):
            for support in combinations(range(self.qubits), size):
                ways = (tuple(sorted((q + by) % self.qubits for q in support)) for by in range(self.qubits))
                turns.setdefault(min(ways), []).append(support)
        return list(turns.values())

    @property
    def num_params(self) -> int:
        return len(self.supports)

    @cached_property
    def owners(self) -> NDArray[np.int64]:
        """The weight of each string, (d,)."""
        return np.repeat(np.arange(self.num_params), [len(each) for each in self.supports])

    @property
    def num_strings(self) -> int:
        """d, rotations of the circuit."""
        return len(self.owners)

    @cached_property
    def masks(self) -> NDArray[np.int64]:
        """Each string as bits, (d,); qubit q is bit q."""
        return np.array([sum(1 << q for q in support) for each in self.supports for support in each])

    @cached_property
    def _through_first(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Of the strings with qubit 0: the two other qubits of each (-1 for none), and its weight."""
        found = [
            ([*support[1:], -1, -1][:2], owner)
            for owner, each in enumerate(self.supports)
            for support in each
            if support[0] == 0
        ]
        others = np.array([pair for pair, _ in found])
        return others[:, 0], others[:, 1], np.array([owner for _, owner in found])

    # --- exact ------------------------------------------------------------------------------------------

    def states(self, weights: Array, x: Array) -> NDArray[np.complex128]:
        """Final states (B, 2^qubits) in the Z basis, bit q of the place for qubit q."""
        return _walsh(self._in_x(weights, x)) / 2 ** (self.qubits / 2)

    def _in_x(self, weights: Array, x: Array) -> NDArray[np.complex128]:
        """The same in the X basis, where the strings are phases."""
        rows = weights.reshape(-1, self.num_params)
        angles = np.zeros((len(rows), 2**self.qubits), dtype=np.complex128)
        angles[:, self.masks] = rows[:, self.owners] / 2
        amplitudes = np.ones((len(x), 1), dtype=np.complex128)
        for qubit in reversed(range(self.qubits)):
            cos, sin = np.cos(x[:, qubit] / 2), np.sin(x[:, qubit] / 2)
            pair = np.stack([cos + sin, cos - sin], axis=1) / np.sqrt(2)
            amplitudes = (amplitudes[:, :, None] * pair[:, None]).reshape(len(x), -1)
        return amplitudes * np.exp(-1j * _walsh(angles).real)

    @cached_property
    def _means(self) -> Array:
        """Mean of all Z for each bit string."""
        places = np.arange(2**self.qubits, dtype=np.uint64)
        return 1 - 2 * np.bitwise_count(places) / self.qubits

    def values(self, weights: Array, x: Array) -> Array:
        """Exact means of all Z, (B,)."""
        chances, levels = self._chances(weights, x)
        return chances @ levels

    def gradients(self, weights: Array, x: Array) -> Array:
        """Exact derivatives of the values, (B, P): those of Z of one qubit by all strings are one Walsh transform."""
        amplitudes, places = self._in_x(weights, x), np.arange(2**self.qubits)
        total = np.zeros((len(x), self.num_params))
        for qubit in range(self.qubits):
            through = self.masks >> qubit & 1 == 1
            crossed = -(amplitudes.conj() * amplitudes[:, places ^ (1 << qubit)]).imag
            found = _walsh(crossed.astype(complex)).real[:, self.masks[through]] / self.qubits
            np.add.at(total.T, self.owners[through], found.T)
        return total

    # --- from shots -------------------------------------------------------------------------------------

    def sampled_values(
        self, weights: Array, x: Array, shots: int, rng: np.random.Generator
    ) -> tuple[Array, Cost]:
        """Means of all Z from `shots` shots of each picture, (B,); one circuit each."""
        different, place = x, np.arange(len(x))
        if weights.ndim == 1:
            different, place = np.unique(x, axis=0, return_inverse=True)
        chances, levels = self._chances(weights, different)
        counts = np.array([rng.multinomial(shots, chances[i]) for i in place])
        return counts @ levels / shots, _cost(len(x), len(x) * shots)

    def variances(self, weights: Array, x: Array) -> Array:
        """Exact variances of one shot of the mean of all Z, (B,)."""
        chances, levels = self._chances(weights, x)
        return chances @ levels**2 - (chances @ levels) ** 2

    def _chances(self, weights: Array, x: Array) -> tuple[Array, Array]:
        """Probabilities (B, qubits + 1) of the values that the mean of all Z can have, and these values."""
        ones = np.bitwise_count(np.arange(2**self.qubits, dtype=np.uint64)).astype(np.int64)
        at_once, chances = max(1, _BLOCK >> self.qubits), np.zeros((len(x), self.qubits + 1))
        for start in range(0, len(x), at_once):
            some = slice(start, start + at_once)
            states = self.states(weights if weights.ndim == 1 else weights[some], x[some])
            chances[some] = [np.bincount(ones, row, self.qubits + 1) for row in np.abs(states) ** 2]
        return chances / chances.sum(1, keepdims=True), 1 - 2 * np.arange(self.qubits + 1) / self.qubits

    def shift_gradients(
        self, weights: Array, x: Array, shots: int, rng: np.random.Generator
    ) -> tuple[Array, Cost]:
        """Derivatives by parameter-shift, (B, P): two circuits a string, `shots` shots each.

        The state of a string moved by +-pi/2 is (psi -+ i P psi) / sqrt(2), and P only pairs up bit strings. So a shot
        is drawn from |psi|^2, which gives the pair the right weight, and then one of the two, exactly.
        """
        different, place = np.unique(x, axis=0, return_inverse=True)
        states, total = self.states(weights, different), np.zeros((len(x), self.num_params))
        sums = np.cumsum(np.abs(states) ** 2, axis=1)
        for row, at in enumerate(place):
            state = states[at]
            first = _drawn(sums[at], (2, self.num_strings, shots), rng)
            other = first ^ self.masks[:, None]
            crossed = (state[first].conj() * state[other]).imag
            weight = np.abs(state[first]) ** 2 + np.abs(state[other]) ** 2
            signs = np.array([1.0, -1.0])[:, None, None]
            stays = rng.random(first.shape) < 0.5 + signs * crossed / weight
            plus, minus = self._means[np.where(stays, first, other)].mean(2)
            np.add.at(total[row], self.owners, (plus - minus) / 2)
        circuits = 2 * self.num_strings * len(x)
        return total, _cost(circuits, circuits * shots)

    def commuting_gradients(
        self, weights: Array, x: Array, shots: int, rng: np.random.Generator
    ) -> tuple[Array, Cost]:
        """Derivatives read together, (B, P): one circuit a qubit, `shots` shots each.

        For Z of qubit q the strings through q are measured as Y on q and X on the others. All gates are diagonal in
        X, so bits of the others are independent, 1 with probability (1 - sin x) / 2; given them Y has the mean
        -cos(x_q) sin(sum of weights times the strings' signs on the others). A shot costs d operations, no state: of
        such circuits a classical computer draws the same shots.
        """
        one, two, owners = self._through_first
        to_weights = np.zeros((len(owners), self.num_params))
        to_weights[np.arange(len(owners)), owners] = 1 / self.qubits
        total = np.zeros((len(x), self.num_params))
        at_once = max(1, _BLOCK // (self.qubits * shots * len(owners)))
        for start in range(0, len(x), at_once):
            some = slice(start, start + at_once)
            # The ring turned so that each qubit in turn is the first, (b, qubits, qubits).
            turned = np.stack([np.roll(x[some], -q, axis=1) for q in range(self.qubits)], axis=1)
            draws = rng.random((*turned.shape[:2], shots, self.qubits))
            bits = np.where(draws < (1 + np.sin(turned))[:, :, None] / 2, 1.0, -1.0)
            bits = np.concatenate([bits, np.ones((*bits.shape[:3], 1))], axis=3)
            signs = bits[..., one] * bits[..., two]
            mean = -np.cos(turned[:, :, 0])[..., None] * np.sin(signs @ weights[owners])
            outcomes = np.where(rng.random(mean.shape) < (1 + mean) / 2, 1.0, -1.0)
            total[some] = np.einsum("bqs,bqsk->bk", outcomes, signs) / shots @ to_weights
        circuits = self.qubits * len(x)
        return total, _cost(circuits, circuits * shots)


def _walsh(table: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Walsh-Hadamard transform of rows (B, 2^n), not normalised: two products with matrices of half the bits."""
    size = table.shape[1]
    low = 1 << ((size.bit_length() - 1) // 2)
    rows, left, right = table.reshape(-1, size // low, low), _hadamard(size // low), _hadamard(low)
    return (left @ rows.real @ right + 1j * (left @ rows.imag @ right)).reshape(table.shape)


def _hadamard(size: int) -> Array:
    places = np.arange(size, dtype=np.uint64)
    return 1.0 - 2.0 * (np.bitwise_count(places[:, None] & places) % 2)


def _drawn(sums: Array, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.int64]:
    """Bit strings by the running sums of their probabilities, which may end at any number."""
    found = np.searchsorted(sums, rng.random(shape) * sums[-1], side="right")
    return np.minimum(found, len(sums) - 1)


def _cost(circuits: int, shots: int) -> Cost:
    return Cost(circuits=circuits, shots=shots, sources={"circuits": "measured", "shots": "measured"})
