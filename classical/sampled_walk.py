"""The walk on Pauli strings by sampling: any number of qubits, any circuit that the walk takes, with an error bar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from classical.angle_laws import AbstractAngleLaw
from classical.paulis import PauliString
from classical.program import Program
from classical.string_batch import StringBatch
from classical.walk_model import Damping, Noise, Permutation, Turn, WalkModel, check_rotation
from classical.walk_observables import Terms, ZeroProjector, checked_observable, refuse_cross_terms

# Bits of strings held at a time.
_CHUNK_BITS = 20_000_000
_LETTERS = "XYZ"


@dataclass(frozen=True, kw_only=True)
class SampledMoment:
    """An estimate and its standard error. Few walks that count much make both too small: see `hits`."""

    value: float
    std_error: float
    hits: int
    """How many walks closed with a weight above zero."""


def sampled_moment(
    program: Program,
    terms: Terms,
    *,
    rotation: int | None,
    walks: int,
    rng: np.random.Generator,
    laws: Sequence[AbstractAngleLaw] | None = None,
    bloch: Tensor | None = None,
    noise: Noise | None = None,
) -> SampledMoment:
    """Returns an estimate of E[(d loss / d t)^2] by one rotation's parameter, or of E[loss^2] for `rotation=None`.

    Strings start as terms of the observable, drawn by their squared coefficients, and walk towards the input state.
    The relative variance of one walk grows exponentially with the qubits of deep circuits, about as 1.5^n where
    the input is turned half-way between axes.

    Args: as `pauli_walk.second_moments`, and
        walks: how many strings walk.

    Raises:
        OutsideTheWalk: as `pauli_walk.second_moments`, and for a rotation without a parameter.
        ValueError: for fewer than 2 walks.

    Cost: walks times gates, in bit arithmetic.
    """
    if type(walks) is not int or walks < 2:
        raise ValueError(f"Argument `walks` must be a whole number of at least 2, but is {walks!r}.")
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"Argument `rng` must be a numpy.random.Generator, but is {rng!r}.")
    terms = checked_observable(terms, program.num_qubits)
    model = WalkModel.of(program, laws, bloch, noise)
    refuse_cross_terms(model, terms)
    if rotation is not None:
        check_rotation(model, rotation)
    size = max(2, _CHUNK_BITS // program.num_qubits)
    counts = [min(size, walks - done) for done in range(0, walks, size)]
    values = np.concatenate([_values(model, terms, rotation, count, rng) for count in counts])
    return SampledMoment(
        value=float(values.mean()),
        std_error=float(values.std(ddof=1)) / math.sqrt(walks),
        hits=int((values > 0).sum()),
    )


def _values(
    model: WalkModel, terms: Terms, rotation: int | None, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Weights with which walks close, shape (count,)."""
    strings, total = _started(terms, model.num_qubits, count, rng)
    values = np.full(count, total)
    for move in reversed(model.moves):
        if isinstance(move, Permutation):
            strings.pull(move)
        elif isinstance(move, Damping):
            values *= np.array(move.by_letter)[strings.letters(move.qubits[0])] ** 2
        elif not move.redrawn:
            values *= _turn(strings, move, move.letters, np.ones(count, dtype=bool), rotation, rng)
        else:
            drawn = rng.integers(0, 3, count)
            for axis, letter in enumerate(_LETTERS):
                values *= _turn(strings, move, letter, drawn == axis, rotation, rng)
    return values * strings.closed(model.closing())


def _turn(
    strings: StringBatch,
    move: Turn,
    letters: str,
    which: np.ndarray,
    rotation: int | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Turns strings at random about letters, those of `which` alone, and gives the factor of each."""
    odd = strings.anticommuting(letters, move.qubits) & which
    chosen = move.rotation == rotation
    # The derivative has sine and cosine changed, and nothing of what commutes.
    stay = 1 - move.stay if chosen else move.stay
    strings.turn(letters, move.qubits, odd & (rng.random(len(strings)) >= stay))
    if not chosen:
        return np.ones(len(strings))
    return np.where(which, move.slope**2 * odd, 1.0)


def _started(
    terms: Terms, num_qubits: int, count: int, rng: np.random.Generator
) -> tuple[StringBatch, float]:
    """Strings drawn by their squared coefficients, and the sum of these."""
    if isinstance(terms, ZeroProjector):
        z = rng.random((num_qubits, count)) < 0.5
        while not (seen := z.any(0)).all():
            z[:, ~seen] = rng.random((num_qubits, int((~seen).sum()))) < 0.5
        return StringBatch(np.zeros_like(z), z), (2.0**num_qubits - 1) / 4.0**num_qubits
    weights = np.array([coefficient**2 for _, coefficient in terms])
    all_strings = StringBatch.of([PauliString.of(label) for label, _ in terms], num_qubits)
    drawn = rng.choice(len(weights), count, p=weights / weights.sum())
    return StringBatch(all_strings.x[:, drawn], all_strings.z[:, drawn]), float(weights.sum())
