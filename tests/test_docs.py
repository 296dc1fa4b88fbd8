"""Every Python block of the README and the docs runs, and prints what the page says it prints."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import types
from pathlib import Path
from unittest import mock

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_pages_have_code_to_run() -> None:
    assert sum(page.read_text(encoding="utf-8").count("```python") for page in PAGES) >= 4


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_on_the_page_prints_what_stands_below_it(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    # What a page sets in the environment ends with it.
    with mock.patch.dict(os.environ):
        _run(page, module)


def _run(page: Path, module: types.ModuleType) -> None:
    printed: str | None = None
    for language, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(compile(text, page.name, "exec"), vars(module))
            printed = output.getvalue()
        elif language == "text" and printed is not None:
            assert text.split() == printed.split(), f"{page.name} says\n{text}but the code prints\n{printed}"
            printed = None


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"
