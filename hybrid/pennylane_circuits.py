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
_ROTATIONS = ("PauliRot", "MultiRZ")
_WITHOUT_EFFECT = ("GlobalPhase", "Barrier", "Identity", "Snapshot", "WireCut")
# A larger fixed operation is taken apart, as in compiling.
_WIDEST_MATRIX = 3
# Arguments are moved by about these, in radians, to see whether angles follow them affinely.
_PROBE_SCALES = (0.7, 3.0, 10.0, 100.0)


def from_pennylane(circuit: Any, *arguments: Any, **keywords: Any) -> Objective:
    """Returns the objective of a QNode at arguments of this shape, or of a tape.

    Every number in a floating-point argument of the QNode is a parameter of the objective, in the order of the
    arguments, flattened; keyword arguments are constants. A tape has its trainable parameters. How gate angles
    follow from the arguments is read off with torch, so arguments that feed several gates stay shared. Wires keep
    the tape's order: the first wire is qubit 0. Shots set in PennyLane are not taken over: the budget is given
    with each gradient.

    Raises:
        CannotCompile: for angles that are not affine in the arguments, as seen at ten points up to about 100, for
            circuits whose gates depend on them, measurements other than expectation values of Pauli sums, and
            operations without a unitary meaning.
    """
    from pennylane import QNode
    from pennylane.tape import QuantumScript

    if isinstance(circuit, QuantumScript):
        build, start = _tape_builder(circuit)
    elif isinstance(circuit, QNode):
        build, start = _node_builder(circuit, arguments, keywords)
    else:
        raise TypeError(f"Argument `circuit` must be a QNode or a tape, but is a {type(circuit).__name__}.")
    if not len(start):
        raise CannotCompile(
            "The circuit has no parameter: pass floating-point arguments (integers are taken for settings), or make a "
            "tape's angles trainable."
        )
    points = _probes(start)
    tapes, traces = zip(*(_traced(build, point) for point in points), strict=True)
    if any([_signature(op) for op in trace] != [_signature(op) for op in traces[0]] for trace in traces):
        raise CannotCompile(
            "The circuit's gates depend on the values of its arguments: give each structure its own QNode."
        )
    wires = list(tapes[0].wires)
    parameters = ParameterVector("theta", len(start))
    compiled = QuantumCircuit(len(wires))
    for same in zip(*traces, strict=True):
        qubits = [wires.index(wire) for wire in same[0].wires]
        angles = [
            _angle(values, points, parameters, same[0].name)
            for values in zip(*(operation.data for operation in same), strict=True)
            if not _is_fixed_matrix(same[0])
        ]
        _append(compiled, same[0], qubits, angles)
    observables = [_observable(measurement, wires) for measurement in tapes[0].measurements]
    if not observables:
        raise CannotCompile("The circuit measures nothing: end it with `qml.expval` of an observable.")
    listed = observables[0] if len(observables) == 1 else observables
    return Objective(compiled, listed, parameters=list(parameters))


Builder = Callable[[Tensor], Any]


def _tape_builder(tape: Any) -> tuple[Builder, np.ndarray]:
    """Puts new values into a tape's trainable gate angles, and the values that they have."""
    angles = sum(len(operation.data) for operation in tape.operations)
    values = tape.get_parameters(trainable_only=False)
    # Behind the angles of operations stand coefficients of observables, which stay as they are.
    trainable = [i for i in tape.trainable_params if i < angles and np.ndim(values[i]) == 0]
    start = np.array([float(values[i]) for i in trainable])
    return lambda theta: tape.bind_new_parameters(list(theta), trainable), start


def _node_builder(
    node: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]
) -> tuple[Builder, np.ndarray]:
    """Calls a QNode's function with new arguments, and the arguments' values, flattened."""
    from pennylane.workflow import construct_tape

    put_back, start = _traced_arguments(arguments)
    return lambda theta: construct_tape(node)(*put_back(theta), **keywords), start


def _probes(start: np.ndarray) -> list[Tensor]:
    """Points at which a circuit is traced: as given, with every sign turned, and others near and far."""
    rng = np.random.default_rng(0)
    places = [start, -start]
    for scale in _PROBE_SCALES:
        step = rng.uniform(0.5, 1.5, size=len(start)) * scale
        places += [start + step, -start - step]
    return [torch.tensor(place, dtype=torch.float64, requires_grad=True) for place in places]


def _traced(build: Builder, point: Tensor) -> tuple[Any, list[Any]]:
    """The tape at a point, and its operations taken apart."""
    try:
        tape = build(point)
        operations = _flat(tape.operations)
    except CannotCompile:
        raise
    except (RuntimeError, TypeError, ValueError, ImportError) as error:
        raise CannotCompile(
            f"The circuit could not be traced with torch tensors as arguments ({error}): use `torch` or plain "
            "arithmetic on them, not numpy functions."
        ) from error
    if tape.batch_size is not None:
        raise CannotCompile(
            "The circuit holds a gate with several angles at once (broadcasting): pass one row of arguments here, "
            "and a batch of rows as `theta`."
        )
    return tape, operations


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
        known = operation.name in _GATES or operation.name in _ROTATIONS
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


def _is_fixed_matrix(operation: Any) -> bool:
    return operation.name not in _GATES and operation.name not in _ROTATIONS


def _angle(values: Sequence[Any], points: Sequence[Tensor], parameters: ParameterVector, name: str) -> Angle:
    """An operation's angle, traced at all points, as an affine expression of the parameters."""
    if not any(isinstance(value, Tensor) and value.requires_grad for value in values):
        if any(float(value) != float(values[0]) for value in values):
            raise CannotCompile(
                f"An angle of `{name}` follows the arguments in a way that torch cannot trace."
            )
        return float(values[0])
    slopes = [_slopes(value, point) for value, point in zip(values, points, strict=True)]
    offsets = [
        float(torch.as_tensor(value).detach()) - float(slope @ point.detach())
        for value, slope, point in zip(values, slopes, points, strict=True)
    ]
    same = all(torch.allclose(slope, slopes[0], atol=1e-9) for slope in slopes)
    if not same or max(offsets) - min(offsets) > 1e-9:
        raise CannotCompile(
            f"An angle of `{name}` is not affine in the arguments: a shift rule needs a * x + b. Pass the "
            "angle itself as an argument."
        )
    terms = [float(w) * parameter for w, parameter in zip(slopes[0], parameters, strict=True) if w != 0]
    return sum(terms, start=offsets[0])  # pyright: ignore[reportCallIssue, reportArgumentType]


def _slopes(value: Any, leaf: Tensor) -> Tensor:
    if not (isinstance(value, Tensor) and value.requires_grad):
        return torch.zeros_like(leaf)
    (slope,) = torch.autograd.grad(value, leaf, retain_graph=True, allow_unused=True)
    return torch.zeros_like(leaf) if slope is None else slope


def _append(compiled: QuantumCircuit, operation: Any, qubits: list[int], angles: list[Angle]) -> None:
    import pennylane as qml

    name = operation.name
    if name in _GATES:
        compiled.append(_GATES[name](*angles), qubits)
    elif name in _ROTATIONS:
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
