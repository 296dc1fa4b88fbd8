"""What a block is made of: layers of one form, in tables from which the matrices of many blocks are made at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from classical.cutting import Step
from classical.program import TURNS_TO_Z, pauli_matrix

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


class Layout:
    """The steps of one block, each in the first layer that it can be in."""

    def __init__(self, steps: Sequence[Step], qubits: tuple[int, ...]) -> None:
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

    def _add(self, step: Step, axes: list[int]) -> None:
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


def layer_tables(
    layouts: Sequence[Layout], first: int, width: int, dtype: torch.dtype, device: torch.device
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
