"""Drawing shots from exact distributions, in an order that no chunking changes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# Above this many shots for each outcome, counts are drawn outcome by outcome instead of shot by shot.
_SHOTS_PER_OUTCOME = 4
_WORDS_PER_COUNTER = 4
_GRID = 2.0**44


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


def sample_moments(
    stream: ShotStream,
    group: int,
    circuits: list[int],
    rows: slice,
    probabilities: Tensor,  # shape: (circuits, rows, outcomes)
    shots: int,
    eigenvalues: Tensor,  # shape: (outcomes, M)
) -> tuple[Tensor, Tensor]:
    """Means (circuits, rows, M) of `shots` shots, and covariances (circuits, rows, M, M) of those means.

    The covariance is the unbiased sample covariance over the shots, divided by their number.
    """
    # A generator that rejects or mirrors (p against one half) shows the last bit of a probability, which chunking
    # changes: on a grid they are the same.
    probabilities = probabilities.to("cpu", torch.float64)
    probabilities = probabilities / probabilities.sum(-1, keepdim=True)
    probabilities = torch.round(probabilities * _GRID) / _GRID
    eigenvalues = eigenvalues.to("cpu")
    outcomes = probabilities.shape[-1]
    if shots > _SHOTS_PER_OUTCOME * outcomes:
        normal = (probabilities / probabilities.sum(-1, keepdim=True)).numpy()
        drawn = [stream.counts(group, c, rows, p, shots) for c, p in zip(circuits, normal, strict=True)]
        counts = torch.from_numpy(np.stack(drawn))
        means = (counts[..., None] * eigenvalues).sum(-2) / shots
        centred = eigenvalues - means[..., None, :]
        squares = (centred * counts[..., None]).mT @ centred
    else:
        cumulative = probabilities.cumsum(-1)
        drawn = [stream.uniforms(group, c, rows, shots) for c in circuits]
        targets = torch.from_numpy(np.stack(drawn)) * cumulative[..., -1:]
        picked = torch.searchsorted(cumulative, targets, right=True).clamp_max_(outcomes - 1)
        values = eigenvalues[picked]
        means = values.mean(-2)
        centred = values - means[..., None, :]
        squares = centred.mT @ centred
    return means, squares / (float(shots) * (shots - 1))
