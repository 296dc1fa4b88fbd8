"""Figure of part C of `barren_plateau`: starts."""

from __future__ import annotations

import pandas as pd

from studies.barren.curve_drawings import draw, key, law_text, legend
from studies.barren.selection import of_starts
from studies.engine.figures import Figure, canvas


def figures(rows: pd.DataFrame) -> list[Figure]:
    """Variance and second moment side by side, against qubits."""
    found = [each for each in of_starts(rows) if len(each.sizes) > 1]
    if not found:
        return []
    figure, axes = canvas(width=11.5, height=5.4, columns=2)
    drawn = []
    for ax, second in zip(axes, (False, True), strict=True):
        for place, each in enumerate(found):
            growth = each.second_growth if second else each.growth
            drawn.append(draw(ax, each, f"{each.name}: {law_text(growth)}", place, second=second))
        ax.set_yscale("log")
        ax.set_xlabel("qubits")
        ax.set_xticks(sorted({int(x) for each in found for x in each.sizes}))
        ax.set_ylabel(
            "mean square of the derivative (1 / radian²)"
            if second
            else "variance of the derivative (1 / radian²)"
        )
        legend(ax)
    key(figure, prediction=False)
    rows = found[0].rows
    layers = ", ".join(f"{deep} on {wide}" for deep, wide in zip(rows["layers"], rows["qubits"], strict=True))
    return [
        Figure(
            name="starts",
            figure=figure,
            points=pd.concat(drawn),
            caption=(
                f"{found[0].circuit} after RY(pi/4) on every qubit, {found[0].cost}, layers: {layers} qubits; "
                f"derivative by the RY on qubit 0 in the middle layer, {found[0].samples} samples. Left: variance "
                "about the mean. Right: mean square, which is the larger where the start has a mean gradient. A start "
                "is an escape at the first step only."
            ),
        )
    ]
