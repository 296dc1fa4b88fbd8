"""The walk on Pauli strings as a matrix-product state: second moments for many more qubits than a vector can hold.

Weights on which strings close are pushed forward from the input state, those of the observable are pulled back from the
end; see `walk_evolution` for what keeps them sound. A value counts when it stands as the bond doubles, and, where both
directions are at work, when they agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from classical.angle_laws import AbstractAngleLaw
from classical.first_moments import first_moments
from classical.pauli_walk import Moments
from classical.program import Program
from classical.walk_evolution import LocalStep, Weights, fused, local_steps
from classical.walk_meeting import met
from classical.walk_model import Noise, WalkModel, check_rotation
from classical.walk_observables import Terms, ZeroProjector, checked_observable, refuse_cross_terms

_FIRST_BOND = 16


class DoesNotStand(RuntimeError):
    """The value still moves when the bond doubles."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A value, and how far it moved, relatively, when the bond was doubled to `bond`."""

    value: float
    moved: float
    bond: int


@dataclass(frozen=True, kw_only=True, eq=False)
class StandingMoments(Moments):
    """Moments, and how far the worst of them moved, relatively, when the bond was doubled to `bond`."""

    moved: float
    bond: int


def derivative_moment(
    program: Program,
    terms: Terms,
    rotation: int,
    *,
    laws: Sequence[AbstractAngleLaw] | None = None,
    bloch: Tensor | None = None,
    noise: Noise | None = None,
    relative: float = 1e-4,
    most_bond: int = 128,
) -> Standing:
    """Returns E[(d loss / d t)^2] by the parameter of one rotation, by a matrix-product state.

    Arguments as in `pauli_walk.second_moments`. Gates act on one qubit or on two neighbours of a line. Outside the
    observable's light cone it is exactly zero.

    Cost: two-qubit gates times the cube of the bond, whatever the terms; memory 4 n bond^2 numbers.

    Raises:
        OutsideTheWalk: for what breaks the chain, and gates on other than neighbours.
        DoesNotStand: when, up to `most_bond`, the value moves by more than `relative`.
    """
    terms = checked_observable(terms, program.num_qubits)
    model = WalkModel.of(program, laws, bloch, noise)
    refuse_cross_terms(model, terms)
    steps = local_steps(model)
    check_rotation(model, rotation)
    numbers = [step.rotation for step in steps if step.slope is not None]
    if not _reached(model, terms, steps)[1 + numbers.index(rotation)]:
        return Standing(value=0.0, moved=0.0, bond=1)
    steps = fused(steps, rotation)

    def found(bond: int) -> tuple[Tensor, float]:
        weights = Weights.closing(model, bond)
        for step, sweeps in _swept(steps, model.num_qubits):
            weights.push_slope(step) if step.rotation == rotation else weights.push(step)
            if sweeps:
                weights.clean()
        return torch.tensor([weights.value(terms)], dtype=torch.float64), 0.0

    values, moved, bond = _doubled(found, relative, most_bond)
    return Standing(value=float(values[0]), moved=moved, bond=bond)


def network_moments(
    program: Program,
    terms: Terms,
    *,
    laws: Sequence[AbstractAngleLaw] | None = None,
    bloch: Tensor | None = None,
    noise: Noise | None = None,
    relative: float = 1e-3,
    most_bond: int = 128,
    least: float = 1e-6,
) -> StandingMoments:
    """Returns all that `pauli_walk.second_moments` does, by matrix-product states from both ends that meet everywhere.

    Derivatives outside the observable's light cone are exactly zero. Where one is less than `least` times the largest
    and does not stand, it is NaN.

    Cost: two or three times `derivative_moment` where derivatives are by rotations of one qubit; each of a pair's adds
    n contractions. Memory: 4 n bond^2 numbers for each layer.

    Raises:
        OutsideTheWalk: as `derivative_moment`.
        DoesNotStand: when, up to `most_bond`, a value moves by more than `relative`, or the two directions disagree
            by more; `derivative_moment` needs one direction alone.
    """
    terms = checked_observable(terms, program.num_qubits)
    model = WalkModel.of(program, laws, bloch, noise)
    refuse_cross_terms(model, terms)
    steps = local_steps(model)
    reached = _reached(model, terms, steps)

    def found(bond: int) -> tuple[Tensor, float]:
        loss, losses, derivatives = _both_ways(model, steps, terms, bond)
        disagreement = max((abs(each / loss - 1) for each in losses if loss), default=0.0)
        return torch.tensor([loss, *derivatives], dtype=torch.float64) * reached, disagreement

    values, moved, bond = _doubled(found, relative, most_bond, least)
    mean_loss, mean_derivatives = first_moments(model, terms)
    return StandingMoments(
        loss=float(values[0]),
        derivatives=values[1:],
        mean_loss=mean_loss,
        mean_derivatives=mean_derivatives,
        moved=moved,
        bond=bond,
    )


def _doubled(
    found: Callable[[int], tuple[Tensor, float]], relative: float, most_bond: int, least: float = 0.0
) -> tuple[Tensor, float, int]:
    """Values that stand as the bond doubles, how far the worst moved, and the bond.

    A value under `least` times the largest that does not stand is NaN.
    """
    if not 0 < relative < 1:
        raise ValueError(f"Argument `relative` must be between 0 and 1, but is {relative}.")
    if most_bond < 2 * _FIRST_BOND:
        raise ValueError(f"Argument `most_bond` must be at least {2 * _FIRST_BOND}, but is {most_bond}.")
    bond, moved, disagreement = _FIRST_BOND, math.inf, math.inf
    before, _ = found(bond)
    while 2 * bond <= most_bond:
        bond *= 2
        values, disagreement = found(bond)
        # Zero over zero did not move.
        moves = ((values - before).abs() / values.abs()).nan_to_num(0.0, posinf=math.inf)
        large = values.abs() >= least * values.abs().max()
        moved = float(moves[large].max())
        if moved <= relative and disagreement <= relative:
            return torch.where(moves <= relative, values, math.nan), moved, bond
        before = values
    differ = f", and the two directions differ by {disagreement:.1g}" if disagreement else ""
    raise DoesNotStand(
        f"With a bond of {bond} a value still moves by {moved:.1g} of itself{differ}: raise `most_bond` or `relative`, "
        "or sample."
    )


def _reached(model: WalkModel, terms: Terms, steps: Sequence[LocalStep]) -> Tensor:
    """One for the loss, and one or zero for each derivative: whether the observable's light cone holds its rotation."""
    if isinstance(terms, ZeroProjector):
        cone = set(range(model.num_qubits))
    else:
        cone = {q for label, _ in terms for q, letter in enumerate(label) if letter != "I"}
    inside: list[float] = []
    for step in reversed(steps):
        own = {step.first, step.first + 1} if step.is_wide else {step.first}
        if step.slope is not None:
            inside.append(float(bool(own & cone)))
        if own & cone:
            cone |= own
    return torch.tensor([1.0, *reversed(inside)], dtype=torch.float64)


def _swept(steps: Sequence[LocalStep], num_qubits: int) -> Iterator[tuple[LocalStep, bool]]:
    """The steps, and whether as many gates on pairs as a sweep has lie behind the last time."""
    wide = 0
    for step in steps:
        wide += step.is_wide
        yield step, wide >= max(1, num_qubits - 1)
        wide %= max(1, num_qubits - 1)


def _both_ways(
    model: WalkModel, steps: Sequence[LocalStep], terms: Terms, bond: int
) -> tuple[float, list[float], list[float]]:
    """E[loss^2] at the end, the same wherever the directions meet, and all derivatives' moments."""
    parts = [list(part) for _, part in groupby(enumerate(steps), _part)]
    sweeps = [sweep for _, sweep in _swept(steps, model.num_qubits)]
    before: list[Weights | None] = []
    closing = Weights.closing(model, bond)
    for part in parts:
        before.append(closing.copy() if any(step.slope is not None for _, step in part) else None)
        for place, step in part:
            closing.push(step)
            if sweeps[place]:
                closing.clean()
    weights = Weights.of_terms(model, terms, bond)
    losses: list[float] = []
    derivatives: list[float] = []
    for part, front in zip(reversed(parts), reversed(before), strict=True):
        own = [step for _, step in part]
        if front is not None:
            loss, found = met(front.whole(), weights.whole(), own)
            losses.append(loss)
            derivatives += reversed(found)
        for place, step in reversed(part):
            weights.pull(step)
            if sweeps[place]:
                weights.clean()
    return closing.value(terms), losses, derivatives[::-1]


def _part(numbered: tuple[int, LocalStep]) -> int:
    """The same for neighbouring steps on single sites, another for each step on two."""
    place, step = numbered
    return place if step.is_wide else -1
