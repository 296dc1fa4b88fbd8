"""What part A says: one gradient from every source."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from studies.engine.statistics import mean
from studies.qpu.selection import Source
from studies.qpu.words import decimal, number, percent, signed_percent

TITLE = "The same gradient from each source; bias and noise in units of the exact gradient's length"
# A control that fails once in a thousand studies by chance.
_CHANCE = 1e-3


def table(found: Sequence[Source]) -> pd.DataFrame:
    """One line a source."""
    lines = []
    for each in found:
        observed, predicted = each.noise()
        rows = each.rows
        shots = int(rows["cost_shots"].iloc[0])
        lines.append(
            {
                "source": each.label,
                "repeats": len(each.gradients),
                "bias along the gradient": signed_percent(each.along) if shots else "0",
                "size of the bias": percent(each.bias) if shots else "0",
                "noise, observed": f"{math.sqrt(observed.value):.1%}" if shots else "0",
                "noise, predicted": f"{math.sqrt(predicted.value):.1%}" if shots else "0",
                "variance, observed / predicted": decimal(each.observed_over_predicted(), 2),
                "cosine": decimal(mean(rows["cosine"])) if shots else "1",
                "relative error": percent(mean(rows["relative_error"])) if shots else "0",
                "circuits": int(rows["cost_circuits"].iloc[0]),
                "shots": shots,
                "jobs": int(rows["device_jobs"].iloc[0]),
                "QPU s, estimated": number(float(rows["device_seconds"].mean())) if shots else "-",
                "QPU $, estimated": number(float(rows["device_dollars"].mean())) if shots else "-",
            }
        )
    return pd.DataFrame(lines)


def sentences(found: Sequence[Source]) -> list[str]:
    """Bias, noise and price of each source."""
    noisy = [each for each in found if each.rows["cost_shots"].iloc[0] > 0 and len(each.gradients) > 1]
    if not noisy:
        return []
    first = noisy[0].rows.iloc[0]
    words = "; ".join(
        f"{each.label}: bias {percent(each.bias)} of the gradient's length, of which {signed_percent(each.along)} "
        f"along it, noise {math.sqrt(each.noise()[0].value):.0%}, cosine {decimal(mean(each.rows['cosine']))}"
        for each in noisy
    )
    said = [
        f"One gradient of {int(first['num_params'])} parameters ({int(first['qubits'])} qubits, "
        f"{int(first['layers'])} layers, two bases, {int(first['total_shots']):,} shots), repeated "
        f"{len(noisy[0].gradients)} times. {words}. Brackets are 95 percent intervals over repeats; a bias whose "
        "interval begins at zero may be none. Fake Manila is IBM's client in local mode, Aer behind it with the "
        "noise of a device; mitigated: readout errors undone, two-qubit noise extrapolated to zero."
    ]
    said += _control(found)
    ratios = "; ".join(f"{each.label} {decimal(each.observed_over_predicted(), 2)}" for each in noisy)
    said.append(
        f"Observed variance over the variance that the error bars predict: {ratios}. One is right: device noise "
        "biases, and the error bars, which know shot noise only, do not show that."
    )
    prices = "; ".join(
        f"{each.label} {int(each.rows['cost_circuits'].iloc[0])} circuits, {int(each.rows['cost_shots'].iloc[0]):,} "
        f"shots, {number(float(each.rows['device_seconds'].mean()))} s, "
        f"${number(float(each.rows['device_dollars'].mean()))}"
        for each in noisy
    )
    billed = [each for each in noisy if float(each.rows["cost_dollars"].sum()) > 0]
    said.append(
        f"Price of one gradient in one job: {prices}. Seconds and dollars are estimated, as if on a QPU, by IBM's "
        "formula at pay-as-you-go prices."
        + "".join(
            f" {each.label} billed {number(float(each.rows['cost_qpu_seconds'].mean()))} s and "
            f"${number(float(each.rows['cost_dollars'].mean()))} a gradient."
            for each in billed
        )
    )
    return said


def _control(found: Sequence[Source]) -> list[str]:
    for each in found:
        if each.label == "sampled" and each.chance is not None and len(each.gradients) > 1:
            verdict = "as it must be" if each.chance > _CHANCE else "which must not be: the study is broken"
            return [
                f"Control: shots alone must give no bias. Over {len(each.gradients)} repeats the sampled gradient's "
                f"mean is off the exact one as far as chance takes it with probability {each.chance:.2g}, {verdict}."
            ]
    return []
