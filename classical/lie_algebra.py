"""The dynamical Lie algebra of Pauli generators, and the variances that it predicts.

An algebra that Pauli strings generate is spanned by Pauli strings: nested commutators with the generators reach all
of them, so closing is a search in bit arithmetic. Strings that a chain of anticommuting ones joins make one ideal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from classical.generators import generators
from classical.lie_errors import AlgebraTooLarge, OutsideTheAlgebra, check_kind
from classical.lie_sums import Bits, SumAlgebra, nested_commutators, sum_closure
from classical.pauli_terms import checked_bloch, checked_label, checked_terms
from classical.paulis import PauliString, generator
from classical.program import PauliRotation, Program

_MOST_ELEMENTS = 100_000


@dataclass(frozen=True, kw_only=True, eq=False)
class PauliAlgebra:
    """A Lie algebra spanned by Pauli strings.

    `ideals`: its strings, as pairs of x and z bits, in parts that commute with each other; each part is an ideal, a
    part of one string lies in the centre. An ideal may still be a sum of equal simple ones, which are not spanned by
    single strings.
    """

    num_qubits: int
    ideals: tuple[frozenset[Bits], ...]

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
    labels = [generators] if isinstance(generators, str) else list(generators)
    checked = checked_terms([(label, 1.0) for label in labels], name="generators")
    if len(checked) < len(set(labels)):
        raise ValueError(f"Argument `generators` must hold no identity, but holds {labels}.")
    strings = [PauliString.of(label) for label, _ in checked]
    bits = list(dict.fromkeys((string.x, string.z) for string in strings))
    refusal = f"The algebra has more than {most:,} elements: it grows exponentially, or raise `most`."
    ideals = [frozenset(nested_commutators(part, most, refusal)) for part in _parts(bits)]
    if sum(map(len, ideals)) > most:
        raise AlgebraTooLarge(refusal)
    return PauliAlgebra(num_qubits=len(labels[0]), ideals=tuple(ideals))


def algebra_of(program: Program, most: int | None = None) -> PauliAlgebra | SumAlgebra:
    """The algebra of a circuit's rotations: of sums where rotations that commute share a parameter.

    Raises:
        OutsideTheAlgebra: for a circuit with fixed gates, a rotation by several parameters or none, or a parameter that
            comes back in a place of its own.
        AlgebraTooLarge: as `lie_closure` and `sum_closure`, whose `most` this is.
    """
    turns = [gate for gate in program.gates if isinstance(gate, PauliRotation)]
    if len(turns) < len(program.gates) or any(len(own) != 1 for own in program.factors):
        raise OutsideTheAlgebra(
            "The algebra is that of circuits of rotations alone, each by one parameter: write fixed gates as rotations "
            "with parameters of their own."
        )
    labels = [generator(gate).letters(program.num_qubits) for gate in turns]
    if all(len(rotations) < 2 for rotations in program.rotations_of):
        return lie_closure(labels, _MOST_ELEMENTS if most is None else most)
    sums: dict[tuple[tuple[str, float], ...], None] = {}
    for parameter in range(program.num_params):
        found = generators(program, parameter)
        if len(found) > 1:
            raise OutsideTheAlgebra(
                f"Parameter {parameter} turns {len(found)} times, with gates between that do not commute: its angles "
                "are not independent. Give each turn a parameter of its own."
            )
        for each in found:
            sums[
                tuple((labels[k], factor) for k, factor in zip(each.rotations, each.factors, strict=True))
            ] = None
    return sum_closure(list(sums)) if most is None else sum_closure(list(sums), most)


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
    check_kind(algebra, PauliAlgebra, "`lie_closure`; for sums there is `simple_ideals.decompose`")
    vector = _vector(bloch)
    return sum(
        _purity(ideal, vector) * weight / len(ideal) for ideal, weight in _weights(algebra, terms).items()
    )


def gradient_variance(
    algebra: PauliAlgebra,
    rotation: str,
    terms: Sequence[tuple[str, float]],
    bloch: Sequence[float] = (0, 0, 1),
) -> float:
    """Variance of the derivative by a rotation about a string, deep in a deep circuit: K P(rho) P(O) / dim^2.

    Ideal by ideal; K is the number of its strings that anticommute with the rotation's. It holds when the circuit is a
    2-design on its group before and behind the rotation; layers of free fermions need some four times the depth that
    their loss does. Source: Fontana et al. 2023, arXiv:2309.07902, theorem 1.

    Raises:
        OutsideTheAlgebra: as `loss_variance`, and for a rotation about a string that is not in the algebra.
    """
    check_kind(algebra, PauliAlgebra, "`lie_closure`")
    turn = PauliString.of(checked_label(rotation, algebra.num_qubits, "rotation"))
    own = (turn.x, turn.z)
    if not any(own in ideal for ideal in algebra.ideals):
        raise OutsideTheAlgebra(
            f"The rotation about {rotation} is none of the algebra of dimension {algebra.dimension}."
        )
    vector, total = _vector(bloch), 0.0
    for ideal, weight in _weights(algebra, terms).items():
        length = sum(anticommute(own, each) for each in ideal)
        total += length * _purity(ideal, vector) * weight / len(ideal) ** 2
    return total


def anticommute(a: Bits, b: Bits) -> bool:
    return ((a[0] & b[1]).bit_count() + (a[1] & b[0]).bit_count()) % 2 == 1


def twins(ideal: frozenset[Bits]) -> list[Bits]:
    """Strings that commute with all of an ideal and take its strings to one another.

    The ideal is the sum of equal ones, one more than there are twins: the twins' signs tell them apart. A string that
    takes one string of the ideal to another takes every one, since commutators join them.
    """
    x, z = next(iter(ideal))
    found = [(x ^ a, z ^ b) for a, b in ideal if (a, b) != (x, z)]
    for each in ideal:
        found = [twin for twin in found if not anticommute(twin, each)]
        if not found:
            break
    return found


def _weights(algebra: PauliAlgebra, terms: Sequence[tuple[str, float]]) -> dict[frozenset[Bits], float]:
    """Sums of squares of an observable's coefficients in ideals; the centre and the identity have no variance."""
    sums: dict[Bits, float] = {}
    for label, coefficient in checked_terms(terms, algebra.num_qubits):
        string = PauliString.of(label)
        if not any((string.x, string.z) in ideal for ideal in algebra.ideals):
            raise OutsideTheAlgebra(
                f"The term {label} is not in the algebra of dimension {algebra.dimension}, for which the formula is: "
                "ask `pauli_walk.second_moments`."
            )
        sums[string.x, string.z] = coefficient
    found: dict[frozenset[Bits], float] = {}
    for ideal in algebra.ideals:
        own = [value for bits, value in sums.items() if bits in ideal]
        if not own or len(ideal) == 1:
            continue
        if len(own) > 1 and twins(ideal):
            raise OutsideTheAlgebra(
                f"{len(own)} terms lie in an ideal of dimension {len(ideal)} that is a sum of equal simple ones, in "
                "which squares of coefficients are not enough: ask for one term at a time, or `decompose`."
            )
        found[ideal] = sum(value**2 for value in own)
    return found


def _vector(bloch: Sequence[float]) -> list[float]:
    return checked_bloch(bloch, 1)[0].tolist()


def _purity(ideal: frozenset[Bits], bloch: Sequence[float]) -> float:
    return sum(_square(bits, bloch) for bits in ideal)


def _square(bits: Bits, bloch: Sequence[float]) -> float:
    """<Q>^2 in the product state."""
    x, z = bits
    powers = ((x & ~z).bit_count(), (x & z).bit_count(), (z & ~x).bit_count())
    value = 1.0
    for component, power in zip(bloch, powers, strict=True):
        value *= component ** (2 * power)
    return value


def _parts(strings: Sequence[Bits]) -> list[list[Bits]]:
    """The strings in parts that commute with each other."""
    left = list(strings)
    parts: list[list[Bits]] = []
    while left:
        part, waiting = [], [left.pop(0)]
        while waiting:
            each = waiting.pop()
            part.append(each)
            joined = [other for other in left if anticommute(each, other)]
            left = [other for other in left if other not in joined]
            waiting += joined
        parts.append(part)
    return parts
