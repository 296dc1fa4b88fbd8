"""What the tests of the studies share: the toy study on the command line, and rows made by hand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `python -m studies ...` with its results under `tmp_path / "results"`."""

    def run(*arguments: str, results: Path | None = tmp_path / "results") -> subprocess.CompletedProcess[str]:
        place = [] if results is None else ["--results", str(results)]
        line = [sys.executable, "-m", "studies", *arguments, *place]
        return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60)

    return run
