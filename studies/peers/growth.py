"""How our own time and memory grow with qubits, layers, parameters and batch: measured points and fitted exponents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from qiskit import QuantumCircuit

from classical.meter import Meter
from hybrid import Adjoint, Objective, ParameterShift
from hybrid.backends import Exact
from hybrid.gradients import AbstractGradientEstimator
from studies.circuits import hardware_efficient, neighbour_zz
from studies.engine.statistics import Estimate, fit_power
from studies.peers.route import OURS, Route
from studies.peers.tables import Record, Table
from studies.peers.timing import take_turns

WORKLOAD = "growth"
# Peaks below this are noise of the allocator.
_LEAST_BYTES = 4 * 2**20
_ESTIMATORS: Sequence[AbstractGradientEstimator] = (ParameterShift(), Adjoint())


@dataclass(frozen=True, kw_only=True)
class Point:
    """One size: layers of RY, RZ and a CZ ring; `params` of the angles are free, all by default."""

    qubits: int
    layers: int
    batch: int = 1
    params: int | None = None

    @property
    def num_params(self) -> int:
        return 2 * self.qubits * self.layers if self.params is None else self.params


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Sizes along one axis, what `size` calls it and where it stands."""

    axis: str
    size: Callable[[Point], float]
    points: tuple[Point, ...]
    fixed: str


def _sweeps(
    qubits: Sequence[int], layers: Sequence[int], params: Sequence[int], batches: Sequence[int]
) -> tuple[Sweep, ...]:
    deepest, widest = max(layers), min(10, max(qubits))
    return (
        Sweep(
            axis="2^qubits",
            size=lambda point: 2.0**point.qubits,
            points=tuple(Point(qubits=n, layers=4) for n in qubits),
            fixed="4 layers, P = 8 a qubit",
        ),
        Sweep(
            axis="layers",
            size=lambda point: point.layers,
            points=tuple(Point(qubits=widest, layers=count) for count in layers),
            fixed=f"{widest} qubits, P = {2 * widest} a layer",
        ),
        Sweep(
            axis="parameters",
            size=lambda point: point.num_params,
            points=tuple(Point(qubits=widest, layers=deepest, params=count) for count in params),
            fixed=f"{widest} qubits, {deepest} layers, other angles fixed",
        ),
        Sweep(
            axis="batch",
            size=lambda point: point.batch,
            points=tuple(Point(qubits=min(8, max(qubits)), layers=4, batch=rows) for rows in batches),
            fixed=f"{min(8, max(qubits))} qubits, 4 layers",
        ),
    )


SWEEPS = _sweeps((10, 11, 12, 13, 14, 15, 16), (4, 8, 16, 32), (20, 40, 80, 160, 320, 640), (4, 16, 64, 256))
QUICK_SWEEPS = _sweeps((2, 3, 4), (1, 2, 3), (2, 4, 8), (1, 2, 4))


def routes(point: Point) -> list[Route]:
    """Our exact gradients at a size."""
    circuit = hardware_efficient(point.qubits, point.layers, "cz ring")
    rng = np.random.default_rng(0)
    objective = Objective(_partly_fixed(circuit, point.num_params, rng), neighbour_zz(point.qubits))
    theta = rng.uniform(0, 2 * np.pi, (point.batch, point.num_params))

    def route(estimator: AbstractGradientEstimator) -> Route:
        def run() -> np.ndarray:
            return estimator.gradient(objective, theta, backend=Exact()).values.numpy()

        return Route(method=estimator.name, run=run, toolkit=OURS)

    return [route(estimator) for estimator in _ESTIMATORS]


def _partly_fixed(circuit: QuantumCircuit, free: int, rng: np.random.Generator) -> QuantumCircuit:
    """The circuit with `free` of its parameters, spread evenly, and numbers for the others."""
    parameters = list(circuit.parameters)
    kept = {round(i) for i in np.linspace(0, len(parameters) - 1, free)}
    numbers = {p: rng.uniform(0, 2 * np.pi) for i, p in enumerate(parameters) if i not in kept}
    return circuit.assign_parameters(numbers)


def measured(sweeps: Sequence[Sweep], *, repeats: int, budget: float) -> list[Record]:
    """A record a point and method: seconds as in the comparison, and the peak memory of one gradient."""
    records: list[Record] = []
    for sweep in sweeps:
        for point in sweep.points:
            timings, _ = take_turns(routes(point), repeats=repeats, budget=budget)
            for timing in timings:
                with Meter(memory=True) as meter:
                    timing.route.run()
                records.append(
                    {
                        "axis": sweep.axis,
                        "fixed": sweep.fixed,
                        "size": sweep.size(point),
                        "qubits": point.qubits,
                        "layers": point.layers,
                        "parameters": point.num_params,
                        "batch": point.batch,
                        "method": timing.route.method,
                        "median ms": timing.median * 1e3,
                        "low ms": timing.low * 1e3,
                        "high ms": timing.high * 1e3,
                        "repeats": len(timing.seconds),
                        "peak bytes": meter.cost.peak_bytes,
                    }
                )
    return records


def fitted(records: Sequence[Mapping[str, object]]) -> list[Record]:
    """Exponents of `y = c * size**exponent` with 95 % intervals, one for each axis, method and quantity.

    A fit holds over the range of sizes that stands beside it, and the interval is that of the scatter about one
    power law: where growth bends, the residual shows it. Memory is fitted from 4 MiB on.
    """
    fits: list[Record] = []
    for axis, method in dict.fromkeys((str(record["axis"]), str(record["method"])) for record in records):
        own = [record for record in records if record["axis"] == axis and record["method"] == method]
        for quantity, least in (("median ms", 0.0), ("peak bytes", float(_LEAST_BYTES))):
            kept = [(_number(r["size"]), _number(r[quantity])) for r in own if _number(r[quantity]) > least]
            if len({size for size, _ in kept}) < 2:
                continue
            sizes, values = zip(*kept, strict=True)
            fit = fit_power(sizes, values)
            slope: Estimate = fit.slope
            fits.append(
                {
                    "axis": axis,
                    "fixed": str(own[0]["fixed"]),
                    "method": method,
                    "quantity": "time" if quantity == "median ms" else "peak memory",
                    "exponent": slope.value,
                    "low": slope.low,
                    "high": slope.high,
                    "residual": fit.residual,
                    "from": min(sizes),
                    "to": max(sizes),
                    "points": len(kept),
                }
            )
    return fits


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def tables(sweeps: Sequence[Sweep], *, repeats: int, budget: float) -> list[Table]:
    """Points and fits."""
    records = measured(sweeps, repeats=repeats, budget=budget)
    return [
        Table(
            name="growth_fits",
            title="Growth of our gradients: exponents with 95 % intervals",
            records=fitted(records),
        ),
        Table(name="growth", title="Growth of our gradients: the points", records=records),
    ]
