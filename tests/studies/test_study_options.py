"""Options that a study adds to the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from studies.engine import read_rows
from studies.engine.command_line import command_line
from studies.engine.errors import BadRequest
from tests.studies import toy


def _with_repeats(params: toy.Params, text: str) -> toy.Params:
    return replace(params, replicates=int(text))


STUDY = replace(toy.STUDY, options={"repeats": _with_repeats})


def call(*arguments: str) -> int:
    return command_line([*arguments], {"toy": STUDY})


def test_an_option_changes_the_tasks_and_the_last_run_is_remembered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ("--results", str(tmp_path))
    assert call("run", "toy", "--repeats", "1", "--workers", "0", *place) == 0
    count = len(read_rows(tmp_path / "toy"))
    assert 0 < count < len(toy.STUDY.tasks_of("quick"))
    assert json.loads((tmp_path / "toy" / "study.json").read_text())["options"] == {"repeats": "1"}
    capsys.readouterr()
    assert call("status", "toy", *place) == 0
    words = capsys.readouterr().out.split()
    assert words[words.index("tasks") + 1] == words[words.index("ok") + 1] == str(count)
    assert call("report", "toy", *place) == 0
    assert call("plan", "toy", "--repeats=2", *place) == 0
    assert f"tasks to do {count}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--magic", "1"), "No such option: --magic. toy has --repeats."),
        (("--repeats", "many"), "invalid literal"),
        (("more",), "Got unexpected extra argument (more)."),
    ],
)
def test_what_is_no_option_is_refused(
    words: tuple[str, ...], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", "toy", *words, "--results", str(tmp_path)) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_study_without_options_has_none() -> None:
    with pytest.raises(BadRequest, match="No such option: --repeats"):
        toy.STUDY.with_options({"repeats": "1"})
