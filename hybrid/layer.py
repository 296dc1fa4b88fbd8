"""A circuit as a torch layer, with gradients from any estimator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from qiskit.circuit import Parameter
from torch import Tensor, nn

from classical.cost import Cost
from hybrid.backends.base import AbstractBackend
from hybrid.differentiable import Differentiable
from hybrid.gradients.base import AbstractGradientEstimator
from hybrid.objective import Objective


@dataclass(frozen=True, kw_only=True, eq=False)
class LossGradientErrors:
    """Standard errors of a loss gradient, estimated biases included, at the values that the forward pass measured.

    Args:
        weights: shape (W,), of what the loss adds to `layer.weights.grad`.
        inputs: shape (*batch, I), of what flowed from the last call on to the layer before; None when nothing did.
    """

    weights: Tensor
    inputs: Tensor | None


class QuantumLayer(nn.Module):
    """Expectation values of a circuit as a layer: inputs (*batch, I) to outputs (*batch, M).

    Some of the circuit's parameters are inputs, the others trainable weights. Forward runs one circuit a row and
    measurement basis; backward asks the estimator for derivatives by what needs them, weights and inputs, so gradient
    flows on to the layer before, and inputs that nothing comes before cost no circuits. What was run since the last
    `take_cost()` is added up; `loss_gradient_errors()` says how sure the last loss gradient is.

    Args:
        objective: M observables.
        inputs: the circuit's parameters that the layer before feeds, in its order; may be empty.
        estimator, backend, total_shots, value_shots: as in `Differentiable`.
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
        if not isinstance(rng, np.random.Generator):
            raise TypeError(
                "Argument `rng` must be a numpy Generator, as `numpy.random.default_rng(seed)` is, from which initial "
                f"weights are drawn too, but is {rng!r}."
            )
        if isinstance(inputs, Parameter) or not all(isinstance(each, Parameter) for each in inputs):
            raise TypeError(
                f"Argument `inputs` must be a list of the circuit's parameters, but is {inputs!r}."
            )
        self.function = Differentiable(
            objective,
            estimator=estimator,
            backend=backend,
            total_shots=total_shots,
            value_shots=value_shots,
            rng=rng,
        )
        self.inputs = tuple(inputs)
        places = {parameter: i for i, parameter in enumerate(objective.parameters)}
        strangers = [parameter.name for parameter in inputs if parameter not in places]
        if strangers:
            raise ValueError(f"Argument `inputs` must hold parameters of the circuit, but holds {strangers}.")
        if len(set(inputs)) < len(inputs):
            names = [parameter.name for parameter in inputs]
            raise ValueError(f"Argument `inputs` must hold each parameter once, but holds {names}.")
        self._input_index = [places[parameter] for parameter in inputs]
        taken = set(self._input_index)
        self._weight_index = [i for i in range(objective.num_params) if i not in taken]
        start = rng.uniform(0, 2 * math.pi, size=len(self._weight_index))
        self.weights = nn.Parameter(torch.from_numpy(start))

    @property
    def objective(self) -> Objective:
        return self.function.objective

    @property
    def estimator(self) -> AbstractGradientEstimator:
        return self.function.estimator

    @property
    def value_shots(self) -> int | None:
        """Shots of one forward value, for each row."""
        return self.function.value_shots

    def theta(self, inputs: Tensor) -> Tensor:
        """All circuit parameters for inputs (*batch, I), shape (*batch, P); differentiable."""
        theta = inputs.new_empty(*inputs.shape[:-1], self.objective.num_params, dtype=torch.float64)
        theta[..., self._input_index] = inputs.to(torch.float64)
        theta[..., self._weight_index] = self.weights.to(torch.float64)
        return theta

    def forward(self, inputs: Tensor) -> Tensor:
        if not isinstance(inputs, Tensor):
            raise TypeError(f"Argument `inputs` must be a torch tensor, but is a {type(inputs).__name__}.")
        if inputs.ndim == 0 or inputs.shape[-1] != len(self._input_index):
            raise ValueError(
                f"Argument `inputs` must have shape (..., {len(self._input_index)}), but has shape "
                f"{tuple(inputs.shape)}."
            )
        if not inputs.is_floating_point():
            raise TypeError(f"Argument `inputs` must be of a floating-point type, but is of {inputs.dtype}.")
        wanted = self._weight_index if self.weights.requires_grad else []
        wanted = wanted + (self._input_index if inputs.requires_grad else [])
        theta = self.theta(inputs)
        # Where nothing is wanted, nothing is differentiated: an empty list of weights requires a gradient too.
        values = self.function(theta if wanted else theta.detach(), wrt=wanted or None)
        return values.to(inputs.dtype).reshape(*inputs.shape[:-1], self.objective.num_observables)

    def take_cost(self) -> Cost:
        """Circuits and shots run since the last call."""
        return self.function.take_cost()

    def loss_gradient_errors(self) -> LossGradientErrors | None:
        """Errors of the last loss gradient; None before the first, and with Backprop, which is exact.

        Weights are shared by the rows of a batch and by the calls of a loss: their variances add up over both, their
        biases too. All backward passes since the last call count as one loss, so they are the errors of
        `layer.weights.grad` where that was zeroed before them. Where gradients of several losses are added up, each
        called and passed back in turn, the squares of the errors after each are to be added up too.
        """
        last = self.function.errors
        if last is None:
            return None
        calls = self.function.errors_by_call
        variances, biases = (
            torch.stack([rows.reshape(-1, rows.shape[-1]).sum(0) for rows in each]).sum(0)
            for each in ([call.variances for call in calls], [call.biases for call in calls])
        )
        deviations = (last.variances + last.biases**2).sqrt()
        flowed_on = set(self._input_index) <= set(last.places.tolist()) and self._input_index
        return LossGradientErrors(
            weights=(variances + biases**2).sqrt()[self._weight_index],
            inputs=deviations[..., self._input_index] if flowed_on else None,
        )

    def extra_repr(self) -> str:
        return (
            f"qubits={self.objective.num_qubits}, inputs={len(self._input_index)}, "
            f"weights={len(self._weight_index)}, estimator={self.function.estimator.name}"
        )
