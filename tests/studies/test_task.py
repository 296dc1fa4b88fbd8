from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.engine.task import Task

GOLDEN = [
    ({}, "e77de63a1b2433c8713e561c13146dbcc23729e68e87b17ee06806b43b69a5d5"),
    (
        {"qubits": 4, "angle": 0.1, "name": "é", "deep": [1, {"a": None}], "flag": True},
        "dc7ac794b1279bba0bdc94e61fac72d2d926c94e0b0f0f9bd1ca2b20ef4ca499",
    ),
    ({"x": 1}, "6383a3b80f20d602c95aa48401c8be8341aea664b75c469350eea23892d52d45"),
    ({"x": 1.0}, "06529037a51f3553117e5efcdf8f9f8ca5ec6c0975b9c139e63c0d0b13aa9e68"),
    ({"x": True}, "36c1d47d4adf792c289cf5317e1c18497b9c1dc92173a8d28b7b71e6d0789b9e"),
    ({"x": 0.0}, "bb0bb369d488dca9e7da290e770e9c5d64dcafe857160bfb691a205b865d4c4e"),
]

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
specs = st.dictionaries(st.text(), plain, max_size=4)


def task_of(spec: object) -> Task:
    return Task(study="s", version=1, spec=spec)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("spec", "digest"), GOLDEN)
def test_ids_never_change(spec: dict[str, object], digest: str) -> None:
    assert task_of(spec).id == digest


def test_id_is_the_hash_of_the_written_out_content() -> None:
    text = '{"schema":1,"spec":{"a":0.5,"b":[1,null]},"study":"s","version":1}'
    assert task_of({"b": (1, None), "a": 0.5}).id == hashlib.sha256(text.encode()).hexdigest()


@settings(deadline=None)
@given(specs, st.randoms())
def test_order_of_keys_is_irrelevant(spec: dict[str, object], random: object) -> None:
    keys = list(spec)
    random.shuffle(keys)  # pyright: ignore[reportAttributeAccessIssue]
    assert task_of({key: spec[key] for key in keys}).id == task_of(spec).id


@settings(deadline=None)
@given(specs)
def test_spec_survives_pickling_with_its_id(spec: dict[str, object]) -> None:
    task = task_of(spec)
    copy = pickle.loads(pickle.dumps(task))
    assert copy == task and copy.id == task.id and copy.spec == task.spec


def test_study_and_version_are_part_of_the_id() -> None:
    ids = {Task(study=name, version=version, spec={}).id for name in "ab" for version in (1, 2)}
    assert len(ids) == 4


def test_negative_zero_is_zero() -> None:
    assert task_of({"x": -0.0}).id == task_of({"x": 0.0}).id


def test_changing_the_given_dict_later_does_not_change_the_task() -> None:
    inner = [1]
    spec = {"x": inner}
    task = task_of(spec)
    inner.append(2)
    assert task.spec == {"x": [1]}


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (np.float64(1.0), TypeError, r"`spec\.x` must hold plain .* numpy\.float64"),
        (np.int64(1), TypeError, "numpy.int64"),
        (np.bool_(True), TypeError, "numpy.bool"),
        (np.str_("a"), TypeError, "numpy.str_"),
        (np.ones(2), TypeError, "numpy.ndarray"),
        ({1, 2}, TypeError, "builtins.set"),
        (Decimal(1), TypeError, "decimal.Decimal"),
        (1j, TypeError, "builtins.complex"),
        (b"a", TypeError, "builtins.bytes"),
        (float("nan"), ValueError, r"`spec\.x` must be a finite number, but is nan\."),
        ([0, float("inf")], ValueError, r"`spec\.x\[1\]` must be a finite number, but is inf\."),
        ({1: 2}, TypeError, r"`spec\.x` must have str keys, but has the key 1\."),
        ({np.str_("a"): 2}, TypeError, "must have str keys"),
    ],
)
def test_what_is_not_plain_is_refused_by_name(value: object, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        task_of({"x": value})


def test_one_use_is_one_stream_whatever_came_before() -> None:
    first, second = task_of({"x": 1}), task_of({"x": 1})
    second.generator("init").normal(size=10)
    assert (
        first.generator("shots").normal(size=5).tolist() == second.generator("shots").normal(size=5).tolist()
    )


def test_streams_never_change() -> None:
    assert task_of({"x": 1}).generator("shots").integers(1000, size=3).tolist() == [264, 421, 214]
    assert task_of({"x": 1}).seed("shots") == 7988139524896732207


def test_uses_and_tasks_have_streams_of_their_own() -> None:
    draws = {
        task_of({"x": x}).generator(use).integers(2**62).item() for x in range(10) for use in ("a", "b", "ab")
    }
    assert len(draws) == 30


def test_ids_and_streams_are_the_same_in_another_process() -> None:
    code = (
        "from studies.engine.task import Task; t = Task(study='s', version=1, spec={'x': 1});"
        "print(t.id, t.generator('shots').integers(2**62))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
            capture_output=True, text=True, check=True, cwd=__file__.rsplit("/tests/", 1)[0],
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    task = task_of({"x": 1})
    assert seen == {f"{task.id} {task.generator('shots').integers(2**62)}\n"}
