"""An objective as a torch function: values from a backend, derivatives from an estimator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from classical.cost import Cost
from hybrid.backends.base import AbstractBackend
from hybrid.backends.exact import Exact
from hybrid.gradients.backprop import Backprop
from hybrid.gradients.base import (
    AbstractGradientEstimator,
    AbstractShotEstimator,
    AbstractSimulatorEstimator,
    Gradient,
)
from hybrid.gradients.parameter_shift import ParameterShift
from hybrid.objective import Objective
from hybrid.shots import LEAST_SHOTS, BudgetTooSmall, whole_shots


class NoSecondDerivative(RuntimeError):
    """The derivative of a gradient was asked for, from an estimator that gives first derivatives."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ThetaErrors:
    """Errors of a loss gradient by the theta of one call.

    Args:
        variances: shape (*batch, P) as theta, noise of each entry, zero for those that were not differentiated. Rows
            are independent.
        biases: same shape; estimated mean errors.
        places: places in theta that were differentiated.
    """

    variances: Tensor
    biases: Tensor
    places: Tensor

    def __add__(self, other: ThetaErrors) -> ThetaErrors:
        """Of the sum of two gradients by the same theta that were measured independently."""
        return ThetaErrors(
            variances=self.variances + other.variances,
            biases=self.biases + other.biases,
            places=self.places,
        )


class Differentiable:
    """Calls with theta (*batch, P) give values (*batch), or (*batch, M) for a list; differentiable by torch.

    Backward multiplies the upstream derivative into the estimator's gradient, so any loss may follow. What was run
    since the last `take_cost()` is added up.

    `errors_by_call` holds the errors of the loss gradient for each call that a backward pass has reached since the last
    call, in the order of the calls, so for a loss of several calls those of all of them; `errors` is the last. A call
    that is passed again adds to its errors, for every pass measures anew. They are the errors at the values that the
    forward pass measured and at the derivatives that came from behind, whose own noise is not in them.

    Args:
        estimator: gradient rule, ParameterShift by default; `Backprop` differentiates the simulation itself.
        backend: where circuits run, Exact by default.
        total_shots: shots of one gradient, that is for each row of the batch.
        value_shots: shots of one forward value, for each row; as many as one of the gradient's circuits gets, by
            default, and at least two for each measurement basis.
        rng: for shots and random directions.

    Raises:
        ValueError: for shots on an exact backend or none on a sampling one.
        NeedsSimulator: for an estimator that differentiates a simulation, on a backend that only measures.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        estimator: AbstractGradientEstimator | None = None,
        backend: AbstractBackend | None = None,
        total_shots: int | None = None,
        value_shots: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        if not isinstance(objective, Objective):
            raise TypeError(
                f"Argument `objective` must be an Objective, but is a {type(objective).__name__}."
            )
        if estimator is not None and not isinstance(estimator, AbstractGradientEstimator):
            raise TypeError(
                f"Argument `estimator` must be an estimator such as ParameterShift(), but is {estimator!r}."
            )
        self.objective = objective
        self.estimator = ParameterShift() if estimator is None else estimator
        self.backend = Exact() if backend is None else backend
        self.total_shots = total_shots
        self.value_shots = value_shots
        self._calls = 0
        self._called_since = False
        self._errors: dict[int, ThetaErrors] = {}
        self._rng = rng
        self._cost = Cost()
        self._gradients: list[Gradient] = []
        if isinstance(self.estimator, AbstractSimulatorEstimator):
            self.estimator.require_simulator(self.backend)
        self.backend.check(total_shots, rng)
        groups = len(objective.groups)
        if total_shots is not None:
            whole_shots(total_shots)
        if value_shots is not None:
            self.backend.check(value_shots, rng)
            if whole_shots(value_shots, "value_shots") < LEAST_SHOTS * groups:
                raise BudgetTooSmall(
                    f"Argument `value_shots` must be at least {LEAST_SHOTS * groups:,}, {LEAST_SHOTS} for each "
                    f"measurement basis, but is {value_shots:,}."
                )
        elif total_shots is not None:
            circuits = max(1, self.estimator.price(objective, total_shots=total_shots).circuits)
            if isinstance(self.estimator, AbstractShotEstimator):
                circuits = max(1, circuits // self.estimator.allocation.num_stages)
            self.value_shots = max(LEAST_SHOTS * groups, total_shots * groups // circuits)

    @property
    def errors_by_call(self) -> tuple[ThetaErrors, ...]:
        """Errors of the loss gradient, call by call; none before the first backward pass, and with Backprop."""
        return tuple(self._errors[call] for call in sorted(self._errors))

    @property
    def errors(self) -> ThetaErrors | None:
        """Those of the last call."""
        return self.errors_by_call[-1] if self._errors else None

    def __call__(self, theta: Tensor, *, wrt: Sequence[int] | None = None) -> Tensor:
        """Returns the values; derivatives are made for the places `wrt` of theta, all by default."""
        rows, batch = self.objective.rows(theta)
        if isinstance(self.estimator, Backprop):
            values = self._simulated(rows, self.estimator)
        else:
            wanted = None if wrt is None else tuple(wrt)
            if torch.is_grad_enabled() and rows.requires_grad:
                self._calls += 1
                self._called_since = True
            values = _Measured.apply(rows, self, wanted, batch, self._calls)
        return self.objective.shaped(values, batch)  # pyright: ignore

    def take_cost(self) -> Cost:
        """Circuits and shots run since the last call."""
        cost, self._cost = self._cost, Cost()
        return cost

    def _simulated(self, rows: Tensor, estimator: Backprop) -> Tensor:
        self._cost += Cost(circuits=len(rows), sources={"circuits": "measured"})
        objective = self.objective
        simulator = estimator.require_simulator(self.backend).simulator(objective.target)
        values = simulator.values(objective.program.angles(rows), objective.groups)
        return values.to("cpu", torch.float64) + objective.constants

    def measured_values(self, rows: Tensor) -> Tensor:
        """Values (B, M) from the backend, charged."""
        value = self.objective.value(rows, backend=self.backend, total_shots=self.value_shots, rng=self._rng)
        self._cost += value.cost
        return value.values.reshape(len(rows), self.objective.num_observables)

    def measured_slopes(self, rows: Tensor, wrt: Sequence[int] | None) -> Tensor:
        """Derivatives (B, M, P) from the estimator, charged."""
        estimator = self.estimator
        by_row = isinstance(estimator, AbstractShotEstimator) and estimator.rows_share_draws and len(rows) > 1
        self._gradients = [
            estimator.gradient(
                self.objective,
                piece,
                backend=self.backend,
                total_shots=self.total_shots,
                rng=self._rng,
                wrt=wrt,
            )
            for piece in (rows.split(1) if by_row else (rows,))
        ]
        self._cost += sum((gradient.cost for gradient in self._gradients), Cost())
        values = torch.cat([gradient.values for gradient in self._gradients])
        return values.reshape(len(rows), self.objective.num_observables, values.shape[-1])

    def note_errors(self, upstream: Tensor, places: Tensor, batch: tuple[int, ...], call: int) -> None:
        """Keeps the errors of the loss gradient by a call, for upstream derivatives (B, M) of the last slopes."""
        rows, observables = upstream.shape
        covariances = torch.cat([gradient.covariances for gradient in self._gradients])
        covariances = covariances.reshape(rows, observables, observables, len(places))
        biases = torch.cat([gradient.biases for gradient in self._gradients])
        biases = torch.einsum("bm,bmp->bp", upstream, biases.reshape(rows, observables, len(places)))
        variances = torch.einsum("bm,bmnp,bn->bp", upstream, covariances, upstream).clamp_min(0)
        none = upstream.new_zeros(rows, self.objective.num_params)
        shape = (*batch, self.objective.num_params)
        found = ThetaErrors(
            variances=none.index_copy(1, places, variances).reshape(shape),
            biases=none.index_copy(1, places, biases).reshape(shape),
            places=places,
        )
        if self._called_since:
            self._errors, self._called_since = {}, False
        self._errors[call] = self._errors[call] + found if call in self._errors else found
        self._gradients = []


class _Measured(torch.autograd.Function):
    """Values from a backend whose derivatives come from an estimator."""

    @staticmethod
    def forward(  # pyright: ignore
        ctx: Any,
        rows: Tensor,
        source: Differentiable,
        wrt: tuple[int, ...] | None,
        batch: tuple[int, ...],
        call: int,
    ) -> Tensor:
        ctx.source, ctx.wrt, ctx.batch, ctx.call = source, wrt, batch, call
        ctx.save_for_backward(rows)
        return source.measured_values(rows)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None, None]:  # pyright: ignore
        (rows,) = ctx.saved_tensors
        source: Differentiable = ctx.source
        places = source.objective.places(ctx.wrt)
        slopes: Tensor = _Slopes.apply(rows, source, ctx.wrt)  # pyright: ignore
        source.note_errors(upstream.detach(), places, ctx.batch, ctx.call)
        pulled = torch.einsum("bm,bmp->bp", upstream, slopes)
        return torch.zeros_like(rows).index_copy(1, places, pulled), None, None, None, None


class _Slopes(torch.autograd.Function):
    """Derivatives from an estimator; they have none themselves, and say so instead of passing for constants."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, source: Differentiable, wrt: tuple[int, ...] | None) -> Tensor:  # pyright: ignore
        ctx.name = source.estimator.name
        return source.measured_slopes(rows, wrt)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore
        raise NoSecondDerivative(
            f"The estimator {ctx.name} has no second derivative: use Backprop, which has."
        )
