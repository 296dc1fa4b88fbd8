"""Sources of expectation values."""

from collections.abc import Callable, Mapping

from hybrid.backends.base import AbstractBackend, Measured
from hybrid.backends.exact import Exact
from hybrid.backends.sampled import Sampled

BACKENDS: Mapping[str, Callable[[], AbstractBackend]] = {"exact": Exact, "sampled": Sampled}


def open_backend(name: str) -> AbstractBackend:
    """Returns the backend of that name; raises ValueError for an unknown one."""
    if name not in BACKENDS:
        raise ValueError(f"Argument `name` must be one of {sorted(BACKENDS)}, but is {name!r}.")
    return BACKENDS[name]()


__all__ = ["BACKENDS", "AbstractBackend", "Exact", "Measured", "Sampled", "open_backend"]
