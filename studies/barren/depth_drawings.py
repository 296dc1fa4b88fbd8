"""Figures of parts B, D and F of `barren_plateau`: depth, noise, and circuits of many qubits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from studies.barren.curve_drawings import COLOURS, MARKERS, draw, key, legend, table
from studies.barren.selection import FIRST, Curve, of_depth, of_large, of_noise, picked
from studies.engine.figures import Figure, canvas


def figures(rows: pd.DataFrame) -> list[Figure]:
    """The figures of curves with two depths or more."""
    plain = [each for each in picked(of_depth(rows), position=FIRST) if len(each.sizes) > 1]
    noisy = [each for each in of_noise(rows) if len(each.sizes) > 1]
    wide = [each for each in of_large(rows) if len(each.sizes) > 1]
    return [*_depth(plain), *_large(wide), *_noise(noisy)]


def _depth(found: Sequence[Curve]) -> list[Figure]:
    if not found:
        return []
    sizes = sorted({each.name for each in found}, key=float)
    figure, axes = canvas(width=5.2 * max(2, len(sizes)), height=5.6, columns=len(sizes))
    drawn = []
    for ax, size in zip(axes, sizes, strict=True):
        for place, each in enumerate(picked(found, name=size)):
            drawn.append(draw(ax, each, f"{each.circuit}, {each.cost}", place, fit=False))
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_title(f"{size} qubits", fontsize=10)
        ax.set_xlabel("layers")
        ax.set_ylabel("variance of the first derivative (1 / radian²)")
        layers = sorted({int(x) for each in found for x in each.sizes})
        ax.set_xticks(layers, [str(x) for x in layers])
    legend(axes[0], ncols=2)
    key(figure, fit=False)
    return [
        Figure(
            name="depth",
            figure=figure,
            points=pd.concat(drawn),
            caption=(
                "Variance of the derivative by the first parameter on which the loss depends, against layers; uniform "
                f"angles, {found[0].samples} samples a point. Lines: the exact walk, where angles are independent and "
                "the work is not too large; dashed: deep limits. A curve that has gone flat has reached its depth."
            ),
        )
    ]


def _large(found: Sequence[Curve]) -> list[Figure]:
    if not found:
        return []
    figure, axes = canvas(width=7.5, height=5.2)
    ax = axes[0]
    drawn = []
    for place, each in enumerate(found):
        growth = each.exact_growth
        law = "" if growth is None else f": {growth.verdict}"
        label = f"{each.cost}, {each.name}{law}"
        ax.plot(each.sizes, each.exact, color=COLOURS[place], marker=MARKERS[place], label=label)
        drawn.append(table(each, label, "variance", [None] * len(each.sizes), each.exact))
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    sizes = sorted({int(x) for each in found for x in each.sizes})
    ax.set_xticks(sizes, [str(x) for x in sizes])
    ax.set_xlabel("qubits")
    ax.set_ylabel("variance of the first derivative (1 / radian²)")
    legend(ax)
    return [
        Figure(
            name="large",
            figure=figure,
            points=pd.concat(drawn),
            caption=(
                f"{found[0].circuit}, uniform angles: the exact walk as a matrix-product state, to 1e-3; nothing is "
                "sampled. On these axes a power of n is a straight line."
            ),
        )
    ]


def _noise(found: Sequence[Curve]) -> list[Figure]:
    if not found:
        return []
    places = list(dict.fromkeys(each.name.split(", ")[2] for each in found))
    figure, axes = canvas(width=5.6 * max(2, len(places)), height=5.2, columns=len(places))
    drawn = []
    for ax, place in zip(axes, places, strict=True):
        own = [each for each in found if each.name.endswith(place)]
        for colour, each in enumerate(own):
            qubits, factor, _ = each.name.split(", ")
            label = f"q = {factor}, {qubits} qubits"
            drawn.append(draw(ax, each, label, colour, second=True, fit=False).assign(noise_after=place))
            decay = float(each.rows["derivatives"].iloc[-1][FIRST]["scrambled_decay"])
            anchor = each.exact_second_moments[-1]
            if decay < 1 and anchor > 0:
                fine = np.array([each.sizes[len(each.sizes) // 2], each.sizes[-1]])
                ax.plot(
                    fine, anchor * decay ** (fine - fine[-1]), color="black", linewidth=1.0, linestyle=":"
                )
        ax.plot([], [], color="black", linewidth=1.0, linestyle=":", label="slope q^(3m/2) a layer")
        ax.set_yscale("log")
        ax.set_title(f"noise after {place}", fontsize=10)
        ax.set_xlabel("layers")
        ax.set_ylabel("variance of the first derivative (1 / radian²)")
        legend(ax, ncols=2)
    key(figure, prediction=False, fit=False)
    return [
        Figure(
            name="noise",
            figure=figure,
            points=pd.concat(drawn),
            caption=(
                f"{found[0].circuit}, Z0 Z1, first RX: after each layer every qubit's Bloch vector shrinks by q, or "
                "after each gate those of its qubits, m places a layer (rho -> q rho + (1 - q) I/2; Qiskit's "
                "depolarizing_error(1 - q, 1)). Points: density matrices, "
                f"{found[0].samples} samples of uniform angles; lines: the exact walk with noise. The mean is zero, so "
                "second moment and variance are one."
            ),
        )
    ]
