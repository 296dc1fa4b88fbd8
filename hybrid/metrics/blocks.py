"""Layers of rotations that commute, and the circuits that measure the metric inside each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from classical.paulis import PauliString, generator
from classical.program import FixedUnitary, Gate, PauliRotation, Program, pauli_matrix
from hybrid.grouping import measurement_groups
from hybrid.metrics.products import WithProducts
from hybrid.target import Target

# Wider fixed gates count as not commuting with what they touch.
_WIDEST = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """A circuit cut before a layer, and the sums of the layer's generators that are measured there.

    Args:
        group: what is measured: for U parameters the sums of chain[k, p] P_k over the layer, and their
        products. columns: shape (U,), which parameters, as places in the metric. rotations: shape (R,),
        rotations before the cut, whose angles the target takes.
    """

    target: Target
    group: WithProducts
    columns: Tensor
    rotations: Tensor


def layers(program: Program) -> list[int]:
    """Returns for each gate the layer it can stand in at the earliest; rotations of one layer commute.

    A gate comes after those that it does not commute with, and one layer after such rotations: so gates of
    lower layers, and fixed gates of the same, can stand before all rotations of a layer, in whatever order
    the circuit was written. Cost: each gate is compared with those before it on its qubits, in bit
    arithmetic. Source: Cartier and Foata 1969, Lecture Notes in Mathematics 85, the normal form of words
    whose letters commute in part.
    """
    found: list[int] = []
    on_qubit: dict[int, list[int]] = {}
    for place, gate in enumerate(program.gates):
        layer = 0
        for earlier in sorted({k for qubit in gate.qubits for k in on_qubit.get(qubit, ())}, reverse=True):
            before = program.gates[earlier]
            least = found[earlier] + isinstance(before, PauliRotation)
            if least > layer and not _commute(before, gate):
                layer = least
        found.append(layer)
        for qubit in gate.qubits:
            on_qubit.setdefault(qubit, []).append(place)
    return found


def blocks(program: Program, wrt: Tensor) -> list[Block]:
    """Returns one block for each layer that the parameters `wrt` (P,) move.

    Cost: one diagonalising Clifford for each layer that differs from all before it; layers that are alike
    share it, and its table of outcomes.
    """
    chain = program.coefficients[:, wrt]
    of_gate = layers(program)
    is_rotation = [isinstance(gate, PauliRotation) for gate in program.gates]
    of_rotation = [layer for layer, rotates in zip(of_gate, is_rotation, strict=True) if rotates]
    strings = [generator(gate) for gate in program.gates if isinstance(gate, PauliRotation)]
    alike: dict[tuple[object, ...], WithProducts | None] = {}
    found = []
    for layer in sorted(set(of_rotation)):
        members = [k for k, each in enumerate(of_rotation) if each == layer and chain[k].any()]
        if not members:
            continue
        columns = chain[members].any(0).nonzero()[:, 0]
        inside = chain[members][:, columns]
        key = (tuple(strings[k] for k in members), tuple(inside.flatten().tolist()))
        if key not in alike:
            alike[key] = _measured([strings[k] for k in members], inside, program.num_qubits)
        group = alike[key]
        if group is None:
            continue  # the layer's rotations cancel
        before = torch.tensor([k for k, each in enumerate(of_rotation) if each < layer], dtype=torch.int64)
        gates = [
            gate
            for gate, each, rotates in zip(program.gates, of_gate, is_rotation, strict=True)
            if each + rotates <= layer
        ]
        cut = Program(
            num_qubits=program.num_qubits,
            gates=tuple(gates) or (FixedUnitary(qubits=(0,), matrix=torch.eye(2, dtype=torch.complex128)),),
            num_params=program.num_params,
            factors=tuple(program.factors[k] for k in before.tolist()),
            offsets=program.offsets[before],
        )
        constants = torch.zeros(group.num_observables, dtype=torch.float64)
        target = Target(program=cut, groups=(group,), constants=constants)
        found.append(Block(target=target, group=group, columns=columns, rotations=before))
    return found


def _measured(strings: Sequence[PauliString], chain: Tensor, num_qubits: int) -> WithProducts | None:
    """Sums of the strings by parameter, with their products; None when nothing is left of any sum."""
    terms: dict[str, Tensor] = {}
    for string, coefficients in zip(strings, chain, strict=True):
        label = string.letters(num_qubits)
        terms[label] = terms.get(label, 0) + coefficients
    kept = {label: coefficients for label, coefficients in terms.items() if coefficients.any()}
    if not kept:
        return None
    groups = measurement_groups(list(kept), torch.stack(list(kept.values())), "fully")
    assert len(groups) == 1, "generators of a layer commute"
    return WithProducts(groups[0])


def _commute(one: Gate, other: Gate) -> bool:
    """Whether two gates commute, as far as is told: pairs of fixed gates count as not commuting."""
    if isinstance(one, PauliRotation) and isinstance(other, PauliRotation):
        return generator(one).commutes(generator(other))
    if isinstance(one, PauliRotation):
        one, other = other, one
    if isinstance(one, PauliRotation) or isinstance(other, FixedUnitary) or len(one.qubits) > _WIDEST:
        return False
    letters = dict(zip(other.qubits, other.letters, strict=True))
    inside = pauli_matrix("".join(letters.get(qubit, "I") for qubit in one.qubits))
    return bool(torch.allclose(inside @ one.matrix, one.matrix @ inside, atol=1e-12))
