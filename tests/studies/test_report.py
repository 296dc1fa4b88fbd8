from __future__ import annotations

import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from classical.cost import Cost
from studies.engine import Outcome, Study, Task
from studies.engine.figures import Figure, canvas
from studies.engine.folder import Folder
from studies.engine.outcome import Failure
from studies.engine.reading import scan
from studies.engine.report import findings, write_report
from studies.engine.row import Row
from studies.engine.store import Store
from tests.studies import toy

PAYLOADS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "'onmouseover='alert(1)",
    "</style><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "<!--",
    "]]><script>",
    "javascript:alert(1)",
    "<iframe src=https://example.org></iframe>",
    "<base href=https://example.org>",
    "<meta http-equiv=refresh content=0>",
    "&lt;script&gt;",
    "\u202e<b>\u0000</b>",
]


class Tags(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


@dataclass(frozen=True)
class Hostile:
    text: str


def hostile_study(text: str) -> Study:
    def figures(rows: pd.DataFrame) -> list[Figure]:
        drawing, (ax,) = canvas()
        ax.set_xlabel(text.replace("$", "").replace("\0", ""))
        return [Figure(name="f", figure=drawing, points=rows[["metric"]], caption=text)]

    return replace(
        toy.STUDY,
        question=text,
        presets={"quick": Hostile(text)},
        tasks=lambda params: [{"text": text, "n": n} for n in range(3)],
        tables=lambda rows: {text: pd.DataFrame({text: [text, text]})},
        answer=lambda rows: [text],
        figures=figures,
    )


def write(root: Path, study: Study, outcomes: list[Outcome], heading: dict[str, object]) -> str:
    folder = Folder.of(root, study.name)
    tasks: list[Task] = study.tasks_of("quick")
    with Store(folder, heading=heading) as store:
        for task, outcome in zip(tasks, outcomes, strict=False):
            store.append(Row(task=task, attempt=1, outcome=outcome))
    folder.rows.mkdir(exist_ok=True)
    (folder.rows / "foreign.jsonl").write_text("<script>\n")
    found = scan(folder)
    return write_report(folder, study, "quick", tasks, found, findings(study, tasks, found)).read_text()


def some_outcomes(text: str) -> list[Outcome]:
    ok = Outcome(status="ok", metrics={"metric": text}, cost=Cost(shots=5, dollars=None), started="1")
    return [ok, Outcome(status="error", failure=Failure(type=text, message=text), started="2")]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Tags:
    """The tags of a page without any mischief."""
    tags, text = Tags(), "harmless"
    tags.feed(write(tmp_path_factory.mktemp("plain"), hostile_study(text), some_outcomes(text), {"c": text}))
    return tags


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("text", PAYLOADS)
def test_hostile_text_stays_text(tmp_path: Path, plain: Tags, text: str) -> None:
    page = write(tmp_path / "hostile", hostile_study(text), some_outcomes(text), {text: text})
    hostile = Tags()
    hostile.feed(page)
    assert hostile.tags == plain.tags and "script" not in hostile.tags
    assert [name for name, _ in hostile.attributes] == [name for name, _ in plain.attributes]
    assert "49" not in re.sub(r"base64,[^\"]+", "", page).partition("</style>")[2]


def test_page_stands_alone_and_forbids_scripts(tmp_path: Path) -> None:
    page = write(tmp_path, hostile_study("x"), some_outcomes("x"), {})
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in page
    tags = Tags()
    tags.feed(page)
    places = [value or "" for name, value in tags.attributes if name in ("src", "href", "action", "srcset")]
    assert places and all(place.startswith("data:image/svg+xml;base64,") for place in places)
    assert "http:" not in page and "https:" not in page


def test_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    study = hostile_study("x")
    page = write(tmp_path, study, some_outcomes("x"), {"commit": "abc"})
    folder = Folder.of(tmp_path, study.name)
    tasks, found = study.tasks_of("quick"), scan(folder)
    assert (
        write_report(folder, study, "quick", tasks, found, findings(study, tasks, found)).read_text() == page
    )


def test_page_says_what_failed_what_it_cost_and_where_it_comes_from(tmp_path: Path) -> None:
    page = write(
        tmp_path, hostile_study("x"), some_outcomes("no luck"), {"commit": "abc", "packages": {"numpy": "2"}}
    )
    assert "1 of 3 tasks done" in page and "2 of 3 tasks have no result yet" in page
    assert re.search(r"<td>error</td><td class=\"number\">1</td><td>no luck: no luck</td>", page)
    assert re.search(r"<td>shots</td><td class=\"number\">5</td>", page)
    assert re.search(r"<td>dollars</td><td>not measured</td>", page)
    assert "<td>abc</td>" in page and "<td>numpy 2</td>" in page


def test_figures_that_cannot_be_made_do_not_hide_the_rest(tmp_path: Path) -> None:
    def figures(rows: pd.DataFrame) -> list[Figure]:
        raise ValueError("needs 3 points")

    page = write(tmp_path, replace(hostile_study("x"), figures=figures), some_outcomes("x"), {})
    assert "The figures could not be made from 1 of 3 tasks: ValueError: needs 3 points" in page
    assert "<h2>x</h2>" in page


def test_study_without_rows_has_a_page_too(tmp_path: Path) -> None:
    page = write(tmp_path, hostile_study("x"), [], {})
    assert "No answer yet." in page and "0 of 3 tasks done" in page
