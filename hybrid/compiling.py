"""From a qiskit circuit to a `Program`: exactly, or refused by name.

The turn of the qubit order happens here and nowhere else: qiskit writes qubit 0 as the last letter of a label
and the least significant bit, `classical/` as the first letter and the most significant bit. Qubit numbers
stay; labels and matrices are reversed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import (
    ControlFlowOp,
    ControlledGate,
    Delay,
    Gate,
    Measure,
    Parameter,
    ParameterExpression,
    Reset,
)
from qiskit.circuit import library as gates
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import Clifford, Operator, SparseObservable, SparsePauliOp
from qiskit.synthesis import synth_permutation_basic

from classical.program import Program, ProgramBuilder


class CannotCompile(ValueError):
    """A circuit holds something that has no exact meaning as Pauli rotations and fixed unitaries."""


# Rotations that make a gate of one angle up to a global phase, in order: letters, on which of the gate's
# qubits, and the factor of the angle. A controlled rotation is two: (1 - Z_c)/2 splits its generator.
_ROTATIONS: Mapping[type, Sequence[tuple[str, tuple[int, ...], float]]] = {
    gates.RXGate: (("X", (0,), 1.0),),
    gates.RYGate: (("Y", (0,), 1.0),),
    gates.RZGate: (("Z", (0,), 1.0),),
    gates.PhaseGate: (("Z", (0,), 1.0),),
    gates.U1Gate: (("Z", (0,), 1.0),),
    gates.RXXGate: (("XX", (0, 1), 1.0),),
    gates.RYYGate: (("YY", (0, 1), 1.0),),
    gates.RZZGate: (("ZZ", (0, 1), 1.0),),
    gates.RZXGate: (("ZX", (0, 1), 1.0),),
    gates.CRXGate: (("X", (1,), 0.5), ("ZX", (0, 1), -0.5)),
    gates.CRYGate: (("Y", (1,), 0.5), ("ZY", (0, 1), -0.5)),
    gates.CRZGate: (("Z", (1,), 0.5), ("ZZ", (0, 1), -0.5)),
    gates.CPhaseGate: (("Z", (0,), 0.5), ("Z", (1,), 0.5), ("ZZ", (0, 1), -0.5)),
    gates.CU1Gate: (("Z", (0,), 0.5), ("Z", (1,), 0.5), ("ZZ", (0, 1), -0.5)),
}

# Gates of several angles as rotations in order: letter, and the angle as a function of the parameters.
_EULER: Mapping[type, Callable[..., Sequence[tuple[str, Any]]]] = {
    gates.UGate: lambda theta, phi, lam: (("Z", lam), ("Y", theta), ("Z", phi)),
    gates.U3Gate: lambda theta, phi, lam: (("Z", lam), ("Y", theta), ("Z", phi)),
    gates.U2Gate: lambda phi, lam: (("Z", lam), ("Y", math.pi / 2), ("Z", phi)),
    gates.RGate: lambda theta, phi: (("Z", -phi), ("X", theta), ("Z", phi)),
}

# A larger fixed gate is taken apart; its matrix would make every fused block as wide as the gate.
_WIDEST_MATRIX = 3


def compile_circuit(circuit: QuantumCircuit, parameters: Sequence[Parameter]) -> Program:
    """Returns the circuit as a `Program` whose theta is in the order of `parameters`.

    Raises:
        CannotCompile: for an angle that is not affine in the parameters, measurements, resets, control flow
            and everything else without an exact unitary meaning; the message names it and the way out.
    """
    order = {parameter: i for i, parameter in enumerate(parameters)}
    unknown = [parameter.name for parameter in circuit.parameters if parameter not in order]
    if unknown:
        raise CannotCompile(f"Argument `parameters` must hold all of the circuit's, but lacks {unknown}.")
    builder = ProgramBuilder(circuit.num_qubits, len(parameters))
    _add_circuit(builder, circuit, tuple(range(circuit.num_qubits)), order)
    return builder.build()


def _add_circuit(
    builder: ProgramBuilder, circuit: QuantumCircuit, qubits: tuple[int, ...], order: Mapping[Parameter, int]
) -> None:
    for item in circuit.data:
        places = tuple(qubits[circuit.find_bit(qubit).index] for qubit in item.qubits)
        _add(builder, item.operation, places, order)


def _add(
    builder: ProgramBuilder, operation: Any, qubits: tuple[int, ...], order: Mapping[Parameter, int]
) -> None:
    kind = getattr(operation, "base_class", type(operation))
    if kind in (gates.Barrier, gates.GlobalPhaseGate, Delay):
        return
    if isinstance(operation, Measure):
        raise CannotCompile(
            f"The circuit measures qubit {qubits[0]}: observables are measured by the backend. Take the "
            "measurement out, `circuit.remove_final_measurements()` does it at the end of a circuit."
        )
    if isinstance(operation, (Reset, gates.Initialize)):
        raise CannotCompile(
            f"The instruction `{operation.name}` on qubits {list(qubits)} is not a unitary. Every qubit starts in |0>: "
            "leave a reset out there, and prepare another state with gates such as `StatePreparation`."
        )
    if isinstance(operation, ControlFlowOp):
        raise CannotCompile(
            f"The circuit holds control flow, `{operation.name}`, whose outcome is not a unitary: "
            "write the branch that is meant as gates."
        )
    closed = (
        not isinstance(operation, ControlledGate) or operation.ctrl_state == 2**operation.num_ctrl_qubits - 1
    )
    if kind in _ROTATIONS and closed:
        weights, offset = _affine(operation.params[0], order, operation.name)
        for letters, places, factor in _ROTATIONS[kind]:
            _rotate(builder, letters, tuple(qubits[i] for i in places), weights, offset, factor)
    elif kind in _EULER:
        for letter, angle in _EULER[kind](*operation.params):
            weights, offset = _affine(angle, order, operation.name)
            _rotate(builder, letter, qubits, weights, offset, 1.0)
    elif kind is gates.PermutationGate:
        _add_circuit(builder, synth_permutation_basic(operation.params[0]), qubits, order)
    elif kind is gates.PauliEvolutionGate:
        _add_evolution(builder, operation, qubits, order)
    else:
        _add_other(builder, operation, qubits, order)


def _rotate(
    builder: ProgramBuilder,
    letters: str,
    qubits: tuple[int, ...],
    weights: Mapping[int, float],
    offset: float,
    factor: float,
) -> None:
    scaled = {param: factor * weight for param, weight in weights.items()}
    builder.rotation(letters, qubits, scaled, factor * offset)


def _add_other(
    builder: ProgramBuilder, operation: Any, qubits: tuple[int, ...], order: Mapping[Parameter, int]
) -> None:
    parameters = getattr(operation, "params", ())
    free = any(isinstance(p, ParameterExpression) and p.parameters for p in parameters)
    small = len(qubits) <= _WIDEST_MATRIX
    matrix = None
    if isinstance(operation, Gate) and small and not free and not _parameters_inside(operation):
        matrix = _matrix(operation)
    if matrix is not None:
        # qiskit's first qubit is the least significant bit of a matrix, ours the most significant.
        builder.unitary(matrix, tuple(reversed(qubits)))
        return
    inside = operation.to_circuit() if isinstance(operation, Clifford) else _definition(operation)
    if inside is None:
        raise CannotCompile(
            f"The instruction `{operation.name}` on qubits {list(qubits)} is neither a known gate nor made of "
            "such: write it with gates that have a matrix, or with Pauli rotations."
        )
    _add_circuit(builder, inside, qubits, order)


def _matrix(operation: Gate) -> torch.Tensor | None:
    try:
        return torch.from_numpy(np.array(Operator(operation).data))
    except QiskitError:
        return None


def _definition(operation: Any) -> QuantumCircuit | None:
    try:
        return getattr(operation, "definition", None)
    except (
        QiskitError,
        TypeError,
    ):  # what qiskit raises where a definition needs a number and has a parameter
        return None


def _parameters_inside(operation: Any) -> bool:
    inside = _definition(operation)
    return inside is not None and bool(inside.parameters)


def _add_evolution(
    builder: ProgramBuilder, operation: Any, qubits: tuple[int, ...], order: Mapping[Parameter, int]
) -> None:
    weights, offset = _affine(operation.time, order, operation.name)
    operators = operation.operator if isinstance(operation.operator, list) else [operation.operator]
    try:
        terms = SparsePauliOp.sum([_pauli_sum(operator) for operator in operators])
    except QiskitError:
        raise CannotCompile(
            "A `PauliEvolutionGate` is compiled only from Pauli strings and their sums, but one here has an operator "
            f"of type {type(operators[0]).__name__}: write it as a SparsePauliOp."
        ) from None
    if len(terms.group_commuting()) > 1:
        raise CannotCompile(
            "A `PauliEvolutionGate` with terms that do not commute has no exact form as rotations: use one "
            "gate for each commuting part, in the order that is meant."
        )
    for label, coefficient in terms.to_list():
        places = [(letter, i) for i, letter in enumerate(reversed(label)) if letter != "I"]
        if places:
            letters = "".join(letter for letter, _ in places)
            on = tuple(qubits[i] for _, i in places)
            _rotate(builder, letters, on, weights, offset, 2 * float(coefficient.real))


def _pauli_sum(operator: Any) -> SparsePauliOp:
    if isinstance(operator, SparseObservable):
        return SparsePauliOp.from_sparse_observable(operator)
    return SparsePauliOp(operator)


def _affine(angle: Any, order: Mapping[Parameter, int], gate: str) -> tuple[dict[int, float], float]:
    """Weights by parameter index, and offset, of an angle; refuses what is not affine."""
    if not isinstance(angle, ParameterExpression):
        return {}, _finite(float(angle), gate)
    inside = list(angle.parameters)
    weights: dict[Parameter, float] = {}
    for parameter in inside:
        slope: Any
        try:
            slope = angle.gradient(parameter)
        except RuntimeError:  # qiskit cannot differentiate some functions, `sign` among them
            slope = None
        if isinstance(slope, ParameterExpression) and not slope.parameters:
            slope = slope.numeric()
        if slope is None or isinstance(slope, ParameterExpression):
            raise CannotCompile(
                f"The angle `{angle}` of gate `{gate}` is not affine in `{parameter.name}`: a shift rule needs "
                "angles of the form a * parameter + b. Make the whole expression a parameter of its own."
            )
        if isinstance(slope, complex):
            raise CannotCompile(f"The angle `{angle}` of gate `{gate}` is not real.")
        weights[parameter] = _finite(float(slope), gate)
    # At one, where products and quotients of parameters have a value.
    at_one = angle.bind(dict.fromkeys(inside, 1.0)).numeric()
    offset = _finite(float(at_one.real) - sum(weights.values()), gate)
    return {order[parameter]: weight for parameter, weight in weights.items()}, offset


def _finite(number: float, gate: str) -> float:
    if not math.isfinite(number):
        raise CannotCompile(f"An angle of gate `{gate}` is {number}: angles must be finite.")
    return number
