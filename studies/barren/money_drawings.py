"""Figure of what a gradient's sign costs."""

from __future__ import annotations

from typing import Any

import pandas as pd

from studies.barren.circuits import CONVOLUTION, FREE_FERMIONS, HEISENBERG, PRODUCT, RANDOM_AXES
from studies.barren.costs import GLOBAL, LOCAL
from studies.barren.curve_drawings import COLOURS, GREY, MARKERS, legend
from studies.barren.money import FAR, bill, far_bill, priced
from studies.barren.selection import of_qubits
from studies.engine.figures import Figure, canvas

_SHOWN = (RANDOM_AXES, FREE_FERMIONS, HEISENBERG, CONVOLUTION, PRODUCT)


def figures(rows: pd.DataFrame) -> list[Figure]:
    """Shots for one sign against qubits, dollars on the right axis."""
    found = [each for each in priced(of_qubits(rows)) if each.circuit in _SHOWN and len(each.sizes) > 1]
    found = [each for each in found if each.circuit != PRODUCT or each.cost in (LOCAL, GLOBAL)]
    if not found:
        return []
    figure, (left, right) = canvas(width=11.5, height=5.2, columns=2)
    points = []
    for place, each in enumerate(found):
        label = f"{each.circuit}, {each.cost}, {each.name}"
        bills = [(x, bill(each, i)) for i, x in enumerate(each.sizes)]
        style: dict[str, Any] = {
            "color": COLOURS[place % len(COLOURS)],
            "marker": MARKERS[place % len(MARKERS)],
        }
        for x, own in bills:
            if own is None or own.low is None or own.high is None:
                continue
            ends = [[max(0.0, own.shots - own.low)], [max(0.0, own.high - own.shots)]]
            left.errorbar([x], [own.shots], yerr=ends, linestyle="", **style)
            right.plot([x], [own.dollars], linestyle="", **style)
            points.append(
                {"curve": label, "qubits": x, "shots": own.shots, "low": own.low, "high": own.high,
                 "seconds": own.seconds, "dollars": own.dollars}
            )  # fmt: skip
        kept = [(x, own) for x, own in bills if own is not None]
        left.plot([x for x, _ in kept], [own.shots for _, own in kept], linewidth=1.0, label=label, **style)
        right.plot([x for x, _ in kept], [own.dollars for _, own in kept], linewidth=1.0, **style)
        fine = range(int(each.sizes[-1]), max(FAR) + 1)
        far = [(x, own) for x in fine if (own := far_bill(each, x)) is not None]
        left.plot([x for x, _ in far], [own.shots for _, own in far], linestyle=":", color=style["color"])
        right.plot([x for x, _ in far], [own.dollars for _, own in far], linestyle=":", color=style["color"])
    for ax in (left, right):
        ax.set_yscale("log")
        ax.set_xlabel("qubits")
    left.plot([], [], color=GREY, linestyle=":", label="fitted law carried on, no measurement")
    left.set_ylabel("shots for the sign of one derivative")
    right.set_ylabel("US dollars, one job (estimated)")
    legend(left, ncols=2)
    return [
        Figure(
            name="money",
            figure=figure,
            points=pd.DataFrame(points),
            caption=(
                "Shots N = 1.645² v / V at which a derivative of typical size sqrt(V) has the right sign in 95 of "
                "100 cases, v the variance of one parameter-shift shot, first parameter; bars from the interval of V. "
                "Right: dollars of one job with these shots on IBM's Heron, pay-as-you-go; what a job takes besides is "
                "the floor."
            ),
        )
    ]
