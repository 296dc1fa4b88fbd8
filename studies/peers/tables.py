"""Tables on the screen and on disk: one function writes them all, from the same rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from studies.peers.comparison import Row, Verdict

Value = str | float | int | bool | None
Record = dict[str, Value]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Records with the same keys, and a name that is good for a file."""

    name: str
    title: str
    records: Sequence[Mapping[str, Value]]


@dataclass(kw_only=True)
class Report:
    """All that a run says.

    Args:
        about: versions, processor, threads, as `studies.engine.provenance` gives them.
        skipped: a line for what was not run, each once.
    """

    about: Mapping[str, object]
    tables: list[Table] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def skip(self, lines: Sequence[str]) -> None:
        self.skipped += [line for line in dict.fromkeys(lines) if line not in self.skipped]

    def markdown(self) -> str:
        """The whole as one Markdown page, with columns that line up in a terminal too."""
        parts = ["# Speed beside other toolkits", "\n".join(_about(self.about))]
        parts += [f"## {table.title}\n\n{markdown(table.records)}" for table in self.tables]
        if self.skipped:
            parts.append("## Not run\n\n" + "\n".join(f"- {line}" for line in self.skipped))
        return "\n\n".join(parts) + "\n"

    def write(self, folder: Path) -> None:
        """Writes `results.json`, `results.md` and a CSV file a table; numbers are unrounded in JSON and CSV."""
        folder.mkdir(parents=True, exist_ok=True)
        for table in self.tables:
            with (folder / f"{table.name}.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, fieldnames=list(table.records[0]) if table.records else [])
                writer.writeheader()
                writer.writerows(table.records)
        whole = {
            "about": dict(self.about),
            "tables": {table.name: list(table.records) for table in self.tables},
            "skipped": self.skipped,
        }
        (folder / "results.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
        (folder / "results.md").write_text(self.markdown(), encoding="utf-8")


def of_rows(name: str, title: str, rows: Sequence[Row], verdicts: Sequence[Verdict]) -> Table:
    """The comparison table of a workload: times in milliseconds, targets of the project beside the ratios."""
    records: list[Record] = []
    for row in rows:
        own = [verdict for verdict in verdicts if verdict.row is row]
        records.append(
            {
                "case": row.case,
                "toolkit": row.toolkit,
                "version": row.version,
                "method": row.method,
                "median ms": row.median * 1e3,
                "low ms": row.low * 1e3,
                "high ms": row.high * 1e3,
                "repeats": row.repeats,
                "first ms": row.first * 1e3,
                "beside our": row.against,
                "ratio": row.ratio,
                "target": "; ".join(f"{_bound(verdict)} {verdict.outcome}" for verdict in own),
                "deviation": row.deviation,
                "agrees": row.agrees,
                "note": row.note,
            }
        )
    return Table(name=name, title=title, records=records)


def of_verdicts(verdicts: Sequence[Verdict]) -> Table:
    """Every target with its ratio, and the ratio between the extremes of both sides."""
    records: list[Record] = [
        {
            "target": verdict.target.claim,
            "wanted": _bound(verdict),
            "ratio": verdict.value,
            "least": verdict.least,
            "most": verdict.most,
            "outcome": verdict.outcome,
        }
        for verdict in verdicts
    ]
    return Table(name="targets", title="Targets", records=records)


def _bound(verdict: Verdict) -> str:
    return f"{'>=' if verdict.target.at_least else '<='} {verdict.target.bound:g}"


def markdown(records: Sequence[Mapping[str, Value]]) -> str:
    """Records as a Markdown table; numbers to four digits, deviations to two."""
    if not records:
        return "Nothing was measured."
    heads = list(records[0])
    cells = [[_cell(head, record[head]) for head in heads] for record in records]
    widths = [max(3, len(head), *(len(row[i]) for row in cells)) for i, head in enumerate(heads)]
    lines = [heads, ["-" * width for width in widths], *cells]
    padded = [[text.ljust(width) for text, width in zip(line, widths, strict=True)] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in padded)


def _cell(head: str, value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        return f"{value:.1e}" if head == "deviation" else f"{value:.4g}"
    return str(value).replace("|", "/")


def _about(about: Mapping[str, object]) -> list[str]:
    lines = []
    for name, value in about.items():
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else value
        lines.append(f"- {name}: {text}")
    return lines
