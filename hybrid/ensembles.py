"""Derivatives and losses at many random parameter rows, as studies of barren plateaus sample them.

All rows go through the circuit as one batch. Circuits with random axes are rows of one circuit too: RX, RY and RZ stand
at every site, and a row leaves two of the three at zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from classical.cost import Cost
from hybrid.backends import Exact, Sampled
from hybrid.estimating import Theta
from hybrid.gradients import ParameterShift
from hybrid.objective import Objective

AXES = 3
"""Parameters of a site with a random axis, for X, Y and Z."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """One number for each row and quantity.

    Args:
        values: shape (rows, quantities), float64.
        noise_variances: shot-noise variance of each value, estimated from its counts; same shape, zero where exact.
    """

    values: Tensor
    noise_variances: Tensor
    cost: Cost

    @property
    def noise(self) -> Tensor:
        """Mean shot-noise variance, shape (quantities,): what shots add to the variance over rows."""
        return self.noise_variances.mean(0)

    @property
    def noise_errors(self) -> Tensor:
        """Standard errors of `noise`, shape (quantities,)."""
        if len(self.values) < 2:
            return torch.zeros_like(self.noise)
        return self.noise_variances.std(0) / math.sqrt(len(self.values))


def sampled_derivatives(
    objective: Objective,
    rows: Theta,
    wrt: Sequence[int],
    *,
    total_shots: int | None = None,
    rng: np.random.Generator | None = None,
    exact: Exact | None = None,
) -> Samples:
    """Returns derivatives by parameter-shift at rows (M, P), shape (M, len(wrt)).

    Args:
        objective: with one observable.
        wrt: places in theta.
        total_shots: for each row and all its derivatives together; exact values by default.
        rng: draws the shots.
        exact: how states are simulated; rows are cut to what fits its `max_bytes`.

    Cost: one pass with 1 + len(wrt) states a row; 2 circuits a row, derivative and basis.
    """
    simulated = Exact() if exact is None else exact
    found = ParameterShift().gradient(
        _single(objective),
        rows,
        backend=simulated if total_shots is None else Sampled(exact=simulated),
        total_shots=total_shots,
        rng=rng,
        wrt=list(wrt),
    )
    flat = (-1, len(wrt))
    return Samples(
        values=found.values.reshape(flat),
        noise_variances=found.std_errors.reshape(flat) ** 2,
        cost=found.cost,
    )


def sampled_own_derivatives(
    objective: Objective,
    rows: Theta,
    places: Tensor,
    *,
    total_shots: int | None = None,
    rng: np.random.Generator | None = None,
    exact: Exact | None = None,
) -> Samples:
    """As `sampled_derivatives`, one derivative a row, by the place in theta that `places` (M,) has for it."""
    table = objective.rows(rows)[0]
    if places.shape != (len(table),):
        raise ValueError(
            f"Argument `places` must hold one place for each of {len(table)} rows, but has shape "
            f"{tuple(places.shape)}."
        )
    values = torch.zeros(len(table), 1, dtype=torch.float64)
    noise, cost = torch.zeros_like(values), Cost()
    for place in places.unique().tolist():
        own = places == place
        found = sampled_derivatives(
            objective, table[own], [place], total_shots=total_shots, rng=rng, exact=exact
        )
        values[own], noise[own] = found.values, found.noise_variances
        cost = cost + found.cost
    return Samples(values=values, noise_variances=noise, cost=cost)


def sampled_losses(
    objective: Objective,
    rows: Theta,
    *,
    total_shots: int | None = None,
    rng: np.random.Generator | None = None,
    exact: Exact | None = None,
) -> Samples:
    """Returns expectation values at rows (M, P), shape (M, 1). Cost: one circuit a row and basis."""
    simulated = Exact() if exact is None else exact
    found = _single(objective).value(
        rows,
        backend=simulated if total_shots is None else Sampled(exact=simulated),
        total_shots=total_shots,
        rng=rng,
    )
    values, errors = (each.reshape(-1, 1) for each in (found.values, found.std_errors))
    return Samples(values=values, noise_variances=errors**2, cost=found.cost)


def random_axis_rows(count: int, sites: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Rows (count, 3 * sites) for circuits with RX, RY, RZ at every site, and the axes drawn, (count, sites).

    At each site one of the three, drawn anew for every row, has a uniform angle and the others zero: the derivative by
    site s is that by place 3 s + axis. Source: McClean et al. 2018, arXiv:1803.11173.
    """
    axes = torch.from_numpy(rng.integers(0, AXES, (count, sites)))
    angles = torch.from_numpy(rng.uniform(0, 2 * math.pi, (count, sites)))
    rows = torch.zeros(count, sites, AXES, dtype=torch.float64)
    rows.scatter_(2, axes[..., None], angles[..., None])
    return rows.flatten(1), axes


def _single(objective: Objective) -> Objective:
    if not objective.is_scalar:
        raise ValueError(
            f"Argument `objective` must have one observable, but has a list of {objective.num_observables}."
        )
    return objective
