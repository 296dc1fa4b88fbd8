"""Sizes of the circuits of RY, RZ and a CZ ring, and the names of the ways to their gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WORKLOAD = "whole gradient"
SHIFT, ADJOINT, SHOTS = "parameter-shift", "adjoint", "parameter-shift, 1000 shots a circuit"
JIT = "value_and_grad, jit"


@dataclass(frozen=True, kw_only=True)
class RingCase:
    """A size, and whether finite shots are timed too."""

    qubits: int
    layers: int
    sampled: bool = False

    @property
    def name(self) -> str:
        return f"{self.qubits} qubits, {self.layers} layers, P = {2 * self.qubits * self.layers}"

    @property
    def units(self) -> int:
        """Gradients in one run."""
        return 1

    @property
    def theta(self) -> np.ndarray:
        return np.random.default_rng(0).uniform(0, 2 * np.pi, 2 * self.qubits * self.layers)


SIZES = (
    RingCase(qubits=8, layers=6),
    RingCase(qubits=12, layers=8, sampled=True),
    RingCase(qubits=16, layers=8),
)
QUICK_SIZES = (RingCase(qubits=3, layers=1, sampled=True),)
