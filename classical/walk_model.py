"""What a random circuit is to the walk on Pauli strings: moves of strings, and the state on which they close."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

from classical.angle_laws import AbstractAngleLaw, OutsideTheWalk, RandomAxis, Uniform
from classical.pauli_terms import checked_bloch
from classical.paulis import CliffordMap, PauliString
from classical.program import PAULI_MATRICES, FixedUnitary, Gate, PauliRotation, Program

_EQUAL = 1e-9
Factors = tuple[float, float, float]
Noise = Sequence[Mapping[int, float | Factors]]
"""For each gate of a program the Bloch factors, by qubit, of local Pauli noise behind the gate: those of X, Y and Z, or
one number for all, which is depolarising noise."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A rotation about a string by a random angle a, `slope` times a parameter and an offset."""

    qubits: tuple[int, ...]
    letters: str
    rotation: int
    slope: float
    stay: float
    """E[cos^2 a]."""
    cosine: float
    """E[cos a]."""
    sine: float
    """E[sin a]."""
    redrawn: bool
    """Whether its axis is X, Y or Z, drawn anew."""
    kills: bool
    """Whether products of two strings of which one turns vanish in the average."""


@dataclass(frozen=True, kw_only=True)
class Permutation:
    """A Clifford gate U: the string with digits `codes[d]` before it is that with digits d behind, times `signs[d]`.

    A digit is x + 2 z of one letter, the first of `qubits` lowest.
    """

    qubits: tuple[int, ...]
    codes: tuple[int, ...]
    signs: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Damping:
    """Local Pauli noise: X, Y and Z of one qubit shrink, by `factors` in this order."""

    qubits: tuple[int]
    factors: Factors

    @property
    def by_letter(self) -> tuple[float, float, float, float]:
        """Of I, X, Z and Y."""
        x, y, z = self.factors
        return 1.0, x, z, y


Move = Turn | Permutation | Damping


@dataclass(frozen=True, kw_only=True, eq=False)
class WalkModel:
    """Moves in the circuit's order, and Bloch vectors (n, 3) of X, Y, Z of the product state before them."""

    num_qubits: int
    moves: tuple[Move, ...]
    bloch: Tensor

    @staticmethod
    def of(
        program: Program,
        laws: Sequence[AbstractAngleLaw] | None = None,
        bloch: Tensor | None = None,
        noise: Noise | None = None,
    ) -> WalkModel:
        """From a program, the laws of its parameters, a product input state and noise.

        Fixed gates on one qubit that come before all others there go into the input state, Clifford or not.

        Args:
            laws: of each parameter; uniform by default.
            bloch: Bloch vectors (n, 3), or (3,) for all qubits; |0...0> by default.
            noise: for each gate the Bloch factors by qubit of the Pauli noise that follows it.

        Raises:
            OutsideTheWalk: for a parameter in several rotations, a rotation by several parameters or by a fixed angle
                that is no multiple of pi/2, or a fixed gate that is not Clifford.
            ValueError: for laws, Bloch vectors or noise that do not fit the program.
        """
        laws = [Uniform()] * program.num_params if laws is None else laws
        noise = [{}] * len(program.gates) if noise is None else noise
        _check(program, laws, noise)
        noise = [{q: _three(each) for q, each in factors.items()} for factors in noise]
        vectors = checked_bloch(bloch, program.num_qubits)
        moves: list[Move] = []
        touched: set[int] = set()
        rotation = -1
        known: dict[tuple[int, bytes], Permutation] = {}
        for gate, factors in zip(program.gates, noise, strict=True):
            if isinstance(gate, PauliRotation):
                rotation += 1
                moves.append(_turn(gate, program, rotation, laws))
            elif len(gate.qubits) == 1 and not touched & set(gate.qubits):
                vectors[gate.qubits[0]] = _turned(vectors[gate.qubits[0]], gate.matrix)
                _damp(vectors, factors, gate)
                continue
            else:
                moves.append(_permutation(gate, known))
            touched |= set(gate.qubits)
            moves += [Damping(qubits=(q,), factors=each) for q, each in factors.items() if each != (1, 1, 1)]
        return WalkModel(num_qubits=program.num_qubits, moves=tuple(moves), bloch=vectors)

    def closing(self) -> list[tuple[float, float, float, float]]:
        """Squares of <I>, <X>, <Z>, <Y> of each qubit of the input state."""
        return [(1.0, x * x, z * z, y * y) for x, y, z in self.bloch.tolist()]


def per_gate(program: Program, single: float, pair: float) -> Noise:
    """Depolarising noise behind every gate: Bloch factors behind gates on one qubit, and on each of several."""
    return [dict.fromkeys(gate.qubits, single if len(gate.qubits) == 1 else pair) for gate in program.gates]


def check_rotation(model: WalkModel, rotation: int) -> None:
    """Raises OutsideTheWalk for a rotation that there is not, or that has no parameter."""
    slopes = {move.rotation: move.slope for move in model.moves if isinstance(move, Turn)}
    if rotation not in slopes:
        raise OutsideTheWalk(
            f"Argument `rotation` must be one of the program's {len(slopes)}, counted from 0, but is {rotation!r}."
        )
    if not slopes[rotation]:
        raise OutsideTheWalk(f"Rotation {rotation} has no parameter, so there is no derivative.")


def relocated(move: Move, first: int) -> Move:
    """The move on qubits counted from `first`."""
    return replace(move, qubits=tuple(q - first for q in move.qubits))


def _check(program: Program, laws: Sequence[AbstractAngleLaw], noise: Noise) -> None:
    if not isinstance(laws, Sequence) or not all(isinstance(law, AbstractAngleLaw) for law in laws):
        raise ValueError(
            "Argument `laws` must be a list of laws such as Uniform() or Gaussian(0.1), one for each of "
            f"{program.num_params} parameters, but is {laws!r}."
        )
    if len(laws) != program.num_params:
        raise ValueError(
            f"Argument `laws` must have one law for each of {program.num_params} parameters, but has {len(laws)}."
        )
    if len(noise) != len(program.gates):
        raise ValueError(
            f"Argument `noise` must have one mapping for each of {len(program.gates)} gates, but has {len(noise)}."
        )
    for factors in noise:
        for qubit, given in factors.items():
            x, y, z = _three(given)
            # Probabilities of no error, and of X, Y and Z, times four.
            least = min(1 + x + y + z, 1 + x - y - z, 1 - x + y - z, 1 - x - y + z)
            if not (0 <= qubit < program.num_qubits and least >= -_EQUAL):
                raise ValueError(
                    f"Argument `noise` must give qubits below {program.num_qubits} and Bloch factors of a channel, one "
                    f"from -1/3 to 1 or three for X, Y and Z, but gives qubit {qubit} {given}."
                )


def _turned(vector: Tensor, matrix: Tensor) -> Tensor:
    """The Bloch vector behind a gate."""
    paulis = [PAULI_MATRICES[letter] for letter in "XYZ"]
    state = PAULI_MATRICES["I"] + sum(v * pauli for v, pauli in zip(vector.tolist(), paulis, strict=True))
    state = matrix @ state @ matrix.mH
    return torch.stack([torch.trace(pauli @ state).real / 2 for pauli in paulis])


def _three(factors: float | Factors) -> Factors:
    return factors if isinstance(factors, tuple) else (factors, factors, factors)


def _damp(vectors: Tensor, factors: Mapping[int, Factors], gate: Gate) -> None:
    for qubit, each in factors.items():
        if qubit not in gate.qubits:
            raise ValueError(
                f"Argument `noise` must act on a gate's own qubits where the gate prepares the input, but gives "
                f"qubit {qubit} noise behind a gate on {gate.qubits}."
            )
        vectors[qubit] *= torch.tensor(each, dtype=torch.float64)


def _turn(gate: PauliRotation, program: Program, rotation: int, laws: Sequence[AbstractAngleLaw]) -> Turn:
    used = program.factors[rotation]
    offset = float(program.offsets[rotation])
    if len(used) > 1 or any(len(program.rotations_of[param]) > 1 for param in used):
        raise OutsideTheWalk(
            f"Rotation {rotation} shares a parameter or has several: shared angles are not independent, so strings "
            "mix. Sample it instead."
        )
    if used:
        ((param, slope),) = used.items()
        law = laws[param]
        stay = law.cosine_square(slope, offset)
        cosine, sine = law.means(slope, offset)
        redrawn, kills = law.redraws_axis, law.kills_cross_terms(slope)
        if redrawn and len(gate.qubits) > 1:
            raise OutsideTheWalk(
                f"Rotation {rotation} is about {gate.letters}, but {RandomAxis.__name__} draws the axis of one qubit."
            )
    else:
        slope, stay, redrawn, kills = 0.0, float(round(math.cos(offset) ** 2)), False, False
        cosine, sine = float(round(math.cos(offset))), float(round(math.sin(offset)))
        if abs(math.sin(2 * offset)) > _EQUAL:
            raise OutsideTheWalk(
                f"Rotation {rotation} has the fixed angle {offset:g}, which is no multiple of pi/2: strings mix. "
                "Sample it instead, or give it to the input state where it stands at the start."
            )
    return Turn(
        qubits=gate.qubits,
        letters=gate.letters,
        rotation=rotation,
        slope=slope,
        stay=stay,
        cosine=cosine,
        sine=sine,
        redrawn=redrawn,
        kills=kills,
    )


def _permutation(gate: FixedUnitary, known: dict[tuple[int, bytes], Permutation]) -> Permutation:
    key = (len(gate.qubits), gate.matrix.numpy().tobytes())
    if key not in known:
        width = len(gate.qubits)
        back = CliffordMap.of(FixedUnitary(qubits=tuple(range(width)), matrix=gate.matrix.mH))
        if back is None:
            raise OutsideTheWalk(
                f"The fixed gate on qubits {gate.qubits} is not Clifford, so the second moment mixes strings: "
                "sample it instead."
            )
        images = [
            back(_string([digits[width - 1 - j] for j in range(width)]))
            for digits in product(range(4), repeat=width)
        ]
        codes = tuple(
            sum((image.x >> j & 1) + 2 * (image.z >> j & 1) << 2 * j for j in range(width))
            for image in images
        )
        known[key] = Permutation(qubits=(), codes=codes, signs=tuple(image.sign for image in images))
    return replace(known[key], qubits=gate.qubits)


def _string(digits: Sequence[int]) -> PauliString:
    return PauliString(
        sum((d & 1) << j for j, d in enumerate(digits)), sum((d >> 1) << j for j, d in enumerate(digits))
    )
