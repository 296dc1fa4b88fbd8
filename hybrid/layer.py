"""A circuit as a torch layer, with gradients from any estimator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from qiskit.circuit import Parameter
from torch import Tensor, nn

from classical.cost import Cost
from hybrid.backends.base import AbstractBackend
from hybrid.backends.exact import Exact
from hybrid.gradients.backprop import Backprop
from hybrid.gradients.base import AbstractGradientEstimator, AbstractSimulatorEstimator
from hybrid.gradients.parameter_shift import ParameterShift
from hybrid.objective import Objective
from hybrid.shots import spread_shots


class NoSecondDerivative(RuntimeError):
    """The derivative of a gradient was asked for, from an estimator that gives first derivatives."""


class QuantumLayer(nn.Module):
    """Expectation values of a circuit as a layer: inputs (*batch, I) to outputs (*batch, M).

    Some of the circuit's parameters are inputs, the others trainable weights. Forward runs one circuit a row and
    measurement basis; backward asks the estimator for derivatives by weights and inputs, so gradient flows on to
    the layer before. What was run since the last `take_cost()` is added up.

    Args:
        objective: M observables.
        inputs: the circuit's parameters that the layer before feeds, in its order; may be empty.
        estimator: gradient rule; `Backprop` differentiates the simulation itself.
        backend: where circuits run.
        total_shots: shots of one gradient, that is for each row of the batch.
        value_shots: shots of one forward value, for each row; `total_shots` split as one of the gradient's
            circuits would be, by default.
        rng: for shots, random directions and initial weights.

    Raises:
        ValueError: for unknown inputs, shots on an exact backend or none on a sampling one.
        NeedsSimulator: for an estimator that differentiates a simulation, on a backend that only measures.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        inputs: Sequence[Parameter] = (),
        estimator: AbstractGradientEstimator | None = None,
        backend: AbstractBackend | None = None,
        total_shots: int | None = None,
        value_shots: int | None = None,
        rng: np.random.Generator,
    ) -> None:
        super().__init__()
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
        self.inputs = tuple(inputs)
        self._rng = rng
        places = {parameter: i for i, parameter in enumerate(objective.parameters)}
        strangers = [parameter.name for parameter in inputs if parameter not in places]
        if strangers:
            raise ValueError(f"Argument `inputs` must hold parameters of the circuit, but holds {strangers}.")
        if len(set(inputs)) < len(self.inputs):
            names = [parameter.name for parameter in inputs]
            raise ValueError(f"Argument `inputs` must hold each parameter once, but holds {names}.")
        if isinstance(self.estimator, AbstractSimulatorEstimator):
            self.estimator.require_simulator(self.backend)
        self.backend.check(total_shots, rng)
        if value_shots is not None:
            self.backend.check(value_shots, rng)
            spread_shots(value_shots, 1, len(objective.groups))
        if total_shots is not None and value_shots is None:
            price = self.estimator.price(objective, total_shots=total_shots)
            self.value_shots = total_shots * len(objective.groups) // price.circuits
        self._input_index = [places[parameter] for parameter in inputs]
        taken = set(self._input_index)
        self._weight_index = [i for i in range(objective.num_params) if i not in taken]
        start = rng.uniform(0, 2 * math.pi, size=len(self._weight_index))
        self.weights = nn.Parameter(torch.from_numpy(start))
        self._cost = Cost()

    def theta(self, inputs: Tensor) -> Tensor:
        """All circuit parameters for inputs (B, I), shape (B, P); differentiable."""
        theta = inputs.new_empty(len(inputs), self.objective.num_params, dtype=torch.float64)
        theta[:, self._input_index] = inputs.to(torch.float64)
        theta[:, self._weight_index] = self.weights.to(torch.float64)
        return theta

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.ndim == 0 or inputs.shape[-1] != len(self._input_index):
            raise ValueError(
                f"Argument `inputs` must have shape (..., {len(self._input_index)}), but has shape "
                f"{tuple(inputs.shape)}."
            )
        if not inputs.is_floating_point():
            raise TypeError(f"Argument `inputs` must be of a floating-point type, but is of {inputs.dtype}.")
        theta = self.theta(inputs.reshape(math.prod(inputs.shape[:-1]), inputs.shape[-1]))
        values = (
            self._simulated(theta, self.estimator)
            if isinstance(self.estimator, Backprop)
            else _Measured.apply(theta, self)
        )
        return values.to(inputs.dtype).reshape(*inputs.shape[:-1], self.objective.num_observables)  # pyright: ignore

    def take_cost(self) -> Cost:
        """Circuits and shots run since the last call."""
        cost, self._cost = self._cost, Cost()
        return cost

    def extra_repr(self) -> str:
        return (
            f"qubits={self.objective.num_qubits}, inputs={len(self._input_index)}, "
            f"weights={len(self._weight_index)}, estimator={self.estimator.name}"
        )

    def _simulated(self, theta: Tensor, estimator: Backprop) -> Tensor:
        rows, _ = self.objective.rows(theta)
        self._cost += Cost(circuits=len(rows), sources={"circuits": "measured"})
        simulator = estimator.require_simulator(self.backend).simulator(self.objective)
        values = simulator.values(self.objective.program.angles(rows), self.objective.groups)
        return values.to("cpu", torch.float64) + self.objective.constants

    def measured_values(self, theta: Tensor) -> Tensor:
        """Values (B, M) from the backend, charged."""
        value = self.objective.value(theta, backend=self.backend, total_shots=self.value_shots, rng=self._rng)
        self._cost += value.cost
        return value.values.reshape(len(theta), self.objective.num_observables)

    def measured_slopes(self, theta: Tensor) -> Tensor:
        """Derivatives (B, M, P) from the estimator, charged."""
        gradient = self.estimator.gradient(
            self.objective, theta, backend=self.backend, total_shots=self.total_shots, rng=self._rng
        )
        self._cost += gradient.cost
        shape = (len(theta), self.objective.num_observables, self.objective.num_params)
        return gradient.values.reshape(shape)


class _Measured(torch.autograd.Function):
    """Values from a backend whose derivatives come from an estimator."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, layer: QuantumLayer) -> Tensor:  # pyright: ignore
        ctx.layer = layer
        ctx.save_for_backward(theta)
        return layer.measured_values(theta)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:  # pyright: ignore
        (theta,) = ctx.saved_tensors
        slopes = _Slopes.apply(theta, ctx.layer)
        return torch.einsum("bm,bmp->bp", upstream, slopes), None  # pyright: ignore


class _Slopes(torch.autograd.Function):
    """Derivatives from an estimator; they have none themselves, and say so instead of passing for constants."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, layer: QuantumLayer) -> Tensor:  # pyright: ignore
        ctx.name = layer.estimator.name
        return layer.measured_slopes(theta)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:  # pyright: ignore
        raise NoSecondDerivative(
            f"A QuantumLayer with the estimator {ctx.name} has no second derivative: use Backprop, which has."
        )
