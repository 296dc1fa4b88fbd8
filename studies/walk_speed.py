"""What exact variances take, and where they stand: the dense walk, matrix-product states, Lie closure, ensembles.

`python studies/walk_speed.py` prints a table; all of it takes about five minutes on two cores.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from classical.lie_algebra import lie_closure
from classical.pauli_walk import second_moments
from classical.program import Program
from classical.sampled_walk import sampled_moment
from classical.variance_theory import FIXED_RX, deep_first
from classical.walk_network import derivative_moment, network_moments
from hybrid.ensembles import random_axis_rows, sampled_own_derivatives
from studies.barren.circuits import laid
from studies.barren.costs import PAIR
from studies.barren.measuring import objective_of
from studies.barren.qubits import COST_AXES, RANDOM_AXES

# Qubits, layers, tolerance.
SINGLE = (
    (30, 30, 1e-4),
    (30, 60, 1e-4),
    (50, 50, 1e-4),
    (50, 200, 1e-2),
    (50, 400, 1e-2),
    (100, 100, 1e-3),
    (100, 400, 1e-2),
)
ALL = ((50, 50, 1e-2), (50, 50, 1e-3))


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """A result, and the seconds that it took."""
    start = time.perf_counter()
    found = call()
    return found, time.perf_counter() - start


def layered(qubits: int, layers: int) -> Program:
    """Layers of RX, RY and an open CZ ladder."""
    return objective_of(laid(COST_AXES, qubits, layers), PAIR).program


def edge(qubits: int) -> list[tuple[str, float]]:
    """Z0 Z1, qubit 0 first."""
    return [("ZZ" + "I" * (qubits - 2), 1.0)]


def rows(quick: bool) -> list[tuple[str, str, str]]:
    """What, its value, and the seconds."""
    found = []
    for qubits, layers, relative in SINGLE[: 1 if quick else None]:
        program, terms = layered(qubits, layers), edge(qubits)
        one, seconds = timed(lambda p=program, t=terms, r=relative: derivative_moment(p, t, 0, relative=r))
        limit = deep_first(qubits, 1.0, FIXED_RX)
        found.append(
            (
                f"{qubits} qubits, {layers} layers, one derivative to {relative:g}",
                f"{one.value:.5e}, moved by {one.moved:.1e} at bond {one.bond}; deep limit {limit:.5e}",
                f"{seconds:.1f}",
            )
        )
    for qubits, layers, relative in () if quick else ALL:
        program, terms = layered(qubits, layers), edge(qubits)
        _, alone = timed(lambda p=program, t=terms, r=relative: derivative_moment(p, t, 0, relative=r))
        every, seconds = timed(lambda p=program, t=terms, r=relative: network_moments(p, t, relative=r))
        found.append(
            (
                f"{qubits} qubits, {layers} layers, all {len(every.derivatives):,} derivatives to {relative:g}",
                f"{seconds / alone:.1f} times one; {int(every.derivatives.isnan().sum())} too small to stand",
                f"{seconds:.1f}",
            )
        )
    program = layered(8, 10 if quick else 100)
    dense, seconds = timed(lambda: second_moments(program, edge(8)))
    found.append(
        (
            f"8 qubits, dense, all {len(dense.derivatives):,} derivatives",
            f"{dense.loss:.5e} loss",
            f"{seconds:.1f}",
        )
    )
    walks = 10_000 if quick else 1_000_000
    program = layered(10, 10)
    sampled, seconds = timed(
        lambda: sampled_moment(program, edge(10), rotation=0, walks=walks, rng=np.random.default_rng(0))
    )
    exact = float(second_moments(program, edge(10)).derivatives[0])
    found.append(
        (
            f"10 qubits, 10 layers, {walks:,} sampled walks",
            f"{sampled.value:.4e} +- {sampled.std_error:.1e}, exactly {exact:.4e}",
            f"{seconds:.1f}",
        )
    )
    ising = [edge_label("ZZ", q, 16) for q in range(15)] + [edge_label("X", q, 16) for q in range(16)]
    algebra, seconds = timed(lambda: lie_closure(ising))
    found.append(
        ("Lie closure, open Ising chain, 16 qubits", f"{algebra.dimension} elements", f"{seconds:.2f}")
    )
    count, qubits, layers = (10, 4, 5) if quick else (1_000, 10, 50)
    objective = objective_of(laid(RANDOM_AXES, qubits, layers), PAIR)
    angles, axes = random_axis_rows(count, qubits * layers, np.random.default_rng(0))
    samples, seconds = timed(lambda: sampled_own_derivatives(objective, angles, axes[:, 0]))
    found.append(
        (
            f"{count:,} random circuits, {qubits} qubits, {layers} layers, one derivative each",
            f"mean square {float((samples.values**2).mean()):.3e}",
            f"{seconds:.1f}",
        )
    )
    return found


def edge_label(letters: str, first: int, qubits: int) -> str:
    """Letters from a qubit on, identities elsewhere."""
    return "I" * first + letters + "I" * (qubits - first - len(letters))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, seconds")
    print("| what | value | seconds |\n|---|---|---|")
    for what, value, seconds in rows(parser.parse_args().quick):
        print(f"| {what} | {value} | {seconds} |", flush=True)


if __name__ == "__main__":
    main()
