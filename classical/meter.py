"""Measuring what a piece of work takes: time, CPU time, memory and operations."""

from __future__ import annotations

import ctypes
import math
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch.utils.flop_counter import FlopCounterMode

from classical.cost import Cost, Source

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


class Meter:
    """Context manager that measures what happens inside it; afterwards `cost` holds the figures.

    Wall and CPU seconds always; what was not asked for is None, and so is energy.

    `peak_bytes` with `memory=True`: the highest resident memory inside, above what was resident at entry. The
    kernel's mark is reset at entry, so one measurement does not hide the next (Linux; elsewhere, or where the mark
    cannot be reset, it is None). On a CUDA `device` torch's own mark is used.

    `flops` with `flops=True`: matrix products seen by torch's counter, complex ones at eight real operations
    for a multiply-add; element-wise work is not in it. Counting slows small products down, so do not time and
    count in one go.
    """

    def __init__(
        self, *, memory: bool = False, flops: bool = False, device: str | torch.device = "cpu"
    ) -> None:
        self.cost = Cost()
        self._memory = memory
        self._device = torch.device(device)
        self._counter = FlopCounterMode(display=False, custom_mapping=_COMPLEX_AWARE) if flops else None

    def __enter__(self) -> Self:
        self._start_bytes = self._reset_peak() if self._memory else None
        if self._counter is not None:
            self._counter.__enter__()
        self._synchronise()
        self._cpu_start = time.process_time()
        self._wall_start = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._synchronise()
        figures: dict[str, Any] = {
            "wall_seconds": time.perf_counter() - self._wall_start,
            "cpu_seconds": time.process_time() - self._cpu_start,
            "flops": None,
            "peak_bytes": None,
            "energy_joules": None,
        }
        if self._counter is not None:
            self._counter.__exit__(kind, error, trace)
            figures["flops"] = float(self._counter.get_total_flops())
        if self._memory:
            figures["peak_bytes"] = self._peak_since_reset()
        sources: dict[str, Source] = {
            name: "measured" for name, value in figures.items() if value is not None
        }
        self.cost = Cost(**figures, sources=sources)

    def _synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _reset_peak(self) -> int | None:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            return torch.cuda.memory_allocated(self._device)
        _return_free_memory()
        try:
            _CLEAR_REFS.write_text(_RESET_PEAK)
        except OSError:
            return None
        return _status_bytes("VmRSS")

    def _peak_since_reset(self) -> int | None:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) - (self._start_bytes or 0)
        if self._start_bytes is None:
            return None
        return max(0, _status_bytes("VmHWM") - self._start_bytes)


def _status_bytes(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"/proc/self/status has no {field}.")


def _return_free_memory() -> None:
    """Hands freed heap back to the system: memory that is reused would not raise the mark."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return


def _factor(tensor: torch.Tensor) -> int:
    return 8 if tensor.is_complex() else 2


# The counter passes operands, the result as `out_val` and keyword arguments; tensors as they are, because the
# number type matters.
def _matrix_product(a: torch.Tensor, b: torch.Tensor, *_: Any, **__: Any) -> int:
    return _factor(a) * math.prod(a.shape) * b.shape[-1]


def _added_product(_c: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *_: Any, **__: Any) -> int:
    return _matrix_product(a, b)


for _formula in (_matrix_product, _added_product):
    _formula._get_raw = True  # pyright: ignore[reportFunctionMemberAccess]

_COMPLEX_AWARE: dict[Any, Any] = {
    torch.ops.aten.mm: _matrix_product,
    torch.ops.aten.bmm: _matrix_product,
    torch.ops.aten.addmm: _added_product,
    torch.ops.aten.baddbmm: _added_product,
}
