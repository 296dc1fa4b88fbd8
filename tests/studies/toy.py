"""A study of almost nothing: the mean of a few random numbers, quick enough to be run many times."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from classical.cost import Cost
from studies.engine import SkipTask, Study, Task, main

if TYPE_CHECKING:
    import pandas as pd

    from studies.engine.figures import Figure


@dataclass(frozen=True, kw_only=True)
class Params:
    sizes: tuple[int, ...] = (4, 16, 64)
    replicates: int = 4
    sleep_seconds: float = 0.005
    deed: str = ""
    """What the last task does instead of its work."""
    flag: str = ""
    """A file that the deed is done with."""


def tasks(params: Params) -> Iterable[Mapping[str, object]]:
    for size in params.sizes:
        for replicate in range(params.replicates):
            last = size == params.sizes[-1] and replicate == params.replicates - 1
            spec = {"size": size, "replicate": replicate, "sleep": params.sleep_seconds}
            yield {**spec, "deed": params.deed, "flag": params.flag} if last and params.deed else spec


def run(task: Task) -> Mapping[str, object]:
    time.sleep(float(str(task.spec["sleep"])))
    do_deed(str(task.spec.get("deed", "")), str(task.spec.get("flag", "")))
    draws = task.generator("draws").normal(size=int(str(task.spec["size"])))
    return {
        "average": draws.mean(),
        "timing": {"clock": time.time()},
        "cost": Cost(circuits=1, shots=len(draws), sources={"circuits": "computed", "shots": "computed"}),
    }


def do_deed(deed: str, flag: str) -> None:
    if deed == "raise":
        raise RuntimeError("<script>alert(1)</script> went wrong")
    if deed == "skip":
        raise SkipTask("there is no such device here")
    if deed == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if deed == "die once" and not Path(flag).exists():
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if deed == "hang":
        time.sleep(3600)


def tables(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    summary = rows.groupby("size", as_index=False).agg(tasks=("average", "size"), average=("average", "mean"))
    return {"Averages by size": summary}


def answer(rows: pd.DataFrame) -> list[str]:
    from studies.engine.statistics import mean

    return [f"The average of averages is {mean(rows['average'])}."]


def figures(rows: pd.DataFrame) -> list[Figure]:
    from studies.engine.figures import Figure, canvas, estimator_style

    drawing, (ax,) = canvas()
    ax.plot(rows["size"], rows["average"], linestyle="", **estimator_style("SPSA"))
    ax.set_xscale("log", base=2)
    ax.set_xlabel("size (log base 2)")
    ax.set_ylabel("average")
    points = rows[["size", "replicate", "average"]]
    return [Figure(name="averages", figure=drawing, points=points, caption="Averages against size.")]


def price(task: Task) -> Cost:
    return Cost(circuits=1, shots=int(str(task.spec["size"])), dollars=None)


def duration(task: Task) -> float:
    return float(str(task.spec["size"]))


STUDY = Study(
    name="toy",
    version=1,
    question="What is the average of random numbers?",
    presets={
        "quick": Params(),
        "many": Params(sizes=tuple(range(2, 42)), replicates=10),
        "slow": Params(sleep_seconds=0.2),
        "kill": Params(sizes=tuple(range(2, 42)), replicates=10, sleep_seconds=0.02),
        "raise": Params(deed="raise"),
        "die": Params(deed="die"),
    },
    tasks=tasks,
    run=run,
    price=price,
    duration=duration,
    figures=figures,
    answer=answer,
    tables=tables,
    time_limit_seconds=30.0,
)

if __name__ == "__main__":
    main(STUDY)
