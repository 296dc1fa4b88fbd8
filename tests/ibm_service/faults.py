"""Faults that the service shows on chosen requests, a given number of times."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["status", "drop", "lose_reply", "hang"]


@dataclass(frozen=True)
class Fault:
    """What goes wrong with the next `times` requests of this method and path.

    `path` is a regular expression on the path below the API base, such as `^/jobs$`; requests outside
    the API, such as `/identity/token`, are matched by their whole path.

    - status: the request is not carried out; the reply has `status`, and `Retry-After` if given.
    - drop: the request is not carried out; the connection is closed.
    - lose_reply: the request is carried out and its effects are stored; the connection is closed.
    - hang: nothing happens for `hang_seconds`, then as drop.
    """

    method: str
    path: str
    kind: Kind
    status: int = 500
    retry_after: float | None = None
    times: int = 1
    hang_seconds: float = 30.0

    def __post_init__(self) -> None:
        re.compile(self.path)
        if self.kind not in get_args(Kind):
            raise ValueError(f"Unknown kind of fault {self.kind!r}: one of {', '.join(get_args(Kind))}.")
        if self.times < 1:
            raise ValueError(f"A fault happens at least once, not {self.times} times.")

    def applies(self, method: str, path: str) -> bool:
        return method == self.method.upper() and re.search(self.path, path) is not None


class FaultBox:
    """The faults still to come. The first one that applies is taken."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._waiting: list[list[Fault]] = []
        self._lock = threading.Lock()
        for fault in faults:
            self.put(fault)

    def put(self, fault: Fault) -> None:
        with self._lock:
            self._waiting.append([fault] * fault.times)

    def take(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for index, faults in enumerate(self._waiting):
                if faults[0].applies(method, path):
                    fault = faults.pop()
                    if not faults:
                        del self._waiting[index]
                    return fault
        return None


def parse_fault(text: str) -> Fault:
    """A fault from `kind:method:path[:name=value]...`, such as `status:POST:^/jobs$:status=503:times=2`."""
    kind, separator, rest = text.partition(":")
    method, _, rest = rest.partition(":")
    if not separator or not method or not rest:
        raise ValueError(f"Not a fault: {text!r}. It reads kind:METHOD:path[:name=value]...")
    path, *settings = rest.split(":")
    values: dict[str, int | float] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in ("status", "retry_after", "times", "hang_seconds"):
            raise ValueError(f"Unknown setting {name!r} in {text!r}.")
        values[name] = int(value) if name in ("status", "times") else float(value)
    return Fault(method.upper(), path, kind, **values)  # type: ignore[arg-type]
