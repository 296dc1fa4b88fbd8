"""Weights of strings carried through a circuit as a matrix-product state, without what never decays.

The steps of the walk take the identity to itself, and without noise conserve the sum over all strings: two parts of any
vector of weights do not decay, whatever else does. They are kept as numbers, and the chain holds the rest. That rest
shrinks by a constant factor a layer, and what truncation and rounding do to it shrinks along, so that a deep circuit's
value of 10^-31 stands as well as a shallow one's of 0.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from classical.angle_laws import OutsideTheWalk
from classical.paulis import PauliString
from classical.walk_model import Damping, Move, Turn, WalkModel, relocated
from classical.walk_observables import Terms, ZeroProjector
from classical.walk_steps import Strings, step_of
from classical.weight_chain import Sites, WeightChain

ONE = torch.ones(4, dtype=torch.float64)
IDENTITY = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
_ZERO_STRINGS = torch.tensor([0.25, 0.0, 0.25, 0.0], dtype=torch.float64)
# How many strings are added to a chain before its bonds are cut back.
_ADDED_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class LocalStep:
    """A move as matrices (4, 4) or (16, 16) on the sites from `first` on; they pull weights back.

    `slope` is that of the derivative by the parameter of `rotation`, None without one.
    """

    first: int
    matrix: Tensor
    slope: Tensor | None
    rotation: int

    @property
    def is_wide(self) -> bool:
        return len(self.matrix) == 16


def local_steps(model: WalkModel) -> list[LocalStep]:
    """The moves of a model as matrices.

    Raises:
        OutsideTheWalk: for a gate on other than one qubit or two neighbours.
    """
    known: dict[Move, tuple[Tensor, Tensor | None]] = {}
    found = []
    for move in model.moves:
        first = min(move.qubits)
        width = max(move.qubits) - first + 1
        if width > 2:
            raise OutsideTheWalk(
                f"A gate acts on qubits {move.qubits}, which are no neighbours on a line: the chain of tensors takes "
                "one qubit or two neighbours. Reorder the qubits, or use `second_moments` for few of them and "
                "`sampled_moment` for many."
            )
        key = relocated(move, first)
        rotation = key.rotation if isinstance(key, Turn) else -1
        if isinstance(key, Turn):
            key = _anonymous(key)
        if key not in known:
            step = step_of(key, Strings(width))
            unit = torch.eye(4**width, dtype=torch.float64)
            has_slope = step.differentiated(unit[0]) is not None
            known[key] = _table(step.pull, width), _table(step.differentiated, width) if has_slope else None
        matrix, slope = known[key]
        found.append(LocalStep(first=first, matrix=matrix, slope=slope, rotation=rotation))
    return found


def fused(steps: Sequence[LocalStep], apart: int) -> list[LocalStep]:
    """The steps with those on single sites made part of the pair's before them, but for the rotation `apart`.

    What averages out on a site then does so before the bond is cut, which costs less of what matters.
    """
    found: list[LocalStep] = []
    last: dict[int, int] = {}
    unit = torch.eye(4, dtype=torch.float64)
    for step in steps:
        if step.is_wide:
            last[step.first] = last[step.first + 1] = len(found)
        elif step.first in last and step.rotation != apart:
            pair = found[last[step.first]]
            low = step.first == pair.first
            embedded = torch.kron(unit, step.matrix) if low else torch.kron(step.matrix, unit)
            slope = None if pair.slope is None else pair.slope @ embedded
            found[last[step.first]] = replace(pair, matrix=pair.matrix @ embedded, slope=slope)
            continue
        else:
            last.pop(step.first, None)
        found.append(step)
    return found


class Weights:
    """Weights of all strings: `flat` times (all ones but for the identity), plus a chain that sums to zero.

    With noise there is no flat part. The identity's own weight is left out: no observable and no derivative has it.
    """

    def __init__(self, chain: WeightChain, conserved: bool) -> None:
        self._chain = chain
        self._conserved = conserved
        self._num_qubits = len(chain.sites)
        self.flat = 0.0
        self.settle()

    @staticmethod
    def closing(model: WalkModel, bond: int) -> Weights:
        """The squares of strings in the input state."""
        sites = [torch.tensor(site, dtype=torch.float64) for site in model.closing()]
        return Weights(WeightChain(sites, bond), _conserves(model))

    @staticmethod
    def of_terms(model: WalkModel, terms: Terms, bond: int) -> Weights:
        """The squared coefficients of an observable."""
        n = model.num_qubits
        if isinstance(terms, ZeroProjector):
            return Weights(WeightChain([_ZERO_STRINGS] * n, bond), _conserves(model))
        (label, coefficient), *others = terms
        chain = WeightChain(_sites(label), bond)
        chain.log = 2 * math.log(abs(coefficient))
        for k, (label, coefficient) in enumerate(others, start=1):
            chain.add(_sites(label), 1.0, 2 * math.log(abs(coefficient)))
            if k % _ADDED_AT_ONCE == 0:
                chain.compress()
        return Weights(chain, _conserves(model))

    def copy(self) -> Weights:
        made = object.__new__(Weights)
        made.__dict__ |= self.__dict__
        made._chain = self._chain.copy()
        return made

    def pull(self, step: LocalStep) -> None:
        """From behind a step to before it."""
        self._chain.apply(step.first, step.matrix)

    def push(self, step: LocalStep) -> None:
        """The transposed step: closing weights from before it to behind it."""
        self._chain.apply(step.first, step.matrix.mT)

    def push_slope(self, step: LocalStep) -> None:
        """As `push`, of the derivative by the step's parameter."""
        assert step.slope is not None
        self._chain = self.whole()
        self.flat = 0.0
        self._chain.apply(step.first, step.slope.mT)
        self.settle()

    def settle(self) -> None:
        """Takes the flat part out of the chain, for the first time."""
        self.flat = self._removed()

    def clean(self) -> None:
        """Takes out what rounding and truncation left of the parts that the chain does not have."""
        self._removed()

    def whole(self) -> WeightChain:
        """All weights but the identity's as one chain."""
        made = self._chain.copy()
        if self.flat:
            sign, log = math.copysign(1.0, self.flat), math.log(abs(self.flat))
            made.add([ONE] * self._num_qubits, sign, log)
            made.add([IDENTITY] * self._num_qubits, -sign, log)
        return made

    def value(self, terms: Terms) -> float:
        """The sum over an observable's terms of squared coefficient times weight."""
        if isinstance(terms, ZeroProjector):
            part = _number(self._chain.closed([_ZERO_STRINGS] * self._num_qubits))
            return part + self.flat * (0.5**self._num_qubits - 0.25**self._num_qubits)
        return sum(c**2 * (self.flat + _number(self._chain.closed(_sites(label)))) for label, c in terms)

    def _removed(self) -> float:
        """Makes the chain sum to zero with nothing on the identity, and gives the flat part that it had."""
        n, chain = self._num_qubits, self._chain
        on_identity = chain.closed([IDENTITY] * n)
        chain.add([IDENTITY] * n, -on_identity[0], on_identity[1])
        if not self._conserved:
            return 0.0
        sign, log = chain.closed([ONE] * n)
        # The mean over 4^n - 1 strings.
        log -= n * math.log(4) + math.log1p(-(4.0**-n))
        chain.add([ONE] * n, -sign, log)
        chain.add([IDENTITY] * n, sign, log)
        return sign * math.exp(log)


def _number(value: tuple[float, float]) -> float:
    return value[0] * math.exp(value[1])


def _conserves(model: WalkModel) -> bool:
    return not any(isinstance(move, Damping) for move in model.moves)


def _sites(label: str) -> Sites:
    string = PauliString.of(label)
    unit = torch.eye(4, dtype=torch.float64)
    return [unit[(string.x >> q & 1) + 2 * (string.z >> q & 1)] for q in range(len(label))]


def _anonymous(turn: Turn) -> Turn:
    """The same for all rotations that do the same."""
    return replace(turn, rotation=0)


def _table(step: Callable[[Tensor], Tensor | None], width: int) -> Tensor:
    """A linear step's matrix, digits (x + 2 z) of the first site lowest."""
    size = 4**width
    columns = [column for unit in torch.eye(size, dtype=torch.float64) if (column := step(unit)) is not None]
    # From x bits below z bits to one digit a site.
    order = [
        sum((d >> 2 * q & 1) << q | (d >> 2 * q + 1 & 1) << width + q for q in range(width))
        for d in range(size)
    ]
    return torch.stack(columns, dim=1)[order][:, order]
