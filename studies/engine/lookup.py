"""From the name of a study to its value."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping

from studies.engine.errors import BadRequest
from studies.engine.study import Study

Registry = Mapping[str, str | Study]
"""Studies by name: the path of the module that holds the study, or the study itself."""


def load_study(name: str, registry: Registry) -> Study:
    """The one `Study` of a module.

    Args:
        name: a name of the registry, or a dotted path such as `package.module`.
        registry: the studies that are known by name.

    Raises:
        BadRequest: when there is no such study.
    """
    entry = registry.get(name, name)
    if isinstance(entry, Study):
        return entry
    if name not in registry and not _exists(name):
        known = ", ".join(sorted(registry)) or "none"
        raise BadRequest(
            f"Argument `study` must be one of {known}, or a module such as package.module, but is {name!r}."
        )
    return _study_of_module(entry)


def _exists(path: str) -> bool:
    try:
        return importlib.util.find_spec(path) is not None
    except (ImportError, ValueError):  # a parent is missing, or the path is no path
        return False


def _study_of_module(path: str) -> Study:
    module = importlib.import_module(path)
    studies = [value for value in vars(module).values() if isinstance(value, Study)]
    if len(studies) != 1:
        raise BadRequest(f"The module {path} must hold one Study value, but holds {len(studies)}.")
    return studies[0]
