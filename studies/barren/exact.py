"""What is known of a derivative's moments without sampling: the exact walk, and closed forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from classical.angle_laws import AbstractAngleLaw, OutsideTheWalk
from classical.lie_algebra import algebra_of, gradient_variance
from classical.lie_errors import AlgebraTooLarge, OutsideTheAlgebra
from classical.lie_sums import SumAlgebra
from classical.pauli_walk import Moments, second_moments
from classical.paulis import generator
from classical.program import PauliRotation, Program
from classical.variance_theory import (
    FIXED_RX,
    RANDOM_AXIS,
    deep_first,
    deep_middle,
    local_squares,
    product_global,
    product_global_kurtosis,
    product_local,
    projector_squares,
    rx_ry_global,
    rx_ry_local,
)
from classical.walk_observables import ZeroProjector
from hybrid import Objective
from studies.barren.circuits import FREE_FERMIONS, HARDWARE, PRODUCT, PRODUCT_TWO, RANDOM_AXES
from studies.barren.costs import GLOBAL, LOCAL, PAIR

FIRST, MIDDLE, LAST = "first", "middle", "last"
# Weights times gates that a dense walk may take.
_MOST_WORK = 1.5e8
_SQUARES = {PAIR: lambda _: 1.0, LOCAL: local_squares, GLOBAL: projector_squares}


def terms_of(objective: Objective) -> list[tuple[str, float]]:
    """Pauli terms of the one observable, labels with qubit 0 first."""
    return list(zip(objective.labels, objective.coefficients[:, 0].tolist(), strict=True))


def exact_moments(
    objective: Objective,
    cost: str,
    laws: Sequence[AbstractAngleLaw] | None,
    noise: Sequence[Mapping[int, float]] | None = None,
) -> Moments | None:
    """Moments of all derivatives by the dense walk; None where the circuit has none, or it takes too long."""
    program: Program = objective.program
    if laws is None or 4**program.num_qubits * len(program.gates) > _MOST_WORK:
        return None
    try:
        terms = ZeroProjector() if cost == GLOBAL else terms_of(objective)
        return second_moments(program, terms, laws=laws, noise=noise)
    except OutsideTheWalk:
        return None


def predicted(
    circuit: str, cost: str, position: str, qubits: int, objective: Objective, place: int
) -> float | None:
    """The closed form, or that of the Lie algebra, of a derivative's variance; None where there is none.

    Those of deep circuits are limits of many layers.
    """
    if circuit in (PRODUCT, PRODUCT_TWO):
        forms = (product_global, product_local) if circuit == PRODUCT else (rx_ry_global, rx_ry_local)
        return {GLOBAL: forms[0], LOCAL: forms[1]}[cost](qubits) if cost in (GLOBAL, LOCAL) else None
    if circuit == FREE_FERMIONS:
        return _of_algebra(objective, place) if position == MIDDLE else None
    if cost not in _SQUARES or (circuit != RANDOM_AXES and circuit not in HARDWARE):
        return None
    squares = _SQUARES[cost](qubits)
    if position == MIDDLE and (circuit == RANDOM_AXES or HARDWARE[circuit][0] != "RY"):
        return deep_middle(qubits, squares)
    if position == FIRST and circuit == RANDOM_AXES:
        return deep_first(qubits, squares, RANDOM_AXIS)
    if position == FIRST and HARDWARE[circuit][0] != "RY":
        return deep_first(qubits, squares, FIXED_RX)
    return None


def known_kurtosis(circuit: str, cost: str, qubits: int) -> float | None:
    """Of a derivative, where it has a closed form."""
    return product_global_kurtosis(qubits) if circuit == PRODUCT and cost == GLOBAL else None


def _of_algebra(objective: Objective, place: int) -> float | None:
    try:
        algebra = algebra_of(objective.program)
        if isinstance(algebra, SumAlgebra):
            return None
        turns = [gate for gate in objective.program.gates if isinstance(gate, PauliRotation)]
        label = generator(turns[place]).letters(objective.program.num_qubits)
        return gradient_variance(algebra, label, terms_of(objective))
    except (AlgebraTooLarge, OutsideTheAlgebra):
        return None
