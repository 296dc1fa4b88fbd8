"""Circuits that measure the derivatives by many generators at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from classical.generators import commutes_with_matrix
from classical.paulis import CliffordMap, PauliString, generator
from classical.program import TURNS_TO_Z, FixedUnitary, PauliRotation, Program
from hybrid.grouping import measurement_groups
from hybrid.objective import Objective
from hybrid.target import Target


class CannotShare(ValueError):
    """A circuit's generators have no joint measurement."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedCircuit:
    """A circuit whose observables are derivatives: by the parameter in `columns[j]`, for each observable, in turn."""

    target: Target
    columns: Tensor


@dataclass(frozen=True)
class _Pushed:
    """The string of a rotation at the end of the circuit, and the later rotations whose angles it turns round."""

    rotation: int
    string: PauliString
    flipped: frozenset[int]


def shared_circuits(objective: Objective, wrt: Tensor) -> list[SharedCircuit]:
    """Returns the circuits that measure all derivatives by the parameters `wrt` (P,).

    Cost: rotations times gates, in bit arithmetic, and one diagonalising Clifford for each circuit.

    Raises:
        CannotShare: see `CommutingGenerators`.
    """
    chain = objective.program.coefficients[:, wrt]
    used = objective.program.coefficients.any(1)
    pushed = _push(objective.program, set(used.nonzero()[:, 0].tolist()))
    alike: dict[frozenset[int], list[_Pushed]] = {}
    for each in pushed:
        alike.setdefault(each.flipped, []).append(each)
    # Judged on all parameters: a rule that does a circuit does every part of its gradient.
    if len(alike) == len(pushed) > 1:
        raise CannotShare(
            f"No two of the circuit's {len(pushed)} generators share a circuit, so the rule for commuting generators "
            "saves nothing: HadamardTest takes as many circuits, ParameterShift needs no ancilla."
        )
    circuits = []
    for flipped, together in alike.items():
        program = _with_both_signs(objective.program, flipped) if flipped else objective.program
        for products in _merged(_products(objective, chain, together, flipped)):
            # Products of different generators may cancel.
            left = {string: adds for string, adds in products.items() if adds.any()}
            if left:
                circuits.append(_measured(program, left, objective.num_observables))
    return circuits


def _push(program: Program, wanted: set[int]) -> list[_Pushed]:
    """The wanted rotations' strings, pushed through all gates behind them."""
    moving: dict[int, tuple[PauliString, set[int]]] = {}
    rotation = -1
    for gate in program.gates:
        if isinstance(gate, FixedUnitary):
            turn = CliffordMap.of(gate) if moving else None
            for k, (string, flipped) in moving.items():
                if not any(string.support >> q & 1 for q in gate.qubits):
                    continue
                if turn is None:
                    if commutes_with_matrix(string, gate):
                        continue
                    raise CannotShare(
                        f"A gate on qubits {list(gate.qubits)} behind a generator is not Clifford, so the rule for "
                        "commuting generators does not apply: ParameterShift and HadamardTest do."
                    )
                moving[k] = (turn(string), flipped)
            continue
        rotation += 1
        own = generator(gate)
        for string, flipped in moving.values():
            if not string.commutes(own):
                flipped.add(rotation)
        if rotation in wanted:
            moving[rotation] = (own, set())
    return [_Pushed(k, string, frozenset(flipped)) for k, (string, flipped) in moving.items()]


Products = dict[PauliString, Tensor]
"""Strings to measure, without their signs, and what each adds to the derivatives, shape (M, P)."""


def _products(
    objective: Objective, chain: Tensor, together: Iterable[_Pushed], flipped: frozenset[int]
) -> list[Products]:
    """For each term of the observable, its products with the generators that give a derivative."""
    ancilla = objective.num_qubits
    found = []
    for label, coefficients in zip(objective.labels, objective.coefficients, strict=True):
        term = PauliString.of(label)
        products: Products = {}
        for each in together:
            commute = term.commutes(each.string)
            product = term @ each.string
            if not commute:  # i O D is Hermitian, and O D = -i (i O D)
                product = PauliString(product.x, product.z, (product.phase + 1) % 4)
            if not flipped and commute:
                continue  # O D is Hermitian: its value has no imaginary part
            # Im <psi|O D|psi'> is <Y O D> for the ancilla's Y, or -<X i O D>.
            sign = product.sign if commute else -product.sign
            if flipped:
                letter = PauliString.of("Y" if commute else "X", (ancilla,))
                product = PauliString(product.x | letter.x, product.z | letter.z)
            bare = PauliString(product.x, product.z)
            adds = sign * coefficients[:, None] * chain[each.rotation]
            products[bare] = products[bare] + adds if bare in products else adds
        # Generators of one parameter may cancel.
        products = {string: adds for string, adds in products.items() if adds.any()}
        if products:
            found.append(products)
    return found


def _merged(found: Sequence[Products]) -> list[Products]:
    """Terms whose products all commute are measured together, first fit."""
    merged: list[Products] = []
    for products in found:
        for held in merged:
            if all(a.commutes(b) for a in products for b in held):
                for string, adds in products.items():
                    held[string] = held[string] + adds if string in held else adds
                break
        else:
            merged.append(dict(products))
    return merged


def _measured(program: Program, products: Products, num_observables: int) -> SharedCircuit:
    adds = torch.stack(list(products.values()))  # (terms, M, P)
    columns = adds.any(0).any(0).nonzero()[:, 0]
    labels = [string.letters(program.num_qubits) for string in products]
    groups = measurement_groups(labels, adds[..., columns].flatten(1), "fully")
    constants = torch.zeros(num_observables * len(columns), dtype=torch.float64)
    return SharedCircuit(target=Target(program=program, groups=groups, constants=constants), columns=columns)


def _with_both_signs(program: Program, flipped: frozenset[int]) -> Program:
    """An ancilla in |+>, the last qubit: where it is 1, the angles of the rotations `flipped` are turned round."""
    ancilla = program.num_qubits
    gates: list[PauliRotation | FixedUnitary] = [FixedUnitary(qubits=(ancilla,), matrix=TURNS_TO_Z["X"])]
    rotation = -1
    for gate in program.gates:
        rotation += isinstance(gate, PauliRotation)
        if isinstance(gate, PauliRotation) and rotation in flipped:
            gate = PauliRotation(qubits=(*gate.qubits, ancilla), letters=gate.letters + "Z")
        gates.append(gate)
    return Program(
        num_qubits=ancilla + 1,
        gates=tuple(gates),
        num_params=program.num_params,
        factors=program.factors,
        offsets=program.offsets,
    )
