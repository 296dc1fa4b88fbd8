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

# Compiled circuits that are kept: one for each combination of shapes and constants.
_KEPT = 32


class TorchQNode:
    """Calls as the QNode does and gives torch tensors; derivatives by what requires them come from an estimator.

    The QNode is compiled once for each combination of argument shapes and constants; the latest 32 are kept.
    Floating-point arguments enter the circuit as parameters; whole numbers, other objects and keyword arguments are
    constants. Several measurements come back as a tuple. Made by `torch_qnode`.
    """

    def __init__(self, node: Any, settings: dict[str, Any]) -> None:
        self.node = node
        self._settings = settings
        self._compiled: dict[Any, Differentiable] = {}
        self._cost = Cost()

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        function = self.function(*arguments, **keywords)
        floating = [_as_tensor(argument) for argument in arguments if _is_floating(argument)]
        theta = torch.cat([each.reshape(-1).to(torch.float64) for each in floating])
        wanted = torch.cat([torch.full((each.numel(),), each.requires_grad) for each in floating])
        values = function(theta, wrt=wanted.nonzero()[:, 0].tolist() or None)
        return values if function.objective.is_scalar else tuple(values)

    def function(self, *arguments: Any, **keywords: Any) -> Differentiable:
        """The torch function behind calls with such arguments: its objective, its cost, its errors.

        Raises:
            TypeError: for a keyword tensor that requires a gradient, which only positional arguments have.
        """
        for name, each in keywords.items():
            if isinstance(each, Tensor) and each.requires_grad:
                raise TypeError(
                    f"Argument `{name}` requires a gradient, so pass it by position, not by name."
                )
        shapes = tuple(np.shape(each) if _is_floating(each) else _content(each) for each in arguments)
        key = shapes, tuple(sorted((name, _content(each)) for name, each in keywords.items()))
        if key not in self._compiled:
            plain = [each.detach() if isinstance(each, Tensor) else each for each in arguments]
            objective = from_pennylane(self.node, *plain, **keywords)
            if len(self._compiled) == _KEPT:
                self._cost += self._compiled.pop(next(iter(self._compiled))).take_cost()
            self._compiled[key] = Differentiable(objective, **self._settings)
        return self._compiled[key]

    def take_cost(self) -> Cost:
        """Circuits and shots run since the last call."""
        cost, self._cost = self._cost, Cost()
        return sum((each.take_cost() for each in self._compiled.values()), cost)


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


def _is_floating(argument: Any) -> bool:
    if isinstance(argument, Tensor):
        return argument.is_floating_point()
    return np.issubdtype(np.asarray(argument).dtype, np.floating)


def _as_tensor(argument: Any) -> Tensor:
    return (
        argument if isinstance(argument, Tensor) else torch.from_numpy(np.asarray(argument, dtype=np.float64))
    )


def _content(constant: Any) -> str:
    """A constant by all that it holds: what is printed of an array leaves digits and entries out."""
    if isinstance(constant, (Tensor, np.ndarray)):
        array = constant.detach().numpy() if isinstance(constant, Tensor) else constant
        return f"{array.dtype} {array.shape} {array.tobytes().hex()}"
    if isinstance(constant, (list, tuple)):
        return f"{type(constant).__name__} {[_content(each) for each in constant]}"
    if isinstance(constant, dict):
        return f"dict {[(repr(name), _content(each)) for name, each in constant.items()]}"
    return f"{type(constant).__name__} {constant!r}"
