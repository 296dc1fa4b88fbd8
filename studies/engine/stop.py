"""Ctrl-C and its kin, heard between two rows and not within one."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType


class StopRequest:
    """Turns the first SIGINT or SIGTERM into a request that is asked for; a second SIGINT interrupts at once.

    To be used in a `with` statement, in the main thread.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        """The signal that came, or None."""
        self._before: dict[int, object] = {}

    def __call__(self) -> bool:
        return self.signal is not None

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number
