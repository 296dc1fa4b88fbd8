"""Closed forms for the variance of losses and derivatives of random circuits, each with its conditions.

Angles are uniform over 2 pi, rotations are `exp(-i t P / 2)`, d = 2^n. An observable enters by the sum of the squares
of its Pauli coefficients, the identity left out: 1 for one Pauli string, `projector_squares` for the global cost
1 - |<0...0|psi>|^2, `local_squares` for the local cost 1 - (1/n) sum_j P(qubit j = 0). Costs of Cerezo et al. 2021,
arXiv:2001.00550; deep limits of McClean et al. 2018, arXiv:1803.11173.
"""

from __future__ import annotations

import math

FIXED_RX = 1 / 4
"""Variance of X/2 (or Y/2) in |0>: the first rotation about it of a circuit."""
RANDOM_AXIS = 1 / 6
"""Mean variance of X/2, Y/2, Z/2 in RY(pi/4)|0>: the first rotation of McClean et al.'s circuits."""


def projector_squares(num_qubits: int) -> float:
    """Sum of squares of |0...0><0...0|: (d - 1) / d^2."""
    dim = _dimension(num_qubits)
    return (dim - 1) / dim**2


def local_squares(num_qubits: int) -> float:
    """Sum of squares of the local cost: n terms of 1 / (2n), hence 1 / (4n)."""
    _dimension(num_qubits)
    return 1 / (4 * num_qubits)


# --- deep circuits: 2-designs -------------------------------------------------------------------------


def haar_loss(num_qubits: int, squares: float = 1.0) -> float:
    """Variance of the loss of Haar-random states: squares / (d + 1)."""
    return squares / (_dimension(num_qubits) + 1)


def deep_first(num_qubits: int, squares: float = 1.0, generator_variance: float = RANDOM_AXIS) -> float:
    """Variance of a derivative with a fixed state before it and a 2-design behind it.

    squares * d / (d^2 - 1) * 2 Var(V), with V = P/2 in the state before. With `RANDOM_AXIS` this is d / (3 (d^2 - 1)),
    the first parameter of McClean et al.'s circuits; with `FIXED_RX` the first RX of RX-RY-CZ layers.

    Args:
        generator_variance: <V^2> - <V>^2, between 0 and 1/4.
    """
    if not 0 <= generator_variance <= 1 / 4:
        raise ValueError(
            f"Argument `generator_variance` must be between 0 and 1/4, that of P/2, but is {generator_variance}."
        )
    dim = _dimension(num_qubits)
    return squares * dim / (dim**2 - 1) * 2 * generator_variance


def deep_middle(num_qubits: int, squares: float = 1.0) -> float:
    """Variance of a derivative with 2-designs before and behind it: squares * d^2 / (2 (d^2 - 1) (d + 1)).

    For |0...0><0...0| that is 1 / (2 (d + 1)^2).
    """
    dim = _dimension(num_qubits)
    # Haar states have <V^2> - E<V>^2 = (1 - 1 / (d + 1)) / 4.
    return deep_first(num_qubits, squares, dim / (4 * (dim + 1)))


def two_design_layers(num_qubits: int) -> int:
    """Layers after which McClean et al.'s circuits are within 1e-6 of the first parameter's limit: about 35 n.

    Measured with the exact walk on 2 to 5 qubits, for one random-axis rotation on every qubit and a ladder of CZ;
    not for other circuits.
    """
    _dimension(num_qubits)
    return 35 * num_qubits


def free_fermion_loss(num_qubits: int) -> float:
    """Variance of X_0 or Z_0 Z_1 in deep open Ising chains with own angles, from |0...0>: (n - 1) / (n (2n - 1)).

    The algebra is so(2n). Source: Ragone et al. 2023, arXiv:2309.09342, applied to it.
    """
    if num_qubits < 2:
        raise ValueError(f"Argument `num_qubits` must be 2 or more, but is {num_qubits}.")
    return (num_qubits - 1) / (num_qubits * (2 * num_qubits - 1))


# --- product circuits: any derivative -----------------------------------------------------------------


def product_global(num_qubits: int) -> float:
    """One RX or RY on every qubit of |0...0>, global cost: (1/8) (3/8)^(n-1)."""
    return _product(num_qubits, 1 / 8, 3 / 8)


def product_global_kurtosis(num_qubits: int) -> float:
    """E[x^4] / E[x^2]^2 of that derivative: 3/2 (35/18)^(n-1)."""
    return _product(num_qubits, 3 / 2, 35 / 18)


def product_local(num_qubits: int) -> float:
    """The same circuit, local cost: 1 / (8 n^2)."""
    _dimension(num_qubits)
    return 1 / (8 * num_qubits**2)


def rx_ry_global(num_qubits: int) -> float:
    """RX, then RY on every qubit, global cost, by an RX: (1/16) (5/16)^(n-1); with CZ or CNOT after them as well."""
    return _product(num_qubits, 1 / 16, 5 / 16)


def rx_ry_local(num_qubits: int) -> float:
    """The same circuit, local cost: 1 / (16 n^2); with CZ after the rotations as well, not with CNOT."""
    _dimension(num_qubits)
    return 1 / (16 * num_qubits**2)


def demo_global(num_qubits: int) -> float:
    """PennyLane's demo of barren plateaus: RY(pi/4) and one random-axis rotation on every qubit, O = |0...0><0...0|.

    (1/16) p^(n-1) with p = (cos^4(pi/8) + 3/8 + 5/16) / 3 = 0.472018, by any parameter; a product state with a global
    cost, no 2-design. Source: the code of `tutorial_barren_plateaus`; angles uniform over 2 pi.
    """
    return _product(num_qubits, 1 / 16, (math.cos(math.pi / 8) ** 4 + 3 / 8 + 5 / 16) / 3)


# --- starts -------------------------------------------------------------------------------------------


def gaussian_deviation(support: int, layers: int) -> float:
    """Standard deviation of a Gaussian start for an observable on `support` qubits: (4 S (L + 2))^(-1/2).

    Source: Zhang et al. 2022, arXiv:2203.09376, theorem 4.1.
    """
    _at_least_one(support=support, layers=layers)
    return 1 / math.sqrt(4 * support * (layers + 2))


def gaussian_bound(support: int, layers: int, overlap: float = 1.0) -> float:
    """Least E|gradient|^2 of that start: L / (S^S (L + 2)^(S + 1)) Tr[sigma_j rho]^2, whatever the number of qubits.

    A lower bound, far below the value: 40 to 2e7 times on four qubits. Source: the same theorem, as remembered and
    found to hold by the exact walk.

    Args:
        overlap: the observable's mean in the input state, for one Pauli string.
    """
    _at_least_one(support=support, layers=layers)
    return layers / (support**support * (layers + 2) ** (support + 1)) * overlap**2


# --- shots --------------------------------------------------------------------------------------------


def shots_for_unit_ratio(variance: float) -> float:
    """Shots for each of the two shifted circuits at which a derivative's noise is as large as its typical size.

    1 / (2 variance), for one Pauli string whose mean is about zero; 3 (4^n - 1) / (2 2^n) for `deep_first`.
    """
    if variance <= 0:
        raise ValueError(f"Argument `variance` must be positive, but is {variance}.")
    return 1 / (2 * variance)


def snapshot_variance(weight: int, value: float) -> float:
    """Variance of one snapshot of random-Pauli shadows for a string of `weight` letters: 3^w - <P>^2.

    Source: Huang, Kueng and Preskill 2020, arXiv:2002.08953.
    """
    if weight < 0 or abs(value) > 1:
        raise ValueError(
            f"Arguments `weight` and `value` must be 0 or more and between -1 and 1, but are {weight} and {value}."
        )
    return 3.0**weight - value**2


def _product(num_qubits: int, own: float, others: float) -> float:
    _dimension(num_qubits)
    return own * others ** (num_qubits - 1)


def _dimension(num_qubits: int) -> int:
    _at_least_one(num_qubits=num_qubits)
    return 2**num_qubits


def _at_least_one(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"Argument `{name}` must be 1 or more, but is {count}.")
