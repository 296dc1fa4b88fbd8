"""A tensor train or ring whose start already knows what matters to the loss."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TypeVar

import torch
from torch import Tensor, nn

from qtn.decompositions.kronecker import kronecker_covariance
from qtn.layers.base import dense_parts
from qtn.layers.factors import equal_norms
from qtn.layers.mpo import MPOLinear
from qtn.layers.sites import matrix_sites
from qtn.layers.tensor_ring import TensorRingLinear
from qtn.metric import LayerMetric

Train = TypeVar("Train", MPOLinear, TensorRingLinear)


def whitened_start(
    kind: type[Train],
    source: nn.Linear | Tensor,
    metric: LayerMetric,
    *,
    out_sites: Sequence[int] | None = None,
    in_sites: Sequence[int] | None = None,
    num_sites: int | None = None,
    max_bond: int | Sequence[int] | None = None,
    keep: float | None = None,
    cutoff: float = 0.0,
) -> Train:
    """The train or ring that `from_dense` makes of a weight whitened site by site, brought back.

    Whitening with a full metric mixes the sites, so a train cannot be brought back from it. Here each of the two
    damped covariances is replaced by the Kronecker product over the sites that stands best for it, see
    `kronecker_covariance`: then each core is brought back by itself and the bonds stay. Where the covariances are such
    products, as they always are for the sites (m, 1) and (1, n), the layer of two sites is the best one in
    the metric at its bond; else `fit_in_metric` goes on from it.

    Args:
        kind: `MPOLinear` or `TensorRingLinear`.
        source: A linear layer, whose bias is copied, or a weight (out_features, in_features).
        metric: What whitens the weight.
        out_sites, in_sites, num_sites, max_bond, keep: As of `kind.from_dense`.
        cutoff: Largest relative weight that may be discarded, in the metric of the Kronecker products.

    Returns:
        The layer, in the dtype of the source; its `discarded` is the squared distance over the squared norm of the
        weight in the damped metric itself, before any casting to half precision.

    Raises:
        TypeError: The source is neither a linear layer nor a tensor, complex, or of integer dtype.
        ValueError: The weight is not finite or not of the size of the metric, or as of `kind.from_dense`.

    Cost: that of `kind.from_dense`, and for each side of size n about 10 * d * (n_1 + ... + n_d) * n^2 multiply-adds.
    """
    weight, bias = dense_parts(source)
    total = float(metric.whiten(weight).square().sum())
    out_features, in_features = weight.shape
    rows, columns = matrix_sites(out_features, in_features, out_sites, in_sites, num_sites)
    output_roots = _site_roots(metric._output_factor, rows)
    input_roots = _site_roots(metric._input_factor, columns)
    whitened = weight.double()
    if input_roots:
        whitened = whitened @ reduce(torch.kron, input_roots)
    if output_roots:
        whitened = reduce(torch.kron, output_roots).T @ whitened
    layer = kind.from_dense(
        whitened, out_sites=rows, in_sites=columns, max_bond=max_bond, keep=keep, cutoff=cutoff
    )
    cores = [core.detach() for core in layer.cores]
    for axis, roots in ((1, output_roots), (2, input_roots)):
        for k, root in enumerate(roots):
            rolled = cores[k].movedim(axis, 0)
            solved = torch.linalg.solve_triangular(root.T, rolled.flatten(1), upper=True)
            cores[k] = solved.reshape(rolled.shape).movedim(0, axis)
    cores = equal_norms(_shared_out(cores))
    missed = float(metric.whiten(weight.double() - kind(cores).to_dense().detach()).square().sum())
    discarded = missed / total if total > 0.0 else 0.0
    return kind([core.to(weight.dtype) for core in cores], bias, discarded=discarded)


def _site_roots(factor: Tensor | None, sites: Sequence[int]) -> list[Tensor]:
    """Lower triangular A_k, so that the Kronecker product of A_k A_k^T stands for factor factor^T up to a number."""
    if factor is None:
        return []
    matrices = kronecker_covariance(factor.T.reshape(-1, *sites))
    return [torch.linalg.cholesky(matrix) for matrix in matrices]


def _shared_out(cores: list[Tensor]) -> list[Tensor]:
    """The same network with each index of a bond scaled alike in its two cores; a train closes with a bond of 1."""
    shared = list(cores)
    for k in range(len(shared)):
        following = (k + 1) % len(shared)
        before = shared[k].square().sum((0, 1, 2))
        behind = shared[following].square().sum((1, 2, 3))
        ratios = torch.where((before > 0) & (behind > 0), behind / before, torch.ones_like(before)) ** 0.25
        shared[k] = shared[k] * ratios
        shared[following] = shared[following] / ratios[:, None, None, None]
    return shared
