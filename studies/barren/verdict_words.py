"""What part E says: which circuits are barren, which are simulated, and for which neither was shown."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from studies.barren.simulability import PROPAGATION, WAYS
from studies.barren.verdict import BARREN, LEAST_RATE, NEITHER, SIMULABLE, WITHIN, Cell

TITLE = "Barren, simulable, or neither was shown"
_UNITS = ("qubits in the cone", "Majorana operators", "bond", "Pauli strings")


def table(found: Sequence[Cell]) -> pd.DataFrame:
    """One line a circuit, cost, depth and size; the way is the first within one percent, else the nearest."""
    units = dict(zip(WAYS, _UNITS, strict=True))
    lines = []
    for each in found:
        way = each.best
        lines.append(
            {
                "circuit": each.circuit,
                "cost": each.cost,
                "layers": each.layers,
                "qubits": each.qubits,
                "verdict": each.verdict,
                "largest variance": f"{each.variance:.2g}" + ("" if each.is_exact else ", sampled"),
                "fall of ln Var a qubit": f"{each.rate:.2f}",
                "simulated by": "–" if way is None else way,
                "error / norm": "–" if way is None else f"{each.errors[way]:.2g}",
                "size": "–" if way is None else f"{each.sizes[way]:,} {units[way]}",
                "seconds": "–" if way is None else f"{each.seconds[way]:.2g}",
            }
        )
    return pd.DataFrame(lines)


def sentences(found: Sequence[Cell]) -> list[str]:
    """How many cells there are of each kind, by which criterion, and what does not follow."""
    if not found:
        return []
    counts = {
        verdict: [each for each in found if each.verdict == verdict]
        for verdict in (BARREN, SIMULABLE, NEITHER)
    }
    sizes = sorted({each.qubits for each in found})
    said = [
        f"Of {len(found)} circuits, depths and sizes ({_listed([str(size) for size in sizes])} qubits), "
        f"{len(counts[BARREN])} are barren: even the largest derivative's ln Var falls by {LEAST_RATE:.2f} a qubit or "
        "more over the smaller sizes at the same depth, and is straighter against n than against ln n. "
        f"{len(counts[SIMULABLE])} are trainable in this sense and simulated classically within {WITHIN:.0%} of the "
        "observable's norm at every row of angles that was tried, held against the exact state vector, in a way whose "
        f"cost grows as a power of the qubits. For {len(counts[NEITHER])} neither was shown, which is no claim of a "
        "quantum advantage: other ways, larger bonds or more strings may do."
    ]
    said += _ways(counts[SIMULABLE])
    if counts[NEITHER]:
        names = _listed(list(dict.fromkeys(_named(each) for each in counts[NEITHER])))
        said.append(f"Neither was shown for {names}.")
    if not any(PROPAGATION in each.errors for each in found):
        said.append("Pauli propagation was not tried: the package pauli-prop is not installed.")
    return said


def _ways(cells: Sequence[Cell]) -> list[str]:
    """By which way how many are simulated, and the longest that took."""
    parts = []
    for way in WAYS:
        own = [each for each in cells if each.best == way]
        if own:
            longest = max(each.seconds[way] for each in own)
            parts.append(f"{way} for {len(own)} (at most {longest:.2g} s for its rows of angles)")
    return [f"The ways, exact ones before others: {_listed(parts)}."] if parts else []


def _named(each: Cell) -> str:
    layers = "layer" if each.layers == 1 else "layers"
    return f"{each.circuit}, {each.cost}, {each.layers} {layers}, {each.qubits} qubits"


def _listed(words: Sequence[str]) -> str:
    return "; ".join(words) if len(words) > 1 and any("," in word for word in words) else ", ".join(words)
