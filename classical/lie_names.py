"""Names of simple compact Lie algebras: su(N), so(N) and sp(N) of N by N matrices, N even for sp.

Of few dimensions some coincide: su(2) = so(3) = sp(2), so(5) = sp(4), su(4) = so(6); and so(4) = su(2) + su(2) is not
simple. All names of an algebra are listed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from classical.lie_algebra import Bits, PauliAlgebra, anticommute, twins
from classical.lie_errors import check_kind

_EXCEPTIONAL = {(14, 2): "g2", (52, 4): "f4", (133, 7): "e7", (248, 8): "e8"}
_COINCIDENCES = (("su(2)", "so(3)", "sp(2)"), ("so(5)", "sp(4)"), ("su(4)", "so(6)"))


class Unnamed(ValueError):
    """No simple algebra has these invariants."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Equal simple algebras, or directions of the centre.

    Args:
        names: all that the simple algebra has; ("u(1)",) in the centre.
        dimension: of one.
        copies: how many there are.
    """

    names: tuple[str, ...]
    dimension: int
    copies: int = 1


def simple_names(dimension: int, rank: int, degrees: Sequence[int] = ()) -> tuple[str, ...]:
    """Names of the simple algebra of a dimension and a rank.

    Args:
        degrees: of each positive root, the sums a + b = c of positive roots that it stands in, each counted once; they
            tell so(2r + 1), sp(2r) and e6 apart.

    Raises:
        Unnamed: where no simple algebra has these numbers.
    """
    found: list[str] = []
    if dimension == rank * (rank + 2):
        found.append(f"su({rank + 1})")
    if dimension == rank * (2 * rank - 1) and rank >= 4:
        found.append(f"so({2 * rank})")
    if dimension == rank * (2 * rank + 1) and rank == 2:
        found.append("so(5)")
    if dimension == rank * (2 * rank + 1) and rank >= 3:
        # Roots e_i of so(2r+1) stand in 2 (r-1) sums, 2 e_i of sp(2r) in r-1, r of them in each.
        counts = Counter(degrees)
        if counts[2 * (rank - 1)] == rank:
            found.append(f"so({2 * rank + 1})")
        elif counts[rank - 1] == rank:
            found.append(f"sp({2 * rank})")
        elif rank == 6 and counts[10] == 36:
            found.append("e6")
    if (dimension, rank) in _EXCEPTIONAL:
        found.append(_EXCEPTIONAL[dimension, rank])
    if len(found) != 1:
        raise Unnamed(
            f"No simple Lie algebra of dimension {dimension} and rank {rank} is known by these numbers."
        )
    return _with_coincidences(found[0])


def families(algebra: PauliAlgebra) -> tuple[Family, ...]:
    """Returns what an algebra of Pauli strings is the sum of, by the sizes and symplectic forms of its parts.

    A part whose strings w strings that commute with it take to one another has 2^k equal summands, k = log2(w + 1). On
    m qubits each is su(2^m), so(2^m), sp(2^m), so(2m + 1) or so(2m + 2); its dimension says which, and the number of
    strings that anticommute with one, the length in the Killing form, must agree. Source: Aguilar, Cichy, Eisert and
    Bittel 2024, arXiv:2408.00081, theorem 1.

    Raises:
        Unnamed: where these invariants contradict each other.
    """
    check_kind(algebra, PauliAlgebra, "`lie_closure`; for sums there is `simple_ideals.decompose`")
    found: Counter[Family] = Counter()
    for ideal in algebra.ideals:
        found[_family(ideal) if len(ideal) > 1 else Family(names=("u(1)",), dimension=1)] += 1
    total: Counter[tuple[tuple[str, ...], int]] = Counter()
    for family, count in found.items():
        total[family.names, family.dimension] += count * family.copies
    return tuple(Family(names=names, dimension=size, copies=n) for (names, size), n in total.items())


def describe(parts: Iterable[Family]) -> str:
    """In words, for example "2 su(2) + u(1)"."""
    words = (f"{part.copies} {part.names[0]}" if part.copies > 1 else part.names[0] for part in parts)
    return " + ".join(words)


def _family(ideal: frozenset[Bits]) -> Family:
    copies = len(twins(ideal)) + 1
    dimension = len(ideal) // copies
    pairs = _symplectic_rank(ideal) // 2
    size = 2**pairs
    lengths = {
        f"su({size})": (size**2 - 1, size**2 // 2),
        f"so({2 * pairs + 2})": ((pairs + 1) * (2 * pairs + 1), 4 * pairs),
        f"so({2 * pairs + 1})": (pairs * (2 * pairs + 1), 2 * (2 * pairs - 1)),
        f"so({size})": (size * (size - 1) // 2, size * (size - 2) // 4),
        f"sp({size})": (size * (size + 1) // 2, size * (size + 2) // 4),
    }
    first = next(iter(ideal))
    length = sum(anticommute(first, each) for each in ideal) // copies
    for name, invariants in lengths.items():
        if invariants == (dimension, length):
            return Family(names=_with_coincidences(name), dimension=dimension, copies=copies)
    raise Unnamed(
        f"No family of algebras of Pauli strings on {pairs} qubits has dimension {dimension} and length {length}."
    )


def _symplectic_rank(strings: Iterable[Bits]) -> int:
    """Rank of the table of which strings anticommute."""
    basis: list[Bits] = []
    leads: list[tuple[Bits, Bits]] = []
    for own in strings:
        x, z = own
        for (a, b), (lead_x, lead_z) in leads:
            if x & lead_x or z & lead_z:
                x, z = x ^ a, z ^ b
        if x or z:
            leads.append(((x, z), (x & -x, 0) if x else (0, z & -z)))
            basis.append(own)
    rows = [sum(anticommute(a, b) << i for i, b in enumerate(basis)) for a in basis]
    rank = 0
    while rows:
        row = rows.pop()
        if row:
            rank += 1
            lead = row & -row
            rows = [other ^ row if other & lead else other for other in rows]
    return rank


def _with_coincidences(name: str) -> tuple[str, ...]:
    for group in _COINCIDENCES:
        if name in group:
            return group
    return (name,)
