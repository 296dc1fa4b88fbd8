"""The parts of `measurement_overhead`."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from studies.overhead import adaptive, commuting, descent, gradient_error, grouping

PARTS: Mapping[str, ModuleType] = {
    part.PART: part for part in (gradient_error, grouping, commuting, adaptive, descent)
}
"""Modules by part, each with `Grid`, `specs`, `run`, `price` and `duration`. Beside a module `name` stand
`name_drawings`, with `figures`, and `name_words`, with `TITLE`, `table` and `sentences`."""
