"""The dynamical Lie algebra of Pauli generators, and the variances that it predicts.

An algebra that Pauli strings generate is spanned by Pauli strings: nested commutators with the generators reach all
of them, so closing is a search in bit arithmetic. Strings that a chain of anticommuting ones joins make one ideal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from classical.paulis import PauliString, generator
from classical.program import PauliRotation, Program

_MOST_ELEMENTS = 100_000


class AlgebraTooLarge(ValueError):
    """The closure has more elements than are wanted."""


class OutsideTheAlgebra(ValueError):
    """The observable, or a circuit, is none that the theory speaks of."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PauliAlgebra:
    """A Lie algebra spanned by Pauli strings.

    `ideals`: its strings, as pairs of x and z bits, in parts that commute with each other; each part is an ideal, a
    part of one string lies in the centre. An ideal may still be a sum of equal simple ones, which are not spanned by
    single strings.
    """

    ideals: tuple[frozenset[tuple[int, int]], ...]

    @property
    def dimension(self) -> int:
        return sum(map(len, self.ideals))


def lie_closure(generators: Iterable[str], most: int = _MOST_ELEMENTS) -> PauliAlgebra:
    """Returns the algebra that Pauli strings generate; labels have qubit 0 first.

    Cost: elements times generators, in bit arithmetic.

    Raises:
        AlgebraTooLarge: for more than `most` elements.
        ValueError: without a generator, or for the identity.
    """
    strings = [PauliString.of(label) for label in generators]
    if not strings or any(not string.support for string in strings):
        raise ValueError(
            "Argument `generators` must hold Pauli strings other than the identity, at least one."
        )
    bits = list(dict.fromkeys((string.x, string.z) for string in strings))
    ideals = [_closed(part, most) for part in _parts(bits)]
    if sum(map(len, ideals)) > most:
        raise _too_large(most)
    return PauliAlgebra(ideals=tuple(ideals))


def algebra_of(program: Program, most: int = _MOST_ELEMENTS) -> PauliAlgebra:
    """The algebra of a circuit's rotations, every one with an angle of its own.

    Raises:
        OutsideTheAlgebra: for a circuit with fixed gates, or parameters that several rotations share.
        AlgebraTooLarge: as `lie_closure`.
    """
    turns = [gate for gate in program.gates if isinstance(gate, PauliRotation)]
    if len(turns) < len(program.gates) or bool(((program.coefficients != 0).sum(0) > 1).any()):
        raise OutsideTheAlgebra(
            "The algebra of Pauli generators holds for circuits of rotations alone, each with a parameter of its own: "
            "write fixed gates as rotations, or use sums as generators with PennyLane's `lie_closure`."
        )
    return lie_closure([generator(gate).letters(program.num_qubits) for gate in turns], most)


def loss_variance(
    algebra: PauliAlgebra, terms: Sequence[tuple[str, float]], bloch: Sequence[float] = (0, 0, 1)
) -> float:
    """Variance of the loss of a deep circuit: the sum over ideals of P(rho) P(O) / dim.

    It holds when the circuit is a 2-design on its group, for a product state with one Bloch vector on every qubit.
    For Pauli strings P(rho) P(O) is the sum of <Q>^2 over the ideal times the sum of its coefficients squared. Source:
    Ragone et al. 2023, arXiv:2309.09342, theorem 1; Fontana et al. 2023, arXiv:2309.07902.

    Raises:
        OutsideTheAlgebra: for a term that is not in the algebra, or several in an ideal that is a sum of equal ones,
            where their products count.
    """
    total = 0.0
    places = {bits: i for i, ideal in enumerate(algebra.ideals) for bits in ideal}
    weights = [0.0] * len(algebra.ideals)
    counts = [0] * len(algebra.ideals)
    for label, coefficient in terms:
        string = PauliString.of(label)
        if (string.x, string.z) not in places:
            raise OutsideTheAlgebra(
                f"The term {label} is not in the algebra of dimension {algebra.dimension}, for which the formula is: "
                "ask `pauli_walk.second_moments`."
            )
        weights[places[string.x, string.z]] += coefficient**2
        counts[places[string.x, string.z]] += 1
    for ideal, weight, count in zip(algebra.ideals, weights, counts, strict=True):
        if count > 1 and _is_a_sum_of_equals(ideal):
            raise OutsideTheAlgebra(
                f"{count} terms lie in an ideal of dimension {len(ideal)} that is a sum of equal simple ones, in which "
                "squares of coefficients are not enough: ask for one term at a time."
            )
        # What lies in the centre never moves: it has a mean and no variance.
        if weight and len(ideal) > 1:
            purity = sum(_square(bits, bloch) for bits in ideal)
            total += purity * weight / len(ideal)
    return total


def _square(bits: tuple[int, int], bloch: Sequence[float]) -> float:
    """<Q>^2 in the product state."""
    x, z = bits
    powers = ((x & ~z).bit_count(), (x & z).bit_count(), (z & ~x).bit_count())
    value = 1.0
    for component, power in zip(bloch, powers, strict=True):
        value *= component ** (2 * power)
    return value


def _is_a_sum_of_equals(ideal: frozenset[tuple[int, int]]) -> bool:
    """Whether some string commutes with the ideal and takes one of its strings to another: projections on its values.

    Cost: the square of the dimension at most.
    """
    first = next(iter(ideal))
    twins = ((first[0] ^ x, first[1] ^ z) for x, z in ideal if (x, z) != first)
    return any(all(not _anticommute(twin, each) for each in ideal) for twin in twins)


def _anticommute(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return ((a[0] & b[1]).bit_count() + (a[1] & b[0]).bit_count()) % 2 == 1


def _parts(strings: Sequence[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """The strings in parts that commute with each other."""
    left = list(strings)
    parts: list[list[tuple[int, int]]] = []
    while left:
        part, waiting = [], [left.pop(0)]
        while waiting:
            each = waiting.pop()
            part.append(each)
            joined = [other for other in left if _anticommute(each, other)]
            left = [other for other in left if other not in joined]
            waiting += joined
        parts.append(part)
    return parts


def _closed(generators: Sequence[tuple[int, int]], most: int) -> frozenset[tuple[int, int]]:
    """All nested commutators of generators that hang together; each is one string."""
    found = set(generators)
    waiting = list(generators)
    while waiting:
        x, z = waiting.pop()
        for a, b in generators:
            if ((x & b).bit_count() + (z & a).bit_count()) % 2 and (product := (x ^ a, z ^ b)) not in found:
                found.add(product)
                waiting.append(product)
        if len(found) > most:
            raise _too_large(most)
    return frozenset(found)


def _too_large(most: int) -> AlgebraTooLarge:
    return AlgebraTooLarge(
        f"The algebra has more than {most:,} elements: it grows exponentially, or raise `most`."
    )
