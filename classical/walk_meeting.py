"""Where weights that are pushed forward meet those that are pulled back: derivatives of the steps between them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from classical.walk_evolution import LocalStep
from classical.weight_chain import WeightChain


def met(front: WeightChain, back: WeightChain, steps: Sequence[LocalStep]) -> tuple[float, list[float]]:
    """E[loss^2] and the derivatives' moments of steps on single sites, or one on two, between both directions.

    `front` holds the closing weights before the steps, `back` the observable's behind them.
    """
    scale = math.exp(front.log + back.log)
    if steps[0].is_wide:
        (step,) = steps
        assert step.slope is not None
        first = step.first
        rows = _environment(front.sites[:first], back.sites[:first])
        columns = _environment(_mirrored(front.sites[first + 2 :]), _mirrored(back.sites[first + 2 :]))
        near, far = (_pair(chain.sites[first], chain.sites[first + 1]) for chain in (front, back))
        table = torch.einsum("ik,iaj,kcl,jl->ac", rows[-1], near, far, columns[-1])
        return scale * float((table * step.matrix).sum()), [scale * float((table * step.slope).sum())]
    # Behind each step, on its own site: what the steps behind it pull.
    behind: list[Tensor] = []
    pulls = [torch.eye(4, dtype=torch.float64) for _ in front.sites]
    for step in reversed(steps):
        behind.append(pulls[step.first])
        pulls[step.first] = step.matrix @ pulls[step.first]
    pulled = [torch.einsum("ac,kcl->kal", m, tensor) for m, tensor in zip(pulls, back.sites, strict=True)]
    rows = _environment(front.sites, pulled)
    columns = _environment(_mirrored(front.sites), _mirrored(pulled))
    ahead = [torch.eye(4, dtype=torch.float64) for _ in front.sites]
    tables: dict[int, Tensor] = {}
    found = []
    for step, rest in zip(steps, reversed(behind), strict=True):
        q = step.first
        if step.slope is not None:
            if q not in tables:
                tables[q] = torch.einsum(
                    "ik,iaj,kcl,jl->ac", rows[q], front.sites[q], back.sites[q], columns[-2 - q]
                )
            found.append(scale * float((tables[q] * (ahead[q] @ step.slope @ rest)).sum()))
        ahead[q] = ahead[q] @ step.matrix
    return scale * float(rows[-1][0, 0]), found


def _environment(near: Sequence[Tensor], far: Sequence[Tensor]) -> list[Tensor]:
    """Products of two chains from the left, one for each number of sites."""
    row = torch.ones(1, 1, dtype=torch.float64)
    rows = [row]
    for a, b in zip(near, far, strict=True):
        half = torch.einsum("ik,iaj->kaj", row, a)
        row = torch.tensordot(half.flatten(0, 1).mT, b.flatten(0, 1), 1)
        rows.append(row)
    return rows


def _mirrored(sites: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.permute(2, 1, 0) for tensor in reversed(sites)]


def _pair(left: Tensor, right: Tensor) -> Tensor:
    """Two sites as one of 16 letters, the first site's digit lowest."""
    return torch.einsum("lar,rbs->lbas", left, right).reshape(len(left), 16, -1)
