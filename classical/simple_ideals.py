"""Centre and simple ideals of a Lie algebra of sums, found numerically, with names and the variances that they give.

A generic element's commutators turn planes, one for each root; each plane lies in one ideal, and the generators'
commutators join the planes of an ideal. What the element commutes with is the centre and, for each ideal, as many
directions as its rank.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from classical.lie_errors import RankUndecided, check_kind
from classical.lie_names import Family, simple_names
from classical.lie_sums import SumAlgebra, Terms

# Group elements that the generic element is made with.
_TURNS = 8
_DRAWS = 3
# Of the largest: what counts as zero, and the least difference of two roots.
_ZERO = 1e-9
# Joins of planes, and how well ideals must stay under the generators.
_JOIN = 1e-5
_STAY = 1e-6

Rows = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class SimpleIdeal:
    """A simple ideal: its names, its rank, and orthonormal coordinates in the algebra's basis, (dimension, all)."""

    names: tuple[str, ...]
    rank: int
    coordinates: Rows

    @property
    def dimension(self) -> int:
        return len(self.coordinates)


@dataclass(frozen=True, kw_only=True, eq=False)
class Decomposition:
    """An algebra as the sum of its centre and simple ideals, the largest first."""

    algebra: SumAlgebra
    centre: Rows
    ideals: tuple[SimpleIdeal, ...]

    def families(self) -> tuple[Family, ...]:
        counts = Counter((ideal.names, ideal.dimension) for ideal in self.ideals)
        parts = [Family(names=names, dimension=size, copies=n) for (names, size), n in counts.items()]
        if len(self.centre):
            parts.append(Family(names=("u(1)",), dimension=1, copies=len(self.centre)))
        return tuple(parts)

    def loss_variance(self, terms: Terms, bloch: Sequence[float] = (0, 0, 1)) -> float:
        """Variance of the loss of a deep circuit: the sum over simple ideals of P(rho) P(O) / dim.

        It holds when the circuit is a 2-design on its group, for a product state with one Bloch vector on every qubit;
        the centre has a mean and no variance. Source: Ragone et al. 2023, arXiv:2309.09342, theorem 1.

        Raises:
            OutsideTheAlgebra: for an observable that is not in the algebra.
        """
        observable = self.algebra.coordinates(terms)
        means = self.algebra.means(bloch)
        return sum(
            _square(ideal.coordinates @ means) * _square(ideal.coordinates @ observable) / ideal.dimension
            for ideal in self.ideals
        )


def decompose(algebra: SumAlgebra, rng: np.random.Generator) -> Decomposition:
    """Returns centre and simple ideals; that ideals are ideals is checked, and that they are simple by their numbers.

    Cost: the cube of the dimension, some tens of times.

    Raises:
        RankUndecided: where rounding hides which roots are equal, in three draws.
        Unnamed: where an ideal's numbers are those of no simple algebra.
    """
    check_kind(algebra, SumAlgebra, "`sum_closure`; for strings there is `lie_names.families`")
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"Argument `rng` must be a numpy.random.Generator, but is {rng!r}.")
    centre = _null_rows(np.concatenate(list(algebra.adjoint)))
    for _ in range(_DRAWS):
        found = _ideals(algebra.adjoint, centre, rng)
        if found is not None:
            ordered = sorted(found, key=lambda ideal: -ideal.dimension)
            return Decomposition(algebra=algebra, centre=centre, ideals=tuple(ordered))
    raise RankUndecided(
        f"Rounding hides the simple ideals of an algebra of dimension {algebra.dimension}: ask for a smaller one."
    )


def _ideals(adjoint: Rows, centre: Rows, rng: np.random.Generator) -> list[SimpleIdeal] | None:
    """The ideals by one generic element; None where two roots are too close to tell apart."""
    values, vectors = np.linalg.eigh(1j * _generic(adjoint, rng))
    scale = float(values[-1]) if len(values) else 0.0
    if scale <= _ZERO:
        return []
    roots = values[values > _ZERO * scale]
    if len(roots) > 1 and float(np.diff(roots).min()) < _ZERO * scale:
        return None
    planes = np.sqrt(2) * vectors[:, values > _ZERO * scale].T
    planes = np.stack([planes.real, planes.imag], axis=1)
    flat = planes.reshape(-1, planes.shape[-1])
    # What the element commutes with, less the centre.
    still = _null_rows(np.concatenate([flat, centre]))
    moved = np.stack([flat @ each.T for each in adjoint])
    joins = np.abs(moved @ flat.T).max(0).reshape(len(roots), 2, len(roots), 2).max((1, 3))
    count, labels = connected_components(csr_array(joins > _JOIN), directed=False)
    found: list[SimpleIdeal] = []
    for label in range(count):
        own = planes[labels == label].reshape(-1, planes.shape[-1])
        shadows = np.concatenate([own @ each.T @ still.T for each in adjoint])
        _, sizes, axes = np.linalg.svd(shadows, full_matrices=False)
        axes = axes[sizes > _JOIN * max(float(sizes[0]), _ZERO)] if len(sizes) else axes
        rows = np.concatenate([own, axes @ still])
        if any(np.abs(turned - (turned @ rows.T) @ rows).max() > _STAY for turned in rows @ adjoint.mT):
            return None
        degrees = _degrees(roots[labels == label], _ZERO * scale)
        names = simple_names(len(rows), len(axes), degrees)
        found.append(SimpleIdeal(names=names, rank=len(axes), coordinates=rows))
    return found if sum(ideal.rank for ideal in found) == len(still) else None


def _generic(adjoint: Rows, rng: np.random.Generator) -> Rows:
    """Commutators with a sum of generators that random group elements turn."""
    size = adjoint.shape[-1]
    turn, total = np.eye(size), np.zeros((size, size))
    for _ in range(_TURNS):
        step, own = np.tensordot(rng.normal(size=(2, len(adjoint))), adjoint, axes=1)
        turn = expm(3 * step) @ turn
        total += turn @ own @ turn.T
    return (total - total.T) / 2


def _degrees(roots: Rows, tolerance: float) -> list[int]:
    """Of each positive root, how many sums of two that are a third it stands in."""
    degrees = np.zeros(len(roots), dtype=int)
    first, second = np.triu_indices(len(roots), 1)
    sums = roots[first] + roots[second]
    places = np.searchsorted(roots, sums - tolerance)
    inside = places < len(roots)
    hits = np.flatnonzero(inside)[np.abs(roots[places[inside]] - sums[inside]) < tolerance]
    for each in (first[hits], second[hits], places[hits]):
        np.add.at(degrees, each, 1)
    return degrees.tolist()


def _null_rows(matrix: Rows) -> Rows:
    """Orthonormal rows that a matrix takes to zero."""
    _, sizes, rows = np.linalg.svd(matrix, full_matrices=matrix.shape[0] < matrix.shape[1])
    return rows[int((sizes > _ZERO * max(1.0, float(sizes.max(initial=0.0)))).sum()) :]


def _square(vector: Rows) -> float:
    return float(vector @ vector)
