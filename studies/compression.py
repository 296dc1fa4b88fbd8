"""Is a model that tensor networks compress smaller, faster and as good, and which method is best at equal size?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studies.compressing import healing, sensitivity, sizes
from studies.compressing.language import FOLDER_PREFIX
from studies.compressing.methods import (
    BLOCK_DROP,
    INT4,
    INT8,
    MPO,
    MPO_FITTED,
    OURS,
    OURS_INT4,
    OURS_INT8,
    PRUNED,
    SVD,
    SVD_LLM,
    TWO_SIDED,
)
from studies.compressing.parts import PARTS
from studies.compressing.subjects import DIGITS, ENCODER, LANGUAGE, SLICE
from studies.engine import Study, Task, main

if TYPE_CHECKING:
    import pandas as pd

    from studies.engine.figures import Figure


@dataclass(frozen=True, kw_only=True)
class Params:
    """The grid of each part, by its name, in the order of work."""

    grids: Mapping[str, Any]


_FEW = (SVD_LLM, MPO, OURS, INT4)
_USUAL = (SVD, SVD_LLM, TWO_SIDED, MPO, OURS, OURS_INT8, OURS_INT4, PRUNED, INT8, INT4)
_ALL = (*_USUAL, MPO_FITTED)
_WITH_BLOCKS = (*_ALL, BLOCK_DROP)
_RIVALS = (SVD_LLM, MPO, BLOCK_DROP)
_MANY_RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
_TRAINED = (SVD, SVD_LLM, TWO_SIDED, MPO, OURS)

QUICK = Params(
    grids={
        sizes.PART: sizes.Grid(
            cases=(
                sizes.Case(subject=SLICE, methods=(MPO, OURS), sizes=(0.6,)),
                sizes.Case(subject=ENCODER, methods=_FEW, sizes=(0.3,)),
                sizes.Case(subject=DIGITS, methods=_ALL, sizes=(0.6, 0.3)),
            ),
        ),
        healing.PART: healing.Grid(
            cases=(
                healing.Case(subject=DIGITS, methods=_TRAINED, sizes=(0.3, 0.1), steps=100, adapted=(OURS,)),
            ),
        ),
        sensitivity.PART: sensitivity.Grid(
            cases=(sensitivity.Case(subject=DIGITS),),
        ),
    }
)
FULL = Params(
    grids={
        sizes.PART: sizes.Grid(
            cases=(
                sizes.Case(subject=LANGUAGE, methods=(*_RIVALS, OURS, INT8, INT4)),
                sizes.Case(subject=ENCODER, methods=(SVD, *_RIVALS, OURS, INT8, INT4)),
                sizes.Case(subject=ENCODER, methods=_WITH_BLOCKS, sizes=(0.3,)),
                sizes.Case(subject=DIGITS, methods=_ALL, sizes=(0.8, 0.6, 0.4, 0.3, 0.2, 0.1)),
            ),
        ),
        healing.PART: healing.Grid(
            cases=(
                healing.Case(
                    subject=LANGUAGE,
                    methods=(SVD_LLM, MPO, OURS),
                    sizes=(0.6,),
                    steps=24,
                    rates=(1e-4, 1e-3),
                    adapted=(OURS,),
                ),
                healing.Case(
                    subject=ENCODER,
                    methods=(*_RIVALS, OURS),
                    sizes=(0.3,),
                    steps=60,
                    rates=(5e-4, 2e-3, 5e-3),
                    adapted=(OURS,),
                ),
                healing.Case(
                    subject=DIGITS,
                    methods=(*_TRAINED, MPO_FITTED),
                    sizes=(0.3, 0.1),
                    steps=200,
                    adapted=(OURS,),
                ),
            ),
        ),
        sensitivity.PART: sensitivity.Grid(
            cases=(
                sensitivity.Case(subject=LANGUAGE, every=6),
                sensitivity.Case(subject=ENCODER),
                sensitivity.Case(subject=DIGITS),
            ),
        ),
    }
)
PAPER = Params(
    grids={
        sizes.PART: sizes.Grid(
            cases=(
                sizes.Case(subject=LANGUAGE, methods=_WITH_BLOCKS),
                sizes.Case(subject=ENCODER, methods=_WITH_BLOCKS),
            ),
            repeats=31,
            device="cuda",
        ),
        healing.PART: healing.Grid(
            cases=(
                healing.Case(
                    subject=LANGUAGE,
                    methods=(*_TRAINED, MPO_FITTED, BLOCK_DROP),
                    sizes=(0.8, 0.6, 0.4, 0.3),
                    steps=3000,
                    rates=_MANY_RATES,
                    adapted=_TRAINED,
                ),
                healing.Case(
                    subject=ENCODER,
                    methods=(*_TRAINED, MPO_FITTED, BLOCK_DROP),
                    sizes=(0.8, 0.6, 0.4, 0.3),
                    steps=3000,
                    rates=_MANY_RATES,
                    adapted=_TRAINED,
                ),
            ),
            device="cuda",
        ),
        sensitivity.PART: sensitivity.Grid(
            cases=(sensitivity.Case(subject=LANGUAGE), sensitivity.Case(subject=ENCODER)), device="cuda"
        ),
    }
)


def of_model(params: Params, text: str) -> Params:
    """The same grids for the language model in a folder, in place of all other models.

    Raises:
        ValueError: There is no such folder.
    """
    folder = Path(text).resolve()
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"Option `--model` must be a folder with a model and its config.json, but is {text!r}."
        )
    name = f"{FOLDER_PREFIX}{folder}"
    grids = {
        part: replace(
            grid,
            cases=tuple(
                replace(case, subject=name) for case in grid.cases if case.subject in (LANGUAGE, SLICE)
            ),
        )
        for part, grid in params.grids.items()
    }
    return Params(grids=grids)


def tasks(params: Params) -> Iterator[dict[str, Any]]:
    for name, grid in params.grids.items():
        yield from PARTS[name].specs(grid)


def run(task: Task) -> dict[str, Any]:
    return PARTS[str(task.spec["part"])].run(task)


def duration(task: Task) -> float:
    return PARTS[str(task.spec["part"])].duration(task)


def figures(rows: pd.DataFrame) -> list[Figure]:
    from studies.compressing.answers import figures as draw

    return draw(rows)


def answer(rows: pd.DataFrame) -> list[str]:
    from studies.compressing.answers import answer as say

    return say(rows)


def tables(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    from studies.compressing.answers import tables as lay_out

    return lay_out(rows)


STUDY = Study(
    name="compression",
    version=1,
    question="Do tensor networks make a trained model smaller and faster at the same quality, as is claimed, and which "
    "method is best at equal size, before and after the same training?",
    presets={"quick": QUICK, "full": FULL, "paper": PAPER},
    tasks=tasks,
    run=run,
    duration=duration,
    figures=figures,
    answer=answer,
    tables=tables,
    time_limit_seconds=4 * 3600.0,
    options={"model": of_model},
)

if __name__ == "__main__":
    main(STUDY)
