"""The exact variance of a classical shadow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hybrid.estimating import Theta
from hybrid.objective import Objective


def shadow_variance(objective: Objective, theta: Theta) -> Tensor:
    """Returns the exact variance of one shot, shape (*batch) or (*batch, M): shots are that over error^2.

    sum_ij c_i c_j 3^(qubits on which both act) <P_i P_j> - <O>^2, over pairs that agree on every letter. Source: Huang
    et al. 2020, arXiv:2002.08953, for one string; Hadfield et al. 2020, arXiv:2006.15788, for sums. Cost: all pairs of
    terms, and for each row a Walsh-Hadamard transform for each pattern of X and Y among their products; memory: 40
    bytes a pair.
    """
    rows, batch = objective.rows(theta)
    codes = letter_codes(objective.labels)
    left, right, overlap = _pairs(codes)
    places = 1 << np.arange(codes.shape[1])[::-1]  # qubit 0 is the most significant bit of a state's index
    x = np.isin(codes, (0, 1)) @ places
    z = np.isin(codes, (1, 2)) @ places
    flips, phases = x[left] ^ x[right], z[left] ^ z[right]
    coefficients = objective.coefficients.numpy()
    weights = (coefficients[left] * coefficients[right]) * 3.0 ** overlap[:, None]
    simulator = objective.target.simulator(torch.complex128, "cpu", None)
    states = simulator.states(objective.program.angles(rows.detach())).numpy()
    squares = np.zeros((len(rows), objective.num_observables))
    order = np.argsort(flips, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(flips[order])) + 1):
        means = _pauli_means(states, int(flips[members[0]]))
        squares += means[:, phases[members]] @ weights[members]
    values = simulator.values(objective.program.angles(rows.detach()), objective.groups).numpy()
    return objective.shaped(torch.from_numpy(squares - values**2), batch)


def letter_codes(labels: Sequence[str]) -> np.ndarray:
    """Letters as 0, 1, 2 for X, Y, Z and -1 for I, shape (terms, qubits)."""
    return np.array([["XYZ".find(letter) for letter in label] for label in labels])


def _pairs(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ordered pairs of terms that agree on every letter that both have, and on how many qubits both act."""
    acts = (codes >= 0).astype(np.float32)
    same = sum((codes == letter).astype(np.float32) @ (codes == letter).T for letter in range(3))
    overlap = acts @ acts.T
    left, right = np.nonzero(overlap == same)
    return left, right, overlap[left, right]


def _pauli_means(states: np.ndarray, flip: int) -> np.ndarray:
    """<P> of every Pauli string with X or Y on the bits of `flip`, by its pattern of Y and Z: (rows, 2^qubits)."""
    index = np.arange(states.shape[1])
    table = states[:, index ^ flip].conj() * states
    half = 1
    while half < len(index):
        pairs = table.reshape(len(states), -1, 2, half)
        table = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2)
        half *= 2
    # Y = i X Z.
    ys = np.array([(pattern & flip).bit_count() for pattern in index.tolist()])
    return (table.reshape(len(states), -1) * 1j**ys).real
