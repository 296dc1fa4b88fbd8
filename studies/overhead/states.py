"""States given by their amplitudes, prepared exactly, so that they are measured as any circuit's are."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from scipy.sparse.linalg import eigsh
from torch import Tensor

from classical.program import Program, ProgramBuilder
from hybrid import Objective
from hybrid.target import Target

_DENSE_QUBITS = 6
_CX = torch.eye(4, dtype=torch.complex128)[[0, 1, 3, 2]]


def ground_state(observable: SparsePauliOp) -> tuple[float, NDArray[np.complex128]]:
    """Lowest energy and its state, in qiskit's order of amplitudes; of several such states any.

    Cost: dense up to six qubits, sparse Lanczos from a fixed start above.
    """
    size = observable.dim[0]
    if size <= 2**_DENSE_QUBITS:
        energies, states = np.linalg.eigh(observable.to_matrix())
    else:
        start = np.random.default_rng(0).normal(size=size).astype(complex)
        energies, states = eigsh(observable.to_matrix(sparse=True), k=1, which="SA", v0=start)
    return float(energies[0]), states[:, 0].astype(np.complex128)


def at_state(objective: Objective, state: NDArray[np.complex128]) -> Objective:
    """The objective without parameters whose circuit prepares `state`, amplitudes in qiskit's order.

    Made of three unitaries, one of each half of the qubits and one before. No circuit for a device.
    """
    made = Objective(QuantumCircuit(objective.num_qubits), objective.observables[0])
    made.target = Target(
        program=_prepared(state, objective.num_qubits), groups=objective.groups, constants=objective.constants
    )
    return made


def _prepared(state: NDArray[np.complex128], num_qubits: int) -> Program:
    """A program that makes the state by its Schmidt decomposition.

    The Schmidt coefficients on the first half, copied to the second by CNOT, then the bases of both. Source: Plesch
    and Brukner 2011, arXiv:1003.5760.
    """
    # The first axis of our states is qubit 0, of qiskit's the last.
    turned = np.ascontiguousarray(state.reshape([2] * num_qubits).transpose()).reshape(-1)
    first, second = num_qubits // 2, num_qubits - num_qubits // 2
    left, sizes, right = torch.linalg.svd(torch.from_numpy(turned).reshape(2**first, 2**second))
    builder = ProgramBuilder(num_qubits, 0)
    if first:
        builder.unitary(_with_first_column(sizes.to(left.dtype)), tuple(range(first)))
        for qubit in range(first):
            builder.unitary(_CX, (qubit, qubit + second))
        builder.unitary(left, tuple(range(first)))
    builder.unitary(right.T.contiguous(), tuple(range(first, num_qubits)))
    return builder.build()


def _with_first_column(column: Tensor) -> Tensor:
    """A unitary with this real unit vector as first column: a reflection."""
    axis = -column
    axis[0] += 1
    square = torch.vdot(axis, axis)
    identity = torch.eye(len(column), dtype=column.dtype)
    return identity if abs(square) < 1e-30 else identity - 2 * torch.outer(axis, axis) / square
