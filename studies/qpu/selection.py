"""Rows of `qpu_gradients` picked for figures and sentences, and the numbers that both use."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import gammaincc, stdtrit

from studies.engine.statistics import Estimate, mean, ratio
from studies.qpu import theory
from studies.qpu.devices import BOTH, MITIGATIONS, PLAIN
from studies.qpu.error_rate import PART as ERROR_RATE
from studies.qpu.error_rate import WITHOUT_SHOTS
from studies.qpu.sources import EXACT, FAKE, SAMPLED
from studies.qpu.sources import PART as SOURCES
from studies.qpu.thresholds import crossing
from studies.qpu.training import METHODS
from studies.qpu.training import PART as TRAINING

Table = NDArray[np.float64]
_LABELS = {
    (EXACT, PLAIN): "exact",
    (SAMPLED, PLAIN): "sampled",
    (FAKE, PLAIN): "fake Manila",
    (FAKE, BOTH): "fake Manila, mitigated",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """What the repeats of one source say; lengths in units of the exact gradient's."""

    label: str
    exact: Table
    gradients: Table
    """Shape (repeats, P)."""
    std_errors: Table
    rows: pd.DataFrame

    @property
    def norm(self) -> float:
        return float(np.linalg.norm(self.exact))

    @property
    def along(self) -> Estimate:
        """Bias along the exact gradient: what is too long (above zero) or too short."""
        return mean(self.gradients @ self.exact / self.norm**2 - 1)

    @property
    def bias(self) -> Estimate:
        """Length of the bias, without what shot noise adds to the square of a mean."""
        errors = (self.gradients - self.exact) / self.norm
        count = len(errors)
        if count < 2:
            return Estimate(value=float(np.linalg.norm(errors)), low=None, high=None, count=count)
        spread, centre = errors.var(0, ddof=1), errors.mean(0)
        square = float(centre @ centre - spread.sum() / count)
        # Of normal errors, by component: 4 b' S b / n + 2 tr S^2 / (n (n - 1)).
        pairs = float((spread**2).sum())
        along = max(0.0, float(spread @ centre**2) - pairs / count)
        variance = 4 * along / count + 2 * pairs / (count * (count - 1))
        half = float(stdtrit(count - 1, 0.975)) * math.sqrt(variance)
        value, low, high = (
            math.sqrt(max(0.0, each)) for each in (square, square - half, max(0.0, square) + half)
        )
        return Estimate(value=value, low=low, high=high, count=count)

    @property
    def chance(self) -> float | None:
        """Probability of so large a bias where there is none, by chi-square over components; None without shots."""
        squares = (self.std_errors**2).mean(0) / len(self.gradients)
        if not (squares > 0).all():
            return None
        bias = self.gradients.mean(0) - self.exact
        return float(gammaincc(len(bias) / 2, float((bias**2 / squares).sum()) / 2))

    def components(self) -> list[Estimate]:
        """Bias of each component, with its interval over repeats."""
        return [mean(column) for column in (self.gradients - self.exact).T]

    def noise(self) -> tuple[Estimate, Estimate]:
        """Squared length of the noise, observed and as the error bars predict it."""
        centred = self.gradients - self.gradients.mean(0)
        count = len(centred)
        observed = (centred**2).sum(1) * count / max(1, count - 1) / self.norm**2
        return mean(observed), mean((self.std_errors**2).sum(1) / self.norm**2)

    def observed_over_predicted(self) -> Estimate | None:
        """Of the squared noise; None where there is none."""
        count = len(self.gradients)
        predicted = (self.std_errors**2).sum(1)
        if count < 2 or not (predicted > 0).all():
            return None
        centred = self.gradients - self.gradients.mean(0)
        return ratio((centred**2).sum(1) * count / (count - 1), predicted)


def sources(rows: pd.DataFrame) -> list[Source]:
    """The sources that have rows, exact first."""
    part = _of_part(rows, SOURCES)
    found = []
    if len(part):
        for (source, mitigation), data in part.groupby(["source", "mitigation"], sort=False):
            found.append(
                Source(
                    label=_LABELS.get((str(source), str(mitigation)), str(source)),
                    exact=np.array(data["exact"].iloc[0]),
                    gradients=np.array(data["gradient"].tolist()),
                    std_errors=np.array(data["std_errors"].tolist()),
                    rows=data,
                )
            )
    order = [*_LABELS.values()]
    known = {label: place for place, label in enumerate(order)}
    return sorted(found, key=lambda each: (known.get(each.label, len(order)), each.label))


@dataclass(frozen=True, kw_only=True, eq=False)
class Curves:
    """Part B at one depth: for each mitigation, tables (replicates, errors)."""

    errors: Table
    cosine: dict[str, Table]
    length: dict[str, Table]
    rows: pd.DataFrame

    def theory(self, errors: Table, mitigation: str) -> tuple[Table, Table]:
        """Cosine and length by global depolarising, means over the replicates' gradients."""
        data = self.rows[self.rows["mitigation"] == mitigation].drop_duplicates("replicate")
        cosines, lengths = [], []
        for row in data.itertuples():
            kept = theory.length(errors, row.pairs, row.singles, row.readout_length, mitigation)  # pyright: ignore
            noise = row.shot_noise * theory.noise_growth(row.readout_length, mitigation)  # pyright: ignore
            cosines.append(theory.expected_cosine(kept * row.norm, noise))  # pyright: ignore
            lengths.append(kept)
        return np.mean(cosines, axis=0), np.mean(lengths, axis=0)

    def bent(self) -> Table:
        """Cosine without mitigation, from the gradient that the noise leaves and shot noise as the theory has it."""
        plain = self.rows[self.rows["mitigation"] == PLAIN].drop_duplicates("replicate")
        plain = plain.sort_values("replicate")
        kept = self.length[WITHOUT_SHOTS] / self.cosine[WITHOUT_SHOTS] * plain["norm"].to_numpy()[:, None]
        noise = plain["shot_noise"].to_numpy(dtype=float)[:, None]
        return (self.cosine[WITHOUT_SHOTS] * theory.expected_cosine(kept, noise)).mean(0)

    def theory_threshold(self, mitigation: str) -> float | None:
        """Where the theory's line goes below the level."""
        fine = np.geomspace(1e-6, 0.9, 2000)
        return crossing(fine, self.theory(fine, mitigation)[0], theory.DROWNED)


def curves(rows: pd.DataFrame) -> list[Curves]:
    """Part B by depth, where every error, mitigation and replicate has a row."""
    part = _of_part(rows, ERROR_RATE)
    found: list[Curves] = []
    if not len(part):
        return found
    for _, data in part.groupby("layers"):
        wide = {
            name: data.pivot_table(index="replicate", columns=["mitigation", "two_qubit_error"], values=name)
            for name in ("cosine", "length")
        }
        errors = np.sort(data["two_qubit_error"].unique())
        columns = {(mitigation, error) for mitigation in (*MITIGATIONS, WITHOUT_SHOTS) for error in errors}
        if set(wide["cosine"].columns) != columns or wide["cosine"].isna().any(axis=None):
            continue
        by_name = {
            name: {mitigation: table[mitigation][errors].to_numpy() for mitigation, _ in table.columns}
            for name, table in wide.items()
        }
        found.append(Curves(errors=errors, rows=data, **by_name))
    return found


def training(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of part C, if every method and replicate has one, else none."""
    part = _of_part(rows, TRAINING)
    if not len(part):
        return part
    whole = set(part["method"]) == set(METHODS) and part.groupby("replicate")[
        "method"
    ].nunique().min() == len(METHODS)
    return part if whole else part.iloc[:0]


def _of_part(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Rows of one part, without the columns that only others have."""
    return rows[rows["part"] == name].dropna(axis="columns", how="all").infer_objects()
