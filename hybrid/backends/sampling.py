"""Drawing shots from exact distributions, in an order that no chunking changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from classical.measurement import AbstractMeasurementGroup

# Above this many shots for each outcome, counts are drawn outcome by outcome instead of shot by shot.
_SHOTS_PER_OUTCOME = 4
_WORDS_PER_COUNTER = 4
_GRID = 2.0**44
# Outcomes are merged by value where that leaves this many times fewer.
_FEWER = 4


class ShotStream:
    """Random numbers for every (group, circuit, row), whatever the order in which they are asked for.

    A counter-based generator (Philox: Salmon et al. 2011, doi:10.1145/2063384.2063405) is set to a place of its
    own for each; so results do not depend on how a simulation is cut into chunks. One key is drawn from `rng`.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._key = rng.integers(0, 2**64, size=2, dtype=np.uint64)

    def uniforms(self, group: int, circuit: int, rows: slice, shots: int) -> np.ndarray:
        """Uniform numbers in [0, 1), shape (rows, shots)."""
        counters = -(-shots // _WORDS_PER_COUNTER)
        place = [rows.start * counters, 0, circuit, group]
        generator = np.random.Generator(np.random.Philox(key=self._key, counter=place))
        drawn = generator.random((rows.stop - rows.start, counters * _WORDS_PER_COUNTER))
        return drawn[:, :shots]

    def counts(
        self, group: int, circuit: int, rows: slice, probabilities: np.ndarray, shots: int
    ) -> np.ndarray:
        """Multinomial counts, shape (rows, outcomes), for probabilities (rows, outcomes)."""
        out = np.empty(probabilities.shape)
        for i, row in enumerate(range(rows.start, rows.stop)):
            place = [0, row + 1, circuit, group]
            generator = np.random.Generator(np.random.Philox(key=self._key, counter=place))
            out[i] = generator.multinomial(shots, probabilities[i])
        return out


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcomes:
    """What shots are drawn among: values (V, M), and which of them each outcome has (None: one each)."""

    values: Tensor
    index: Tensor | None

    @staticmethod
    def of(group: AbstractMeasurementGroup, *, signed: bool) -> Outcomes:
        """Of a group; `signed` for twice as many outcomes, the second half with the other sign."""
        values, index = group.distinct
        if _FEWER * len(values) > len(index):
            table = group.eigenvalues
            return Outcomes(values=torch.cat([table, -table]) if signed else table, index=None)
        if signed:
            values, index = torch.cat([values, -values]), torch.cat([index, index + len(values)])
        return Outcomes(values=values, index=index)

    def merged(self, probabilities: Tensor) -> Tensor:
        """Probabilities (..., outcomes) as those of the values, (..., V)."""
        if self.index is None:
            return probabilities
        merged = probabilities.new_zeros(*probabilities.shape[:-1], len(self.values))
        return merged.index_add_(-1, self.index.to(probabilities.device), probabilities)


def sample_moments(
    stream: ShotStream,
    group: int,
    circuits: list[int],
    rows: slice,
    probabilities: Tensor,  # shape: (circuits, rows, outcomes)
    shots: int,
    outcomes: Outcomes,
) -> tuple[Tensor, Tensor]:
    """Means (circuits, rows, M) of `shots` shots, and covariances (circuits, rows, M, M) of those means.

    The covariance is the unbiased sample covariance over the shots, divided by their number.
    """
    # A generator that rejects or mirrors (p against one half) shows the last bit of a probability, which chunking
    # changes: on a grid they are the same.
    probabilities = outcomes.merged(probabilities).to("cpu", torch.float64)
    probabilities = probabilities * (_GRID / probabilities.sum(-1, keepdim=True))
    probabilities = probabilities.round_().div_(_GRID)
    values = outcomes.values.to("cpu")
    if shots > _SHOTS_PER_OUTCOME * len(values):
        normal = (probabilities / probabilities.sum(-1, keepdim=True)).numpy()
        drawn = [stream.counts(group, c, rows, p, shots) for c, p in zip(circuits, normal, strict=True)]
        counts = torch.from_numpy(np.stack(drawn))
        means = counts @ values / shots
        centred = values - means[..., None, :]
        squares = (centred * counts[..., None]).mT @ centred
    else:
        cumulative = probabilities.cumsum(-1)
        drawn = [stream.uniforms(group, c, rows, shots) for c in circuits]
        targets = torch.from_numpy(np.stack(drawn)) * cumulative[..., -1:]
        picked = torch.searchsorted(cumulative, targets, right=True).clamp_max_(len(values) - 1)
        shown = values[picked]
        means = shown.mean(-2)
        centred = shown - means[..., None, :]
        squares = centred.mT @ centred
    # One shot has no spread of its own; who gives one knows what to make of it.
    return means, squares / (float(shots) * max(1, shots - 1))
