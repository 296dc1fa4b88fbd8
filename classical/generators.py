"""What a parameter generates: its rotations that act as one, and the frequencies of the values that they make."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from classical.paulis import PauliString, generator
from classical.program import FixedUnitary, Gate, PauliRotation, Program, pauli_matrix

# Eigenvalues that are looked at.
_MOST_VALUES = 4096
# A rule takes at least two circuits for each frequency: where there are more than rotations, shifting each is cheaper.
# A few are listed all the same.
_FEW = 64
_MOST_MULTIPLES = 256
_TOLERANCE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Generator:
    """Rotations of one parameter that commute and can stand side by side: `exp(-i t G)`, G = sum of c_k P_k / 2.

    Args:
        rotations: their indices.
        factors: c_k, what the parameter's step is multiplied by in each.
        frequencies: positive differences of G's eigenvalues, rising; empty when there are none, or more than rotations
            and than 64.
    """

    rotations: tuple[int, ...]
    factors: tuple[float, ...]
    frequencies: tuple[float, ...]

    @cached_property
    def num_multiples(self) -> int | None:
        """R, when the frequencies are multiples of a common one, the largest its R-fold; None otherwise."""
        if not self.frequencies:
            return None
        largest = self.frequencies[-1]
        base = self.frequencies[0]
        for frequency in self.frequencies[1:]:
            base = _common(base, frequency, _TOLERANCE * largest)
        multiples = round(largest / base) if base > 0 else 0
        return multiples if 0 < multiples <= _MOST_MULTIPLES else None


def _common(a: float, b: float, tolerance: float) -> float:
    """Greatest common divisor of two lengths, by Euclid."""
    while b > tolerance:
        a, b = b, a % b
        if a - b < tolerance:
            b = 0.0
    return a


def generators(program: Program, parameter: int) -> tuple[Generator, ...]:
    """Returns the generators of a parameter, in the order of the circuit.

    A rotation joins the generator before it when it commutes with all that stands between. Cost: occurrences times
    gates, in bit arithmetic.
    """
    factors = program.coefficients[:, parameter].tolist()
    found: list[list[int]] = []
    members: list[PauliString] = []
    between: list[Gate] = []
    rotation = -1
    for gate in program.gates:
        rotation += isinstance(gate, PauliRotation)
        if not isinstance(gate, PauliRotation) or not factors[rotation]:
            between.append(gate)
            continue
        own = generator(gate)
        joins = found and all(map(own.commutes, members)) and all(_commute(own, other) for other in between)
        if not joins:
            found.append([])
            members, between = [], []
        found[-1].append(rotation)
        members.append(own)
    strings = [generator(gate) for gate in program.gates if isinstance(gate, PauliRotation)]
    return tuple(
        Generator(
            rotations=tuple(each),
            factors=tuple(factors[k] for k in each),
            frequencies=_frequencies([strings[k] for k in each], [factors[k] for k in each]),
        )
        for each in found
    )


def _commute(string: PauliString, gate: Gate) -> bool:
    if isinstance(gate, PauliRotation):
        return string.commutes(generator(gate))
    if not any(string.support >> q & 1 for q in gate.qubits):
        return True
    return commutes_with_matrix(string, gate)


def commutes_with_matrix(string: PauliString, gate: FixedUnitary) -> bool:
    """Whether a string commutes with a gate, by their matrices on the gate's qubits."""
    letters = string.letters(max(gate.qubits) + 1)
    inside = pauli_matrix("".join(letters[q] for q in gate.qubits))
    return bool(torch.allclose(inside @ gate.matrix, gate.matrix @ inside, atol=1e-12))


def _frequencies(strings: Sequence[PauliString], factors: Sequence[float]) -> tuple[float, ...]:
    """Positive differences of the eigenvalues of sum of c_k P_k / 2, for strings that commute."""
    most = max(_FEW, len(strings))
    products, independent = _by_independent(strings)
    if independent == len(strings):
        # Every sign by itself.
        values = {0.0}
        for factor in factors:
            values = _distinct({v + move for v in values for move in (-factor, 0.0, factor)})
            if len(values) > 2 * most + 1:
                return ()
        return _positive(values)
    if 2**independent > _MOST_VALUES:
        return ()
    bits, signs = (np.array(each) for each in zip(*products, strict=True))
    odd = np.bitwise_count(bits[:, None] & np.arange(2**independent)) % 2
    levels = _distinct(((np.array(factors) * signs / 2) @ (1.0 - 2.0 * odd)).tolist())
    # Differences to the lowest alone are as many as there are other levels.
    return _positive(_distinct({a - b for a in levels for b in levels})) if len(levels) <= most + 1 else ()


def _by_independent(strings: Sequence[PauliString]) -> tuple[list[tuple[int, int]], int]:
    """Each string as bits of the independent ones that it is a product of and a sign; and how many those are."""
    width = max((string.support.bit_length() for string in strings), default=0)
    basis: list[tuple[PauliString, int, int]] = []  # a product, its leading bit, the independent ones in it
    products: list[tuple[int, int]] = []
    for string in strings:
        rest, bits = string, 0
        for held, lead, held_bits in basis:
            if (rest.x << width | rest.z) & lead:
                rest, bits = rest @ held, bits ^ held_bits
        mask = rest.x << width | rest.z
        if mask:
            new = 1 << len(basis)
            basis.append((rest, mask & -mask, bits | new))
            products.append((new, 1))
        else:
            products.append((bits, rest.sign))
    return products, len(basis)


def _distinct(values: Iterable[float]) -> set[float]:
    """Values that are further apart than rounding; of those that are not, the least."""
    ordered = sorted(values)
    nearest = _TOLERANCE * max(map(abs, ordered))
    kept = ordered[:1]
    for value in ordered:
        if value - kept[-1] > nearest:
            kept.append(value)
    return set(kept)


def _positive(values: set[float]) -> tuple[float, ...]:
    most = max(values)
    return tuple(sorted(v for v in values if v > 1e-6 * most))
