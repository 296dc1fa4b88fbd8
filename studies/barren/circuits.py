"""The circuits whose gradients may vanish, each with its parameters by layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

from studies.circuits import ENTANGLERS

RANDOM_AXES = "random circuits"
FREE_FERMIONS = "free fermions"
SHARED_ISING = "Ising, shared angles"
HEISENBERG = "Heisenberg, own angles"
RING_CUT = "QAOA, ring"
REGULAR_CUT = "QAOA, 3-regular graph"
CONVOLUTION = "convolution"
PRODUCT, PRODUCT_TWO = "product of RY", "product of RX RY"
AXES = ("RY", "RX RY", "RY RZ")
TILT = math.pi / 4
"""Angle of the RY that stands before tilted circuits, so that the input is no eigenstate of Z strings."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Laid:
    """A circuit with its parameters.

    Args:
        layers: places of parameters, layer by layer, in the circuit's order.
        tilted: whether RY(pi/4) on every qubit stands first.
        random_axes: whether sites hold RX, RY and RZ, of which a draw uses one.
        edges: of the graph or lattice that the natural cost lives on.
        mirrors: pairs of places of which the second undoes the first in blocks that are the identity.
        kept: the qubit that a convolution ends on.
    """

    circuit: QuantumCircuit
    parameters: tuple[Parameter, ...]
    layers: tuple[tuple[int, ...], ...]
    tilted: bool = False
    random_axes: bool = False
    edges: tuple[tuple[int, int], ...] = ()
    mirrors: tuple[tuple[int, int], ...] = ()
    kept: int = 0


@dataclass
class _Sheet:
    """A circuit in the making."""

    circuit: QuantumCircuit
    parameters: list[Parameter] = field(default_factory=list)
    layers: list[list[int]] = field(default_factory=list)
    qubits: list[int] = field(default_factory=list)
    """The first qubit of each parameter's first rotation."""

    @classmethod
    def of(cls, qubits: int, tilted: bool = False) -> _Sheet:
        circuit = QuantumCircuit(qubits)
        for qubit in range(qubits if tilted else 0):
            circuit.ry(TILT, qubit)
        return cls(circuit)

    def angle(self, qubit: int = 0) -> Parameter:
        made = Parameter(f"t{len(self.parameters)}")
        self.layers[-1].append(len(self.parameters))
        self.parameters.append(made)
        self.qubits.append(qubit)
        return made

    def turn(self, axis: str, *qubits: int) -> None:
        getattr(self.circuit, axis.lower())(self.angle(qubits[0]), *qubits)

    def laid(self, **more: object) -> Laid:
        return Laid(
            circuit=self.circuit,
            parameters=tuple(self.parameters),
            layers=tuple(tuple(layer) for layer in self.layers),
            **more,  # pyright: ignore[reportArgumentType]
        )


def hardware_efficient(qubits: int, layers: int, *, axes: str, entangler: str, tilted: bool = False) -> Laid:
    """Layers of rotations about each of the axes on every qubit, and an entangler."""
    sheet = _Sheet.of(qubits, tilted)
    for _ in range(layers):
        sheet.layers.append([])
        for qubit in range(qubits):
            for axis in axes.split():
                sheet.turn(axis, qubit)
        ENTANGLERS[entangler](sheet.circuit)
    return sheet.laid(tilted=tilted)


def identity_blocks(qubits: int, layers: int, *, depth: int = 2, tilted: bool = True) -> Laid:
    """Blocks of `depth` layers of RX, RY, CZ chain and as many that undo them, every angle a parameter of its own.

    Source: Grant et al. 2019, arXiv:1903.05076.
    """
    sheet = _Sheet.of(qubits, tilted)
    mirrors: list[tuple[int, int]] = []
    for _ in range(max(1, layers // (2 * depth))):
        forward: list[list[tuple[str, int, int]]] = []
        for _ in range(depth):
            sheet.layers.append([])
            forward.append([])
            for qubit in range(qubits):
                for axis in ("RX", "RY"):
                    sheet.turn(axis, qubit)
                    forward[-1].append((axis, qubit, len(sheet.parameters) - 1))
            ENTANGLERS["cz chain"](sheet.circuit)
        for layer in reversed(forward):
            sheet.layers.append([])
            ENTANGLERS["cz chain"](sheet.circuit)
            for axis, qubit, place in reversed(layer):
                sheet.turn(axis, qubit)
                mirrors.append((place, len(sheet.parameters) - 1))
    return sheet.laid(tilted=tilted, mirrors=tuple(mirrors))


def random_axes(qubits: int, layers: int) -> Laid:
    """RY(pi/4), then layers of a site for a random axis on every qubit and an open CZ ladder.

    Source: McClean et al. 2018, arXiv:1803.11173.
    """
    sheet = _Sheet.of(qubits, tilted=True)
    for _ in range(layers):
        sheet.layers.append([])
        for qubit in range(qubits):
            for axis in ("RX", "RY", "RZ"):
                sheet.turn(axis, qubit)
        ENTANGLERS["cz chain"](sheet.circuit)
    return sheet.laid(tilted=True, random_axes=True)


def free_fermions(qubits: int, layers: int) -> Laid:
    """The open Ising chain with an angle of its own for every X and ZZ: so(2n)."""
    sheet = _Sheet.of(qubits)
    for _ in range(layers):
        sheet.layers.append([])
        for qubit in range(qubits):
            sheet.turn("RX", qubit)
        for qubit in range(qubits - 1):
            sheet.turn("RZZ", qubit, qubit + 1)
    return sheet.laid(edges=_chain(qubits))


def heisenberg(qubits: int, layers: int) -> Laid:
    """XX, YY and ZZ on the bonds of an open chain, every one with an angle of its own."""
    sheet = _Sheet.of(qubits)
    for _ in range(layers):
        sheet.layers.append([])
        for axis in ("RXX", "RYY", "RZZ"):
            for qubit in range(qubits - 1):
                sheet.turn(axis, qubit, qubit + 1)
    return sheet.laid(edges=_chain(qubits))


def alternating(qubits: int, layers: int, *, edges: Callable[[int], Sequence[tuple[int, int]]]) -> Laid:
    """From |+...+>, layers of ZZ on all edges by one angle and X on all qubits by another.

    Source: Farhi et al. 2014, arXiv:1411.4028; Wecker et al. 2015, arXiv:1507.08969.
    """
    sheet = _Sheet.of(qubits)
    sheet.circuit.h(range(qubits))
    graph = tuple(edges(qubits))
    for _ in range(layers):
        sheet.layers.append([])
        phase = sheet.angle()
        for a, b in graph:
            sheet.circuit.rzz(phase, a, b)
        mix = sheet.angle()
        for qubit in range(qubits):
            sheet.circuit.rx(mix, qubit)
    return sheet.laid(edges=graph)


def convolution(qubits: int, layers: int) -> Laid:
    """A quantum convolutional circuit: blocks on pairs, on pairs between them, then every second qubit goes on.

    A block is RY RZ on both, CX, RY RZ on both; every angle its own. `layers` is not used: depth is log2 of the qubits.
    Parameters of the qubit that is read out stand first in their layer.
    Source: Cong et al. 2019, arXiv:1810.03787; Pesah et al. 2021, arXiv:2011.02966.
    """
    del layers
    sheet = _Sheet.of(qubits)
    active = list(range(qubits))
    while len(active) > 1:
        sheet.layers.append([])
        for shift in (0, 1):
            for a, b in zip(active[shift::2], active[shift + 1 :: 2], strict=False):
                for twice in (False, True):
                    if twice:
                        sheet.circuit.cx(a, b)
                    for qubit in (a, b):
                        sheet.turn("RY", qubit)
                        sheet.turn("RZ", qubit)
        active = active[1::2] if len(active) % 2 == 0 else active[::2]
    for layer in sheet.layers:
        layer.sort(key=lambda place: sheet.qubits[place] != active[0])
    return sheet.laid(kept=active[0])


def product(qubits: int, layers: int, *, axes: str) -> Laid:
    """Rotations about each of the axes on every qubit, and nothing between them."""
    del layers
    sheet = _Sheet.of(qubits)
    sheet.layers.append([])
    for qubit in range(qubits):
        for axis in axes.split():
            sheet.turn(axis, qubit)
    return sheet.laid()


def _chain(qubits: int) -> tuple[tuple[int, int], ...]:
    return tuple((q, q + 1) for q in range(qubits - 1))


def _ring(qubits: int) -> tuple[tuple[int, int], ...]:
    return _chain(qubits) if qubits < 3 else (*_chain(qubits), (0, qubits - 1))


def _regular(qubits: int) -> tuple[tuple[int, int], ...]:
    """A random 3-regular graph, one for each even number of nodes from 4 on, by pairing until it is simple."""
    if qubits < 4 or qubits % 2:
        raise ValueError(f"A 3-regular graph has an even number of nodes, at least 4, not {qubits}.")
    rng = np.random.default_rng(qubits)
    while True:
        ends = rng.permutation(np.repeat(np.arange(qubits), 3)).reshape(-1, 2)
        found = {(int(min(pair)), int(max(pair))) for pair in ends}
        if len(found) == len(ends) and all(a != b for a, b in found):
            return tuple(sorted(found))


def hardware_name(axes: str, entangler: str) -> str:
    return f"{axes}, {entangler}"


HARDWARE: Mapping[str, tuple[str, str]] = {
    hardware_name(axes, entangler): (axes, entangler) for entangler in ENTANGLERS for axes in AXES
}
"""Names of hardware-efficient circuits, with axes and entangler."""

CIRCUITS: Mapping[str, Callable[[int, int], Laid]] = {
    RANDOM_AXES: random_axes,
    FREE_FERMIONS: free_fermions,
    SHARED_ISING: partial(alternating, edges=_chain),
    HEISENBERG: heisenberg,
    RING_CUT: partial(alternating, edges=_ring),
    REGULAR_CUT: partial(alternating, edges=_regular),
    CONVOLUTION: convolution,
    PRODUCT: partial(product, axes="RY"),
    PRODUCT_TWO: partial(product, axes="RX RY"),
    **{
        name: partial(hardware_efficient, axes=axes, entangler=entangler)
        for name, (axes, entangler) in HARDWARE.items()
    },
}
"""Circuits by name, as functions of qubits and layers."""


def laid(name: str, qubits: int, layers: int) -> Laid:
    """The circuit of that name.

    Raises:
        ValueError: for a name that there is not, and sizes that the circuit cannot have.
    """
    if name not in CIRCUITS:
        raise ValueError(f"Argument `name` must be one of {list(CIRCUITS)}, but is {name!r}.")
    return CIRCUITS[name](qubits, layers)


def marked(each: Laid) -> Laid:
    """A circuit of random axes with one RX on every site, whose axis the law of its angle draws."""
    if not each.random_axes:
        return each
    sheet = _Sheet.of(each.circuit.num_qubits, tilted=True)
    for _ in each.layers:
        sheet.layers.append([])
        for qubit in range(each.circuit.num_qubits):
            sheet.turn("RX", qubit)
        ENTANGLERS["cz chain"](sheet.circuit)
    return sheet.laid(tilted=True)
