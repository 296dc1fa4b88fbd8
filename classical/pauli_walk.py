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
from functools import reduce

import torch
from torch import Tensor

from classical.angle_laws import AbstractAngleLaw
from classical.first_moments import first_moments
from classical.paulis import PauliString
from classical.program import Program
from classical.walk_model import Noise, WalkModel
from classical.walk_observables import Terms, ZeroProjector, checked_observable, refuse_cross_terms
from classical.walk_steps import AbstractStep, Strings, step_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Of the loss, and of its derivatives by each rotation with a parameter, in the circuit's order."""

    loss: float
    """E[loss^2], the identity term left out."""
    derivatives: Tensor
    """E[(d loss / d t)^2]."""
    mean_loss: float
    mean_derivatives: Tensor

    @property
    def loss_variance(self) -> float:
        return self.loss - self.mean_loss**2

    @property
    def variances(self) -> Tensor:
        """Of the derivatives."""
        return self.derivatives - self.mean_derivatives**2


def second_moments(
    program: Program,
    terms: Terms,
    *,
    laws: Sequence[AbstractAngleLaw] | None = None,
    bloch: Tensor | None = None,
    noise: Noise | None = None,
) -> Moments:
    """Returns E[loss^2] and E[(d loss / d t)^2] over independent random parameters, exactly, with the means.

    Args:
        terms: Pauli terms of the observable, labels with qubit 0 first, or `ZeroProjector()`.
        laws: of each parameter; uniform by default.
        bloch: Bloch vectors of a product input state, (n, 3) or (3,); |0...0> by default. Fixed gates on one qubit
            that come first there are added to it.
        noise: for each gate the Bloch factors by qubit of Pauli noise behind it; see `walk_model.Noise`, `per_gate`.

    Raises:
        OutsideTheWalk: for what breaks the chain, and where products of two terms of the observable do not vanish.
        ValueError: for arguments that do not fit the program, or more than 12 qubits.

    Cost: gates times 4^n, twice, and the roots of the number of gates times 4^n numbers in memory. Source: the walk is
    that of Clifford-and-rotation circuits, e.g. Napp 2022, arXiv:2203.06174, section 3.
    """
    terms = checked_observable(terms, program.num_qubits)
    model = WalkModel.of(program, laws, bloch, noise)
    refuse_cross_terms(model, terms)
    strings = Strings(program.num_qubits)
    steps = [step_of(move, strings) for move in model.moves]
    loss, derivatives = _walk(steps, _weights(terms, strings), _product(model.closing()))
    mean_loss, mean_derivatives = first_moments(model, terms)
    return Moments(loss=loss, derivatives=derivatives, mean_loss=mean_loss, mean_derivatives=mean_derivatives)


def _weights(terms: Terms, strings: Strings) -> Tensor:
    """Squares of coefficients by string."""
    if isinstance(terms, ZeroProjector):
        weights = _product([(0.25, 0.0, 0.25, 0.0)] * strings.num_qubits)
        weights[0] = 0
        return weights
    weights = torch.zeros(4**strings.num_qubits, dtype=torch.float64)
    for label, coefficient in terms:
        weights[strings.number(PauliString.of(label))] += coefficient**2
    return weights


def _product(sites: Sequence[Sequence[float]]) -> Tensor:
    """The vector of 4^n products of one weight a qubit, letters in the order I, X, Z, Y."""
    # Rows: z bits, columns: x bits; the next qubit's bits are higher.
    tables = [torch.tensor(site, dtype=torch.float64).view(2, 2) for site in sites]
    return reduce(lambda low, high: torch.kron(high, low), tables).reshape(-1)


def _walk(steps: Sequence[AbstractStep], weights: Tensor, closing: Tensor) -> tuple[float, Tensor]:
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
    return float(closing @ weights), torch.tensor(derivatives[::-1], dtype=torch.float64)


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
