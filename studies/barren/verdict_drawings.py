"""Figure of part E of `barren_plateau`: the map of verdicts."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.patches import Patch, Rectangle

from studies.barren.verdict import BARREN, NEITHER, SIMULABLE, WITHIN, Cell, cells
from studies.engine.figures import Figure, canvas

_COLOURS = {BARREN: "#E8A27C", SIMULABLE: "#8FD0B5", NEITHER: "#D9D9D9"}


def figures(rows: pd.DataFrame) -> list[Figure]:
    """The map, where there are cells."""
    found = cells(rows)
    return [verdict_map(found)] if found else []


def verdict_map(found: Sequence[Cell]) -> Figure:
    """A line for each circuit, cost and depth, a column for each size."""
    lines = list(dict.fromkeys(_line(each) for each in found))
    sizes = sorted({each.qubits for each in found})
    figure, (ax,) = canvas(width=6.0 + 2.2 * len(sizes), height=1.6 + 0.34 * len(lines))
    points = []
    for each in found:
        x, y = sizes.index(each.qubits), lines.index(_line(each))
        ax.add_patch(Rectangle((x, y), 1, 1, facecolor=_COLOURS[each.verdict], edgecolor="white"))
        ax.text(x + 0.5, y + 0.5, _note(each), ha="center", va="center", fontsize=7)
        points.append(
            {
                "circuit": each.circuit,
                "cost": each.cost,
                "layers": each.layers,
                "qubits": each.qubits,
                "verdict": each.verdict,
                "rate": each.rate,
                "variance": each.variance,
                "way": each.best,
                "error": None if each.best is None else each.errors[each.best],
                "seconds": None if each.best is None else each.seconds[each.best],
            }
        )
    ax.set_xlim(0, len(sizes))
    ax.set_ylim(len(lines), 0)
    ax.set_xticks([i + 0.5 for i in range(len(sizes))], [f"{size} qubits" for size in sizes])
    ax.set_yticks([i + 0.5 for i in range(len(lines))], lines, fontsize=8)
    ax.tick_params(length=0)
    ax.grid(False)
    kinds = [Patch(facecolor=colour, label=verdict) for verdict, colour in _COLOURS.items()]
    ax.legend(handles=kinds, fontsize=8, loc="upper center", bbox_to_anchor=(0.4, -0.04), ncols=3)
    return Figure(
        name="verdict",
        figure=figure,
        points=pd.DataFrame(points),
        caption=(
            "Barren: the variance of the largest derivative over uniform angles falls by ln 2 / 2 a qubit or more "
            "over the sizes up to this one at the same depth, straighter in n than in ln n; the number is that fall. "
            f"Trainable and simulable: not barren, and the way named is within {WITHIN:.0%} of the observable's norm "
            "at all rows of angles, beside the exact state vector. Neither was shown: no claim of an advantage; the "
            "nearest way and its error. Light cone and free fermions are exact; bonds are at most n, Pauli strings at "
            "most n³."
        ),
    )


def _line(each: Cell) -> str:
    layers = "layer" if each.layers == 1 else "layers"
    return f"{each.circuit}; {each.cost}; {each.layers} {layers}"


def _note(each: Cell) -> str:
    if each.verdict == BARREN:
        return f"barren, {each.rate:.2f} a qubit"
    if each.best is None:
        return "no way takes it"
    return f"{each.best}, {each.errors[each.best]:.1e}"
