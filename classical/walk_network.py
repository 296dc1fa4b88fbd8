"""The walk on Pauli strings as a matrix-product state: second moments for many more qubits than a vector can hold.

The weights of 4^n strings are a chain of tensors, one a qubit. What acts on one qubit is exact; what acts on two
neighbours is followed by a truncation of the bond between them. A value counts when it stands as the bond doubles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from classical.angle_laws import AbstractAngleLaw, OutsideTheWalk, Uniform
from classical.pauli_walk import closing_weights, refuse_cross_terms, steps_of
from classical.paulis import PauliString
from classical.program import FixedUnitary, PauliRotation, Program, ProgramBuilder

_FIRST_BOND = 16
_CUT = 1e-15
# Of the total weight, which the steps conserve. What is lost may be just what the value hangs on.
_MOST_LOST = 1e-2


class DoesNotStand(RuntimeError):
    """The value still moves when the bond doubles."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A value, and how far it moved, relatively, when the bond was doubled to `bond`."""

    value: float
    moved: float
    bond: int


@dataclass(frozen=True, kw_only=True, eq=False)
class _Local:
    """A step on the sites from `first` on: matrices (4^k, 4^k) that pull weights back, and those of the derivative."""

    first: int
    width: int
    matrix: Tensor
    slope: Tensor | None


def derivative_moment(
    program: Program,
    terms: Sequence[tuple[str, float]],
    rotation: int,
    *,
    laws: Sequence[AbstractAngleLaw] | None = None,
    bloch: Tensor | None = None,
    relative: float = 1e-4,
    most_bond: int = 128,
) -> Standing:
    """Returns E[(d loss / d t)^2] by the parameter of one rotation, by a matrix-product state.

    Arguments as in `pauli_walk.second_moments`. Gates act on one qubit or on two neighbours of a line. Weights are
    pulled back from the observable and truncated by their 2-norm, which keeps what is large: in circuits much deeper
    than wide the exponentially small rest decides, values do not stand, and are refused.

    Cost: two-qubit gates times the cube of the bond, for each term and bond; memory 4 n bond^2 numbers.

    Raises:
        OutsideTheWalk: for what breaks the chain, and gates on other than neighbours.
        DoesNotStand: when, up to `most_bond`, the value moves by more than `relative`, or weight is lost.
    """
    laws = [Uniform()] * program.num_params if laws is None else laws
    refuse_cross_terms(program, terms, laws)
    local = [_localised(gate, k, program, laws) for k, gate in _numbered(program)]
    chosen = [k for k, _ in _numbered(program)].index(rotation)
    if local[chosen].slope is None:
        raise OutsideTheWalk(f"Rotation {rotation} has no parameter, so there is no derivative.")
    zero = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    vectors = (zero if bloch is None else bloch).to(torch.float64).expand(program.num_qubits, 3)
    closing = [closing_weights(vector, 1) for vector in vectors]
    bond, before = _FIRST_BOND, math.nan
    while True:
        runs = [_pulled(label, local, chosen, closing, bond) for label, _ in terms]
        value = sum(c**2 * found for (_, c), (found, _) in zip(terms, runs, strict=True))
        moved = abs(value - before) / abs(value) if value else float(before != 0)
        lost = max(each for _, each in runs)
        if moved <= relative and lost <= _MOST_LOST:
            return Standing(value=value, moved=moved, bond=bond)
        if 2 * bond > most_bond:
            raise DoesNotStand(
                f"With a bond of {bond} the value still moves by {moved:.1g} of itself, and truncation has lost "
                f"{lost:.1g} of the total weight: raise `most_bond`, or sample."
            )
        before, bond = value, 2 * bond


def _pulled(
    label: str, local: Sequence[_Local], chosen: int, closing: Sequence[Tensor], bond: int
) -> tuple[float, float]:
    """The value of one term, and what truncation lost of the total weight: all steps but the derivative's keep it."""
    chain = _Chain(label, bond)
    ones = [torch.ones(4, dtype=torch.float64)] * len(closing)
    whole, lost = 1.0, 0.0
    for place in range(len(local) - 1, -1, -1):
        step = local[place]
        if place != chosen or step.slope is None:
            chain.apply(step.first, step.width, step.matrix)
            continue
        lost = abs(chain.closed(ones) - 1)
        chain.apply(step.first, step.width, step.slope)
        whole = chain.closed(ones)
    if whole:
        lost = max(lost, abs(chain.closed(ones) / whole - 1))
    return chain.closed(closing), lost


class _Chain:
    """Weights of strings as tensors (left, 4, right); sites before `low` and behind `high` are orthonormal."""

    def __init__(self, label: str, bond: int) -> None:
        string = PauliString.of(label)
        self.sites = [torch.zeros(1, 4, 1, dtype=torch.float64) for _ in label]
        for q, site in enumerate(self.sites):
            site[0, (string.x >> q & 1) + 2 * (string.z >> q & 1), 0] = 1
        self.low = self.high = 0
        self._bond = bond
        self._log = 0.0

    def apply(self, first: int, width: int, matrix: Tensor) -> None:
        """A matrix (4^width, 4^width) on sites from `first` on; the first site's letter is the lower digit."""
        if width == 1:
            self.sites[first] = torch.einsum("ab,lbr->lar", matrix, self.sites[first])
            self.low, self.high = min(self.low, first), max(self.high, first)
            return
        self._centre(first)
        left, right = self.sites[first], self.sites[first + 1]
        both = torch.einsum("lar,rbs->lbas", left, right)
        both = torch.einsum("xy,lys->lxs", matrix, both.reshape(len(left), 16, -1)).view(len(left), 4, 4, -1)
        flat = both.transpose(1, 2).reshape(4 * len(left), -1)
        basis = _leading(flat, self._bond)
        rest = basis.mT @ flat
        norm = float(rest.norm())
        if norm:
            rest = rest / norm
            self._log += math.log(norm)
        self.sites[first] = basis.reshape(len(left), 4, -1)
        self.sites[first + 1] = rest.view(len(rest), 4, -1)
        self.low = self.high = first + 1

    def _centre(self, site: int) -> None:
        """Makes all sites but `site` and the next orthonormal towards it."""
        while self.low < site:
            tensor = self.sites[self.low]
            q, r = torch.linalg.qr(tensor.reshape(-1, tensor.shape[2]))
            self.sites[self.low] = q.view(len(tensor), 4, -1)
            self.sites[self.low + 1] = torch.einsum("kl,lar->kar", r, self.sites[self.low + 1])
            self.low += 1
            self.high = max(self.high, self.low)
        while self.high > site + 1:
            tensor = self.sites[self.high]
            q, r = torch.linalg.qr(tensor.reshape(len(tensor), -1).mT)
            self.sites[self.high] = q.mT.reshape(-1, 4, tensor.shape[2])
            self.sites[self.high - 1] = torch.einsum("lar,kr->lak", self.sites[self.high - 1], r)
            self.high -= 1
        self.low = min(self.low, site)

    def closed(self, closing: Sequence[Tensor]) -> float:
        """The product with one vector of weights a site."""
        row = torch.ones(1, dtype=torch.float64)
        log = self._log
        for site, weights in zip(self.sites, closing, strict=True):
            row = torch.einsum("l,lar,a->r", row, site, weights)
            size = float(row.abs().max())
            if size == 0:
                return 0.0
            row, log = row / size, log + math.log(size)
        return float(row[0]) * math.exp(log)


def _leading(matrix: Tensor, bond: int) -> Tensor:
    """Orthonormal columns that span the leading part of the columns of a matrix, at most `bond` of them."""
    if min(matrix.shape) > 2 * bond:
        # Half the time of singular values; what is lost to rounding is far below what is cut off.
        _, vectors = torch.linalg.eigh(matrix @ matrix.mT)
        return vectors[:, -bond:]
    u, s, _ = torch.linalg.svd(matrix, full_matrices=False)
    return u[:, : max(1, min(bond, int((s > _CUT * s[0]).sum())))]


def _numbered(program: Program) -> list[tuple[int, FixedUnitary | PauliRotation]]:
    """Gates with the number of the rotation that they are, -1 for fixed ones."""
    found, rotation = [], -1
    for gate in program.gates:
        rotation += isinstance(gate, PauliRotation)
        found.append((rotation if isinstance(gate, PauliRotation) else -1, gate))
    return found


def _localised(
    gate: FixedUnitary | PauliRotation, rotation: int, program: Program, laws: Sequence[AbstractAngleLaw]
) -> _Local:
    """A gate's step as small matrices on its own qubits."""
    first, last = min(gate.qubits), max(gate.qubits)
    width = last - first + 1
    if width > 2:
        raise OutsideTheWalk(
            f"A gate acts on qubits {gate.qubits}, which are no neighbours on a line: the chain of tensors takes one "
            "qubit or two neighbours. Reorder the qubits, or use `second_moments` for few of them."
        )
    qubits = tuple(q - first for q in gate.qubits)
    builder = ProgramBuilder(width, 1)
    own: list[AbstractAngleLaw] = [Uniform()]
    if isinstance(gate, FixedUnitary):
        builder.unitary(gate.matrix, qubits)
    else:
        used = program.coefficients[rotation].nonzero()[:, 0].tolist()
        if len(used) > 1 or any(int((program.coefficients[:, k] != 0).sum()) > 1 for k in used):
            raise OutsideTheWalk(
                f"Rotation {rotation} shares a parameter or has several: shared angles are not independent, so strings "
                "mix. Sample it instead."
            )
        own = [laws[k] for k in used] or own
        slope = {0: float(program.coefficients[rotation, used[0]])} if used else {}
        builder.rotation(gate.letters, qubits, slope, float(program.offsets[rotation]))
    (step,), _ = steps_of(builder.build(), own)
    matrix = _table(step.pull, width)
    slope = None if step.differentiated(matrix[0]) is None else _table(step.differentiated, width)
    return _Local(first=first, width=width, matrix=matrix, slope=slope)


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
