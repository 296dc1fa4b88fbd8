"""Closed forms of variances beside their published values, the exact walk and integrals over random states."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from classical.angle_laws import Gaussian, RandomAxis
from classical.measurement import GATE_MATRICES
from classical.pauli_walk import second_moments
from classical.program import Program, ProgramBuilder, pauli_matrix
from classical.variance_theory import (
    FIXED_RX,
    deep_first,
    deep_middle,
    demo_global,
    free_fermion_loss,
    gaussian_bound,
    gaussian_deviation,
    haar_loss,
    local_squares,
    product_global,
    product_global_kurtosis,
    product_local,
    projector_squares,
    rx_ry_global,
    rx_ry_local,
    shots_for_unit_ratio,
    snapshot_variance,
    two_design_layers,
)
from classical.walk_observables import ZeroProjector

Terms = list[tuple[str, float]]


def _circuit(n: int, letters: str, layers: int = 1, gate: str | None = "cz") -> Program:
    """Layers of rotations on all qubits and a ladder of gates."""
    builder = ProgramBuilder(n, len(letters) * n * layers)
    count = 0
    for _ in range(layers):
        for letter in letters:
            for qubit in range(n):
                builder.rotation(letter, (qubit,), {count: 1.0})
                count += 1
        for qubit in range(n - 1 if gate else 0):
            builder.unitary(GATE_MATRICES[gate or ""], (qubit, qubit + 1))
    return builder.build()


def _local(n: int) -> Terms:
    return [("I" * q + "Z" + "I" * (n - 1 - q), 0.5 / n) for q in range(n)]


def _random_axes(n: int, layers: int, derivative: int) -> float:
    """McClean et al.'s circuits by the walk, O = Z0 Z1; the state before them is RY(pi/4)|0...0>."""
    program = _circuit(n, "X", layers)
    half = torch.tensor([0.5**0.5, 0.0, 0.5**0.5])
    laws = [RandomAxis()] * program.num_params
    found = second_moments(program, [("ZZ" + "I" * (n - 2), 1.0)], laws=laws, bloch=half)
    return float(found.derivatives[derivative])


def test_published_values() -> None:
    assert [deep_first(n) for n in (2, 3, 4, 5)] == pytest.approx(
        [8.8889e-2, 4.2328e-2, 2.0915e-2, 1.04268e-2], rel=2e-5
    )
    assert [deep_middle(n) for n in (2, 3, 4, 5)] == pytest.approx(
        [1.06667e-1, 5.64374e-2, 2.95271e-2, 1.51663e-2], rel=5e-6
    )
    assert deep_middle(2, projector_squares(2)) == pytest.approx(0.02)
    assert deep_middle(3, projector_squares(3)) == pytest.approx(6.17284e-3, rel=1e-6)
    assert [product_global_kurtosis(n) for n in (4, 6, 8)] == pytest.approx([11.0, 41.7, 158], rel=5e-3)
    assert shots_for_unit_ratio(deep_first(10)) == pytest.approx(1536, rel=1e-5)
    assert shots_for_unit_ratio(deep_first(30)) == pytest.approx(1.61e9, rel=2e-3)
    assert [gaussian_bound(s, 10) for s in (1, 2, 4)] == pytest.approx([6.94e-2, 1.45e-3, 1.57e-7], rel=3e-3)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_deep_limits_are_those_of_the_exact_walk(n: int) -> None:
    layers = two_design_layers(n)
    assert _random_axes(n, layers, 0) == pytest.approx(deep_first(n), rel=1.5e-6)
    assert _random_axes(n, 2 * layers, n * layers) == pytest.approx(deep_middle(n), rel=1e-6)


@pytest.mark.parametrize("n", [2, 4])
def test_deep_layers_of_rx_ry_cz_are_those_of_the_exact_walk(n: int) -> None:
    program = _circuit(n, "XY", layers=80)
    assert sum(c**2 for _, c in _local(n)) == pytest.approx(local_squares(n))
    for terms, squares in ((ZeroProjector(), projector_squares(n)), (_local(n), local_squares(n))):
        found = second_moments(program, terms).derivatives
        assert float(found[0]) == pytest.approx(deep_first(n, squares, FIXED_RX), rel=1e-6)
        assert float(found[2 * n * 40]) == pytest.approx(deep_middle(n, squares), rel=1e-6)


def test_random_states_and_unitaries_have_these_variances() -> None:
    # The two Haar averages that deep limits are made of, by sampling: 20,000 states and unitaries of two qubits.
    rng = np.random.default_rng(4)
    raw = rng.normal(size=(20_000, 4, 4)) + 1j * rng.normal(size=(20_000, 4, 4))
    unitaries, triangles = np.linalg.qr(raw)
    phases = np.diagonal(triangles, axis1=1, axis2=2)
    unitaries = unitaries * (phases / np.abs(phases))[:, None, :]
    signs = np.array([1, -1, -1, 1])
    losses = (np.abs(unitaries[:, :, 0]) ** 2) @ signs
    assert abs(_score(losses, haar_loss(2))) < 4.5
    assert haar_loss(2, 9.0) == pytest.approx(9 * haar_loss(2))
    # d/dt of <Z Z> behind exp(-i t X_0 / 2), in |00>: i <[X_0, Z Z]> / 2.
    flip = np.kron(np.array([[0, 1], [1, 0]]), np.eye(2))
    turned = np.einsum("kji,j,kjl->kil", unitaries.conj(), signs, unitaries)
    derivatives = (0.5j * (flip @ turned - turned @ flip))[:, 0, 0].real
    assert abs(_score(derivatives, deep_first(2, 1.0, FIXED_RX))) < 4.5


def _score(samples: np.ndarray, predicted: float) -> float:
    """Standard errors between a sampled second moment and a predicted one."""
    squares = samples**2
    return (float(squares.mean()) - predicted) / (float(squares.std()) / math.sqrt(len(samples)))


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_product_circuits_are_those_of_the_exact_walk(n: int) -> None:
    single = _circuit(n, "Y", gate=None)
    pair = _circuit(n, "XY", gate=None)
    assert second_moments(single, ZeroProjector()).derivatives.numpy() == pytest.approx(
        [product_global(n)] * n
    )
    assert second_moments(single, _local(n)).derivatives.numpy() == pytest.approx([product_local(n)] * n)
    for gate in (None, "cz", "cx"):
        entangled = _circuit(n, "XY", gate=gate)
        derivatives = second_moments(entangled, ZeroProjector()).derivatives[:n]
        assert derivatives.numpy() == pytest.approx([rx_ry_global(n)] * n)
    for program in (pair, _circuit(n, "XY", gate="cz")):
        assert second_moments(program, _local(n)).derivatives[:n].numpy() == pytest.approx(
            [rx_ry_local(n)] * n
        )


def test_the_demo_is_the_mean_over_axes_and_angles() -> None:
    # One axis a qubit leaves products of terms alive, so the walk refuses it: here, by the trapezoid rule.
    t = 2 * np.pi * np.arange(16) / 16
    start = np.array([math.cos(math.pi / 8), math.sin(math.pi / 8)])
    squares, slopes = [], []
    for letter in "XYZ":
        # <0| exp(-i t P / 2) |start> and its derivative.
        row = pauli_matrix(letter).numpy()[0] @ start
        amplitudes = np.cos(t / 2) * start[0] - 1j * np.sin(t / 2) * row
        moved = -np.sin(t / 2) * start[0] / 2 - 1j * np.cos(t / 2) * row / 2
        squares.append((np.abs(amplitudes) ** 4).mean())
        slopes.append(((2 * (amplitudes.conj() * moved).real) ** 2).mean())
    for n in (1, 2, 4):
        assert demo_global(n) == pytest.approx(np.mean(slopes) * np.mean(squares) ** (n - 1))
        assert demo_global(n) == pytest.approx(0.0625 * 0.472018 ** (n - 1), rel=2e-6 * n)


def test_the_kurtosis_of_product_circuits_is_that_of_its_factors() -> None:
    # By the trapezoid rule, exact for these: -sin(t)/2 of the qubit's own factor cos^2(t/2), others as they are.
    t = 2 * np.pi * np.arange(16) / 16
    own, other = np.sin(t) / 2, np.cos(t / 2) ** 2
    for n in (1, 2, 5):
        second = (own**2).mean() * (other**2).mean() ** (n - 1)
        fourth = (own**4).mean() * (other**4).mean() ** (n - 1)
        assert second == pytest.approx(product_global(n))
        assert fourth / second**2 == pytest.approx(product_global_kurtosis(n))


# Layers of RX, RY and CZ, L = 10, n = 4: all 80 derivatives of a Gaussian start.
GAUSSIAN: dict[int, tuple[str, float]] = {1: ("ZIII", 2.664), 2: ("ZZII", 2.982), 4: ("ZZZZ", 2.967)}


@pytest.mark.parametrize("support", GAUSSIAN)
def test_gaussian_starts_stay_above_their_bound(support: int) -> None:
    word, expected = GAUSSIAN[support]
    program = _circuit(4, "XY", layers=10)
    laws = [Gaussian(gaussian_deviation(support, 10))] * program.num_params
    total = float(second_moments(program, [(word, 1.0)], laws=laws).derivatives.sum())
    assert total == pytest.approx(expected, rel=3e-4)
    assert total > gaussian_bound(support, 10)
    assert gaussian_bound(support, 10, overlap=0.5) == pytest.approx(gaussian_bound(support, 10) / 4)


@pytest.mark.parametrize(("weight", "value"), [(0, 1.0), (1, -0.4), (2, 0.6)])
def test_single_snapshots_have_this_variance(weight: int, value: float) -> None:
    # One random basis in 3^w shows the string, and the snapshot is then plus or minus 3^w.
    size = 3.0**weight
    outcomes = [(0.0, 1 - 1 / size), (size, (1 + value) / 2 / size), (-size, (1 - value) / 2 / size)]
    mean = sum(x * p for x, p in outcomes)
    assert mean == pytest.approx(value)
    expected = sum(x**2 * p for x, p in outcomes) - mean**2
    assert snapshot_variance(weight, value) == pytest.approx(expected)


def test_bad_input_is_named() -> None:
    for call in (lambda: deep_first(0), lambda: product_global(0), lambda: two_design_layers(0)):
        with pytest.raises(ValueError, match="Argument `num_qubits` must be 1 or more, but is 0"):
            call()
    with pytest.raises(ValueError, match="`num_qubits` must be 2 or more"):
        free_fermion_loss(1)
    with pytest.raises(ValueError, match="`generator_variance` must be between 0 and 1/4"):
        deep_first(2, 1.0, 0.3)
    with pytest.raises(ValueError, match="`layers` must be 1 or more"):
        gaussian_deviation(1, 0)
    with pytest.raises(ValueError, match="`variance` must be positive"):
        shots_for_unit_ratio(0.0)
    with pytest.raises(ValueError, match="between -1 and 1"):
        snapshot_variance(1, 2.0)
