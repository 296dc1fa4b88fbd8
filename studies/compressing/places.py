"""Where in a model a layer stands: how deep, and of what kind."""

from __future__ import annotations

from studies.compressing.subject import AbstractSubject

THIRDS = ("early", "middle", "late")


def depth_of(subject: AbstractSubject, name: str) -> int:
    """The number of its block; without blocks, its place among the compressed layers."""
    if subject.blocks is None:
        return list(subject.names).index(name)
    return int(name.removeprefix(f"{subject.blocks}.").split(".")[0])


def third_of(subject: AbstractSubject, name: str) -> str:
    """Early, middle or late, by the depths that the compressed layers have."""
    depths = sorted({depth_of(subject, each) for each in subject.names})
    return THIRDS[depths.index(depth_of(subject, name)) * len(THIRDS) // len(depths)]


def type_of(subject: AbstractSubject, name: str) -> str:
    """Its name inside its block; without blocks, its name."""
    if subject.blocks is None:
        return name
    return name.removeprefix(f"{subject.blocks}.").partition(".")[2]
