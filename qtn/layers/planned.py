"""Layers that run in factors for few rows and through the dense weight for many."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from qtn.layers.base import AbstractTensorLayer, own_parameter
from qtn.layers.machine import Machine
from qtn.layers.path import Product, dense_from, multiply_adds


class AbstractPlannedLayer(AbstractTensorLayer):
    """A layer with two paths to the same result, and the number of rows from which the second is faster.

    Subclasses say the products of both paths and end their constructor with `self.plan()`.

    Attributes:
        dense_from: Number of rows from which the dense weight is formed and applied; None if that never pays.
    """

    dense_from: int | None

    def plan(self, machine: Machine | None = None) -> None:
        """Set `dense_from` to what the cost model predicts; the values of the layer do not depend on it.

        Args:
            machine: Default: `Machine.default` of the layer's device and dtype. Called once when the layer is made;
                call it again for a layer moved to another device, or with `Machine.measured`.
        """
        factor = next(iter(self.parameters()))
        if machine is None:
            machine = Machine.default(factor.device, factor.dtype)
        self.dense_from = dense_from(self._factorised, self._reconstructed, factor.dtype, machine)

    def reconstructed(self) -> nn.Linear:
        """The dense layer that this one means, with parameters of its own: for inference where memory is at hand."""
        dense = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device="meta")
        dense.weight = own_parameter(self.to_dense())
        if self.bias is not None:
            dense.bias = own_parameter(self.bias)
        return dense.train(self.training)

    def flops(self, batch: int) -> int:
        path = self._reconstructed if self._is_dense(batch) else self._factorised
        is_complex = any(parameter.is_complex() for parameter in self.parameters())
        return (8 if is_complex else 2) * multiply_adds(path(batch))

    @abstractmethod
    def _contract(self, rows: Tensor) -> Tensor:  # shapes: (rows, in_features) -> (rows, out_features)
        """`rows @ to_dense().T` without forming the dense weight."""

    @abstractmethod
    def _factorised(self, rows: int) -> Sequence[Product]:
        """The products that `_contract` does for a number of rows."""

    @abstractmethod
    def _joining(self) -> Sequence[Product]:
        """The products that `to_dense` does."""

    def _reconstructed(self, rows: int) -> Sequence[Product]:
        return [*self._joining(), Product(rows, self.in_features, self.out_features)]

    def _is_dense(self, rows: int) -> bool:
        return self.dense_from is not None and rows >= self.dense_from

    def _multiply(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, self.in_features)
        y = rows @ self.to_dense().T if self._is_dense(len(rows)) else self._contract(rows)
        return y.reshape(*x.shape[:-1], self.out_features)
