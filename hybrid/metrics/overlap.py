"""The circuit whose zero outcome is the overlap of two states of a program."""

from __future__ import annotations

import torch
from torch import Tensor

from classical.measurement import ZeroProjection
from classical.program import FixedUnitary, Gate, PauliRotation, Program
from hybrid.target import Target


def overlap_target(program: Program) -> Target:
    """Returns the program forward at theta, then its inverse at theta', measured on |0...0>.

    The value is |<psi(theta')|psi(theta)>|^2. Twice the rotations, twice the parameters: theta, then theta'.
    Source: Havlicek et al. 2019, arXiv:1804.11326.
    """
    backward: list[Gate] = [
        gate if isinstance(gate, PauliRotation) else FixedUnitary(qubits=gate.qubits, matrix=gate.matrix.mH)
        for gate in reversed(program.gates)
    ]
    # The inverse of a rotation turns by minus its angle.
    shift = program.num_params
    turned = [{shift + k: -factor for k, factor in own.items()} for own in reversed(program.factors)]
    offsets = torch.cat([program.offsets, -program.offsets.flip(0)])
    both = Program(
        num_qubits=program.num_qubits,
        gates=(*program.gates, *backward),
        num_params=2 * shift,
        factors=(*program.factors, *turned),
        offsets=offsets,
    )
    return Target(
        program=both,
        groups=(ZeroProjection(program.num_qubits),),
        constants=torch.zeros(1, dtype=torch.float64),
    )


def overlap_angles(target: Target, here: Tensor, there: Tensor) -> Tensor:
    """Angles (..., 2 rotations) of an overlap target for theta and theta' of shape (..., P)."""
    return target.program.angles(torch.cat(torch.broadcast_tensors(here, there), dim=-1))
