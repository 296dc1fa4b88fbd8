"""Figures on sizes: quality against bits, and against parameters before and after healing."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from studies.compressing.healing import FACTORS
from studies.compressing.methods import DENSE, PRUNED, QUANTIZED, TITLES
from studies.compressing.selection import healed, sized, subjects_of
from studies.compressing.styles import STYLES
from studies.compressing.subjects import subject_of
from studies.engine.figures import Figure, canvas
from studies.qpu.shared_drawings import bars, points, space


def figures(rows: pd.DataFrame) -> list[Figure]:
    """Those that the rows carry."""
    before = [subject for subject in subjects_of(rows) if len(sized(rows, subject))]
    after = [subject for subject in subjects_of(rows) if len(healed(rows, subject))]
    drawn = [pareto_figure(rows, before)] if before else []
    return [*drawn, *([kept_figure(rows, before, after)] if before else [])]


def pareto_figure(rows: pd.DataFrame, subjects: list[str]) -> Figure:
    """Quality against stored bits for each parameter of the dense layers; the line of quantisation alone is black."""
    figure, panels = canvas(width=5.4 * len(subjects), height=6.2, columns=len(subjects))
    space(figure)
    drawn = []
    for ax, subject in zip(panels, subjects, strict=True):
        # Zeros are stored like other numbers, so pruning saves no bits and would stand on the dense model.
        part = sized(rows, subject)
        part = part[part["method"] != PRUNED]
        drawn += _lines(ax, part, "bits", subject)
        alone = part[part["method"].isin((DENSE, *QUANTIZED))].sort_values("bits")
        values = [each.value for each in alone["estimate"]]
        ax.plot(alone["bits"], values, color="#000000", linewidth=1.2, label="quantisation alone")
        ax.set_xscale("log", base=2)
        ax.set_xticks([1, 2, 4, 8, 16, 32], ["1", "2", "4", "8", "16", "32"])
        ax.set_xlabel("bits stored for each parameter of the dense layers")
        _finish(ax, subject)
    return Figure(
        name="pareto",
        figure=figure,
        points=pd.concat(drawn),
        caption="Before any training. Bits are the resident bytes of the compressed layers, scales and indices "
        "included, over the parameters that they had; 32 is the dense model in single precision. Better is towards "
        "the left, and up for accuracies, down for perplexities. Bars: 95 percent intervals over the evaluation data.",
    )


def kept_figure(rows: pd.DataFrame, before: list[str], after: list[str]) -> Figure:
    """Quality against the fraction of parameters, before healing and behind it."""
    panels_of = [(subject, False) for subject in before] + [(subject, True) for subject in after]
    figure, panels = canvas(width=5.0 * len(panels_of), height=6.0, columns=len(panels_of))
    space(figure)
    drawn = []
    for ax, (subject, trained) in zip(panels, panels_of, strict=True):
        part = healed(rows, subject) if trained else sized(rows, subject)
        if trained:
            part = part[part["way"] == FACTORS]
        part = part[~part["method"].isin((*QUANTIZED, "ours_int8", "ours_int4"))]
        drawn += _lines(ax, part, "share", subject, stage="after healing" if trained else "before healing")
        ax.set_xlabel("parameters kept of the compressed layers")
        _finish(ax, subject, f", after {int(part['steps'].iloc[0]):,} steps" if trained else ", untrained")
    return Figure(
        name="quality_by_size",
        figure=figure,
        points=pd.concat(drawn),
        caption="Every method at the same fraction of parameters, as near as whole blocks and ranks allow; of pruned "
        "weights, set to zero and stored all the same, those that are left. After healing: the same number of steps, "
        "batches and learning rates for every method, the rate by a held-out distance to the dense model. Bars: 95 "
        "percent intervals over the evaluation data.",
    )


def _lines(ax: Axes, part: pd.DataFrame, x: str, subject: str, **columns: Any) -> list[pd.DataFrame]:
    drawn = []
    for method in TITLES:
        data = part[part["method"] == method].sort_values(x)
        if not len(data):
            continue
        estimates = list(data["estimate"])
        loose = method == DENSE or method in QUANTIZED
        bars(
            ax,
            data[x].to_numpy(dtype=float),
            estimates,
            label=TITLES[method],
            linestyle="" if loose else "-",
            linewidth=1.0,
            elinewidth=0.7,
            **STYLES[method],
        )
        found = points(estimates, x=data[x].to_numpy(dtype=float))
        drawn.append(found.assign(subject=subject, method=method, quantity=x, **columns))
    return drawn


def _finish(ax: Axes, subject: str, more: str = "") -> None:
    described = subject_of(subject)
    if described.judgement.lower_is_better:
        ax.set_yscale("log")
    ax.set_ylabel(described.judgement.name)
    ax.set_title(described.title + more, fontsize=10)
    # Below the panel: inside it hides lines wherever it stands.
    ax.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)
