"""Where numbers come from: code, packages, computer."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from studies.engine.attempt import now

_PACKAGES = (
    "qtn-hybrid",
    "numpy",
    "scipy",
    "torch",
    "qiskit",
    "qiskit-aer",
    "pennylane",
    "pebble",
    "distributed",
)


def provenance(command: list[str], workers: int) -> dict[str, object]:
    """What a run says of itself: plain values, without user names or paths of the computer.

    Args:
        command: the arguments of `python -m studies` that repeat the run.
        workers: how many processes work, 0 when the tasks run in this one.
    """
    commit, dirty = _commit()
    return {
        "started": now(),
        "command": " ".join(["python -m studies", *command]),
        "commit": commit,
        "dirty": dirty,
        "packages": {name: version for name in _PACKAGES if (version := _version(name)) is not None},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "workers": workers,
        "threads": 1 if workers else os.environ.get("OMP_NUM_THREADS", "all"),
    }


def _commit() -> tuple[str | None, bool | None]:
    """The commit of the code and whether Python files differ from it; (None, None) outside a checkout."""
    place = Path(__file__).resolve().parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(place), *arguments], capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    # Installed packages may lie inside a checkout of something else.
    if git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None, None
    changes = git("status", "--porcelain", "--", ":/*.py")
    return git("rev-parse", "HEAD"), None if changes is None else bool(changes)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
