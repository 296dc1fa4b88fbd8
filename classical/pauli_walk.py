"""Second moments of losses and derivatives over random angles, exactly: a Markov chain on Pauli strings.

For Clifford gates and Pauli rotations with independent random angles, the observable's second moment, pulled back
through the circuit, stays a sum over pairs of equal strings. One vector of 4^n weights holds it: a rotation about P
takes a string Q that anticommutes with P to itself with weight E[cos^2 a] and to iPQ with weight E[sin^2 a].
Nothing is sampled. What breaks the form is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from classical.angle_laws import AbstractAngleLaw, OutsideTheWalk, Uniform
from classical.paulis import CliffordMap, PauliString, generator
from classical.program import FixedUnitary, PauliRotation, Program
from classical.walk_steps import AbstractStep, CliffordStep, RotationStep, Strings

_EQUAL = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class SecondMoments:
    """Of the loss, and of its derivatives, one for each step with a parameter, in the circuit's order."""

    loss: float
    derivatives: Tensor


def steps_of(program: Program, laws: Sequence[AbstractAngleLaw]) -> tuple[list[AbstractStep], Strings]:
    """The chain of a program, in the circuit's order.

    Args:
        laws: of each parameter.

    Raises:
        OutsideTheWalk: for a parameter in several rotations, a rotation by several parameters or by a fixed angle that
            is not a multiple of pi/2, or a fixed gate that is not Clifford.
    """
    strings = Strings(program.num_qubits)
    shared = (program.coefficients != 0).sum(0)
    made: list[AbstractStep] = []
    rotation = -1
    for gate in program.gates:
        if isinstance(gate, FixedUnitary):
            made.append(CliffordStep(before=strings.mapped(gate)))
            continue
        rotation += 1
        made.append(_rotation(gate, program, rotation, laws, shared, strings))
    return made, strings


def _rotation(
    gate: PauliRotation,
    program: Program,
    rotation: int,
    laws: Sequence[AbstractAngleLaw],
    shared: Tensor,
    strings: Strings,
) -> RotationStep:
    used = program.coefficients[rotation].nonzero()[:, 0].tolist()
    offset = float(program.offsets[rotation])
    if len(used) > 1 or any(shared[k] > 1 for k in used):
        raise OutsideTheWalk(
            f"Rotation {rotation} shares a parameter or has several: shared angles are not independent, so strings "
            "mix. Sample it instead."
        )
    if used:
        slope = float(program.coefficients[rotation, used[0]])
        stay = laws[used[0]].cosine_square(slope, offset)
    else:
        slope, stay = 0.0, math.cos(offset) ** 2
        if min(stay, 1 - stay) > _EQUAL:
            raise OutsideTheWalk(
                f"Rotation {rotation} has the fixed angle {offset:g}, which is no multiple of pi/2: strings mix. "
                "Sample it instead, or give it to the input state where it stands at the start."
            )
    anticommute, moved = strings.turned_by(generator(gate))
    return RotationStep(anticommute=anticommute, moved=moved, stay=stay, slope=slope)


def observable_weights(terms: Sequence[tuple[str, float]], strings: Strings) -> Tensor:
    """Squares of coefficients by string, for terms (label with qubit 0 first, coefficient)."""
    weights = torch.zeros(4**strings.num_qubits, dtype=torch.float64)
    for label, coefficient in terms:
        weights[strings.number(PauliString.of(label))] += coefficient**2
    return weights


def closing_weights(bloch: Tensor, num_qubits: int) -> Tensor:
    """<Q>^2 of each string in a product state with Bloch vectors (n, 3) of X, Y, Z, or (3,) for all qubits."""
    vectors = bloch.to(torch.float64).expand(num_qubits, 3)
    weights = torch.ones(1, 1, dtype=torch.float64)
    for x, y, z in (vectors**2).tolist():
        # Rows: z bits, columns: x bits; the next qubit's bits are higher.
        own = torch.tensor([[1.0, x], [z, y]], dtype=torch.float64)
        weights = torch.kron(own, weights)
    return weights.reshape(-1)


def second_moments(
    program: Program,
    terms: Sequence[tuple[str, float]],
    *,
    laws: Sequence[AbstractAngleLaw] | None = None,
    bloch: Tensor | None = None,
) -> SecondMoments:
    """Returns E[loss^2] and E[(d loss / d t)^2] over independent random parameters, exactly; all derivatives at once.

    Where angles are whole multiples of uniform parameters, derivatives have mean zero and theirs are variances. The
    identity term is left out of a loss.

    Args:
        terms: Pauli terms of the observable, labels with qubit 0 first.
        laws: of each parameter; uniform by default.
        bloch: Bloch vectors of a product input state, (n, 3) or (3,); |0...0> by default.

    Raises:
        OutsideTheWalk: for what breaks the chain, and where products of two terms of the observable do not vanish.

    Cost: gates times 4^n, twice, and the roots of the number of gates times 4^n numbers in memory. Source: the walk is
    that of Clifford-and-rotation circuits, e.g. Napp 2022, arXiv:2203.06174, section 3.
    """
    laws = [Uniform()] * program.num_params if laws is None else laws
    steps, strings = steps_of(program, laws)
    refuse_cross_terms(program, terms, laws)
    zero = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    closing = closing_weights(zero if bloch is None else bloch, program.num_qubits)
    return walk(steps, observable_weights(terms, strings), closing)


def walk(steps: Sequence[AbstractStep], weights: Tensor, closing: Tensor) -> SecondMoments:
    """Second moments of a chain: weights of the observable behind the last step, closing weights before the first."""
    derivatives: list[float] = []
    stretch = max(1, math.isqrt(len(steps)))
    for first, own in _stretches(steps, stretch, closing):
        fronts = [own]
        chunk = steps[first : first + stretch]
        for step in chunk:
            fronts.append(step.push(fronts[-1]))
        for step, front in zip(reversed(chunk), reversed(fronts[:-1]), strict=True):
            slope = step.differentiated(weights)
            if slope is not None:
                derivatives.append(float(front @ slope))
            weights = step.pull(weights)
    return SecondMoments(
        loss=float(closing @ weights), derivatives=torch.tensor(derivatives[::-1], dtype=torch.float64)
    )


def _stretches(steps: Sequence[AbstractStep], size: int, closing: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Stretches of steps from the last to the first: where each begins, and the closing weights there."""
    kept = [closing]
    for i, step in enumerate(steps, start=1):
        closing = step.push(closing)
        if i % size == 0:
            kept.append(closing)
    last = (len(steps) - 1) // size if steps else -1
    for stretch in range(last, -1, -1):
        yield stretch * size, kept[stretch]


def refuse_cross_terms(
    program: Program, terms: Sequence[tuple[str, float]], laws: Sequence[AbstractAngleLaw]
) -> None:
    """Raises OutsideTheWalk where the product of two terms may survive the average.

    The product D of two strings moves through Clifford gates and stays at rotations, until one that is uniform and
    anticommutes with D: there exactly one of the two turns, and the mean of its cosine and sine is zero.
    """
    products = {
        (PauliString.of(a) @ PauliString.of(b)): (a, b)
        for i, (a, _) in enumerate(terms)
        for b, _ in terms[:i]
        if a != b
    }
    alive = {PauliString(key.x, key.z): pair for key, pair in products.items()}
    rotation = program.num_rotations
    for gate in reversed(program.gates):
        if not alive:
            return
        if isinstance(gate, PauliRotation):
            rotation -= 1
            used = program.coefficients[rotation].nonzero()[:, 0].tolist()
            slope = float(program.coefficients[rotation, used[0]]) if used else 0.0
            if used and laws[used[0]].kills_cross_terms(slope):
                turn = generator(gate)
                alive = {key: pair for key, pair in alive.items() if key.commutes(turn)}
            continue
        back = CliffordMap.of(FixedUnitary(qubits=gate.qubits, matrix=gate.matrix.mH))
        if back is not None:
            moved = ((back(key), pair) for key, pair in alive.items())
            alive = {PauliString(key.x, key.z): pair for key, pair in moved}
    if alive:
        first, second = next(iter(alive.values()))
        raise OutsideTheWalk(
            f"The product of the terms {first} and {second} does not vanish in the average, so squares of coefficients "
            "are not enough: ask for one term at a time, or sample."
        )
