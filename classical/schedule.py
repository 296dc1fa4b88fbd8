"""Fusing a program's gates into blocks on a few qubits, each applied as one matrix product.

A block of width w gathers all gates that can be reached on w qubits, in the order of the circuit up to
commuting diagonal gates. Applied to a state, a block turns the tensor axes: the window's axes come first,
the product writes them last. So sweeping windows over the qubits needs no copy, and other windows need one.

Source of the idea of fusing: Haener and Steiger 2017, arXiv:1704.01127, section 3; of inserting generators
into the fused blocks: docs/concepts.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from classical.program import TURNS_TO_Z, FixedUnitary, PauliRotation, Program, pauli_matrix

# A window that is not in front must take this many times the gates of one that is: measured, moving the axes
# of a block costs half of the product that follows (12 and 16 qubits, two cores; 1.25 to 2 differ little).
_COPY_PENALTY = 1.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """One fused block: `permutation` brings its window to the front axes (None: it is there already)."""

    permutation: tuple[int, ...] | None
    rotations: tuple[int, ...]
    """Indices of the rotations inside, in the order in which they act."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Schedule:
    """A program as fused blocks of one width.

    Step j of block b is the matrix `cos(a/2) cosine[b, j] + sin(a/2) sine[b, j]`, a the angle of rotation
    `angle_index[b, j]`; the index `num_rotations` stands for an angle of zero. Shapes: (blocks, steps, d, d).
    """

    num_qubits: int
    width: int
    blocks: tuple[Block, ...]
    angle_index: Tensor
    cosine: Tensor
    sine: Tensor
    final_permutation: tuple[int, ...] | None
    """Brings the axes back to qubit order after the last block (None: they are)."""


@dataclass(frozen=True, eq=False)
class _Step:
    qubits: tuple[int, ...]
    mask: int
    diagonal: bool
    matrix: Tensor
    rotation: int | None


def fuse(program: Program, width: int) -> Schedule:
    """Returns the program fused into blocks on `width` qubits (more where a fixed unitary needs more).

    Cost: blocks times qubits times the gates within reach, in Python; done once for a program.
    """
    num_qubits = program.num_qubits
    widest = max((len(g.qubits) for g in program.gates if isinstance(g, FixedUnitary)), default=1)
    width = min(max(width, widest, 2), num_qubits)
    steps = _narrow_steps(program, width)
    order = list(range(num_qubits))
    blocks: list[Block] = []
    cosines: list[Tensor] = []
    sines: list[Tensor] = []
    while steps:
        window, taken = _best_window(steps, order, num_qubits, width)
        chosen = [steps[i] for i in taken]
        kept = set(taken)
        steps = [step for i, step in enumerate(steps) if i not in kept]
        front = [q for q in order if q in window]
        rest = [q for q in order if q not in window]
        moved = None if order[:width] == front else tuple(order.index(q) for q in front + rest)
        cosine, sine, rotations = _fold(chosen, front)
        blocks.append(Block(permutation=moved, rotations=rotations))
        cosines.append(cosine)
        sines.append(sine)
        order = rest + front
    natural = list(range(num_qubits))
    final = None if order == natural else tuple(order.index(q) for q in natural)
    return _stack(program, width, blocks, cosines, sines, final)


def _stack(
    program: Program,
    width: int,
    blocks: list[Block],
    cosines: list[Tensor],
    sines: list[Tensor],
    final: tuple[int, ...] | None,
) -> Schedule:
    depth = max((len(c) for c in cosines), default=1)
    dim = 2**width
    cosine = torch.eye(dim, dtype=torch.complex128).expand(len(blocks), depth, dim, dim).clone()
    sine = torch.zeros_like(cosine)
    index = torch.full((len(blocks), depth), program.num_rotations)
    for b, block in enumerate(blocks):
        cosine[b, : len(cosines[b])] = cosines[b]
        sine[b, : len(sines[b])] = sines[b]
        index[b, : len(block.rotations)] = torch.tensor(block.rotations, dtype=torch.int64)
    return Schedule(
        num_qubits=program.num_qubits,
        width=width,
        blocks=tuple(blocks),
        angle_index=index,
        cosine=cosine,
        sine=sine,
        final_permutation=final,
    )


def _narrow_steps(program: Program, width: int) -> list[_Step]:
    """All gates as steps on at most `width` qubits; wider rotations become a ladder around one RZ."""
    steps: list[_Step] = []
    rotation = 0

    def add(qubits: tuple[int, ...], matrix: Tensor, index: int | None = None) -> None:
        off_diagonal = matrix - torch.diag(matrix.diagonal())
        diagonal = bool(off_diagonal.abs().max() < 1e-15)
        steps.append(_Step(qubits, sum(1 << q for q in qubits), diagonal, matrix, index))

    for gate in program.gates:
        if isinstance(gate, FixedUnitary):
            add(gate.qubits, gate.matrix)
        elif len(gate.qubits) <= width:
            add(gate.qubits, pauli_matrix(gate.letters), rotation)
            rotation += 1
        else:
            ladder = _to_single_z(gate)
            for qubits, matrix in ladder:
                add(qubits, matrix)
            add(gate.qubits[-1:], pauli_matrix("Z"), rotation)
            for qubits, matrix in reversed(ladder):
                add(qubits, matrix.mH)
            rotation += 1
    return steps


def _to_single_z(gate: PauliRotation) -> list[tuple[tuple[int, ...], Tensor]]:
    """Fixed gates V, in order, with V^dagger Z_last V equal to the gate's Pauli string."""
    cnot = torch.eye(4, dtype=torch.complex128)[[0, 1, 3, 2]]
    ladder: list[tuple[tuple[int, ...], Tensor]] = [
        ((qubit,), TURNS_TO_Z[letter])
        for qubit, letter in zip(gate.qubits, gate.letters, strict=True)
        if letter != "Z"
    ]
    ladder += [(pair, cnot) for pair in zip(gate.qubits, gate.qubits[1:], strict=False)]
    return ladder


def _best_window(
    steps: list[_Step], order: list[int], num_qubits: int, width: int
) -> tuple[set[int], list[int]]:
    """The window of `width` qubits that takes most steps, and the steps that it takes."""
    masks = {_grow(steps, order, width)}
    for start in range(num_qubits if num_qubits > width else 1):
        masks.add(sum(1 << (start + i) % num_qubits for i in range(width)))
    in_front = sum(1 << q for q in order[:width])
    masks.add(in_front)
    # Ties go to the lowest qubits: the choice must not depend on the order of a set.
    mask, taken = max(
        ((mask, _absorb(steps, mask)) for mask in masks),
        key=lambda pair: (len(pair[1]) / (1 if pair[0] == in_front else _COPY_PENALTY), -pair[0]),
    )
    return {q for q in range(num_qubits) if mask >> q & 1}, taken


def _grow(steps: list[_Step], order: list[int], width: int) -> int:
    """A window around the first step, grown by the steps that follow; it always takes the first."""
    window, blocked = steps[0].mask, 0
    for step in steps[1:]:
        union = window | step.mask
        if step.mask & window and not step.mask & blocked and union.bit_count() <= width:
            window = union
        else:
            blocked |= step.mask
        if window.bit_count() == width or not window & ~blocked:
            break
    for qubit in order:
        if window.bit_count() == width:
            break
        window |= 1 << qubit
    return window


def _absorb(steps: list[_Step], window: int) -> list[int]:
    """Indices of the steps inside `window` that can act before all others."""
    taken: list[int] = []
    blocked = blocked_for_diagonal = 0
    for i, step in enumerate(steps):
        barrier = blocked_for_diagonal if step.diagonal else blocked
        if step.mask & ~window == 0 and step.mask & barrier == 0:
            taken.append(i)
            continue
        blocked |= step.mask
        if not step.diagonal:
            blocked_for_diagonal |= step.mask
            if window & ~blocked_for_diagonal == 0:
                break
    return taken


def _fold(steps: list[_Step], qubits: list[int]) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """Matrices (rotations, d, d) of a block's steps, fixed gates folded into the rotation that follows."""
    dim = 2 ** len(qubits)
    fixed = torch.eye(dim, dtype=torch.complex128)
    cosines: list[Tensor] = []
    sines: list[Tensor] = []
    rotations: list[int] = []
    for step in steps:
        matrix = _embed(step, qubits)
        if step.rotation is None:
            fixed = matrix @ fixed
            continue
        cosines.append(fixed)
        sines.append(-1j * matrix @ fixed)
        rotations.append(step.rotation)
        fixed = torch.eye(dim, dtype=torch.complex128)
    if not cosines:
        return fixed[None], torch.zeros_like(fixed)[None], ()
    cosines[-1] = fixed @ cosines[-1]
    sines[-1] = fixed @ sines[-1]
    return torch.stack(cosines), torch.stack(sines), tuple(rotations)


def _embed(step: _Step, qubits: list[int]) -> Tensor:
    """The step's matrix on all of the window, whose axes stand in the order `qubits`."""
    width, inner = len(qubits), len(step.qubits)
    full = torch.kron(step.matrix.contiguous(), torch.eye(2 ** (width - inner), dtype=torch.complex128))
    axes = list(step.qubits) + [q for q in qubits if q not in step.qubits]
    order = [axes.index(q) for q in qubits]
    full = full.reshape((2,) * (2 * width)).permute(order + [width + i for i in order])
    return full.reshape(2**width, 2**width)
