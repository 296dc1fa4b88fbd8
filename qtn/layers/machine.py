"""How fast a machine multiplies matrices: what predicts the time of a contraction path."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

import torch

from qtn.layers.path import Product

# Operations per second in single precision, bytes per second, seconds per call. One core with 256-bit vector
# units at 3 GHz, at four fifths of what its largest products reach, and a data-centre GPU, at about half.
_DEFAULTS = {"cpu": (8e10, 2e10, 4e-6), "gpu": (3e13, 2e12, 1e-5)}
_REPEATS = 9


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Rates of a device in one dtype, and the time that they predict for a sequence of matrix products.

    A product takes seconds_per_call + operations / operations_per_second + bytes / bytes_per_second, and a copy one
    call more. Because the terms are added, and not the larger one taken, thin matrices have the lower rate that
    they have in truth. The sum is to decide between two ways to one result, for which ratios are enough: it is no
    clock, and can be wrong by a third.

    Attributes:
        operations_per_second: Real additions and multiplications in large matrix products.
        bytes_per_second: Read and written in a row; permuted copies have half of it.
        seconds_per_call: From one call to the next with nothing to do.
    """

    operations_per_second: float
    bytes_per_second: float
    seconds_per_call: float

    def __post_init__(self) -> None:
        for name in ("operations_per_second", "bytes_per_second"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"Argument `{name}` must be positive, but is {getattr(self, name)}.")
        if not self.seconds_per_call >= 0.0:
            raise ValueError(
                f"Argument `seconds_per_call` must be at least 0, but is {self.seconds_per_call}."
            )

    @classmethod
    def default(cls, device: torch.device | str, dtype: torch.dtype) -> Self:
        """A typical machine: one CPU core, or a GPU for every other device. Nothing is measured.

        Double precision is taken at half the rate of single. Half precision on a GPU is taken at four times
        that rate, and on a CPU, whose older kinds convert it, at the same rate.
        """
        is_cpu = torch.device(device).type == "cpu"
        operations, bandwidth, call = _DEFAULTS["cpu" if is_cpu else "gpu"]
        factor = {8: 0.5, 4: 1.0}.get(dtype.to_real().itemsize, 1.0 if is_cpu else 4.0)
        return cls(
            operations_per_second=factor * operations, bytes_per_second=bandwidth, seconds_per_call=call
        )

    @classmethod
    def measured(cls, device: torch.device | str, dtype: torch.dtype) -> Self:
        """The machine at hand, with as many threads as torch is set to.

        A square product gives the operations, a permuted copy the bytes, and the smallest product the calls; of
        each the fastest of a few runs counts, the one that was least disturbed.

        Cost: a tenth of a second on one core.
        """
        where = torch.device(device)
        side = 512 if where.type == "cpu" else 2048
        square = torch.ones(side, side, dtype=dtype, device=where)
        single = torch.ones(1, 1, dtype=dtype, device=where)
        stack = torch.ones(4 * side, 24, 24, dtype=dtype, device=where)
        with torch.no_grad():
            call = _seconds(lambda: single @ single, where, calls=200)
            multiplying = _seconds(lambda: square @ square, where, calls=1)
            copying = _seconds(lambda: stack.transpose(1, 2).contiguous(), where, calls=1)
        return cls(
            operations_per_second=(8 if dtype.is_complex else 2) * side**3 / multiplying,
            bytes_per_second=4 * stack.numel() * dtype.itemsize / copying,
            seconds_per_call=2 * call,  # the operands of a step are reshaped too, which takes as long again
        )

    def seconds(self, products: Iterable[Product], dtype: torch.dtype) -> float:
        """The predicted time of products done one after the other."""
        total = 0.0
        for product in products:
            operations = (8 if dtype.is_complex else 2) * product.multiply_adds
            total += operations / self.operations_per_second
            total += product.moved * dtype.itemsize / self.bytes_per_second
            total += self.seconds_per_call * (2 if product.copied else 1)
        return total


def _seconds(call: Callable[[], object], device: torch.device, *, calls: int) -> float:
    """The least time of one call, waited for."""

    def wait() -> None:
        if device.type != "cpu":
            torch.accelerator.synchronize(device)

    times = []
    for _ in range(_REPEATS):
        wait()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        wait()
        times.append((time.perf_counter() - start) / calls)
    return min(times)
