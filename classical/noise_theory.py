"""What Pauli noise leaves of losses and derivatives, in closed form; and what "depolarising p" means.

Two meanings are in use. Replacement: rho -> (1 - p) rho + p I/d, with probability p the qubits are replaced by noise
(Qiskit's `depolarizing_error`). Pauli errors: each of the 4^w - 1 other Pauli strings with probability p / (4^w - 1)
(PennyLane's `DepolarizingChannel`, w = 1). Both multiply every Bloch component by one factor q.
"""

from __future__ import annotations

import math


def replacement_probability(error_probability: float, width: int = 1) -> float:
    """p of the replacement form, of p as Pauli errors on `width` qubits: p 4^w / (4^w - 1), 4p/3 on one qubit."""
    strings = 4**width
    _probability("error_probability", error_probability, (strings - 1) / strings)
    return error_probability * strings / (strings - 1)


def error_probability(replacement: float, width: int = 1) -> float:
    """p as Pauli errors, of p of the replacement form: p (4^w - 1) / 4^w."""
    _probability("replacement", replacement, 1.0)
    return replacement * (4**width - 1) / 4**width


def bloch_factor(replacement: float) -> float:
    """q = 1 - p for p of the replacement form; 1 - 4p/3 for p as Pauli errors on one qubit."""
    _probability("replacement", replacement, 1.0)
    return 1 - replacement


def string_decay(factor: float, weight: int, layers: int) -> float:
    """What noise q on every qubit after each layer leaves of a Pauli string that keeps its weight: q^(weight L).

    For one qubit and `RY^L` that is q^L, for an n-body string on a product state q^(nL); derivatives have the same.
    """
    _probability("factor", factor, 1.0)
    return factor ** (weight * layers)


def scrambled_decay(factor: float, places: int) -> float:
    """By what each layer multiplies the variance in a deep circuit with noise q at m places a layer: q^(2 * 3m/4).

    A scrambled string has a letter at three places of four, on average; with noise on every qubit once, m = n. To first
    order in 1 - q: on four qubits with q = 0.99 the exact walk has 0.94155, this 0.94148.
    """
    _probability("factor", factor, 1.0)
    return factor ** (3 * places / 2)


def global_decay(replacement: float, gates: int) -> float:
    """What noise on the whole register after each of `gates` gates leaves of a loss and its gradient: (1 - p)^G.

    The gradient's direction stays; the same error takes `1 / global_decay^2` times the shots.
    """
    return bloch_factor(replacement) ** gates


def noise_bound(
    num_qubits: int,
    layers: int,
    factor: float,
    *,
    terms: int = 1,
    generator_norm: float = 0.5,
    largest_coefficient: float = 1.0,
) -> float:
    """The most that a derivative can be at any angles, with Pauli noise q on all qubits before and after each layer.

    sqrt(8 ln 2) N_O |H| |w| sqrt(n) q^(L + 1). An upper bound, far above the values: use `string_decay` and
    `scrambled_decay` for those. Source: Wang et al. 2021, arXiv:2007.14384, theorem 1; the constant is as remembered.

    Args:
        terms: N_O, Pauli terms of the observable.
        generator_norm: |H|, largest absolute eigenvalue of the generator; 1/2 for a Pauli rotation.
        largest_coefficient: |w|, of the observable's terms.
    """
    _probability("factor", factor, 1.0)
    scale = math.sqrt(8 * math.log(2) * num_qubits) * terms * generator_norm * largest_coefficient
    return scale * factor ** (layers + 1)


def _probability(name: str, value: float, most: float) -> None:
    if not 0 <= value <= most:
        raise ValueError(f"Argument `{name}` must be between 0 and {most:g}, but is {value}.")
