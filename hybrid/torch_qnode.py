"""A PennyLane QNode that torch differentiates by our estimators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from classical.cost import Cost
from hybrid.backends.base import AbstractBackend
from hybrid.differentiable import Differentiable
from hybrid.gradients.base import AbstractGradientEstimator
from hybrid.pennylane_circuits import from_pennylane


class TorchQNode:
    """Calls as the QNode does and gives torch tensors; derivatives by what requires them come from an estimator.

    The QNode is compiled once for each combination of argument shapes and constants. Floating-point arguments enter
    the circuit as parameters; whole numbers, other objects and keyword arguments are constants. Several measurements
    come back as a tuple, as from PennyLane. Made by `torch_qnode`.
    """

    def __init__(self, node: Any, settings: dict[str, Any]) -> None:
        self.node = node
        self._settings = settings
        self._compiled: dict[Any, Differentiable] = {}

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        function = self.function(*arguments, **keywords)
        floating = [torch.as_tensor(argument) for argument in arguments if _is_floating(argument)]
        theta = torch.cat([each.reshape(-1).to(torch.float64) for each in floating])
        wanted = torch.cat([torch.full((each.numel(),), each.requires_grad) for each in floating])
        values = function(theta, wrt=wanted.nonzero()[:, 0].tolist() or None)
        return values if function.objective.is_scalar else tuple(values)

    def function(self, *arguments: Any, **keywords: Any) -> Differentiable:
        """The torch function behind calls with such arguments: its objective, its cost, its errors."""
        shapes = tuple(tuple(np.shape(each)) if _is_floating(each) else repr(each) for each in arguments)
        key = shapes, tuple(sorted((name, repr(each)) for name, each in keywords.items()))
        if key not in self._compiled:
            plain = [each.detach() if isinstance(each, Tensor) else each for each in arguments]
            objective = from_pennylane(self.node, *plain, **keywords)
            self._compiled[key] = Differentiable(objective, **self._settings)
        return self._compiled[key]

    def take_cost(self) -> Cost:
        """Circuits and shots run since the last call."""
        return sum((each.take_cost() for each in self._compiled.values()), Cost())


def _is_floating(argument: Any) -> bool:
    if isinstance(argument, Tensor):
        return argument.is_floating_point()
    return np.issubdtype(np.asarray(argument).dtype, np.floating)


def torch_qnode(
    *,
    estimator: AbstractGradientEstimator | None = None,
    backend: AbstractBackend | None = None,
    total_shots: int | None = None,
    rng: np.random.Generator | None = None,
) -> Callable[[Any], TorchQNode]:
    """Returns a decorator that makes a QNode a `TorchQNode`, to stand above `@qml.qnode(device)`.

    Args:
        estimator, backend, total_shots, rng: as in `Differentiable`: parameter-shift on exact values by default.
    """
    settings = {"estimator": estimator, "backend": backend, "total_shots": total_shots, "rng": rng}
    return lambda node: TorchQNode(node, settings)
