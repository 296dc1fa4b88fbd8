"""The price of a piece of work, as a value that adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

Source = Literal["measured", "computed", "estimated"]

# A sum is only as good as its worst part.
_SOURCES: tuple[Source, ...] = ("measured", "computed", "estimated")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What was spent, or what a plan would spend.

    `Cost()` is the neutral element: nothing was spent. `None` means *not measured* and is contagious: a sum
    that holds an unknown is unknown. All fields add, but `peak_bytes`, which adds by maximum. `sources` says
    of each figure that is not zero whether it was measured, computed from a formula or estimated; a sum takes
    the weaker word of its parts.
    """

    circuits: int = 0
    """Circuits run: parameter rows times measurement bases."""
    shots: int = 0
    jobs: int = 0
    """Submissions to a queue."""
    qpu_seconds: float | None = 0.0
    dollars: float | None = 0.0
    wall_seconds: float | None = 0.0
    cpu_seconds: float | None = 0.0
    flops: float | None = 0.0
    """Real floating-point operations; a complex multiply-add counts as eight."""
    peak_bytes: int | None = 0
    """Memory in use at the highest point, above what was in use before."""
    energy_joules: float | None = 0.0
    sources: Mapping[str, Source] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = set(self.sources) - set(self.figures())
        if unknown:
            raise ValueError(f"Argument `sources` names {sorted(unknown)}, which are not figures of a cost.")
        bad = set(self.sources.values()) - set(_SOURCES)
        if bad:
            raise ValueError(f"A source must be one of {_SOURCES}, but is {sorted(bad)}.")

    def figures(self) -> dict[str, float | int | None]:
        """All figures by name, without their sources."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name != "sources"}

    def __add__(self, other: Cost) -> Cost:
        if not isinstance(other, Cost):
            return NotImplemented
        totals: dict[str, float | int | None] = {}
        sources: dict[str, Source] = {}
        theirs = other.figures()
        for name, mine in self.figures().items():
            yours = theirs[name]
            if mine is None or yours is None:
                totals[name] = None
            else:
                totals[name] = max(mine, yours) if name == "peak_bytes" else mine + yours
            named: list[Source] = [cost.sources[name] for cost in (self, other) if name in cost.sources]
            if named and totals[name] is not None:
                sources[name] = _SOURCES[max(map(_SOURCES.index, named))]
        return Cost(**totals, sources=sources)  # pyright: ignore[reportArgumentType]

    def to_dict(self) -> dict[str, object]:
        """Plain values for a row of results."""
        return {**self.figures(), "sources": dict(self.sources)}
