"""What parts B, D and F say: depth, noise, and circuits of many qubits."""

from __future__ import annotations

import math
from collections.abc import Sequence

from studies.barren.selection import FIRST, Curve, picked

_NEAR = 1.1


def sentences(found: Sequence[Curve]) -> list[str]:
    """For each circuit at the largest size: how far the first derivative falls, and from where on it is flat."""
    first = picked(found, position=FIRST)
    if not first:
        return []
    size = max((each.name for each in first), key=float)
    words = []
    for each in picked(first, name=size):
        ends = [one for one in (each.variances[0], each.variances[-1]) if one is not None and one.value > 0]
        if len(ends) < 2:
            continue
        text = f"{each.circuit} ({each.cost}) {ends[1].value / ends[0].value:.2g}"
        flat = _flat_from(each)
        words.append(text if flat is None else f"{text}, flat within 10 percent from {flat:g} layers")
    if not words:
        return []
    layers = first[0].sizes
    return [
        f"Depth, {size} qubits, from {layers[0]:g} to {layers[-1]:g} layers, {first[0].samples} samples: the variance "
        f"of the first derivative at the end over that at the start is, for {'; '.join(words)}. Flat is what the exact "
        "walk says, where there is one."
    ]


def _flat_from(each: Curve) -> float | None:
    """The least depth from which on exact values stay near the last; None where only the last does."""
    if not (each.exact > 0).all():
        return None
    near = each.exact <= _NEAR * each.exact[-1]
    for i, layers in enumerate(each.sizes[:-1]):
        if near[i:].all():
            return float(layers)
    return None


def large_sentences(found: Sequence[Curve]) -> list[str]:
    """The laws of circuits of many qubits, from exact values."""
    words = []
    for each in found:
        growth = each.exact_growth
        if growth is not None:
            words.append(f"{each.cost}, {each.name}: {growth.sentence()}, {each.exact[-1]:.1e} at the end")
    if not words:
        return []
    sizes = found[0].sizes
    return [
        f"Exactly, without sampling, {sizes[0]:g} to {sizes[-1]:g} qubits ({found[0].circuit}, first parameter): "
        f"the variance of the derivative, {'; '.join(words)}."
    ]


def noise_sentences(found: Sequence[Curve]) -> list[str]:
    """The decay a layer at the end of the exact curve beside the formula, and measured against exact."""
    words = []
    for each in found:
        values, layers = each.exact_second_moments, each.sizes
        if len(layers) < 2 or not (values[-2:] > 0).all():
            continue
        decay = math.exp(math.log(values[-1] / values[-2]) / (layers[-1] - layers[-2]))
        cell = each.rows["derivatives"].iloc[-1][FIRST]
        qubits, factor, place = each.name.split(", ")
        words.append(
            f"q = {factor} after {place} on {qubits} qubits: {decay:.5f} a layer between {layers[-2]:g} and "
            f"{layers[-1]:g} (formula {float(cell['scrambled_decay']):.5f} for {cell['places']} places a layer), "
            f"{values[-1] / values[0]:.2g} of its value at {layers[0]:g} layers"
        )
    if not words:
        return []
    counts = [each.held() for each in found]
    held, known = (sum(column) for column in zip(*counts, strict=True))
    return [
        "Noise that shrinks Bloch vectors by q, at m places a layer, makes the variance of the first derivative fall "
        f"by q^(3m/2) a layer once strings are spread, by the exact walk: {'; '.join(words)}. Of {known} intervals "
        f"measured with density matrices {held} hold the walk's value."
    ]
