"""What global depolarising noise does to a gradient and to its direction.

Convention. Qiskit's `depolarizing_error(p, 2)` is rho -> (1 - p) rho + p (I/4 on the pair): with probability p the pair
is replaced by noise. As Pauli errors it is one of the 15 with probability 15 p / 16 in all, since the sixteenth of the
16 equally likely Paulis is the identity. On one qubit it is (1 - p) rho + p I/2.

Global estimate. Let every loss of a pair or qubit be the loss of the whole register. Then rho -> f rho + (1 - f) I/2^n
with f = (1 - p)^G (1 - p_1)^G1 for G two-qubit gates and G1 rotations: each shifted circuit's value without identity
part is multiplied by f, hence the gradient, whose direction stays. Compare Wang et al. 2021, arXiv:2007.14384, who
bound what noise on every qubit leaves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid.backends import ZeroNoise
from studies.qpu.devices import BOTH, READOUT, SINGLE_PER_PAIR, ZERO_NOISE

DROWNED = 0.5
"""Cosine with the exact gradient below which a direction counts as drowned."""
_SCALES = ZeroNoise.__dataclass_fields__["scales"].default


def survival(two_qubit_error: ArrayLike, pairs: int, singles: int, folding: int = 1) -> NDArray[np.float64]:
    """f: what global depolarising noise leaves of a gradient's length.

    Args:
        pairs, singles: two-qubit gates and rotations of the circuit.
        folding: how often each two-qubit gate stands.
    """
    error = np.asarray(two_qubit_error, dtype=np.float64)
    return (1 - error) ** (folding * pairs) * (1 - SINGLE_PER_PAIR * error) ** singles


def length(
    two_qubit_error: ArrayLike, pairs: int, singles: int, readout: float, mitigation: str
) -> NDArray[np.float64]:
    """What is left of the gradient's length, on average over shots, with a mitigation.

    Args:
        readout: what readout errors leave of it; mitigation of those gives all of it back.
    """
    kept = 1.0 if mitigation in (READOUT, BOTH) else readout
    if mitigation not in (ZERO_NOISE, BOTH):
        return kept * survival(two_qubit_error, pairs, singles)
    weights = _weights()
    values = [survival(two_qubit_error, pairs, singles, scale) for scale in _SCALES]
    return kept * sum(
        (weight * value for weight, value in zip(weights, values, strict=True)), np.zeros_like(values[0])
    )


def noise_growth(readout: float, mitigation: str) -> float:
    """By what a mitigation multiplies shot noise at equal shots.

    Extrapolation with weights w and shots shared by |w| has sum |w| times the noise. Undoing readout errors divides
    by what they leave; the noise of the calibration is left out.
    """
    grown = 1 / readout if mitigation in (READOUT, BOTH) else 1.0
    return grown * (sum(map(abs, _weights())) if mitigation in (ZERO_NOISE, BOTH) else 1.0)


def _weights() -> tuple[float, ...]:
    # Of the line through the values, at zero.
    first, second = _SCALES
    return second / (second - first), -first / (second - first)


def expected_cosine(signal: ArrayLike, noise: ArrayLike) -> NDArray[np.float64]:
    """Cosine of a vector with itself plus noise: |v| / sqrt(|v|^2 + P s^2), for many components.

    Args:
        signal: |v|.
        noise: sqrt(P) s, the root mean square length of the noise.
    """
    kept = np.asarray(signal, dtype=np.float64)
    return kept / np.hypot(kept, noise)
