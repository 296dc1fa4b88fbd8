"""The dynamical Lie algebra of sums of Pauli strings: circuits whose rotations share angles.

Sums are rows of numbers over strings. The strings are those that commutators with the generators' strings reach, found
in bit arithmetic; on them a commutator with a generator is one sparse matrix, and the closure is linear algebra.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from classical.lie_errors import AlgebraTooLarge, OutsideTheAlgebra, RankUndecided
from classical.pauli_terms import checked_bloch, checked_terms
from classical.paulis import PauliString

Terms = Sequence[tuple[str, float]]
"""A real sum of Pauli strings: (label with qubit 0 first, coefficient)."""
Bits = tuple[int, int]
"""x and z bits of a string."""

_MOST_ELEMENTS = 2_000
_MOST_STRINGS = 100_000
_MOST_BYTES = 2**30
# Lengths of what is left of a commutator of unit sums beside those found before: new above, rounding below.
_NEW = 1e-7
_ROUNDING = 1e-10


@dataclass(frozen=True, kw_only=True, eq=False)
class SumAlgebra:
    """A Lie algebra of real sums of Pauli strings.

    Args:
        strings: as x and z bits.
        basis: coefficients of its elements, orthonormal rows, shape (dimension, strings).
        adjoint: of each generator G, the antisymmetric matrix of i [G, B] / 2 in that basis, shape
            (generators, dimension, dimension); G has coefficients of unit length.
    """

    num_qubits: int
    strings: tuple[Bits, ...]
    basis: NDArray[np.float64]
    adjoint: NDArray[np.float64]

    @property
    def dimension(self) -> int:
        return len(self.basis)

    def coordinates(self, terms: Terms) -> NDArray[np.float64]:
        """An observable in the basis, its identity left out, shape (dimension,).

        Raises:
            OutsideTheAlgebra: when it is not in the algebra.
        """
        places = {bits: i for i, bits in enumerate(self.strings)}
        row, outside = np.zeros(len(self.strings)), 0.0
        for label, coefficient in checked_terms(terms, self.num_qubits):
            string = PauliString.of(label)
            if (string.x, string.z) in places:
                row[places[string.x, string.z]] = coefficient
            else:
                outside += abs(coefficient)
        found = self.basis @ row
        outside += float(np.linalg.norm(row - found @ self.basis))
        if outside > _NEW * max(1.0, float(np.linalg.norm(row))):
            raise OutsideTheAlgebra(
                f"The observable is not in the algebra of dimension {self.dimension}, for which the formula is: "
                "sample it."
            )
        return found

    def means(self, bloch: Sequence[float] = (0, 0, 1)) -> NDArray[np.float64]:
        """Mean of each element of the basis in a product state with one Bloch vector on every qubit."""
        powers = np.array(
            [((x & ~z).bit_count(), (x & z).bit_count(), (z & ~x).bit_count()) for x, z in self.strings]
        )
        return self.basis @ np.prod(checked_bloch(bloch, 1)[0].numpy() ** powers, axis=1)


def sum_closure(
    generators: Sequence[Terms], most: int = _MOST_ELEMENTS, most_strings: int = _MOST_STRINGS
) -> SumAlgebra:
    """Returns the algebra that real sums of Pauli strings generate; the identity is left out of them.

    Cost: elements squared times strings, and elements times strings in memory.

    Raises:
        AlgebraTooLarge: for more than `most` elements, or sums over more than `most_strings` strings.
        RankUndecided: where rounding hides whether an element is new.
        ValueError: without a generator, for one that is zero, or for labels of different lengths.
    """
    given = list(generators)
    if not given:
        raise ValueError(
            "Argument `generators` must hold sums of Pauli strings, at least one, but holds none."
        )
    num_qubits: int | None = None
    sums: list[dict[Bits, float]] = []
    for terms in given:
        checked = checked_terms(terms, num_qubits, "generators")
        num_qubits = len(checked[0][0])
        sums.append(_sum_of(checked))
    assert num_qubits is not None
    refusal = (
        f"The elements of the algebra are sums over more than {most_strings:,} strings: raise `most_strings`."
    )
    own = list(dict.fromkeys(bits for each in sums for bits in each))
    strings = sorted(nested_commutators(own, most_strings, refusal))
    places = {bits: i for i, bits in enumerate(strings)}
    commutators = [_commutator(each, strings, places) for each in sums]
    rows = np.zeros((len(sums), len(strings)))
    for row, each in zip(rows, sums, strict=True):
        row[[places[bits] for bits in each]] = list(each.values())
    basis = np.zeros((0, len(strings)))
    new = _independent(rows, basis)
    while len(new):
        basis = np.concatenate([basis, new])
        if len(basis) > most or basis.nbytes > _MOST_BYTES:
            raise AlgebraTooLarge(
                f"The algebra has at least {len(basis):,} elements over {len(strings):,} strings, with `most` = "
                f"{most:,}: it grows exponentially, or raise `most`."
            )
        new = _independent(np.concatenate([(each @ new.T).T for each in commutators]), basis)
    adjoint = np.stack([basis @ (each @ basis.T) for each in commutators])
    return SumAlgebra(num_qubits=num_qubits, strings=tuple(strings), basis=basis, adjoint=adjoint)


def _sum_of(terms: Terms) -> dict[Bits, float]:
    """A checked sum, of unit length."""
    strings = [PauliString.of(label) for label, _ in terms]
    values = np.array([coefficient for _, coefficient in terms])
    values = values / np.linalg.norm(values)
    return {(string.x, string.z): float(value) for string, value in zip(strings, values, strict=True)}


def nested_commutators(generators: Sequence[Bits], most: int, refusal: str) -> set[Bits]:
    """All strings that nested commutators with the generators reach; raises AlgebraTooLarge beyond `most` of them."""
    found = set(generators)
    waiting = list(generators)
    while waiting:
        x, z = waiting.pop()
        for a, b in generators:
            if ((x & b).bit_count() + (z & a).bit_count()) % 2 and (product := (x ^ a, z ^ b)) not in found:
                found.add(product)
                waiting.append(product)
        if len(found) > most:
            raise AlgebraTooLarge(refusal)
    return found


def _commutator(terms: dict[Bits, float], strings: Sequence[Bits], places: dict[Bits, int]) -> csr_array:
    """The matrix of B -> i [G, B] / 2 on strings; antisymmetric."""
    values: list[float] = []
    rows: list[int] = []
    columns: list[int] = []
    for (a, b), coefficient in terms.items():
        own = PauliString(a, b)
        for column, (x, z) in enumerate(strings):
            if ((x & b).bit_count() + (z & a).bit_count()) % 2:
                product = own @ PauliString(x, z)
                # i times i^phase, which is i or -i.
                values.append(coefficient * (product.phase - 2))
                rows.append(places[product.x, product.z])
                columns.append(column)
    return csr_array((values, (rows, columns)), shape=(len(strings), len(strings)))


def _independent(rows: NDArray[np.float64], basis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal rows for what rows have beside a basis."""
    # Twice, for what rounding leaves.
    for _ in range(2):
        rows = rows - (rows @ basis.T) @ basis
    rows = rows[np.linalg.norm(rows, axis=1) > _ROUNDING]
    if not len(rows):
        return rows
    _, left, axes = np.linalg.svd(rows, full_matrices=False)
    unclear = left[(left > _ROUNDING) & (left < _NEW)]
    if len(unclear):
        raise RankUndecided(
            f"Rounding hides whether a commutator is new: {unclear.min():.1e} of it is left. Give the generators "
            "coefficients that are closer together."
        )
    found = axes[left >= _NEW]
    return found - (found @ basis.T) @ basis
