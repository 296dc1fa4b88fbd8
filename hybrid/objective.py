"""A circuit and what is measured on it: the function whose gradient is wanted."""

from __future__ import annotations

import math
import operator as operators
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import Pauli, SparsePauliOp
from torch import Tensor

from classical.cost import Cost
from classical.measurement import AbstractMeasurementGroup
from classical.program import Program
from hybrid.allocation import AbstractAllocation, Uniform
from hybrid.allocation.base import checked_allocation
from hybrid.circuits import FreeCircuits
from hybrid.compiling import compile_circuit
from hybrid.grouping import Grouping, measurement_groups
from hybrid.plan import Part, Plan, allocated
from hybrid.shots import whole_shots
from hybrid.target import Target

if TYPE_CHECKING:
    from hybrid.backends.base import AbstractBackend

_T = TypeVar("_T")
_MOST_KEPT = 1024


@dataclass(frozen=True, kw_only=True, eq=False)
class Value:
    """Expectation values with their errors.

    `values`, `std_errors`: shape (*batch), or (*batch, M) for a list of M observables; float64, detached.
    `std_errors` is zero where values are exact.
    """

    values: Tensor
    std_errors: Tensor
    cost: Cost


class Objective:
    """A compiled circuit with one observable or a list of them.

    Args:
        circuit: qiskit circuit; its free parameters are theta, in the order of `circuit.parameters`.
        observable: `SparsePauliOp` or a list; qiskit's qubit order.
        parameters: another order of theta, or more parameters than the circuit uses.
        grouping: which terms are measured together: a `Grouping`, or "qubit-wise" or "fully".

    Raises:
        CannotCompile: when the circuit has no exact form (see `hybrid.compiling`).
        ValueError: when an observable acts on another number of qubits, is not Hermitian or constant.
    """

    def __init__(
        self,
        circuit: QuantumCircuit,
        observable: SparsePauliOp | Sequence[SparsePauliOp],
        *,
        parameters: Sequence[Parameter] | None = None,
        grouping: Grouping | str = "qubit-wise",
    ) -> None:
        if not isinstance(circuit, QuantumCircuit):
            raise TypeError(
                f"Argument `circuit` must be a qiskit QuantumCircuit, but is a {type(circuit).__name__}; "
                "`from_pennylane` takes QNodes and tapes."
            )
        if not isinstance(observable, (SparsePauliOp, Pauli, Sequence)):
            raise TypeError(
                "Argument `observable` must be a qiskit SparsePauliOp or a list of them, but is a "
                f"{type(observable).__name__}; `SparsePauliOp.from_operator` converts a matrix."
            )
        self.circuit = circuit
        self.is_scalar = isinstance(observable, (SparsePauliOp, Pauli))
        listed = [observable] if isinstance(observable, (SparsePauliOp, Pauli)) else list(observable)
        if not listed:
            raise ValueError("Argument `observable` must be at least one observable, but is an empty list.")
        self.observables = tuple(_checked(item, circuit.num_qubits) for item in listed)
        self.parameters = tuple(circuit.parameters if parameters is None else parameters)
        if len(set(self.parameters)) < len(self.parameters):
            names = [parameter.name for parameter in self.parameters]
            raise ValueError(f"Argument `parameters` must hold each parameter once, but holds {names}.")
        program = compile_circuit(circuit, self.parameters)
        constants, self.labels, self.coefficients = _terms(self.observables, circuit.num_qubits)
        if not self.labels:
            raise ValueError(
                f"Argument `observable` is constant, {constants.tolist()}: give it a term other than "
                "the identity."
            )
        groups = measurement_groups(self.labels, self.coefficients, grouping)
        self.target = Target(program=program, groups=groups, constants=constants)
        self._kept: dict[Any, Any] = {}

    def __repr__(self) -> str:
        return (
            f"Objective(qubits={self.num_qubits}, parameters={self.num_params}, "
            f"rotations={self.program.num_rotations}, observables={self.num_observables}, bases={len(self.groups)})"
        )

    @property
    def program(self) -> Program:
        """The compiled circuit."""
        return self.target.program

    @property
    def groups(self) -> tuple[AbstractMeasurementGroup, ...]:
        """Terms that are measured together."""
        return self.target.groups

    @property
    def constants(self) -> Tensor:
        """What the identity adds to each observable, shape (M,)."""
        return self.target.constants

    @property
    def num_qubits(self) -> int:
        return self.program.num_qubits

    @property
    def num_params(self) -> int:
        return self.program.num_params

    @property
    def num_observables(self) -> int:
        return len(self.observables)

    def places(self, wrt: Sequence[Parameter | int] | None) -> Tensor:
        """Places in theta of parameters, or of all; raises ValueError for a stranger or one that is named twice."""
        if wrt is None:
            return torch.arange(self.num_params)
        if isinstance(wrt, str) or not isinstance(wrt, Iterable):
            raise TypeError(
                f"Argument `wrt` must be a list of parameters or places in theta, but is {wrt!r}."
            )
        by_parameter = {parameter: i for i, parameter in enumerate(self.parameters)}
        places = [by_parameter.get(item) if isinstance(item, Parameter) else _whole(item) for item in wrt]
        if not places or any(place is None or not 0 <= place < self.num_params for place in places):
            raise ValueError(
                f"Argument `wrt` must hold parameters of the objective or their places in theta, 0 to "
                f"{self.num_params - 1}, but is {list(wrt)}."
            )
        if len(set(places)) < len(places):
            raise ValueError(f"Argument `wrt` must hold each parameter once, but is {list(wrt)}.")
        return torch.tensor(places)

    def kept(self, key: object, make: Callable[[], _T]) -> _T:
        """What `make` gives, made once for this objective and key: targets that a rule derives, say.

        The oldest is forgotten where there are many.
        """
        if key not in self._kept:
            if len(self._kept) == _MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = make()
        return self._kept[key]

    def rows(self, theta: Tensor | np.ndarray | Sequence[float]) -> tuple[Tensor, tuple[int, ...]]:
        """Parameters as rows (B, P) of float64, and the batch shape that they had.

        Raises:
            ValueError: for a wrong shape or a value that is not finite.
        """
        # By way of numpy, where a list of floats is float64.
        try:
            rows = theta if isinstance(theta, Tensor) else torch.from_numpy(np.array(theta))
        except (TypeError, ValueError):
            raise TypeError(
                f"Argument `theta` must be numbers of shape (..., {self.num_params}), but is {theta!r}."
            ) from None
        if rows.is_complex():
            raise ValueError("Argument `theta` must be real, but is complex.")
        rows = rows.to(torch.float64)
        if rows.ndim == 0 or rows.shape[-1] != self.num_params:
            raise ValueError(
                f"Argument `theta` must have shape (..., {self.num_params}), one entry for each parameter of the "
                f"circuit, but has shape {tuple(rows.shape)}."
            )
        if not torch.isfinite(rows).all():
            where = (~torch.isfinite(rows)).nonzero()[0].tolist()
            raise ValueError(
                f"Argument `theta` must be finite, but entry {where} is {rows[tuple(where)].item()}."
            )
        batch = tuple(rows.shape[:-1])
        return rows.reshape(math.prod(batch), self.num_params), batch

    def value(
        self,
        theta: Tensor | np.ndarray | Sequence[float],
        *,
        backend: AbstractBackend,
        total_shots: int | None = None,
        rng: np.random.Generator | None = None,
        allocation: AbstractAllocation | None = None,
    ) -> Value:
        """Returns expectation values at `theta`, shape (*batch, P).

        Cost: one circuit a row and measurement basis; `total_shots` a row, shared by `allocation`, evenly by
        default. Raises `BudgetTooSmall` when there are fewer than two shots a basis.
        """
        rows, batch = self.rows(theta)
        if allocation is not None:
            checked_allocation(allocation)
        part = Part(
            target=self.target,
            circuits=FreeCircuits(angles=self.program.angles(rows.detach())[None]),
            weights=torch.ones(1, 1, 1, 1, dtype=torch.float64),
        )
        allocation = Uniform() if allocation is None else allocation
        total = None if total_shots is None else whole_shots(total_shots)
        plan = Plan(
            estimator="value",
            objective=self,
            wrt=torch.zeros(0, dtype=torch.int64),
            parts=allocated([part], total, allocation, rng),
            total_shots=total,
            allocation=allocation,
            batch=batch,
        )
        backend.check(total_shots, rng)
        (measured,) = plan.run(backend, rng)
        values = self.shaped(measured.values[0], batch)
        variances = measured.variances()[0].clamp_min(0)
        return Value(values=values, std_errors=self.shaped(variances.sqrt(), batch), cost=measured.cost)

    def shaped(self, values: Tensor, batch: tuple[int, ...]) -> Tensor:
        """Values (B, M, ...) as (*batch, M, ...), without M where there is a single observable."""
        if self.is_scalar:
            return values[:, 0].reshape((*batch, *values.shape[2:]))
        return values.reshape((*batch, *values.shape[1:]))


def _whole(item: Any) -> int | None:
    """A whole number, numpy's too, as an int; None for anything else."""
    if isinstance(item, bool):
        return None
    try:
        return operators.index(item)
    except TypeError:
        return None


def _checked(observable: SparsePauliOp | Pauli, num_qubits: int) -> SparsePauliOp:
    if not isinstance(observable, (SparsePauliOp, Pauli)):
        raise TypeError(
            f"Argument `observable` must be a qiskit SparsePauliOp or a list of them, but holds a "
            f"{type(observable).__name__}."
        )
    if SparsePauliOp(observable).parameters:
        raise ValueError(
            f"Argument `observable` must have numbers as coefficients, but has the parameters "
            f"{[parameter.name for parameter in SparsePauliOp(observable).parameters]}."
        )
    operator = SparsePauliOp(observable).simplify(atol=0, rtol=0)
    if operator.num_qubits != num_qubits:
        raise ValueError(
            f"Argument `observable` must act on {num_qubits} qubits as the circuit does, but acts on "
            f"{operator.num_qubits}."
        )
    coefficients = np.asarray(operator.coeffs, dtype=complex)
    if not np.isfinite(coefficients).all() or np.abs(np.imag(coefficients)).max() > 1e-12:
        raise ValueError(
            f"Argument `observable` must be Hermitian with finite real coefficients, but has {coefficients}."
        )
    return operator


def _terms(observables: Sequence[SparsePauliOp], num_qubits: int) -> tuple[Tensor, list[str], Tensor]:
    """Constants (M,), labels with qubit 0 first, and coefficients (terms, M) of all observables together."""
    table: dict[str, list[float]] = {}
    for m, operator in enumerate(observables):
        for label, coefficient in operator.to_list():
            row = table.setdefault(label[::-1], [0.0] * len(observables))
            row[m] += float(coefficient.real)
    constants = torch.tensor(table.pop("I" * num_qubits, [0.0] * len(observables)), dtype=torch.float64)
    coefficients = torch.tensor(list(table.values()), dtype=torch.float64).reshape(-1, len(observables))
    kept = [i for i in range(len(coefficients)) if coefficients[i].any()]
    labels = list(table)
    return constants, [labels[i] for i in kept], coefficients[kept]
