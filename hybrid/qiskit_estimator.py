"""The state-vector simulator as a qiskit estimator: for all code that takes a `BaseEstimatorV2`."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from io import BytesIO
from types import FunctionType
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives import BaseEstimatorV2, DataBin, PrimitiveJob, PrimitiveResult, PubResult
from qiskit.primitives.containers import BindingsArray, EstimatorPubLike
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.quantum_info import SparseObservable, SparsePauliOp

from hybrid.backends import Exact, Sampled
from hybrid.objective import Objective
from hybrid.shots import LEAST_SHOTS

# 1e12 shots a basis: thousands of bases still have a sum that is counted exactly.
_FINEST_PRECISION = 1e-6
# Entries of the covariances (bases, rows, M, M) that are held at once.
_MOST_COVARIANCES = 2**22
_STANDARD_GATES = "qiskit.circuit.library.standard_gates."


class SimulatorEstimator(BaseEstimatorV2):
    """Expectation values by exact simulation, or by shots drawn from it.

    A PUB `(circuit, observables, parameter values, precision)` may have every form that qiskit knows. Parameter
    values (*p, P) and observables (*o) broadcast, (*p) against (*o), to the shape of `data.evs` and `data.stds`.

    Precision zero gives exact values and `stds` of zero. A precision above zero draws ceil(1 / precision^2) shots,
    at least two, for every parameter row and measurement basis, as many as `BackendEstimatorV2`: a Pauli term has a
    standard error of at most the precision, a sum of terms may have a larger one. `stds` are the standard errors
    measured from these shots, zero where all shots agree. Observables of a PUB share shots; rows and PUBs do not.
    Metadata then also hold `shots`, for each row and basis, and `circuits`, rows times bases.

    Cost: one simulation of each parameter row, in batches; all distinct observables are measured on every row,
    also where rows and observables are paired one by one. Compiled circuits are kept with their observables, 8 *
    2^qubits * observables bytes for each basis. They serve every circuit with the same gates and the same numbers,
    to the last bit: one that was changed is compiled again.

    Args:
        default_precision: for PUBs and runs that name none.
        rng: where shots come from; needed only for a precision above zero.
        exact: how states are simulated.
        cache_size: compiled circuits that are kept, those last used; 0 keeps none.
    """

    def __init__(
        self,
        *,
        default_precision: float = 0.0,
        rng: np.random.Generator | None = None,
        exact: Exact | None = None,
        cache_size: int = 16,
    ) -> None:
        if cache_size < 0:
            raise ValueError(f"Argument `cache_size` must be at least 0, but is {cache_size}.")
        self.default_precision = default_precision
        self._rng = rng
        self._exact = Exact() if exact is None else exact
        self._cache_size = cache_size
        self._cache: dict[Hashable, Objective] = {}

    def run(
        self, pubs: Iterable[EstimatorPubLike], *, precision: float | None = None
    ) -> PrimitiveJob[PrimitiveResult[PubResult]]:
        """Returns a job whose `result()` has one `PubResult` for each PUB.

        All PUBs are read and compiled before it returns: circuits may be changed while the job runs.

        Raises:
            CannotCompile: for a circuit without an exact form (see `hybrid.compiling`).
            TypeError, ValueError: for a PUB that cannot be read, shapes or numbers of qubits that do not fit, a
                precision that is negative or too fine, or one without `rng`. `result()` raises ValueError for
                parameter values that are not finite.
        """
        default = self.default_precision if precision is None else precision
        job = PrimitiveJob(_results, [self._task(i, _read(i, pub, default)) for i, pub in enumerate(pubs)])
        job._submit()
        return job

    def _task(self, i: int, pub: EstimatorPub) -> Callable[[], PubResult]:
        """One PUB, ready to run, with a copy of everything that the user may change."""
        rng = None
        if pub.precision:
            if not isinstance(self._rng, np.random.Generator):
                raise ValueError(
                    f"Argument `rng` must be a numpy Generator for a precision above zero, as PUB {i} has it "
                    f"({pub.precision}), but is {self._rng!r}."
                )
            # Drawn now: jobs run in threads of their own, in any order.
            rng = np.random.default_rng(self._rng.integers(2**63, size=4))
        wanted = [parameter.name for parameter in pub.circuit.parameters]
        given = [name for names in pub.parameter_values.data for name in names]
        if sorted(given) != sorted(wanted):
            raise ValueError(f"Parameter values of PUB {i} must name {wanted}, each once, but name {given}.")
        theta = pub.parameter_values.as_array(wanted)
        listed: Any = pub.observables.ravel().tolist()
        terms = [tuple(item.items()) for item in listed]
        place = {item: column for column, item in enumerate(sorted(set(terms)))}
        columns = np.array([place[item] for item in terms], dtype=np.int64).reshape(pub.observables.shape)
        objective = self._objective(pub.circuit, tuple(place))
        metadata = {"target_precision": pub.precision, "circuit_metadata": pub.circuit.metadata}
        return partial(_result, objective, theta, columns, self._exact, rng, metadata)

    def _objective(
        self, circuit: QuantumCircuit, observables: tuple[tuple[tuple[str, float], ...], ...]
    ) -> Objective:
        """The circuit with these observables, as labels and coefficients; compiled when it is not kept."""
        content = _content(circuit)
        key = None if content is None else (content, observables)
        # Taken out and put back at the end: the order is that of last use, also when threads share the dict.
        objective = self._cache.pop(key, None)
        if objective is None:
            # SparseObservable knows projectors such as "0" and "+" too.
            listed = [SparseObservable.from_list(list(terms)) for terms in observables]
            operators = [SparsePauliOp.from_sparse_observable(item).simplify() for item in listed]
            if not any((item.paulis.x | item.paulis.z).any() for item in operators):
                operators.append(SparsePauliOp("Z" * circuit.num_qubits))  # constants alone are no objective
            objective = Objective(circuit, operators)
        if key is not None:
            self._cache[key] = objective
            for old in list(self._cache)[: -self._cache_size or None]:
                self._cache.pop(old, None)
        return objective


def _results(tasks: Sequence[Callable[[], PubResult]]) -> PrimitiveResult[PubResult]:
    return PrimitiveResult([task() for task in tasks], metadata={"version": 2})


def _result(
    objective: Objective,
    theta: np.ndarray,  # shape: (*p, P)
    columns: np.ndarray,  # shape: (*o), which of the objective's observables each one is
    exact: Exact,
    rng: np.random.Generator | None,
    metadata: dict[str, Any],
) -> PubResult:
    batch = theta.shape[:-1]
    rows = theta.reshape(math.prod(batch), theta.shape[-1])
    backend, total, piece = exact, None, len(rows) or 1
    if rng is not None:
        shots = max(LEAST_SHOTS, math.ceil(1 / metadata["target_precision"] ** 2))
        bases = len(objective.groups)
        metadata = {**metadata, "shots": shots, "circuits": len(rows) * bases}
        backend, total = Sampled(exact=exact), shots * bases
        piece = max(1, _MOST_COVARIANCES // (bases * objective.num_observables**2))
    parts = [
        objective.value(rows[start : start + piece], backend=backend, total_shots=total, rng=rng)
        for start in range(0, len(rows) or 1, piece)
    ]
    picked = (np.arange(len(rows)).reshape(batch), columns)
    evs = np.array(np.concatenate([part.values.numpy() for part in parts])[picked])
    stds = np.array(np.concatenate([part.std_errors.numpy() for part in parts])[picked])
    return PubResult(DataBin(evs=evs, stds=stds, shape=evs.shape), metadata=metadata)


def _read(i: int, pub: Any, precision: float) -> EstimatorPub:
    """The PUB as qiskit reads it; raises TypeError or ValueError in words that say which one it is."""
    try:
        if not isinstance(pub, EstimatorPub):
            # What qiskit refuses too, but less clearly.
            listed = isinstance(pub, (Sequence, np.ndarray)) and 2 <= len(pub) <= 4
            if not listed or not isinstance(pub[0], QuantumCircuit):
                raise TypeError(
                    "it must be a tuple (circuit, observables, parameter values, precision), the last two optional, "
                    f"and all PUBs in a list, but is {pub!r:.60}"
                )
            values = None if len(pub) < 3 or isinstance(pub[2], (Mapping, BindingsArray)) else pub[2]
            count = pub[0].num_parameters
            if values is not None and count != 1 and np.shape(values)[-1:] != (count,):
                shape = tuple(np.shape(values))
                raise ValueError(f"parameter values must have shape (..., {count}), but have shape {shape}")
        read = EstimatorPub.coerce(pub, precision)  # pyright: ignore[reportArgumentType]
        if read.precision and not _FINEST_PRECISION <= read.precision < math.inf:
            raise ValueError(f"precision must be 0 or from {_FINEST_PRECISION} up, but is {read.precision}")
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"PUB {i} cannot be read: {str(error).rstrip('.')}.") from None
    return read


class _Pickler(pickle.Pickler):
    """Lists the classes and functions of which a pickle has only names: a name may get another meaning."""

    def __init__(self, file: BytesIO) -> None:
        super().__init__(file, protocol=5)
        self.named: list[Hashable] = []

    def persistent_id(self, obj: Any) -> None:
        if isinstance(obj, (type, FunctionType)):
            self.named.append(obj)


def _pickled(thing: Any) -> Hashable:
    pickler = _Pickler(file := BytesIO())
    pickler.dump(thing)
    return file.getvalue(), tuple(pickler.named)


def _content(circuit: QuantumCircuit) -> Hashable | None:
    """All that the final state depends on, as a key; None where an operation cannot be pickled.

    qiskit's own `==` between circuits will not do: to it, numbers that are close are equal.
    """
    place = {qubit: i for i, qubit in enumerate(circuit.qubits)}
    items = []
    try:
        for item in circuit.data:
            # A user's subclass of a standard gate is one to qiskit, but may have a matrix of its own.
            kind = getattr(item.operation, "base_class", type(item.operation))
            if item.is_standard_gate() and kind.__module__.startswith(_STANDARD_GATES):
                angles = [p if isinstance(p, (float, Parameter)) else _pickled(p) for p in item.params]
                what = (item.name, *angles)
            else:
                what = _pickled(item.operation)
            items.append((what, tuple([place[qubit] for qubit in item.qubits])))
    except Exception:  # an operation may raise anything from its own `__reduce__`
        return None
    # The names for parameters that only the global phase has: theta has a place for them too.
    return len(place), tuple(parameter.name for parameter in circuit.parameters), tuple(items)
