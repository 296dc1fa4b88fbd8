"""What the part on commuting generators says."""

from __future__ import annotations

import numpy as np
import pandas as pd

from studies.engine.statistics import Estimate, fit_line, geometric_mean, mean
from studies.overhead.commuting import EQUAL, ERROR, FEW, METHODS, PART, SHIFT, TRAINING
from studies.qpu.words import decimal, percent, significant

TITLE = "Commuting generators against parameter-shift: training on bars and dots"


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a method of training; no lines without rows."""
    training = _of(rows, TRAINING)
    lines = []
    for method in METHODS:
        data = training[training["method"] == method] if len(training) else training
        if len(data):
            lines.append(
                {
                    "gradient": method,
                    "qubits": int(data["qubits"].iloc[0]),
                    "starts": len(data),
                    "steps": int(data["steps"].iloc[0]),
                    "circuits": f"{int(data['cost_circuits'].iloc[0]):,}",
                    "shots": f"{int(data['cost_shots'].iloc[0]):,}",
                    "held-out loss before": decimal(mean(data["start_loss"])),
                    "after": decimal(mean(data["end_loss"])),
                    "accuracy before": percent(mean(data["start_accuracy"])),
                    "after ": percent(mean(data["end_accuracy"])),
                    "shots to the loss that parameter-shift ends with": _shots_words(training, method),
                }
            )
    return pd.DataFrame(lines)


def sentences(rows: pd.DataFrame) -> list[str]:
    """The ratio of errors and how it grows, and what training takes."""
    return _said_of_errors(_of(rows, ERROR)) + _said_of_training(_of(rows, TRAINING))


def shots_to_its_end(training: pd.DataFrame, method: str) -> pd.DataFrame:
    """Per replicate: shots until `method` has the loss that parameter-shift ends with, NaN where it never has."""
    found = []
    both = training[training["method"] == SHIFT].merge(
        training[training["method"] == method], on="replicate", suffixes=("_shift", "")
    )
    for row in both.to_dict("records"):
        curve = np.array(row["curve"])
        good = np.flatnonzero(curve[:, 2] <= row["end_loss_shift"])
        shots = float(curve[good[0], 1]) if len(good) else np.nan
        found.append({"shots": shots, "of_shift": float(row["cost_shots_shift"])})
    return pd.DataFrame(found)


def _said_of_errors(errors: pd.DataFrame) -> list[str]:
    if not len(errors):
        return []
    largest = errors[errors["strings"] == errors["strings"].max()]
    ratio = geometric_mean(largest["error_ratio"])
    data = largest.iloc[0]
    said = (
        f"At {int(data['qubits'])} qubits ({int(data['strings'])} commuting rotations, {int(data['num_params'])} "
        f"weights) parameter-shift has {significant(ratio)} times the squared error of commuting generators at equal "
        f"shots, so it takes as many times the shots for an error, in {int(data['shift_circuits']):,} circuits against "
        f"{int(data['commuting_circuits'])}. d-fold would be {int(data['strings'])}; d over the strings' mean length, "
        f"since a string is read off as many circuits as it has letters, {data['strings'] / data['string_weight']:.0f}."
    )
    if errors["strings"].nunique() < 2:
        return [said]
    logs = np.log(errors[["strings", "error_ratio"]].to_numpy(dtype=float))
    slope = fit_line(logs[:, 0], logs[:, 1]).slope
    return [
        said,
        f"From {int(errors['strings'].min())} to {int(errors['strings'].max())} rotations the ratio grows as d to the "
        f"power {decimal(slope, 2)} ({len(errors)} draws of weights and pictures).",
    ]


def _said_of_training(training: pd.DataFrame) -> list[str]:
    if not len(training) or set(training["method"]) != set(METHODS):
        return []
    data = training.iloc[0]
    ends = "; ".join(
        f"{name} {decimal(mean(each['end_loss']))}, accuracy {percent(mean(each['end_accuracy']))}, "
        f"{int(each['cost_shots'].iloc[0]):,} shots"
        for name, each in ((name, training[training["method"] == name]) for name in METHODS)
    )
    start = training[training["method"] == SHIFT]
    said = [
        f"Bars and dots on {int(data['qubits'])} qubits, {int(data['steps'])} steps of Adam (rate {data['rate']:g}) on "
        f"{int(data['batch'])} of {int(data['pictures']):,} pictures, {start['replicate'].nunique()} starts; held-out "
        f"loss from {decimal(mean(start['start_loss']))} to: {ends}."
    ]
    said.append(
        "Shots of the commuting circuits are drawn here without a state vector, at d operations each, since pictures "
        "enter as product states: what is saved is saved against parameter-shift, not against a classical computer."
    )
    for name in (EQUAL, FEW):
        said.append(f"{name[0].upper()}{name[1:]}: {_verdict(training, name)}")
    return said


def _verdict(training: pd.DataFrame, method: str) -> str:
    wide = training.pivot_table(index="replicate", columns="method", values="end_loss").dropna()
    difference = mean(wide[method] - wide[SHIFT])
    words = "no difference is shown"
    if difference.high is not None and difference.high < 0:
        words = "it ends lower"
    if difference.low is not None and difference.low > 0:
        words = "it ends higher"
    reached = shots_to_its_end(training, method)
    known = reached.dropna()
    said = f"loss at the end minus that of parameter-shift, in pairs, {decimal(difference)} ({words}); "
    said += f"it comes as low as parameter-shift's end from {len(known)} of {len(reached)} starts"
    if not len(known):
        return said + "."
    saved: Estimate = geometric_mean(known["of_shift"] / known["shots"].clip(lower=1))
    return said + f", from these with {significant(saved)} times fewer shots."


def _shots_words(training: pd.DataFrame, method: str) -> str:
    reached = shots_to_its_end(training, method)
    if not len(reached):
        return ""
    known = reached["shots"].dropna()
    if len(known) < len(reached):
        return f"from {len(known)} of {len(reached)} starts"
    return significant(geometric_mean(known.clip(lower=1)))


def _of(rows: pd.DataFrame, quantity: str) -> pd.DataFrame:
    if not len(rows):
        return rows
    part = rows[rows["part"] == PART]
    return part[part["quantity"] == quantity] if len(part) else part
