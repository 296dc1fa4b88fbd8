from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from studies.engine import read_rows
from studies.engine.command_line import application, command_line
from studies.engine.folder import Folder
from studies.engine.reading import scan
from studies.engine.study import Study
from studies.engine.verbs import SPEND_VARIABLE
from studies.registry import STUDIES
from tests.studies import toy
from tests.studies.conftest import ROOT
from tests.studies.samples import make_folder

Command = Callable[..., subprocess.CompletedProcess[str]]
TOY = "tests.studies.toy"


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, output and errors of a command in this process."""
    status = command_line(list(arguments), {"toy": toy.STUDY})
    return status, *capsys.readouterr()


def test_verbs_grow_by_decision_only() -> None:
    commands = typer.main.get_command(application(STUDIES)).commands  # pyright: ignore
    assert list(commands) == ["list", "plan", "run", "status", "report", "merge"]


def test_a_whole_study_from_plan_to_report(command: Command, tmp_path: Path) -> None:
    plan = command("plan", TOY)
    assert plan.returncode == 0 and plan.stderr == ""
    figures = dict(re.findall(r"^(\w+(?: \w+)*?)  +(\w+)(?:  +\w*)? *$", plan.stdout, re.MULTILINE))
    assert (
        figures["tasks to do"] == "12"
        and figures["circuits"] == "12"
        and figures["shots"] == str(4 * (4 + 16 + 64))
    )
    assert figures["dollars"] == "unknown" and figures["qpu seconds"] == "0"
    run = command("run", TOY, "--workers", "2")
    assert run.returncode == 0 and run.stderr == ""
    assert f"Report: {tmp_path / 'results' / 'toy' / 'report.html'}" in run.stdout.replace("\n", "")
    assert "The average of averages is" in run.stdout
    assert len(read_rows(tmp_path / "results" / "toy")) == 12
    again = command("run", TOY)
    assert "0 tasks to do, 12 done before" in again.stdout


def test_study_file_is_a_command_of_its_own(tmp_path: Path) -> None:
    line = [
        sys.executable,
        str(ROOT / "tests" / "studies" / "toy.py"),
        "--workers",
        "2",
        "--results",
        str(tmp_path),
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    found = {task.id for task in toy.STUDY.tasks_of("quick")}
    assert set(scan(Folder.of(tmp_path, "toy")).first_ok()) == found


def test_shards_together_are_one_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    roots = [tmp_path / str(part) for part in (1, 2, 3)]
    for part, root in enumerate(roots, start=1):
        line = ("run", "toy", "--workers", "0", "--results", str(root))
        assert call(capsys, *line, "--shard", f"{part}/3")[0] == 0
        assert len(read_rows(root / "toy")) == 4
    whole = tmp_path / "whole"
    assert call(capsys, "merge", *map(str, roots), "--results", str(whole))[0] == 0
    assert call(capsys, "run", "toy", "--workers", "0", "--results", str(tmp_path / "one"))[0] == 0
    mine, yours = (
        read_rows(root / "toy").drop(columns=["clock", "wall_seconds", "cpu_seconds"])
        for root in (whole, tmp_path / "one")
    )
    assert mine.equals(yours)


def test_limit_does_a_part_and_the_report_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    line = ("run", "toy", "--workers", "0", "--results", str(tmp_path))
    assert "5 tasks to do, 0 done before" in call(capsys, *line, "--limit", "5")[1]
    assert "7 of 12 tasks have no result yet" in (tmp_path / "toy" / "report.html").read_text()
    assert "7 tasks to do, 5 done before" in call(capsys, *line)[1]
    assert "have no result yet" not in (tmp_path / "toy" / "report.html").read_text()


def test_failed_tasks_are_told_and_the_report_is_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, output, errors = call(
        capsys, "run", "toy", "--preset", "raise", "--workers", "0", "--results", str(tmp_path)
    )
    assert status == 1 and "Report: " in output
    assert "1 of 12 tasks failed; the first: RuntimeError: <script>alert(1)</script> went wrong" in errors
    assert "RuntimeError: &lt;script&gt;" in (tmp_path / "toy" / "report.html").read_text()
    _, output, _ = call(capsys, "status", "toy", "--results", str(tmp_path))
    assert re.search(r"error +1$", output, re.MULTILINE) and re.search(r"ok +11$", output, re.MULTILINE)


def test_conflict_and_foreign_lines_are_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    line = ("run", "toy", "--workers", "0", "--results", str(tmp_path))
    assert call(capsys, *line)[0] == 0
    (shard,) = Folder.of(tmp_path, "toy").shards()
    row = shard.read_text().splitlines()[1]
    altered = re.sub(r'"average":[^}]+', '"average":7.0', row)
    (shard.parent / "other.jsonl").write_text(f"nonsense\n{altered}\n")
    status, _, errors = call(capsys, "report", "toy", "--results", str(tmp_path))
    assert status == 1
    assert "has two good rows that differ in `average`" in errors
    assert "1 lines are no rows; the first: other.jsonl, line 1: is not JSON." in errors
    page = (tmp_path / "toy" / "report.html").read_text()
    assert "two good rows" in page and "other.jsonl, line 1" in page


def test_list_imports_and_shows_each_study(capsys: pytest.CaptureFixture[str]) -> None:
    status, output, _ = call(capsys, "list")
    assert status == 0 and "toy" in output and "average of random" in output


_NO_STUDY = "Argument `study` must be one of toy, or a module such as package.module, but is"
BAD = [
    (("run", "nothing"), 2, f"{_NO_STUDY} 'nothing'."),
    (("run", "no.such.module"), 2, f"{_NO_STUDY} 'no.such.module'."),
    (("run", ".."), 2, f"{_NO_STUDY} '..'."),
    (("run", "tests.studies.samples"), 2, "The module tests.studies.samples must hold one Study value, but holds 0."),
    (("run", "toy", "--preset", "best"), 2, "kill, many, quick, raise, slow, but is 'best'."),
    (("run", "toy", "--shard", "5/4"), 2, "Argument `shard` must be k/N with 1 <= k <= N, but is '5/4'."),
    (("run", "toy", "--shard", "0/4"), 2, "but is '0/4'."),
    (("run", "toy", "--shard", "x"), 2, "but is 'x'."),
    (("run", "toy", "--shard", "1/2/3"), 2, "but is '1/2/3'."),
    (("run", "toy", "--workers", "-1"), 2, "Argument `workers` must be at least 0, but is -1."),
    (("run", "toy", "--workers", "many"), 2, "Invalid value for '--workers'"),
    (("run", "toy", "--limit", "0"), 2, "Argument `limit` must be at least 1, but is 0."),
    (("run", "toy", "--scheduler", "here"), 2, "Argument `scheduler` must look like tcp://host:8786, but is 'here'."),
    (("run", "toy", "--scheduler", "tcp://h:1", "--workers", "2"), 2, "must be left out with `scheduler`"),
    (("run",), 2, "Missing argument 'STUDY'."),
    (("run", "toy", "--fast"), 2, "No such option: --fast"),
    (("dance",), 2, "No such command 'dance'."),
    (("report", "toy"), 2, "There are no results in"),
    (("merge", "nowhere"), 2, "The folder nowhere must be a results folder"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "expected", "message"), BAD)
def test_bad_input_is_one_sentence(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    expected: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, errors = call(capsys, *arguments)
    assert status == expected
    assert message in errors and errors.startswith("studies: ") and len(errors.splitlines()) == 1
    assert not any(tmp_path.iterdir())


def test_place_of_results_that_is_a_file_is_a_disk_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    status, _, errors = call(capsys, "run", "toy", "--workers", "0", "--results", str(tmp_path / "file"))
    assert status == 74 and "Not a directory" in errors and len(errors.splitlines()) == 1


def test_rows_that_cannot_be_read_are_a_disk_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    make_folder(tmp_path, {}).settings.unlink()
    (tmp_path / "toy" / "study.json").mkdir()
    status, _, errors = call(capsys, "report", "toy", "--results", str(tmp_path))
    assert status == 74 and "Is a directory" in errors and len(errors.splitlines()) == 1


def test_linked_results_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "toy").symlink_to(tmp_path / "away")
    status, _, errors = call(capsys, "run", "toy", "--workers", "0", "--results", str(tmp_path / "results"))
    assert status == 2 and "symbolic link" in errors and not any((tmp_path / "away").iterdir())


def test_errors_never_show_a_traceback(command: Command) -> None:
    for arguments in (("run", "nothing"), ("run", TOY, "--preset", "best"), ("run", TOY, "--shard", "9/1")):
        done = command(*arguments)
        assert done.returncode == 2 and "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1


def test_help_imports_nothing_heavy(command: Command) -> None:
    code = (
        "import sys; from studies.engine.command_line import command_line; command_line(['--help'], {});"
        "heavy = {'torch', 'matplotlib', 'pandas', 'scipy', 'distributed', 'pebble', 'qiskit', 'jinja2'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_study_without_price_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from dataclasses import replace

    study: Study = replace(toy.STUDY, price=None)
    assert command_line(["plan", "toy", "--results", str(tmp_path)], {"toy": study}) == 0
    assert "this study names none" in capsys.readouterr().out


def test_unreadable_settings_are_a_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    make_folder(tmp_path, {}).settings.write_text("{")
    status, _, errors = call(capsys, "report", "toy", "--results", str(tmp_path))
    assert status == 2 and "study.json must be JSON" in errors


def test_tasks_that_spend_dollars_want_them_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SPEND_VARIABLE, raising=False)
    paid = replace(toy.STUDY, bill=lambda task: 2.5, free_seconds=600.0)
    results = str(tmp_path)

    def paid_call(*arguments: str) -> tuple[int, str, str]:
        status = command_line([*arguments, "--results", results], {"toy": paid})
        return status, *capsys.readouterr()

    assert re.search(r"dollars really spent +30 +estimated; `run` wants --spend", paid_call("plan", "toy")[1])
    status, _, told = paid_call("run", "toy", "--workers", "0")
    assert status == 2
    assert told == (
        "studies: The tasks to do spend about $30.00 on a QPU, but nothing is allowed: run with --spend 30 or more. "
        "Nothing was submitted.\n"
    )
    assert "$29.00 are allowed" in paid_call("run", "toy", "--workers", "0", "--spend", "29")[2]
    assert "at least 0 dollars" in paid_call("run", "toy", "--spend", "-1")[2]
    assert paid_call("run", "toy", "--workers", "0", "--spend", "30", "--limit", "12")[0] == 0
    assert os.environ[SPEND_VARIABLE] == "30.0"
    # What is done costs nothing more.
    assert paid_call("run", "toy", "--workers", "0")[0] == 0
