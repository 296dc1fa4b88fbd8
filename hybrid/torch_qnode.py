"""A PennyLane QNode that torch differentiates by our estimators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True, eq=False)
class _Compiled:
    """A QNode at arguments of one shape: its torch function, and how its values stand in what it returns."""

    function: Differentiable
    arrange: Callable[[list[Tensor]], Any]


class TorchQNode:
    """Calls as the QNode does and gives torch tensors; derivatives by what requires them come from an estimator.

    The QNode is compiled once for each combination of argument shapes and constants; the latest 32 are kept.
    Floating-point arguments enter the circuit as parameters; whole numbers, other objects and keyword arguments are
    constants. Measurements come back as the QNode's function returns them: one by itself, or in its lists, tuples and
    dicts. Made by `torch_qnode`.
    """

    def __init__(self, node: Any, settings: dict[str, Any]) -> None:
        self.node = node
        self._settings = settings
        self._compiled: dict[Any, _Compiled] = {}
        self._cost = Cost()

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        compiled = self._for(arguments, keywords)
        floating = [_as_tensor(argument) for argument in arguments if _is_floating(argument)]
        theta = torch.cat([each.reshape(-1).to(torch.float64) for each in floating])
        wanted = torch.cat([torch.full((each.numel(),), each.requires_grad) for each in floating])
        values = compiled.function(theta, wrt=wanted.nonzero()[:, 0].tolist() or None)
        return compiled.arrange([values] if compiled.function.objective.is_scalar else list(values))

    def function(self, *arguments: Any, **keywords: Any) -> Differentiable:
        """The torch function behind calls with such arguments: its objective, its cost, its errors.

        Raises:
            TypeError: for a keyword tensor that requires a gradient, which only positional arguments have.
        """
        return self._for(arguments, keywords).function

    def _for(self, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> _Compiled:
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
                self._cost += self._compiled.pop(next(iter(self._compiled))).function.take_cost()
            self._compiled[key] = _Compiled(
                function=Differentiable(objective, **self._settings),
                arrange=_arrangement(self.node, plain, keywords),
            )
        return self._compiled[key]

    def take_cost(self) -> Cost:
        """Circuits and shots run since the last call."""
        cost, self._cost = self._cost, Cost()
        return sum((each.function.take_cost() for each in self._compiled.values()), cost)


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


def _arrangement(
    node: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]
) -> Callable[[list[Tensor]], Any]:
    """Puts values in the places of the measurements that a QNode's function returns, or a tape's list has."""
    from pennylane import QNode, pytrees
    from pennylane.measurements import MeasurementProcess
    from pennylane.queuing import AnnotatedQueue

    if isinstance(node, QNode):
        with AnnotatedQueue():
            returned = node.func(*arguments, **keywords)
    else:
        returned = node.measurements[0] if len(node.measurements) == 1 else tuple(node.measurements)
    _, places = pytrees.flatten(returned, is_leaf=lambda each: isinstance(each, MeasurementProcess))
    return lambda values: pytrees.unflatten(values, places)


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
