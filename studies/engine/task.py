"""One unit of work of a study, named by its content."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

SCHEMA = 1
"""The version of the row format and of the rule that makes ids."""

_PLAIN_TYPES = (str, int, float, bool, type(None))

Value = str | int | float | bool | None | Sequence["Value"] | Mapping[str, "Value"]
"""What a spec may hold: plain JSON values, nested at will. Tuples become lists."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One unit of work: a study, its version and a spec. Equal content means equal task.

    The spec is checked and copied: keys sorted, tuples turned into lists, `-0.0` into `0.0`. Types are part
    of the content, so `1`, `1.0` and `True` make three different tasks.
    """

    study: str
    version: int
    spec: Mapping[str, Value]

    def __post_init__(self) -> None:
        object.__setattr__(self, "spec", _checked(self.spec, "spec"))

    @cached_property
    def id(self) -> str:
        """The SHA-256 over the canonical JSON of schema, study, version and spec: 64 hexadecimal digits."""
        content = {"schema": SCHEMA, "study": self.study, "version": self.version, "spec": self.spec}
        return hashlib.sha256(canonical_json(content).encode("ascii")).hexdigest()

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, Task) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def seed_sequence(self, use: str) -> np.random.SeedSequence:
        """The seed of this task for one use, such as "shots" or "init".

        It is a child of the seed of the task, picked by the name of the use, so it depends neither on the
        order of the calls nor on the worker.
        """
        words = np.frombuffer(hashlib.sha256(use.encode()).digest(), dtype=">u4")
        return np.random.SeedSequence(int(self.id, 16), spawn_key=tuple(int(word) for word in words))

    def generator(self, use: str) -> np.random.Generator:
        """A fresh random generator for one use; the same use gives the same stream again."""
        return np.random.Generator(np.random.PCG64(self.seed_sequence(use)))

    def seed(self, use: str) -> int:
        """An integer seed in [0, 2**63) for libraries that take no generator."""
        return int(self.seed_sequence(use).generate_state(1, np.uint64)[0] >> np.uint64(1))


def canonical_json(value: object) -> str:
    """The one JSON text of a value: sorted keys, no spaces, ASCII, finite numbers only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _checked(value: object, where: str) -> object:
    """A plain copy of `value`; raises TypeError or ValueError that names the place of what is not plain."""
    kind = type(value)
    if kind is dict or isinstance(value, Mapping):
        return _checked_mapping(value, where)  # pyright: ignore[reportArgumentType]
    if kind is list or kind is tuple:
        return [_checked(item, f"{where}[{index}]") for index, item in enumerate(value)]  # pyright: ignore
    if kind not in _PLAIN_TYPES:
        raise TypeError(
            f"Argument `{where}` must hold plain str, int, float, bool, None, list or dict values, but is a "
            f"{kind.__module__}.{kind.__qualname__}. Convert it first, for example with int() or float()."
        )
    if kind is float:
        if not math.isfinite(value):  # pyright: ignore[reportArgumentType]
            raise ValueError(f"Argument `{where}` must be a finite number, but is {value}.")
        return value + 0.0  # pyright: ignore  # turns -0.0 into 0.0
    return value


def _checked_mapping(value: Mapping[object, object], where: str) -> dict[str, object]:
    for key in value:
        if type(key) is not str:
            raise TypeError(f"Argument `{where}` must have str keys, but has the key {key!r}.")
    return {key: _checked(value[key], f"{where}.{key}") for key in sorted(value)}  # pyright: ignore
