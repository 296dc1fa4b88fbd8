from __future__ import annotations

from dataclasses import replace

import pytest

from studies.engine import Study
from tests.studies import toy


@pytest.mark.parametrize(
    "name", ["", ".a", "-a", "a/b", "..", "a b", "a\0", "a" * 65, "é", "con", "NUL.txt", "a\n"]
)
def test_names_that_are_no_folder_everywhere_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="`name` must be 1 to 64 letters"):
        replace(toy.STUDY, name=name)


@pytest.mark.parametrize("name", ["a", "A-1.b_c", "0", "a" * 64, "console"])
def test_plain_names_are_taken(name: str) -> None:
    assert replace(toy.STUDY, name=name).name == name


@pytest.mark.parametrize("version", [0, -1, 1.0, True, "1"])
def test_version_is_a_positive_int(version: object) -> None:
    with pytest.raises(ValueError, match="`version` must be an int of at least 1"):
        replace(toy.STUDY, version=version)


def test_quick_preset_is_required() -> None:
    with pytest.raises(ValueError, match=r"`presets` must hold 'quick', but holds \['full'\]"):
        replace(toy.STUDY, presets={"full": toy.Params()})


@pytest.mark.parametrize("params", [{"a": 1}, toy.Params])
def test_params_are_values_of_dataclasses(params: object) -> None:
    with pytest.raises(TypeError, match="Preset `quick` must be a value of a dataclass"):
        replace(toy.STUDY, presets={"quick": params})


def test_run_must_be_found_by_name() -> None:
    with pytest.raises(ValueError, match="`run` must be a function of a module"):
        replace(toy.STUDY, run=lambda task: {})


def test_time_limit_is_positive() -> None:
    with pytest.raises(ValueError, match="`time_limit_seconds` must be positive, but is 0"):
        replace(toy.STUDY, time_limit_seconds=0)


def test_unknown_preset_is_named() -> None:
    with pytest.raises(ValueError, match=r"`preset` must be one of .*quick.*, but is 'best'"):
        toy.STUDY.tasks_of("best")


def with_specs(*specs: dict[str, object]) -> Study:
    return replace(toy.STUDY, tasks=lambda params: specs)


def test_same_task_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must differ, but \{'a': 1\} comes twice\. Give repetitions"):
        with_specs({"a": 1}, {"a": 1}).tasks_of("quick")


def test_empty_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="must make at least one task"):
        with_specs().tasks_of("quick")
