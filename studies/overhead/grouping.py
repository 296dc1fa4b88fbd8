"""Part B: shots for a value's error, by how terms are grouped and shots are shared, and what a QPU takes for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from qiskit import QuantumCircuit, quantum_info
from qiskit.quantum_info import SparsePauliOp

from classical.cost import Cost
from classical.measurement import AbstractMeasurementGroup
from hybrid import Objective
from hybrid.allocation import AbstractAllocation, RandomTerms, TwoStage, Uniform, Weighted
from hybrid.backends import Exact, Sampled
from hybrid.devices.prices import Prices, circuit_seconds
from hybrid.grouping import COMMUTING, ORDERS, Grouping, measurement_reduction
from hybrid.objective import Value
from hybrid.precision import group_moments, ungrouped
from hybrid.shadow_variance import shadow_variance
from hybrid.shadows import ClassicalShadows
from studies.circuits import hardware_efficient, transverse_ising
from studies.engine import Task
from studies.molecules import MOLECULES, molecule
from studies.overhead.states import at_state, ground_state

PART = "grouping"
GROUND, RANDOM = "ground state", "random circuit"
NONE, SHADOWS = "none", "shadows"
QUBIT_WISE, FULLY = COMMUTING
SORTED, BY_DEGREE = ORDERS
CASES = (
    (NONE, ""),
    *((commuting, order) for commuting in COMMUTING for order in ORDERS),
    (SHADOWS, ""),
)
BEST = "variance-optimal"
ALLOCATIONS: Mapping[str, AbstractAllocation] = {
    "uniform": Uniform(),
    "weighted": Weighted(),
    "two-stage": TwoStage(),
    "random terms": RandomTerms(),
}
PRECISION = 1.6e-3
"""Of a value, in the unit of the Hamiltonian: chemical accuracy where that is hartree."""
RANDOM_LAYERS = 3
_SPINS = 4


def heisenberg(num_qubits: int) -> SparsePauliOp:
    """Sum of XX + YY + ZZ on an open chain."""
    terms = [(letters, [i, i + 1], 1.0) for i in range(num_qubits - 1) for letters in ("XX", "YY", "ZZ")]
    return SparsePauliOp.from_sparse_list(terms, num_qubits=num_qubits)


def maximum_cut(num_qubits: int) -> SparsePauliOp:
    """Half the sum of Z_i Z_j over the edges of a ring with one chord: diagonal."""
    edges = [(i, (i + 1) % num_qubits) for i in range(num_qubits)] + [(0, num_qubits // 2)]
    return SparsePauliOp.from_sparse_list([("ZZ", list(edge), 0.5) for edge in edges], num_qubits=num_qubits)


HAMILTONIANS: Mapping[str, Callable[[], SparsePauliOp]] = {
    **{name: partial(molecule, name) for name in MOLECULES},
    "transverse Ising": lambda: transverse_ising(_SPINS),
    "Heisenberg": lambda: heisenberg(_SPINS),
    "MaxCut": lambda: maximum_cut(_SPINS),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A Hamiltonian at a state; values are measured `repeats` times, with 0 only computed."""

    hamiltonian: str
    state: str
    repeats: int


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What part B measures, and with how many shots a value."""

    cases: tuple[Case, ...]
    total_shots: int = 400_000
    shadow_shots: int = 60
    """From shadows, which have nearly a circuit a shot: K is measured with fewer."""
    large_shadow_shots: int = 50
    """On more than six qubits."""
    shadow_repeats: int = 24


def specs(grid: Grid) -> Iterator[dict[str, Any]]:
    for case in grid.cases:
        large = hamiltonian_of(case.hamiltonian).dim[0] > 2**6
        for commuting, order in CASES:
            shadow_shots = grid.large_shadow_shots if large else grid.shadow_shots
            is_shadow = commuting == SHADOWS
            yield {
                "part": PART,
                "hamiltonian": case.hamiltonian,
                "state": case.state,
                "commuting": commuting,
                "order": order,
                "total_shots": shadow_shots if is_shadow else grid.total_shots,
                "repeats": min(case.repeats, grid.shadow_repeats) if is_shadow else case.repeats,
            }


@lru_cache(maxsize=len(HAMILTONIANS))
def hamiltonian_of(name: str) -> SparsePauliOp:
    return HAMILTONIANS[name]()


def qubits_of(hamiltonian: SparsePauliOp) -> int:
    return int(hamiltonian.dim[0]).bit_length() - 1


@lru_cache(maxsize=2 * len(HAMILTONIANS))
def _amplitudes(task: Task) -> NDArray[np.complex128]:
    """Of the state, in qiskit's order."""
    hamiltonian = hamiltonian_of(str(task.spec["hamiltonian"]))
    if task.spec["state"] == GROUND:
        return ground_state(hamiltonian)[1]
    circuit = hardware_efficient(qubits_of(hamiltonian), RANDOM_LAYERS, "cz ring")
    theta = task.generator("theta").uniform(0, 2 * np.pi, circuit.num_parameters)
    return np.asarray(quantum_info.Statevector(circuit.assign_parameters(theta)).data)


def _in_groups(task: Task) -> Objective:
    """The Hamiltonian in its measurement groups, after an empty circuit."""
    spec: dict[str, Any] = dict(task.spec)
    hamiltonian = hamiltonian_of(spec["hamiltonian"])
    grouping = Grouping()
    if spec["commuting"] in COMMUTING:
        grouping = Grouping(commuting=spec["commuting"], order=spec["order"])
    objective = Objective(QuantumCircuit(qubits_of(hamiltonian)), hamiltonian, grouping=grouping)
    return ungrouped(objective) if spec["commuting"] == NONE else objective


def objective_of(task: Task) -> Objective:
    """The Hamiltonian at the state, in its measurement groups; the same state in every grouping."""
    shared = {name: task.spec[name] for name in ("part", "hamiltonian", "state")}
    return at_state(_in_groups(task), _amplitudes(replace(task, spec=shared)))


def run(task: Task) -> dict[str, Any]:
    """Shot constants, exact and from repeated values, of every allocation, and what a shot takes on a QPU."""
    objective = objective_of(task)
    exact = float(objective.value([], backend=Exact()).values)
    is_shadow = task.spec["commuting"] == SHADOWS
    arms: dict[str, dict[str, Any]] = {name: {"constant": k} for name, k in _constants(objective, is_shadow)}
    cost = Cost()
    for name in _measured(task):
        arms[name] |= _squares([_value(task, objective, name, draw) for draw in _draws(task, name)], exact)
        cost += arms[name].pop("cost")
    return {
        "qubits": objective.num_qubits,
        "terms": len(objective.labels),
        "weight": float(objective.coefficients.abs().sum()),
        "exact": exact,
        "groups": 3**objective.num_qubits if is_shadow else len(objective.groups),
        "reduction": None if is_shadow else measurement_reduction(objective.groups),
        "pair_gates": 0.0 if is_shadow else float(np.mean([_pairs(group) for group in objective.groups])),
        "arms": arms,
        "seconds_a_shot": _seconds_a_shot(objective),
        "cost": cost,
    }


def _constants(objective: Objective, is_shadow: bool) -> Iterator[tuple[str, float]]:
    """K of every allocation; the grouping of the objective has no part in that of shadows."""
    if is_shadow:
        yield SHADOWS, float(shadow_variance(objective, []))
        return
    moments = group_moments(objective, [])
    yield BEST, moments.best_shot_constant()
    for name, allocation in ALLOCATIONS.items():
        yield name, moments.shot_constant(allocation)


def _measured(task: Task) -> Iterator[str]:
    """Allocations of which values are measured; the best one needs variances that nobody knows."""
    if task.spec["repeats"] != 0:
        yield from (SHADOWS,) if task.spec["commuting"] == SHADOWS else ALLOCATIONS


def _draws(task: Task, allocation: str) -> range:
    """Calls that the repeats need: one each where the rows of a call share what is drawn."""
    repeats: Any = task.spec["repeats"]
    return range(repeats if allocation in (SHADOWS, "random terms") else 1)


def _value(task: Task, objective: Objective, allocation: str, draw: int) -> Value:
    spec: dict[str, Any] = dict(task.spec)
    rows = spec["repeats"] // len(_draws(task, allocation))
    shared: dict[str, Any] = {
        "backend": Sampled(),
        "total_shots": spec["total_shots"],
        "rng": _generator(task, allocation, draw),
    }
    if allocation == SHADOWS:
        return ClassicalShadows().value(objective, np.zeros((rows, 0)), **shared)
    return objective.value(np.zeros((rows, 0)), allocation=ALLOCATIONS[allocation], **shared)


def _generator(task: Task, allocation: str, draw: int) -> np.random.Generator:
    return task.generator(f"{allocation} {draw}")


def _squares(values: list[Value], exact: float) -> dict[str, Any]:
    """Squared errors, as they are and as the error bars have them, by repeat."""
    found = np.concatenate([each.values.numpy() for each in values])
    errors = np.concatenate([each.std_errors.numpy() for each in values])
    return {
        "observed": ((found - exact) ** 2).tolist(),
        "reported": (errors**2).tolist(),
        "cost": sum((each.cost for each in values), Cost()),
    }


def _pairs(group: AbstractMeasurementGroup) -> int:
    """Two-qubit gates before the readout."""
    return sum(len(qubits) > 1 for _, qubits in group.named_gates)


def _seconds_a_shot(objective: Objective) -> float:
    """On a QPU, mean over groups, estimated: repetition delay, reset, turn to the basis and readout, no preparation."""
    found = []
    for group in objective.groups:
        circuit = QuantumCircuit(objective.num_qubits)
        for name, qubits in group.named_gates:
            getattr(circuit, name)(*qubits)
        circuit.measure_all()
        found.append(circuit_seconds(circuit, None))
    return Prices.load().rep_delay_seconds + float(np.mean(found))


def price(task: Task) -> Cost:
    """Circuits and shots of all values; what is drawn at random is drawn as in the run."""
    objective = _in_groups(task)
    spec: dict[str, Any] = dict(task.spec)
    circuits = shots = 0
    for name in _measured(task):
        for draw in _draws(task, name):
            rng = _generator(task, name, draw)
            if name == SHADOWS:
                plan = ClassicalShadows().plan(objective, [], total_shots=spec["total_shots"], rng=rng)
                circuits += plan.cost.circuits or 0
            else:
                allocation = ALLOCATIONS[name]
                sizes = torch.cat([group.norms for group in objective.groups])[None]
                (table,) = allocation.first(spec["total_shots"], [sizes], rng)
                rows = spec["repeats"] // len(_draws(task, name))
                circuits += rows * allocation.num_stages * int((table > 0).sum())
        shots += spec["repeats"] * spec["total_shots"]
    return Cost(circuits=circuits, shots=shots, sources={"circuits": "computed", "shots": "computed"})


def duration(task: Task) -> float:
    """Seconds, roughly."""
    if task.spec["hamiltonian"] != "LiH":
        return 3.0 if task.spec["commuting"] == SHADOWS else 1.0
    return {NONE: 25.0, SHADOWS: 10.0}.get(str(task.spec["commuting"]), 8.0)
