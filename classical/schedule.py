"""Fusing a program's gates into blocks on a few qubits, each applied as one matrix product.

A block of width w gathers all gates that can be reached on w qubits, in the order of the circuit up to
commuting diagonal gates. Applied to a state, a block turns the tensor axes: the window's axes come first,
the product writes them last. So sweeping windows over the qubits needs no copy, and other windows need one.
Blocks are cut from the end of the circuit: the small ones, of what is left over, come to lie at its beginning,
where few tangents are carried.

Inside, a block is layers of one form, in tables from which the matrices of many blocks are made at once.

Source of the idea of fusing: Haener and Steiger 2017, arXiv:1704.01127, section 3; of inserting generators
into the fused blocks: docs/concepts.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from classical.program import TURNS_TO_Z, FixedUnitary, PauliRotation, Program, pauli_matrix

# Moving the axes of a block costs this part of the product that follows (measured at 12 and 16 qubits, two cores).
_MOVING = 0.5
# Ways of cutting that the search follows side by side, as many as are quick: with 16 a pass is a fifth cheaper than
# with one.
_BEAM = 16
_BEAM_STEPS = 30_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """One fused block: `permutation` brings its window to the front axes (None: it is there already)."""

    permutation: tuple[int, ...] | None
    rotations: tuple[int, ...]
    """Indices of the rotations inside, layer by layer."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Schedule:
    """A program as fused blocks of one width."""

    num_qubits: int
    width: int
    blocks: tuple[Block, ...]
    first_permutation: tuple[int, ...] | None
    """Brings the axes from qubit order to that of the first block; |0...0> needs none."""
    final_permutation: tuple[int, ...] | None
    """Brings the axes back to qubit order after the last block (None: they are)."""
    layouts: tuple[_Layout, ...]
    dtype: torch.dtype
    device: torch.device
    _slabs: dict[int, tuple[Layers, ...]] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        """Most layers of a block."""
        return max((layout.depth for layout in self.layouts), default=1)

    @torch.inference_mode(False)
    def slabs(self, size: int) -> tuple[Layers, ...]:
        """Tables of `size` blocks each, in order; made once."""
        if size not in self._slabs:
            firsts = range(0, max(1, len(self.blocks)), size)
            self._slabs[size] = tuple(
                _tables(self.layouts[first : first + size], first, self.width, self.dtype, self.device)
                for first in firsts
            )
        return self._slabs[size]


def fuse(
    program: Program,
    width: int,
    dtype: torch.dtype = torch.complex128,
    device: torch.device | str = "cpu",
) -> Schedule:
    """Returns the program fused into blocks on `width` qubits (more where a fixed unitary needs more).

    Cost: blocks times qubits times the gates within reach, in Python; done once for a program.
    """
    num_qubits = program.num_qubits
    widest = max((len(g.qubits) for g in program.gates if isinstance(g, FixedUnitary)), default=1)
    width = min(max(width, widest, 2), num_qubits)
    order = natural = tuple(range(num_qubits))
    layouts: list[_Layout] = []
    moves: list[tuple[int, ...] | None] = []
    for window, steps in _cut(_narrow_steps(program, width), num_qubits, width):
        # `order` is that in which the block behind wants its axes.
        front, rest = _parted(order, window)
        layouts.append(_Layout(steps, front))
        moves.append(_move(rest + front, order))
        order = front + rest
    return Schedule(
        num_qubits=num_qubits,
        width=width,
        blocks=tuple(
            Block(permutation=permutation, rotations=layout.rotations)
            for permutation, layout in zip([None, *moves[:0:-1]], layouts[::-1], strict=False)
        ),
        first_permutation=_move(natural, order),
        final_permutation=moves[0] if moves else None,
        layouts=tuple(layouts[::-1]),
        dtype=dtype,
        device=torch.device(device),
    )


def _parted(order: tuple[int, ...], window: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Qubits inside and outside a window, as bits, in their order."""
    inside = tuple(q for q in order if window >> q & 1)
    return inside, tuple(q for q in order if not window >> q & 1)


def _move(order: tuple[int, ...], to: tuple[int, ...]) -> tuple[int, ...] | None:
    return None if order == to else tuple(order.index(q) for q in to)


# --- steps, and how they are cut into blocks --------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Step:
    """A fixed gate with its matrix, or a rotation with its letters."""

    qubits: tuple[int, ...]
    matrix: np.ndarray | None
    letters: str
    rotation: int
    mask: int
    diagonal: bool


def _fixed(qubits: tuple[int, ...], matrix: np.ndarray) -> _Step:
    diagonal = bool(np.abs(matrix - np.diag(matrix.diagonal())).max() < 1e-15)
    return _Step(qubits, matrix, "", -1, sum(1 << q for q in qubits), diagonal)


def _narrow_steps(program: Program, width: int) -> list[_Step]:
    """All gates as steps on at most `width` qubits; wider rotations become a ladder around one RZ."""
    steps: list[_Step] = []
    rotation = 0
    for gate in program.gates:
        if isinstance(gate, FixedUnitary):
            steps.append(_fixed(gate.qubits, gate.matrix.resolve_conj().numpy()))
            continue
        ladder = _to_single_z(gate) if len(gate.qubits) > width else []
        qubits, letters = (gate.qubits[-1:], "Z") if ladder else (gate.qubits, gate.letters)
        mask = sum(1 << q for q in qubits)
        steps += [_fixed(on, matrix) for on, matrix in ladder]
        steps.append(_Step(qubits, None, letters, rotation, mask, set(letters) == {"Z"}))
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


@dataclass(frozen=True, kw_only=True, eq=False)
class _Cut:
    """A circuit whose end is cut into blocks."""

    blocks: tuple[tuple[int, list[_Step]], ...]
    """Windows, as bits, with their steps, from the end of the circuit."""
    price: float
    """States that are carried through these blocks, more for each where axes are moved."""
    steps: tuple[_Step, ...]
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
        inside, outside = _parted(self.cut.order, self.window)
        return _Cut(
            blocks=(*self.cut.blocks, (self.window, [self.cut.steps[i] for i in reversed(self.taken)])),
            price=self.price,
            steps=tuple(self.cut.steps[i] for i in range(reach) if i not in chosen) + self.cut.steps[reach:],
            rotations=self.rotations,
            order=outside + inside,
        )


def _cut(steps: Sequence[_Step], num_qubits: int, width: int) -> tuple[tuple[int, list[_Step]], ...]:
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
        seen: set[tuple[tuple[_Step, ...], tuple[int, ...]]] = set()
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


def _grow(steps: Sequence[_Step], order: Sequence[int], width: int) -> int:
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


def _absorb(steps: Sequence[_Step], window: int) -> list[int]:
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


# --- what a block is made of ------------------------------------------------------------------------------

# The stages of a layer, in the order in which they act.
_RUN, _MIX, _STRING = range(3)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the Pauli string of a rotation is inserted: in front of `layer` of `block`, or behind the last layer.

    For a rotation about one letter, `gate` is its number among the gates of all runs and `axis` that of the window.
    For one about a string of Z, `gate` is None and `axis` its number among the strings of the layer before.
    """

    block: int
    layer: int
    gate: int | None
    axis: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Layers:
    """Some blocks as layers, in tables: w axes, d = 2^w, cells are pairs (layer, block).

    A layer is, in this order: a run of 2 x 2 gates on each axis, a fixed matrix, rotations about strings of Z. The
    matrices act on rows of amplitudes, from the right. A gate is `cos(a/2) cosine + sin(a/2) sine`.
    """

    first: int
    """The first of the blocks."""
    num_blocks: int
    depth: int
    gate_angles: Tensor
    """1 + the rotation that each gate is, 0 for none; shape (gates of a run, w * cells)."""
    cosine: Tensor
    """Shape (2, 2, gates of a run, w * cells, 1), as `sine`."""
    sine: Tensor
    eigenvectors: Tensor
    """Conjugate of that to +1 of each rotation's letter, shape (2, gates of a run * w * cells, 1)."""
    columns: tuple[Tensor, Tensor]
    """Fixed permutations: the column of the first and of the second half of the axes, shape (d * cells,)."""
    phases: Tensor | None
    """The factors of the fixed matrices that are permutations and phases, shape (d, cells, 1)."""
    mixing: Mapping[int, Tensor]
    """By layer: the other fixed matrices, shape (blocks, d, d)."""
    string_angles: Tensor
    """1 + the rotation of each string, 0 for none; shape (strings, cells)."""
    strings: Tensor
    """Eigenvalues, shape (strings, d, cells, 1)."""
    letters: Tensor
    """X, -Y, Z on each axis side by side, shape (d, 3 * w * d)."""
    places: Mapping[int, Place]
    """Of the rotations inside."""


_Gate = tuple[np.ndarray, np.ndarray, Sequence[complex], int]
_UP: Mapping[str, Sequence[complex]] = {
    "X": (0.5**0.5, 0.5**0.5),
    "Y": (0.5**0.5, 1j * 0.5**0.5),
    "Z": (1, 0),
}


class _Run:
    """Gates on one axis: rotations, each with the fixed gates before it, and at the end what is left of those.

    A gate is its cosine and sine, the eigenvector to +1 of its letter, and its rotation.
    """

    def __init__(self) -> None:
        self._gates: list[_Gate] = []
        self._fixed = np.eye(2, dtype=complex)

    def turn(self, matrix: np.ndarray) -> None:
        self._fixed = matrix @ self._fixed

    def rotate(self, letter: str, rotation: int) -> None:
        sine = -1j * pauli_matrix(letter).numpy() @ self._fixed
        self._gates.append((self._fixed, sine, _UP[letter], rotation))
        self._fixed = np.eye(2, dtype=complex)

    def gates(self) -> list[_Gate]:
        if np.array_equal(self._fixed, np.eye(2)):
            return self._gates
        return [*self._gates, (self._fixed, np.zeros((2, 2)), (0, 0), -1)]


class _Layout:
    """The steps of one block, each in the first layer that it can be in."""

    def __init__(self, steps: Sequence[_Step], qubits: tuple[int, ...]) -> None:
        self.runs: dict[tuple[int, int], _Run] = {}
        """By layer and axis."""
        self.mixing: dict[int, np.ndarray] = {}
        self.strings: dict[int, list[tuple[int, np.ndarray]]] = {}
        """By layer: rotations and eigenvalues."""
        self._stages = [0] * len(qubits)
        for step in steps:
            self._add(step, [qubits.index(q) for q in step.qubits])
        self.depth = max(self._stages) // 3 + 1
        self.rotations = tuple(step.rotation for step in steps if step.rotation >= 0)

    def _add(self, step: _Step, axes: list[int]) -> None:
        width = len(self._stages)
        if step.matrix is not None:
            if len(axes) == 1:
                self._run(axes[0]).turn(step.matrix)
                return
            layer = self._layer(axes, _MIX)
            self.mixing[layer] = _embedded(step.matrix, axes, width) @ self.mixing.get(
                layer, np.eye(2**width)
            )
            return
        if len(axes) == 1:
            self._run(axes[0]).rotate(step.letters, step.rotation)
            return
        turns = [
            (axis, TURNS_TO_Z[letter].numpy())
            for axis, letter in zip(axes, step.letters, strict=True)
            if letter != "Z"
        ]
        for axis, matrix in turns:
            self._run(axis).turn(matrix)
        string = "".join("Z" if axis in axes else "I" for axis in range(width))
        values = pauli_matrix(string).diagonal().real.numpy()
        self.strings.setdefault(self._layer(axes, _STRING), []).append((step.rotation, values))
        for axis, matrix in turns:
            self._run(axis).turn(matrix.conj().T)

    def _run(self, axis: int) -> _Run:
        return self.runs.setdefault((self._layer([axis], _RUN), axis), _Run())

    def _layer(self, axes: list[int], stage: int) -> int:
        layer, last = divmod(max(self._stages[axis] for axis in axes), 3)
        layer += last > stage
        for axis in axes:
            self._stages[axis] = 3 * layer + stage
        return layer


def _embedded(matrix: np.ndarray, axes: list[int], width: int) -> np.ndarray:
    """A matrix on some axes as one on all of the window."""
    full = np.kron(matrix, np.eye(2 ** (width - len(axes))))
    all_axes = axes + [axis for axis in range(width) if axis not in axes]
    order = [all_axes.index(axis) for axis in range(width)]
    turned = full.reshape((2,) * (2 * width)).transpose(order + [width + i for i in order])
    return turned.reshape(2**width, 2**width)


def _tables(
    layouts: Sequence[_Layout], first: int, width: int, dtype: torch.dtype, device: torch.device
) -> Layers:
    dim, blocks = 2**width, len(layouts)
    depth = max((layout.depth for layout in layouts), default=1)
    cells = depth * blocks
    places: dict[int, Place] = {}

    runs = [
        (b, layer, axis, run.gates())
        for b, layout in enumerate(layouts)
        for (layer, axis), run in layout.runs.items()
    ]
    shape = (max([1, *(len(gates) for *_, gates in runs)]), width, depth, blocks)
    gate_angles = np.full(shape, -1)
    cosine, sine = (np.zeros((2, 2, *shape), complex) for _ in range(2))
    cosine[0, 0] = cosine[1, 1] = 1
    eigenvectors = np.zeros((2, *shape), complex)
    for b, layer, axis, gates in runs:
        for j, (c, s, up, rotation) in enumerate(gates):
            at = (j, axis, layer, b)
            cosine[:, :, *at], sine[:, :, *at], eigenvectors[:, *at] = c.T, s.T, np.conj(up)
            gate_angles[at] = rotation
            if rotation >= 0:
                number = int(np.ravel_multi_index(at, shape))
                places[rotation] = Place(block=b, layer=layer, gate=number, axis=axis)

    most = max((len(strings) for layout in layouts for strings in layout.strings.values()), default=0)
    string_angles = np.full((most, depth, blocks), -1)
    strings = np.zeros((most, dim, depth, blocks))
    sources = np.tile(np.arange(dim)[:, None, None], (1, depth, blocks))
    phases = np.ones((dim, depth, blocks), complex)
    mixing: dict[int, np.ndarray] = {}
    for b, layout in enumerate(layouts):
        for layer, listed in layout.strings.items():
            for j, (rotation, values) in enumerate(listed):
                string_angles[j, layer, b], strings[j, :, layer, b] = rotation, values
                places[rotation] = Place(block=b, layer=layer + 1, gate=None, axis=j)
        for layer, matrix in layout.mixing.items():
            if ((np.abs(matrix) > 1e-15).sum(1) == 1).all():
                sources[:, layer, b], phases[:, layer, b] = np.abs(matrix).argmax(1), matrix.sum(1)
            else:
                mixing.setdefault(layer, np.tile(np.eye(dim, dtype=complex), (blocks, 1, 1)))[b] = matrix.T

    def there(table: np.ndarray, *shape: int) -> Tensor:
        made = torch.from_numpy(np.ascontiguousarray(table.reshape(shape)))
        return made.to(device, dtype if made.is_complex() else made.dtype)

    halves = np.divmod(sources.reshape(dim, cells), 2 ** (width - width // 2))
    left, right = (there(half * cells + np.arange(cells), -1) for half in halves)
    basis = [sign * pauli_matrix(letter).numpy() for letter, sign in zip("XYZ", (1, -1, 1), strict=True)]
    letters = [_embedded(matrix, [axis], width) for matrix in basis for axis in range(width)]
    return Layers(
        first=first,
        num_blocks=blocks,
        depth=depth,
        gate_angles=there(gate_angles + 1, shape[0], width * cells),
        cosine=there(cosine, 2, 2, shape[0], width * cells, 1),
        sine=there(sine, 2, 2, shape[0], width * cells, 1),
        eigenvectors=there(eigenvectors, 2, shape[0] * width * cells, 1),
        columns=(left, right),
        phases=None if (phases == 1).all() else there(phases, dim, cells, 1),
        mixing={layer: there(matrices, blocks, dim, dim) for layer, matrices in mixing.items()},
        string_angles=there(string_angles + 1, most, cells),
        strings=there(strings, most, dim, cells, 1),
        letters=there(np.stack(letters, 1), dim, len(letters) * dim),
        places=places,
    )
