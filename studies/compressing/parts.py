"""The parts of `compression`."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from studies.compressing import healing, sensitivity, sizes

PARTS: Mapping[str, ModuleType] = {part.PART: part for part in (sizes, healing, sensitivity)}
"""Modules by part, each with `Grid`, `specs`, `run` and `duration`."""
