"""Part D: what noise does to a derivative, against depth.

In circuits of RX, RY and an open CZ ladder qubits are depolarised, all of them after each layer, or those of each gate
after it: rho -> q rho + (1 - q) I/2, so q is the factor by which a Bloch vector shrinks, 1 - p of Qiskit's
`depolarizing_error(p, 1)`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from qiskit import QuantumCircuit

from classical.cost import Cost
from classical.noise_theory import scrambled_decay
from hybrid.ensembles import Samples
from studies.barren.circuits import Laid
from studies.barren.costs import PAIR, observable
from studies.barren.draws import UNIFORM, drawn, laws
from studies.barren.exact import FIRST, exact_moments
from studies.barren.measuring import circuit_of, moments, objective_of
from studies.barren.qubits import COST_AXES
from studies.engine import Task

PART = "noise"
LAYER, GATE = "each layer", "each gate"
PLACES = (LAYER, GATE)
_MOST_MEASURED_QUBITS = 5


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Sizes of part D; depths above `most_measured` are walked, not measured."""

    qubits: tuple[int, ...]
    layers: tuple[int, ...]
    factors: tuple[float, ...]
    most_measured: int
    samples: int


def specs(grid: Grid) -> Iterator[dict[str, Any]]:
    """Every place of noise, size, depth and factor."""
    for place, qubits in product(PLACES, grid.qubits):
        for factor in grid.factors:
            for layers in grid.layers:
                measured = layers <= grid.most_measured and qubits <= _MOST_MEASURED_QUBITS
                yield {
                    "part": PART,
                    "circuit": COST_AXES,
                    "cost": PAIR,
                    "qubits": qubits,
                    "layers": layers,
                    "bloch_factor": factor,
                    "place": place,
                    "samples": grid.samples if measured else 0,
                }


def run(task: Task) -> dict[str, Any]:
    """Second moment of the first derivative, by density matrices where there are samples, and by the walk."""
    spec: dict[str, Any] = dict(task.spec)
    each = circuit_of(COST_AXES, spec["qubits"], spec["layers"])
    objective = objective_of(each, PAIR)
    factor = float(spec["bloch_factor"])
    noise = noise_of(each, factor, spec["place"])
    exact = exact_moments(objective, PAIR, laws(UNIFORM, each), noise)
    places = sum(map(len, noise)) // spec["layers"]
    found: dict[str, Any] = {
        "exact_second_moment": None if exact is None else float(exact.derivatives[0]),
        "scrambled_decay": scrambled_decay(factor, places),
        "places": places,
    }
    cost = Cost()
    if spec["samples"]:
        rows = drawn(UNIFORM, each, spec["samples"], task.generator("angles"))
        samples = noisy_derivatives(each, rows, factor, spec["place"])
        found, cost = {**found, **moments(samples.values[:, 0].numpy())}, samples.cost
    return {"derivatives": {FIRST: found}, "cost": cost}


def noise_of(each: Laid, factor: float, place: str) -> list[Mapping[int, float]]:
    """For every gate of the program the factor by qubit: of its own after each gate, or of all after each layer."""
    return [dict.fromkeys(qubits, factor) for qubits in _noisy_qubits(each, place)]


def _noisy_qubits(each: Laid, place: str) -> list[list[int]]:
    circuit = each.circuit
    if place == GATE:
        return [[circuit.find_bit(qubit).index for qubit in item.qubits] for item in circuit.data]
    gates = len(circuit.data)
    a_layer = gates // len(each.layers)
    return [list(range(circuit.num_qubits)) if (i + 1) % a_layer == 0 else [] for i in range(gates)]


def noisy_derivatives(each: Laid, rows: np.ndarray, factor: float, place: str) -> Samples:
    """d/dt of the first parameter by parameter-shift on density matrices, exact values. Cost: 2 circuits a row."""
    from qiskit_aer.noise import NoiseModel, depolarizing_error
    from qiskit_aer.primitives import EstimatorV2

    model = NoiseModel()
    if factor < 1:
        model.add_all_qubit_quantum_error(depolarizing_error(1 - factor, 1), ["id"])
    options = {"noise_model": model, "method": "density_matrix", "max_parallel_threads": 1}
    estimator = EstimatorV2(options={"backend_options": options})
    shifted = np.stack([rows, rows])
    shifted[0, :, 0] += math.pi / 2
    shifted[1, :, 0] -= math.pi / 2
    circuit = _with_idle_gates(each, place)
    order = {parameter: i for i, parameter in enumerate(each.parameters)}
    columns = [order[parameter] for parameter in circuit.parameters]
    pub = (circuit, observable(PAIR, each), shifted[..., columns])
    values = np.asarray(estimator.run([pub], precision=0.0).result()[0].data["evs"], dtype=np.float64)  # pyright: ignore
    slopes = torch.from_numpy((values[0] - values[1]) / 2)[:, None]
    return Samples(
        values=slopes,
        noise_variances=torch.zeros_like(slopes),
        cost=Cost(circuits=2 * len(rows), sources={"circuits": "computed"}),
    )


def _with_idle_gates(each: Laid, place: str) -> QuantumCircuit:
    """The circuit with an identity where noise stands."""
    circuit = QuantumCircuit(each.circuit.num_qubits)
    for item, noisy in zip(each.circuit.data, _noisy_qubits(each, place), strict=True):
        circuit.append(item.operation, [each.circuit.find_bit(qubit).index for qubit in item.qubits])
        if noisy:
            circuit.id(noisy)
    return circuit


def duration(task: Task) -> float:
    """Seconds, roughly."""
    spec: dict[str, Any] = dict(task.spec)
    return 0.1 + spec["samples"] * spec["layers"] * 4.0 ** spec["qubits"] / 4e6
