"""Gates as steps, and how they are cut into the blocks of a schedule.

Blocks are cut from the end of the circuit: the small ones, of what is left over, come to lie at its beginning,
where few tangents are carried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from classical.program import TURNS_TO_Z, FixedUnitary, PauliRotation, Program

# Moving the axes of a block costs this part of the product that follows (measured at 12 and 16 qubits, two cores).
_MOVING = 0.5
# Ways of cutting that the search follows side by side, as many as are quick: with 16 a pass is a fifth cheaper than
# with one.
_BEAM = 16
_BEAM_STEPS = 30_000


@dataclass(frozen=True, eq=False)
class Step:
    """A fixed gate with its matrix, or a rotation with its letters."""

    qubits: tuple[int, ...]
    matrix: np.ndarray | None
    letters: str
    rotation: int
    mask: int
    diagonal: bool


def _fixed(qubits: tuple[int, ...], matrix: np.ndarray) -> Step:
    diagonal = bool(np.abs(matrix - np.diag(matrix.diagonal())).max() < 1e-15)
    return Step(qubits, matrix, "", -1, sum(1 << q for q in qubits), diagonal)


def narrow_steps(program: Program, width: int) -> list[Step]:
    """All gates as steps on at most `width` qubits; wider rotations become a ladder around one RZ."""
    steps: list[Step] = []
    rotation = 0
    for gate in program.gates:
        if isinstance(gate, FixedUnitary):
            steps.append(_fixed(gate.qubits, gate.matrix.resolve_conj().numpy()))
            continue
        ladder = _to_single_z(gate) if len(gate.qubits) > width else []
        qubits, letters = (gate.qubits[-1:], "Z") if ladder else (gate.qubits, gate.letters)
        mask = sum(1 << q for q in qubits)
        steps += [_fixed(on, matrix) for on, matrix in ladder]
        steps.append(Step(qubits, None, letters, rotation, mask, set(letters) == {"Z"}))
        steps += [_fixed(on, matrix.conj().T) for on, matrix in reversed(ladder)]
        rotation += 1
    return steps


def _to_single_z(gate: PauliRotation) -> list[tuple[tuple[int, ...], np.ndarray]]:
    """Fixed gates V, in order, with V^dagger Z_last V equal to the gate's Pauli string."""
    cnot = np.eye(4, dtype=complex)[[0, 1, 3, 2]]
    ladder: list[tuple[tuple[int, ...], np.ndarray]] = [
        ((qubit,), TURNS_TO_Z[letter].numpy())
        for qubit, letter in zip(gate.qubits, gate.letters, strict=True)
        if letter != "Z"
    ]
    return ladder + [(pair, cnot) for pair in zip(gate.qubits, gate.qubits[1:], strict=False)]


# --- the search for blocks ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class _Cut:
    """A circuit whose end is cut into blocks."""

    blocks: tuple[tuple[int, list[Step]], ...]
    """Windows, as bits, with their steps, from the end of the circuit."""
    price: float
    """States that are carried through these blocks, more for each where axes are moved."""
    steps: tuple[Step, ...]
    """What is left, from its end."""
    rotations: int
    """How many of these are rotations."""
    order: tuple[int, ...]
    """The axes as the block behind wants them, from the last to the first: a window at its front needs no move."""


@dataclass(frozen=True, eq=False)
class _Choice:
    """One block more: the steps that a window takes off the end of a circuit."""

    cut: _Cut
    window: int
    taken: list[int]

    @property
    def price(self) -> float:
        moved = self.window != _bits(self.cut.order[: self.window.bit_count()])
        return self.cut.price + (1 + self.cut.rotations) * (1 + _MOVING * moved)

    @property
    def rotations(self) -> int:
        return self.cut.rotations - sum(self.cut.steps[i].rotation >= 0 for i in self.taken)

    @property
    def left(self) -> int:
        return len(self.cut.steps) - len(self.taken)

    def outlook(self, rate: float) -> float:
        """The price of the whole circuit if further blocks take `rate` steps each."""
        return self.price + self.left / rate * (1 + self.rotations / 2) * (1 + _MOVING / 2)

    def made(self) -> _Cut:
        chosen, reach = set(self.taken), self.taken[-1] + 1
        inside, outside = parted(self.cut.order, self.window)
        return _Cut(
            blocks=(*self.cut.blocks, (self.window, [self.cut.steps[i] for i in reversed(self.taken)])),
            price=self.price,
            steps=tuple(self.cut.steps[i] for i in range(reach) if i not in chosen) + self.cut.steps[reach:],
            rotations=self.rotations,
            order=outside + inside,
        )


def cut_steps(steps: Sequence[Step], num_qubits: int, width: int) -> tuple[tuple[int, list[Step]], ...]:
    """Windows and steps of the blocks of a circuit, from its end: a beam search for a cheap tangent pass."""
    rotations = sum(step.rotation >= 0 for step in steps)
    order = tuple(range(num_qubits))[::-1]
    best = _Cut(blocks=(), price=0.0, steps=tuple(steps[::-1]), rotations=rotations, order=order)
    beam = [best] if steps else []
    most = max(1, min(_BEAM, _BEAM_STEPS // max(1, len(steps))))
    while beam:
        choices = [
            _Choice(cut, window, _absorb(cut.steps, window))
            for cut in beam
            for window in _windows(cut, num_qubits, width)
        ]
        rate = max(len(steps) - choice.left for choice in choices) / (1 + len(beam[0].blocks))
        beam = []
        seen: set[tuple[tuple[Step, ...], tuple[int, ...]]] = set()
        for choice in sorted(choices, key=lambda choice: choice.outlook(rate)):
            if len(beam) == most:
                break
            if not choice.taken or (not best.steps and choice.price >= best.price):
                continue
            cut = choice.made()
            if not cut.steps:
                best = cut
            elif (cut.steps, cut.order) not in seen:
                seen.add((cut.steps, cut.order))
                beam.append(cut)
    return best.blocks


def _windows(cut: _Cut, num_qubits: int, width: int) -> list[int]:
    """Windows that may be next: neighbours in a ring, those that need no move, and one that takes the first step."""
    starts = range(num_qubits if num_qubits > width else 1)
    windows = {_bits([(start + i) % num_qubits for i in range(width)]) for start in starts}
    windows.add(_bits(cut.order[:width]))
    windows.add(_grow(cut.steps, cut.order, width))
    # The choice between equals must not depend on the order of a set.
    return sorted(windows)


def _bits(qubits: Sequence[int]) -> int:
    return sum(1 << q for q in qubits)


def _grow(steps: Sequence[Step], order: Sequence[int], width: int) -> int:
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


def _absorb(steps: Sequence[Step], window: int) -> list[int]:
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


def parted(order: tuple[int, ...], window: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Qubits inside and outside a window, as bits, in their order."""
    inside = tuple(q for q in order if window >> q & 1)
    return inside, tuple(q for q in order if not window >> q & 1)
