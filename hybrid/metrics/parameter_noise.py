"""How the errors of a gradient's components hang together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hybrid.backends.base import Measured
from hybrid.gradients.base import Gradient
from hybrid.plan import Plan


def parameter_noise(gradient: Gradient, plan: Plan, measured: Sequence[Measured]) -> Tensor:
    """Covariances of a gradient's noise between parameters, shape (*batch, P, P), for one observable.

    Circuits that feed several components make their shot noise one: weights times measured covariances times
    weights. What a rule adds to shot noise, that of random directions, is known for each component only, and
    stands on the diagonal. Cost: P^2 times circuits operations a row.
    """
    count = len(plan.wrt)
    total = torch.zeros(plan.num_rows, count, count, dtype=torch.float64)
    for part, result in zip(plan.parts, measured, strict=True):
        covariances = result.covariances  # (S, B, J, J)
        if covariances is None:
            continue
        weights = part.weights.expand(plan.num_rows, -1, -1, -1)  # (B, P, S, J)
        spread = torch.einsum("bpsj,sbjk->bpsk", weights, covariances)
        total += spread.flatten(2) @ weights.flatten(2).mT
    shot = total.diagonal(dim1=-2, dim2=-1)
    extra = gradient.covariances.reshape(shot.shape) - shot
    return (total + torch.diag_embed(extra)).reshape(*plan.batch, count, count)
