"""Samples over random rows against closed forms, exactly and with shots."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp

from hybrid import Objective, ParameterShift
from hybrid.backends import Exact
from hybrid.ensembles import (
    random_axis_rows,
    sampled_derivatives,
    sampled_losses,
    sampled_own_derivatives,
)


def random_axes(num_qubits: int, num_layers: int) -> Objective:
    """McClean's circuits: RY(pi/4), then layers of RX, RY, RZ at every site and an open CZ ladder; Z_0 Z_1."""
    theta = iter(ParameterVector("theta", 3 * num_qubits * num_layers))
    circuit = QuantumCircuit(num_qubits)
    for qubit in range(num_qubits):
        circuit.ry(np.pi / 4, qubit)
    for _ in range(num_layers):
        for qubit in range(num_qubits):
            circuit.rx(next(theta), qubit)
            circuit.ry(next(theta), qubit)
            circuit.rz(next(theta), qubit)
        for qubit in range(num_qubits - 1):
            circuit.cz(qubit, qubit + 1)
    return Objective(circuit, SparsePauliOp.from_sparse_list([("ZZ", [0, 1], 1.0)], num_qubits=num_qubits))


def one_rotation() -> Objective:
    """cos(t)."""
    theta = ParameterVector("theta", 1)
    circuit = QuantumCircuit(1)
    circuit.ry(theta[0], 0)
    return Objective(circuit, SparsePauliOp("Z"))


def z_of_second_moment(values: torch.Tensor, truth: float) -> float:
    squares = values.flatten() ** 2
    return float((squares.mean() - truth) / (squares.std() / math.sqrt(len(squares))))


@pytest.mark.parametrize(
    ("num_layers", "variance"), [(1, 5 / 48), (2, 9.5406e-2), (5, 6.8646e-2), (10, 4.7591e-2)]
)
def test_random_axes_have_the_known_variance(num_layers: int, variance: float) -> None:
    """At 8,000 rows a bias of 10 percent would be five standard errors. Values: the exact walk on four qubits."""
    rng = np.random.default_rng(20_26)
    rows, axes = random_axis_rows(8_000, 4 * num_layers, rng)
    found = sampled_own_derivatives(random_axes(4, num_layers), rows, axes[:, 0])
    assert found.values.shape == (8_000, 1)
    assert abs(z_of_second_moment(found.values, variance)) < 4.5
    assert found.noise.item() == found.noise_errors.item() == 0


def test_deep_random_axes_reach_the_deep_limit() -> None:
    """d / (3 (d^2 - 1)) for two qubits."""
    rows, axes = random_axis_rows(8_000, 2 * 30, np.random.default_rng(5))
    found = sampled_own_derivatives(random_axes(2, 30), rows, axes[:, 0])
    assert abs(z_of_second_moment(found.values, 4 / 45)) < 4.5


def test_losses_of_deep_random_circuits_have_the_variance_of_random_states() -> None:
    rows, _ = random_axis_rows(8_000, 2 * 30, np.random.default_rng(6))
    found = sampled_losses(random_axes(2, 30), rows)
    assert found.values.shape == (8_000, 1)
    assert abs(z_of_second_moment(found.values, 1 / 5)) < 4.5


def test_a_row_has_one_axis_at_each_site() -> None:
    rows, axes = random_axis_rows(3_000, 2, np.random.default_rng(7))
    sites = rows.reshape(3_000, 2, 3)
    assert ((sites != 0).sum(-1) == 1).all()
    assert torch.equal((sites != 0).to(torch.int64).argmax(-1), axes)
    counts = torch.bincount(axes.flatten(), minlength=3).numpy()
    assert np.abs(counts - 2_000).max() < 4.5 * math.sqrt(6_000 * 2 / 9)
    assert sites.min() >= 0 and sites.max() < 2 * math.pi
    assert sites.sum(-1).mean().item() == pytest.approx(math.pi, abs=4.5 * math.pi / math.sqrt(3 * 6_000))


def test_derivatives_are_those_of_the_estimator_row_by_row() -> None:
    objective = random_axes(3, 2)
    rows, axes = random_axis_rows(6, 6, np.random.default_rng(8))
    found = sampled_derivatives(objective, rows, [4, 0])
    own = sampled_own_derivatives(objective, rows, 3 + axes[:, 1])
    for i, row in enumerate(rows):
        one = ParameterShift().gradient(objective, row, backend=Exact()).values
        torch.testing.assert_close(found.values[i], one[[4, 0]], rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(own.values[i, 0], one[3 + axes[i, 1]], rtol=1e-12, atol=1e-14)
    assert found.cost.circuits == 6 * 2 * 2
    assert own.cost.circuits == 6 * 2


def test_rows_are_cut_to_the_memory_given() -> None:
    """What fits 4 MB is the same as what fits at once."""
    objective = random_axes(5, 3)
    rows, axes = random_axis_rows(2_000, 15, np.random.default_rng(9))
    small = sampled_own_derivatives(objective, rows, axes[:, 0], exact=Exact(max_bytes=4_000_000))
    torch.testing.assert_close(
        small.values, sampled_own_derivatives(objective, rows, axes[:, 0]).values, rtol=1e-12, atol=1e-14
    )


def test_the_noise_of_shots_is_known_and_subtracted() -> None:
    """For cos(t) with N shots an evaluation: Var = 1/2 + 1/(4 N)."""
    rng = np.random.default_rng(10)
    rows = rng.uniform(0, 2 * np.pi, (20_000, 1))
    found = sampled_derivatives(one_rotation(), rows, [0], total_shots=8, rng=rng)
    assert abs(found.noise.item() - 1 / 16) < 4.5 * found.noise_errors.item()
    assert 0 < found.noise_errors.item() < 0.01 * found.noise.item()
    # A bias of 10 percent of the noise is 0.006; the error of the mean square is 0.0027.
    assert abs(z_of_second_moment(found.values, 1 / 2 + 1 / 16)) < 4.5
    assert found.cost.shots == 20_000 * 8


def test_the_noise_of_sampled_losses_is_known() -> None:
    """Var cos + E sin^2 / N."""
    rng = np.random.default_rng(11)
    rows = rng.uniform(0, 2 * np.pi, (20_000, 1))
    found = sampled_losses(one_rotation(), rows, total_shots=4, rng=rng)
    assert abs(found.noise.item() - 1 / 8) < 4.5 * found.noise_errors.item()
    assert abs(z_of_second_moment(found.values, 1 / 2 + 1 / 8)) < 4.5


def test_bad_arguments_are_refused() -> None:
    rows, axes = random_axis_rows(4, 6, np.random.default_rng(0))
    with pytest.raises(ValueError, match="`places`"):
        sampled_own_derivatives(random_axes(3, 2), rows, axes)
    listed = Objective(QuantumCircuit(1), [SparsePauliOp("Z"), SparsePauliOp("X")])
    with pytest.raises(ValueError, match="one observable"):
        sampled_losses(listed, np.zeros((2, 0)))
