"""Figures: one look for all studies, and the files that each leaves."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from numpy.typing import ArrayLike

from studies.engine.folder import check_name, write_whole

# Eight colours that the colour-blind tell apart.
# Source: Okabe and Ito, Color universal design, 2008, jfly.uni-koeln.de/color.
_BLACK, _ORANGE, _SKY, _GREEN, _YELLOW, _BLUE, _RED, _PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip

ESTIMATOR_STYLES: dict[str, dict[str, Any]] = {
    "parameter-shift": {"color": _BLUE, "marker": "o"},
    "parameter-shift (shots)": {"color": _SKY, "marker": "s"},
    "parameter-shift (few shots)": {"color": "#555555", "marker": "h"},
    "SPSA": {"color": _RED, "marker": "^"},
    "finite differences": {"color": _ORANGE, "marker": "v"},
    "adjoint": {"color": _GREEN, "marker": "D"},
    "backprop": {"color": _PURPLE, "marker": "P"},
    "control": {"color": _BLACK, "marker": "X"},
}
"""Colour and marker of each estimator, the same in all figures."""

_OTHERS = [
    (colour, marker) for marker in "<>hp*d" for colour in (_GREEN, _PURPLE, _ORANGE, _BLUE, _RED, _BLACK)
]

_LOOK: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "errorbar.capsize": 2.0,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "lines.markersize": 5,
    "pdf.fonttype": 42,
    "savefig.bbox": "tight",
    "svg.fonttype": "path",
    "svg.hashsalt": "studies",
}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawing with the points it shows and the caption that explains it."""

    name: str
    """The name of its files, without an ending."""
    figure: Canvas
    points: pd.DataFrame
    caption: str

    def __post_init__(self) -> None:
        check_name(self.name)

    def svg(self) -> bytes:
        """The drawing as SVG; the same figure gives the same bytes."""
        return self._drawn(FigureCanvasSVG, {"Date": None, "Creator": None})

    def pdf(self) -> bytes:
        """The drawing as PDF; the same figure gives the same bytes."""
        return self._drawn(FigureCanvasPdf, {"CreationDate": None, "Creator": None, "Producer": None})

    def csv(self) -> bytes:
        """The points as CSV; text that a spreadsheet would take for a formula gets an apostrophe in front."""
        return self.points.map(_inert).rename(columns=_inert).to_csv(index=False).encode()

    def save(self, folder: Path) -> None:
        """Writes `<name>.svg`, `<name>.pdf` and `<name>.csv`."""
        for ending, content in (("svg", self.svg()), ("pdf", self.pdf()), ("csv", self.csv())):
            write_whole(folder / f"{self.name}.{ending}", content)

    def _drawn(
        self, canvas: type[FigureCanvasSVG] | type[FigureCanvasPdf], metadata: dict[str, None]
    ) -> bytes:
        target = io.BytesIO()
        with look():
            printer = canvas(self.figure)
            printer.print_figure(target, metadata=metadata, bbox_inches="tight")
        return target.getvalue()


def look() -> Any:
    """The look of all figures, for a `with` statement."""
    return mpl.rc_context(_LOOK)


def canvas(width: float = 6.4, height: float = 4.0, columns: int = 1) -> tuple[Canvas, list[Axes]]:
    """An empty drawing, in inches, with its axes side by side. It belongs to no window."""
    with look():
        figure = Canvas(figsize=(width, height), layout="constrained")
        return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def estimator_style(name: str, names: Iterable[str] = ()) -> dict[str, Any]:
    """Colour and marker of an estimator; one without a fixed style gets it by its place among `names`."""
    if name in ESTIMATOR_STYLES:
        return ESTIMATOR_STYLES[name]
    others = sorted({name, *names} - set(ESTIMATOR_STYLES))
    colour, marker = _OTHERS[others.index(name) % len(_OTHERS)]
    return {"color": colour, "marker": marker}


def band(ax: Axes, x: ArrayLike, low: ArrayLike, high: ArrayLike, color: str | None = None) -> None:
    """Draws an interval as a light band behind a line."""
    ax.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)  # pyright: ignore[reportArgumentType]


def reference_slope(ax: Axes, exponent: float, label: str, anchor: tuple[float, float]) -> None:
    """Draws `y ~ x**exponent` through the point `anchor`, dashed, across logarithmic axes as they are."""
    low, high = ax.get_xlim()
    ends = [low, high]
    heights = [anchor[1] * (x / anchor[0]) ** exponent for x in ends]
    limits = ax.get_ylim()
    ax.plot(ends, heights, linestyle="--", color="#777777", linewidth=1.0, label=label, zorder=1)
    ax.set_xlim(low, high)
    ax.set_ylim(limits)


def _inert(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
