"""Classical simulations whose cost grows as a power of the number of qubits, and how far their losses are off."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from classical.free_fermions import FreeFermions, NoFreeFermions
from classical.program import FixedUnitary, PauliRotation, Program
from classical.statevector import Statevector
from hybrid import Objective
from hybrid.backends import Exact
from hybrid.grouping import measurement_groups
from studies.barren.exact import terms_of

LIGHT_CONE, FERMIONS, MATRIX_PRODUCT, PROPAGATION = (
    "light cone",
    "free fermions",
    "matrix-product state",
    "Pauli propagation",
)
_PACKAGES = ("qiskit_aer", "pauli_prop")
_ONE = torch.ones(1, 1, dtype=torch.float64)
# A state vector of a cone is held to this many qubits.
_WIDEST_CONE = 16
_ROUNDING = 1e-12


class NotSimulable(ValueError):
    """This way of simulating does not take the circuit."""


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """What one way makes of rows of angles.

    Args:
        error: largest difference from the state vector's loss, in units of the sum of the observable's absolute
            coefficients without identity, which for strings of Z with equal signs is its norm.
        size: qubits of the widest cone, Majorana operators, bond, or Pauli terms.
        seconds: for all rows, compiling included.
    """

    error: float
    size: int
    seconds: float


def simulated(objective: Objective, rows: np.ndarray) -> dict[str, Simulated]:
    """Every way that takes the circuit, held against the exact state vector. Cost: rows times 2^n for that one."""
    for package in _PACKAGES:
        # Before the clock runs.
        if find_spec(package) is not None:
            import_module(package)
    exact = objective.value(rows, backend=Exact()).values
    found: dict[str, Simulated] = {}
    for name, way in WAYS.items():
        before = time.perf_counter()
        try:
            values, size = way(objective, rows)
        except (NotSimulable, NoFreeFermions):
            continue
        seconds = time.perf_counter() - before
        error = float((values - exact).abs().max()) / norm(objective)
        found[name] = Simulated(error=error, size=size, seconds=seconds)
    return found


def norm(objective: Objective) -> float:
    """Sum of the observable's absolute coefficients, the identity left out."""
    return float(objective.coefficients[:, 0].abs().sum())


def by_light_cone(objective: Objective, rows: np.ndarray) -> tuple[Tensor, int]:
    """Each term by the gates and qubits that it can see; exact. The widest cone must be narrower than the register.

    Cost: terms times 2^width.
    """
    program = objective.program
    cones = [(_cone(program, label), label, coefficient) for label, coefficient in terms_of(objective)]
    widest = max(len(qubits) for (qubits, _), _, _ in cones)
    if widest >= program.num_qubits or widest > _WIDEST_CONE:
        raise NotSimulable(f"A cone of {widest} qubits is no smaller problem.")
    theta = torch.from_numpy(rows)
    values = float(objective.constants[0]) + torch.zeros(len(rows), dtype=torch.float64)
    for (qubits, gates), label, coefficient in cones:
        part = _part(program, qubits, gates)
        groups = measurement_groups(["".join(label[qubit] for qubit in qubits)], _ONE)
        values = values + coefficient * Statevector(part).values(part.angles(theta), groups)[:, 0]
    return values, widest


def by_free_fermions(objective: Objective, rows: np.ndarray) -> tuple[Tensor, int]:
    """Exact, where all rotations and terms lie in so(2n). Cost: rotations times 2n."""
    values = FreeFermions.of(objective.program).values(torch.from_numpy(rows), terms_of(objective))
    return values + float(objective.constants[0]), 2 * objective.num_qubits


def by_matrix_product(objective: Objective, rows: np.ndarray) -> tuple[Tensor, int]:
    """Aer's matrix-product state with bonds of at most n, which is below the exact 2^(n/2) from 8 qubits on.

    Cost: gates times n^3.
    """
    from qiskit import transpile
    from qiskit_aer import AerSimulator

    bond = objective.num_qubits
    simulator = AerSimulator(
        method="matrix_product_state",
        matrix_product_state_max_bond_dimension=bond,
        max_parallel_threads=1,
    )
    circuit = objective.circuit.copy()
    circuit.save_expectation_value(objective.observables[0], range(circuit.num_qubits))  # pyright: ignore
    prepared = transpile(circuit, simulator, optimization_level=0)
    bound = [
        prepared.assign_parameters(dict(zip(objective.parameters, row.tolist(), strict=True))) for row in rows
    ]
    result = simulator.run(bound, shots=1).result()
    values = [float(np.real(result.data(i)["expectation_value"])) for i in range(len(rows))]
    return torch.tensor(values, dtype=torch.float64), bond


def by_propagation(objective: Objective, rows: np.ndarray) -> tuple[Tensor, int]:
    """The observable pulled back as at most n^3 Pauli strings, the largest; needs the package `pauli-prop`.

    Cost: rotations times n^3.
    """
    if find_spec("pauli_prop") is None:
        raise NotSimulable("The package pauli-prop is not installed.")
    from pauli_prop import propagate_through_circuit  # pyright: ignore[reportMissingImports]

    most = max(objective.num_qubits**3, len(objective.labels))
    values = []
    for row in rows:
        bound = objective.circuit.assign_parameters(
            dict(zip(objective.parameters, row.tolist(), strict=True))
        )
        with warnings.catch_warnings():
            # Their cast of real coefficients, which are kept as complex ones.
            warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
            pulled, _ = propagate_through_circuit(objective.observables[0], bound, most, _ROUNDING, "h")
        diagonal = ~pulled.paulis.x.any(axis=1)
        values.append(float(pulled.coeffs[diagonal].real.sum()))
    return torch.tensor(values, dtype=torch.float64), most


WAYS: Mapping[str, Callable[[Objective, np.ndarray], tuple[Tensor, int]]] = {
    LIGHT_CONE: by_light_cone,
    FERMIONS: by_free_fermions,
    MATRIX_PRODUCT: by_matrix_product,
    PROPAGATION: by_propagation,
}


def _cone(program: Program, label: str) -> tuple[list[int], list[int]]:
    """Qubits and places of gates that a string can see from the end of the circuit.

    Diagonal gates that follow each other commute: those that the string does not touch cancel.
    """
    seen = {qubit for qubit, letter in enumerate(label) if letter != "I"}
    gates: list[int] = []
    # What is seen from before the diagonal gates at hand.
    before = set(seen)
    for place in range(len(program.gates) - 1, -1, -1):
        gate = program.gates[place]
        touched = set(gate.qubits)
        if not _is_diagonal(gate):
            before = set(seen)
        if touched & before:
            seen |= touched
            gates.append(place)
        if not _is_diagonal(gate):
            before = set(seen)
    return sorted(seen), gates[::-1]


def _is_diagonal(gate: FixedUnitary | PauliRotation) -> bool:
    if isinstance(gate, PauliRotation):
        return set(gate.letters) == {"Z"}
    return bool((gate.matrix - torch.diag(gate.matrix.diagonal())).abs().max() < _ROUNDING)


def _part(program: Program, qubits: list[int], places: list[int]) -> Program:
    """Some gates of a program, on some qubits."""
    number = {qubit: i for i, qubit in enumerate(qubits)}
    rotation = np.cumsum([isinstance(gate, PauliRotation) for gate in program.gates]) - 1
    kept = [int(rotation[k]) for k in places if isinstance(program.gates[k], PauliRotation)]
    gates: list[FixedUnitary | PauliRotation] = []
    for place in places:
        gate = program.gates[place]
        own = tuple(number[qubit] for qubit in gate.qubits)
        if isinstance(gate, PauliRotation):
            gates.append(PauliRotation(qubits=own, letters=gate.letters))
        else:
            gates.append(FixedUnitary(qubits=own, matrix=gate.matrix))
    return Program(
        num_qubits=len(qubits),
        gates=tuple(gates),
        num_params=program.num_params,
        factors=tuple(program.factors[k] for k in kept),
        offsets=program.offsets[kept],
    )
