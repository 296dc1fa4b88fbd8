"""PennyLane circuits in: a QNode or a tape becomes an `Objective`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterExpression, ParameterVector
from qiskit.circuit import library as gates
from qiskit.quantum_info import Pauli, SparsePauliOp
from torch import Tensor

from hybrid.compiling import CannotCompile
from hybrid.objective import Objective

Angle = ParameterExpression | float

_GATES: Mapping[str, Callable[[Any], Any]] = {
    "RX": gates.RXGate,
    "RY": gates.RYGate,
    "RZ": gates.RZGate,
    "PhaseShift": gates.PhaseGate,
    "IsingXX": gates.RXXGate,
    "IsingYY": gates.RYYGate,
    "IsingZZ": gates.RZZGate,
    "CRX": gates.CRXGate,
    "CRY": gates.CRYGate,
    "CRZ": gates.CRZGate,
    "ControlledPhaseShift": gates.CPhaseGate,
}
_WITHOUT_EFFECT = ("GlobalPhase", "Barrier", "Identity", "Snapshot", "WireCut")
# A larger fixed operation is taken apart, as in compiling.
_WIDEST_MATRIX = 3
# Arguments are moved by this, in radians, to see whether angles follow them affinely.
_PROBE_SCALE = 0.7


def from_pennylane(circuit: Any, *arguments: Any, **keywords: Any) -> Objective:
    """Returns the objective of a QNode at arguments of this shape, or of a tape.

    Every number in a floating-point argument of the QNode is a parameter of the objective, in the order of the
    arguments, flattened; a tape has its trainable parameters. How gate angles follow from the arguments is read
    off with torch, so arguments that feed several gates stay shared. Wires keep the tape's order: the first wire is
    qubit 0. Shots set in PennyLane are not taken over: the budget is given with each gradient.

    Raises:
        CannotCompile: for angles that are not affine in the arguments, circuits whose gates depend on them,
            measurements other than expectation values of Pauli sums, and operations without a unitary meaning.
    """
    import pennylane as qml
    from pennylane.tape import QuantumScript

    if isinstance(circuit, QuantumScript):
        trainable = list(circuit.trainable_params)
        start = np.array(circuit.get_parameters(), dtype=np.float64)

        def build(theta: Tensor) -> Any:
            return circuit.bind_new_parameters(list(theta), trainable)  # pyright: ignore[reportArgumentType]

    elif isinstance(circuit, qml.QNode):
        trace, start = _traced_arguments(arguments)

        def build(theta: Tensor) -> Any:
            return qml.workflow.construct_tape(circuit)(*trace(theta), **keywords)

    else:
        raise TypeError(f"Argument `circuit` must be a QNode or a tape, but is a {type(circuit).__name__}.")

    here = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    moved = here.detach() + _PROBE_SCALE * torch.from_numpy(
        np.random.default_rng(0).uniform(0.5, 1.5, size=start.shape)
    )
    tape, probe = build(here), build(moved.requires_grad_())
    operations, others = _flat(tape.operations), _flat(probe.operations)
    if [_signature(op) for op in operations] != [_signature(op) for op in others]:
        raise CannotCompile(
            "The circuit's gates depend on the values of its arguments: give each structure its own QNode."
        )
    wires = list(tape.wires)
    parameters = ParameterVector("theta", len(start))
    compiled = QuantumCircuit(len(wires))
    for operation, other in zip(operations, others, strict=True):
        qubits = [wires.index(wire) for wire in operation.wires]
        angles = [
            _angle(value, here, second, moved, parameters, operation.name)
            for value, second in zip(operation.data, other.data, strict=True)
            if not _is_array(value)
        ]
        _append(compiled, operation, qubits, angles)
    observables = [_observable(measurement, wires) for measurement in tape.measurements]
    listed = observables[0] if len(observables) == 1 else observables
    return Objective(compiled, listed, parameters=list(parameters))


def _traced_arguments(arguments: Sequence[Any]) -> tuple[Callable[[Tensor], list[Any]], np.ndarray]:
    """A function that puts a flat vector back into the arguments' shapes, and the vector they hold now."""
    shapes: list[tuple[int, ...] | None] = []
    values: list[np.ndarray] = []
    for argument in arguments:
        array = argument.detach().numpy() if isinstance(argument, Tensor) else np.asarray(argument)
        floating = np.issubdtype(array.dtype, np.floating)
        shapes.append(array.shape if floating else None)
        if floating:
            values.append(array.reshape(-1).astype(np.float64))

    def put_back(theta: Tensor) -> list[Any]:
        out, start = [], 0
        for argument, shape in zip(arguments, shapes, strict=True):
            if shape is None:
                out.append(argument)
                continue
            size = int(np.prod(shape))
            out.append(theta[start : start + size].reshape(shape))
            start += size
        return out

    return put_back, np.concatenate(values) if values else np.zeros(0)


def _flat(operations: Sequence[Any]) -> list[Any]:
    """Operations taken apart until each is one of `_GATES`, a Pauli rotation or a small fixed matrix."""
    flat: list[Any] = []
    for operation in operations:
        if operation.name in _WITHOUT_EFFECT:
            continue
        known = operation.name in _GATES or operation.name in ("PauliRot", "MultiRZ")
        if known or _is_small_and_fixed(operation):
            flat.append(operation)
        elif operation.has_decomposition:
            flat.extend(_flat(operation.decomposition()))
        else:
            raise CannotCompile(
                f"The PennyLane operation `{operation.name}` has no exact form as rotations and fixed gates: "
                "take it out, or write it with gates."
            )
    return flat


def _is_small_and_fixed(operation: Any) -> bool:
    free = any(isinstance(value, Tensor) and value.requires_grad for value in operation.data)
    return operation.has_matrix and not free and len(operation.wires) <= _WIDEST_MATRIX


def _signature(operation: Any) -> tuple[str, tuple[Any, ...], str]:
    return operation.name, tuple(operation.wires), str(operation.hyperparameters.get("pauli_word", ""))


def _is_array(value: Any) -> bool:
    return np.ndim(value.detach() if isinstance(value, Tensor) else value) > 0


def _angle(
    value: Any, here: Tensor, second: Any, moved: Tensor, parameters: ParameterVector, name: str
) -> Angle:
    """An operation's angle as an affine expression of the parameters, checked at a second point."""
    if not (isinstance(value, Tensor) and value.requires_grad):
        if float(value) != float(second):
            raise CannotCompile(
                f"An angle of `{name}` follows the arguments in a way that torch cannot trace."
            )
        return float(value)
    slopes, again = _slopes(value, here), _slopes(second, moved)
    offset = float(value.detach() - slopes @ here.detach())
    offset_again = float(second.detach() - again @ moved.detach())
    if not torch.allclose(slopes, again, atol=1e-9) or abs(offset - offset_again) > 1e-9:
        raise CannotCompile(
            f"An angle of `{name}` is not affine in the arguments: a shift rule needs a * x + b. Pass the "
            "angle itself as an argument."
        )
    terms = [
        float(slope) * parameter for slope, parameter in zip(slopes, parameters, strict=True) if slope != 0
    ]
    return sum(terms, start=offset)  # pyright: ignore[reportCallIssue, reportArgumentType]


def _slopes(value: Tensor, leaf: Tensor) -> Tensor:
    (slope,) = torch.autograd.grad(value, leaf, retain_graph=True, allow_unused=True)
    return torch.zeros_like(leaf) if slope is None else slope


def _append(compiled: QuantumCircuit, operation: Any, qubits: list[int], angles: list[Angle]) -> None:
    import pennylane as qml

    name = operation.name
    if name in _GATES:
        compiled.append(_GATES[name](*angles), qubits)
    elif name in ("PauliRot", "MultiRZ"):
        word = operation.hyperparameters.get("pauli_word", "Z" * len(qubits))
        if set(word) != {"I"}:
            gate = gates.PauliEvolutionGate(Pauli(word[::-1]), time=angles[0] / 2)
            compiled.append(gate, qubits)
    else:
        matrix = qml.matrix(operation, wire_order=operation.wires)
        # PennyLane's first wire is the most significant bit of a matrix, qiskit's last qubit.
        compiled.append(gates.UnitaryGate(np.asarray(matrix)), qubits[::-1])


def _observable(measurement: Any, wires: list[Any]) -> SparsePauliOp:
    from pennylane.measurements import ExpectationMP

    if not isinstance(measurement, ExpectationMP) or measurement.obs is None:
        raise CannotCompile(
            f"The measurement `{measurement}` is not an expectation value: only `qml.expval` of a sum of Pauli "
            "strings has a gradient here."
        )
    sentence = getattr(measurement.obs, "pauli_rep", None)
    if sentence is None:
        raise CannotCompile(
            f"The observable `{measurement.obs}` is not a sum of Pauli strings: `qml.pauli_decompose` writes it so."
        )
    labels: list[tuple[str, list[int], complex]] = []
    for word, coefficient in sentence.items():
        if isinstance(coefficient, Tensor) and coefficient.requires_grad:
            raise CannotCompile(
                "A coefficient of the observable depends on the arguments: only gate angles may."
            )
        letters = "".join(word[wire] for wire in word)
        labels.append((letters, [wires.index(wire) for wire in word], complex(coefficient)))
    return SparsePauliOp.from_sparse_list(labels, num_qubits=len(wires))
