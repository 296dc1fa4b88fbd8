"""Are error bars right? Every rule's predicted squared error beside the observed one, on a table of circuits.

`python studies/error_bars.py` prints a Markdown table. For each circuit and rule, gradients are drawn anew many times
at one budget, at one point; a cell is the ratio of the mean of `std_errors` squared to the mean squared distance from
the exact gradient, summed over components, with its 95 % interval. One is right; biases count on both sides.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp

from hybrid import (
    SPSA,
    Adjoint,
    CommutingGenerators,
    CoordinateSubset,
    FiniteDifference,
    HadamardTest,
    Objective,
    ParameterShift,
)
from hybrid.allocation import RandomTerms, TwoStage, Weighted
from hybrid.backends import Exact, Sampled
from hybrid.gradients import AbstractShotEstimator
from hybrid.gradients.shared_circuits import CannotShare
from studies.circuits import hardware_efficient, neighbour_zz, transverse_ising
from studies.engine.statistics import Estimate, ratio

SHOTS_A_PIECE = 40
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule; `draws_once`: one random choice holds for all rows of a call, so every repeat is a call of its own."""

    estimator: AbstractShotEstimator
    draws_once: bool = False


RULES: Mapping[str, Rule] = {
    "parameter-shift": Rule(estimator=ParameterShift()),
    "parameter-shift, s = 1": Rule(estimator=ParameterShift(shift=1.0, rule="occurrences")),
    "parameter-shift, by frequency": Rule(estimator=ParameterShift(rule="frequencies")),
    "parameter-shift, weighted": Rule(estimator=ParameterShift(allocation=Weighted())),
    "parameter-shift, two-stage": Rule(estimator=ParameterShift(allocation=TwoStage()), draws_once=True),
    "parameter-shift, random terms": Rule(
        estimator=ParameterShift(allocation=RandomTerms()), draws_once=True
    ),
    "Hadamard test": Rule(estimator=HadamardTest()),
    "commuting generators": Rule(estimator=CommutingGenerators()),
    "finite differences": Rule(estimator=FiniteDifference()),
    "SPSA": Rule(estimator=SPSA()),
    "SPSA, 8 directions": Rule(estimator=SPSA(directions=8)),
    "coordinate subset": Rule(estimator=CoordinateSubset(count=4), draws_once=True),
}


def product() -> Objective:
    """One RY a qubit, mean of Z: every slope its own sine."""
    circuit = QuantumCircuit(4)
    for qubit, angle in enumerate(ParameterVector("t", 4)):
        circuit.ry(angle, qubit)
    terms = [("Z", [qubit], 0.25) for qubit in range(4)]
    return Objective(circuit, SparsePauliOp.from_sparse_list(terms, num_qubits=4))


def layered() -> Objective:
    """Two layers of RY, RZ and CZ, transverse Ising: two bases."""
    return Objective(hardware_efficient(4, 2, "cz ring"), transverse_ising(4))


def shared() -> Objective:
    """Shared, scaled and controlled parameters, coefficients of very different size."""
    a, b, c = ParameterVector("t", 3)
    circuit = QuantumCircuit(3)
    circuit.ry(a, 0)
    circuit.crx(2 * b, 0, 1)
    circuit.cp(c, 1, 2)
    circuit.ry(a - b, 2)
    circuit.crz(c, 2, 0)
    circuit.rx(0.5 * b, 1)
    return Objective(circuit, SparsePauliOp(["ZZI", "XIX", "IYY", "ZIZ"], np.array([1.0, 0.5, 0.1, -0.7])))


def alternating() -> Objective:
    """QAOA, two rounds on a ring: many rotations to a parameter."""
    gammas, betas = ParameterVector("g", 2), ParameterVector("b", 2)
    circuit = QuantumCircuit(4)
    circuit.h(range(4))
    for gamma, beta in zip(gammas, betas, strict=True):
        for qubit in range(4):
            circuit.rzz(gamma, qubit, (qubit + 1) % 4)
        for qubit in range(4):
            circuit.rx(beta, qubit)
    return Objective(circuit, neighbour_zz(4))


def commuting() -> Objective:
    """Commuting generators of X strings, read off one circuit."""
    circuit = QuantumCircuit(4)
    angles = iter(ParameterVector("t", 7))
    for qubit in range(4):
        circuit.rx(next(angles), qubit)
    for qubit in range(3):
        circuit.rxx(next(angles), qubit, qubit + 1)
    return Objective(circuit, SparsePauliOp(["IIIZ", "ZIII"], np.array([1.0, 0.5])))


CIRCUITS: Mapping[str, Callable[[], Objective]] = {
    "product": product,
    "layered": layered,
    "shared": shared,
    "alternating": alternating,
    "commuting": commuting,
}


def calibration(rule: Rule, objective: Objective, repeats: int) -> Estimate:
    """Predicted over observed squared error of `repeats` gradients; raises CannotShare where the rule refuses."""
    theta = np.random.default_rng(SEED).uniform(0.2, 1.4, objective.num_params)
    exact = Adjoint().gradient(objective, theta, backend=Exact()).values.numpy()
    estimator = rule.estimator
    pieces = estimator.price(objective).circuits or 0
    rows = 1 if rule.draws_once else repeats
    predicted, observed = [], []
    for seed in np.random.SeedSequence(SEED).spawn(repeats // rows):
        gradient = estimator.gradient(
            objective,
            np.tile(theta, (rows, 1)),
            backend=Sampled(),
            total_shots=SHOTS_A_PIECE * pieces,
            rng=np.random.default_rng(seed),
        )
        predicted.append((gradient.std_errors.numpy() ** 2).sum(-1))
        observed.append(((gradient.values.numpy() - exact) ** 2).sum(-1))
    return ratio(np.concatenate(predicted), np.concatenate(observed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20_000, help="gradients a cell (default 20,000)")
    parser.add_argument(
        "--calls", type=int, default=4_000, help="for rules that draw once a call (default 4,000)"
    )
    asked = parser.parse_args()
    print(f"Predicted over observed squared error, {SHOTS_A_PIECE} shots a circuit and basis.\n")
    print("| rule |", " | ".join(CIRCUITS), "|")
    print("|---|", "---|" * len(CIRCUITS), sep="")
    for name, rule in RULES.items():
        cells = []
        for make in CIRCUITS.values():
            try:
                found = calibration(rule, make(), asked.calls if rule.draws_once else asked.repeats)
                cells.append(f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]")
            except CannotShare:
                cells.append("refused")
        print(f"| {name} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
