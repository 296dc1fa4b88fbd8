"""How long a whole parameter-shift gradient takes: the tangent pass beside PennyLane, in one run.

`python studies/peer_speed.py` prints a table. The two take turns, warm, in one process; figures are medians over
repeats with their range. The gradients are compared, so a fast wrong answer would show.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hybrid import Adjoint, Objective, ParameterShift
from hybrid.backends import Exact
from studies.circuits import hardware_efficient, neighbour_zz
from studies.engine.provenance import provenance

# Qubits and layers of the circuits of RY, RZ and a CZ ring; the observable is the sum of Z_i Z_{i+1}.
SIZES = ((8, 6), (12, 8))


def ours(qubits: int, layers: int, theta: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """Gradients by this toolkit."""
    objective = Objective(hardware_efficient(qubits, layers, "cz ring"), neighbour_zz(qubits))
    return {
        "tangent pass, parameter-shift": lambda: (
            ParameterShift().gradient(objective, theta, backend=Exact()).values.numpy()
        ),
        "adjoint": lambda: Adjoint().gradient(objective, theta, backend=Exact()).values.numpy(),
    }


def pennylane(qubits: int, layers: int, theta: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """Gradients by PennyLane's lightning.qubit, its fast state-vector device."""
    import pennylane as qml

    device = qml.device("lightning.qubit", wires=qubits)

    def circuit(values: Any) -> Any:
        angles = iter(values)
        for _ in range(layers):
            for qubit in range(qubits):
                qml.RY(next(angles), qubit)
                qml.RZ(next(angles), qubit)
            for qubit in range(qubits):
                qml.CZ([qubit, (qubit + 1) % qubits])
        terms = [qml.Z(i) @ qml.Z(i + 1) for i in range(qubits - 1)]
        return qml.expval(qml.sum(*terms))

    start = qml.numpy.array(theta, requires_grad=True)
    return {
        f"lightning, {method}": _gradient(qml.grad(qml.QNode(circuit, device, diff_method=method)), start)
        for method in ("parameter-shift", "adjoint")
    }


def _gradient(function: Callable[[Any], Any], start: Any) -> Callable[[], np.ndarray]:
    return lambda: np.asarray(function(start))


def measure(qubits: int, layers: int, repeats: int) -> None:
    """Prints medians, ranges and ratios of one size."""
    theta = np.random.default_rng(0).uniform(0, 2 * np.pi, 2 * qubits * layers)
    runs = {**ours(qubits, layers, theta), **pennylane(qubits, layers, theta)}
    results = {name: run() for name, run in runs.items()}  # the warm-up
    first = next(iter(results.values()))
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    reference = statistics.median(seconds["lightning, parameter-shift"])
    print(f"\n{qubits} qubits, {layers} layers, P = {len(theta)}; {repeats} repeats in turn")
    print(f"{'':32}{'median ms':>10}{'min':>9}{'max':>9}{'x':>8}{'deviation':>11}")
    for name, times in seconds.items():
        low, middle, high = min(times), statistics.median(times), max(times)
        deviation = np.abs(results[name] - first).max()
        print(
            f"{name:32}{middle * 1e3:10.2f}{low * 1e3:9.2f}{high * 1e3:9.2f}{reference / middle:8.1f}{deviation:11.1e}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="timed repeats of each run (default 5)")
    repeats = parser.parse_args().repeats
    known = provenance([], workers=0)
    print(
        f"{known['processor']}, {known['cores']} cores, {torch.get_num_threads()} threads; {known['packages']}"
    )
    print(
        "x: times faster than lightning's parameter-shift; deviation: largest, from the first row's gradient"
    )
    for qubits, layers in SIZES:
        measure(qubits, layers, repeats)


if __name__ == "__main__":
    main()
