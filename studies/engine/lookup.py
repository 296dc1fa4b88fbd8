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
    if name not in registry and "." not in name:
        known = ", ".join(sorted(registry)) or "none"
        raise BadRequest(
            f"Argument `study` must be one of {known}, or a package.module path, but is {name!r}."
        )
    return _study_of_module(entry)


def _study_of_module(path: str) -> Study:
    try:
        found = importlib.util.find_spec(path)
    except (ImportError, ValueError):  # a parent is missing, or the path is no path
        found = None
    if found is None:
        raise BadRequest(f"Argument `study` must name a module that exists, but {path!r} does not.")
    module = importlib.import_module(path)
    studies = [value for value in vars(module).values() if isinstance(value, Study)]
    if len(studies) != 1:
        raise BadRequest(f"The module {path} must hold one Study value, but holds {len(studies)}.")
    return studies[0]
