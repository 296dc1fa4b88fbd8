"""What noise leaves, beside the exact walk, density matrices and Qiskit's meaning of p."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from qiskit.quantum_info import PTM, Chi
from qiskit_aer.noise import depolarizing_error
from torch import Tensor

from classical.measurement import GATE_MATRICES
from classical.noise_theory import (
    bloch_factor,
    error_probability,
    global_decay,
    noise_bound,
    replacement_probability,
    scrambled_decay,
    string_decay,
)
from classical.pauli_walk import second_moments
from classical.program import ProgramBuilder, pauli_matrix


def _noisy(n: int, layers: int, factor: float) -> Tensor:
    """Variances of derivatives: layers of RX, RY, a ladder of CZ and noise on every qubit, O = Z0 Z1."""
    builder = ProgramBuilder(n, 2 * n * layers)
    noise: list[dict[int, float]] = []
    for layer in range(layers):
        for k, letter in enumerate("XY"):
            for qubit in range(n):
                builder.rotation(letter, (qubit,), {(2 * layer + k) * n + qubit: 1.0})
        for qubit in range(n - 1):
            builder.unitary(GATE_MATRICES["cz"], (qubit, qubit + 1))
        noise += [*({} for _ in range(3 * n - 2)), dict.fromkeys(range(n), factor)]
    return second_moments(builder.build(), [("ZZ" + "I" * (n - 2), 1.0)], noise=noise).derivatives


@pytest.mark.parametrize(
    ("factor", "layers", "expected"),
    [
        (1.0, 5, 3.916e-2),
        (1.0, 20, 3.137e-2),
        (0.999, 80, 1.951e-2),
        (0.99, 5, 3.140e-2),
        (0.99, 20, 1.009e-2),
        (0.99, 80, 2.720e-4),
    ],
)
def test_noisy_layers_have_the_published_variance_below_the_bound(
    factor: float, layers: int, expected: float
) -> None:
    found = _noisy(4, layers, factor)
    assert float(found[0]) == pytest.approx(expected, rel=3e-4)
    assert float(found.max()) < noise_bound(4, layers, factor) ** 2


def test_scrambled_layers_decay_by_the_mean_weight() -> None:
    decay = float(_noisy(4, 60, 0.99)[0] / _noisy(4, 59, 0.99)[0])
    assert decay == pytest.approx(0.94155, abs=1e-5)
    assert scrambled_decay(0.99, 4) == pytest.approx(0.94148, abs=1e-5)
    assert decay == pytest.approx(scrambled_decay(0.99, 4), rel=1e-3)


def test_strings_of_product_circuits_decay_by_their_weight() -> None:
    # RY^L on n qubits with noise after each: <Z...Z> = (q^L cos(sum))^n, by density matrices of one qubit.
    factor, layers, n = 0.9, 3, 2
    angles = [0.3, 0.5, -0.2]
    state = torch.tensor([[1, 0], [0, 0]], dtype=torch.complex128)
    for angle in angles:
        turn = math.cos(angle / 2) * pauli_matrix("I") - 1j * math.sin(angle / 2) * pauli_matrix("Y")
        state = factor * turn @ state @ turn.mH + (1 - factor) * torch.eye(2) / 2
    value = float(torch.trace(pauli_matrix("Z") @ state).real) ** n
    assert value == pytest.approx(string_decay(factor, n, layers) * math.cos(sum(angles)) ** n)


@pytest.mark.parametrize(("width", "error"), [(1, 0.02), (2, 0.03)])
def test_meanings_of_p_are_those_of_qiskit(width: int, error: float) -> None:
    replacement = replacement_probability(error, width)
    channel = depolarizing_error(replacement, width)
    # The share of the identity, and what every other string is multiplied by.
    shares, factors = np.asarray(Chi(channel).data), np.asarray(PTM(channel).data)
    assert 1 - np.real(shares[0, 0]) / 2**width == pytest.approx(error)
    assert np.real(np.diagonal(factors)[1:]) == pytest.approx([bloch_factor(replacement)] * (4**width - 1))
    assert error_probability(replacement, width) == pytest.approx(error)
    if width == 1:
        assert bloch_factor(replacement) == pytest.approx(1 - 4 * error / 3)


def test_noise_on_the_whole_register_has_the_published_values() -> None:
    for error, gates, kept in (
        (1e-2, 100, 0.366),
        (1e-3, 100, 0.905),
        (1e-2, 1000, 4.3e-5),
        (1e-3, 1000, 0.368),
    ):
        assert global_decay(error, gates) == pytest.approx(kept, rel=5e-3)
    assert global_decay(1e-2, 100) ** -2 == pytest.approx(7.5, rel=5e-3)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"Argument `replacement` must be between 0 and 1, but is 1\.2"):
        bloch_factor(1.2)
    with pytest.raises(ValueError, match=r"Argument `error_probability` must be between 0 and 0\.75"):
        replacement_probability(0.8)
    with pytest.raises(ValueError, match="Argument `factor`"):
        noise_bound(2, 2, -0.1)
