"""Observables as the walk takes them, and whether squares of their coefficients are enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from classical.angle_laws import OutsideTheWalk
from classical.pauli_terms import checked_terms
from classical.paulis import PauliString
from classical.walk_model import Permutation, Turn, WalkModel

Bits = tuple[int, int]


@dataclass(frozen=True)
class ZeroProjector:
    """|0...0><0...0| without its identity: 2^-n times every string of I and Z, the global cost of many studies."""


Terms = Sequence[tuple[str, float]] | ZeroProjector
"""Pauli terms, labels with qubit 0 first, and their coefficients; or the projector."""


def checked_observable(terms: Terms, num_qubits: int) -> Terms:
    """The terms, without identities; equal labels are added. Raises ValueError as `checked_terms`."""
    return terms if isinstance(terms, ZeroProjector) else checked_terms(terms, num_qubits)


def refuse_cross_terms(model: WalkModel, terms: Terms) -> None:
    """Raises OutsideTheWalk where the product of two terms may survive the average.

    The product D of two strings moves through Clifford gates and stays at rotations, until one that is uniform and
    anticommutes with D: there exactly one of the two turns, and the mean of its cosine and sine is zero. Products of
    the projector's terms are a group, of which generators are enough.
    """
    if isinstance(terms, ZeroProjector):
        group: list[Bits] = [(0, 1 << q) for q in range(model.num_qubits)]
        for move in reversed(model.moves):
            if isinstance(move, Permutation):
                group = [_moved(bits, move) for bits in group]
            elif isinstance(move, Turn) and move.kills:
                group = _commuting_part(group, move)
        left = f"strings of the projector, {len(group)} independent ones," if group else ""
    else:
        products: dict[Bits, tuple[str, str]] = {}
        strings = [PauliString.of(label) for label, _ in terms]
        for i, first in enumerate(strings):
            for j, second in enumerate(strings[:i]):
                products[first.x ^ second.x, first.z ^ second.z] = (terms[j][0], terms[i][0])
        for move in reversed(model.moves):
            if isinstance(move, Permutation):
                products = {_moved(bits, move): pair for bits, pair in products.items()}
            elif isinstance(move, Turn) and move.kills:
                products = {bits: pair for bits, pair in products.items() if _commutes(bits, move)}
        pair = next(iter(products.values()), None)
        left = f"the terms {pair[0]} and {pair[1]}" if pair else ""
    if left:
        raise OutsideTheWalk(
            f"The product of {left} may not vanish in the average, so squares of coefficients are not enough: ask "
            "for one term at a time, or sample."
        )


def _commutes(bits: Bits, turn: Turn) -> bool:
    return PauliString.of(turn.letters, turn.qubits).commutes(PauliString(*bits))


def _commuting_part(group: list[Bits], turn: Turn) -> list[Bits]:
    """Generators of the subgroup that commutes with a rotation's string."""
    inside = [bits for bits in group if _commutes(bits, turn)]
    outside = [bits for bits in group if not _commutes(bits, turn)]
    return inside + [(outside[0][0] ^ x, outside[0][1] ^ z) for x, z in outside[1:]]


def _moved(bits: Bits, move: Permutation) -> Bits:
    """The string before a Clifford gate, without its sign."""
    x, z = bits
    code = sum(((x >> q & 1) + 2 * (z >> q & 1)) << 2 * j for j, q in enumerate(move.qubits))
    new = move.codes[code]
    for j, q in enumerate(move.qubits):
        x = x & ~(1 << q) | (new >> 2 * j & 1) << q
        z = z & ~(1 << q) | (new >> 2 * j + 1 & 1) << q
    return x, z
