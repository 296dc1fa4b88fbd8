"""Kronecker products for covariances, and the starts that whitening with them gives."""

from __future__ import annotations

from functools import reduce

import pytest
import torch
from torch import Tensor

from qtn import LayerMetric, MPOLinear, whitened_svd
from qtn.compression.fitting import fit_in_metric
from qtn.compression.whitened_start import Train, whitened_start
from qtn.decompositions.kronecker import kronecker_covariance
from qtn.layers import TensorRingLinear
from tests.qtn.cases import make_linear


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _covariance(size: int, seed: int, spread: float = 1.5) -> Tensor:
    """With scales spread over decades, so that the metric differs much from the Frobenius norm."""
    mixed = _random(3 * size, size, seed=seed) * torch.logspace(0, -spread, size, dtype=torch.float64)
    mixed = mixed @ _random(size, size, seed=seed + 1)
    return mixed.T @ mixed / len(mixed)


def _kron(matrices: list[Tensor]) -> Tensor:
    return reduce(torch.kron, matrices)


def _product_metric(out_sites: tuple[int, ...], in_sites: tuple[int, ...]) -> LayerMetric:
    inputs = _kron([_covariance(size, 10 * k) for k, size in enumerate(in_sites)])
    outputs = _kron([_covariance(size, 10 * k + 5) for k, size in enumerate(out_sites)])
    return LayerMetric(inputs, outputs, 0.0)


@pytest.mark.parametrize("sizes", [(4,), (3, 5), (4, 1), (1, 6), (2, 3, 4)], ids=str)
def test_a_kronecker_product_is_found_exactly(sizes: tuple[int, ...]) -> None:
    expected = _kron([_covariance(size, 10 * k, spread=0.5) for k, size in enumerate(sizes)])
    root = torch.linalg.cholesky(expected)
    samples = root.T.reshape(-1, *sizes) * len(root) ** 0.5
    found = kronecker_covariance(samples, steps=3)
    assert [matrix.shape for matrix in found] == [(size, size) for size in sizes]
    torch.testing.assert_close(_kron(found), expected, rtol=1e-9, atol=1e-9 * float(expected.max()))


def test_no_other_kronecker_product_is_more_likely() -> None:
    moment = _covariance(12, 3)
    samples = torch.linalg.cholesky(moment).T.reshape(-1, 3, 4) * 12**0.5

    def objective(matrices: list[Tensor]) -> float:
        product = _kron(matrices)
        return float(product.logdet() + torch.linalg.solve(product, moment).trace())

    found = kronecker_covariance(samples, steps=200)
    least = objective(found)
    # The trace is exact after any step: scaling the last matrix is part of its choice.
    assert torch.linalg.solve(_kron(found), moment).trace() == pytest.approx(12.0, rel=1e-10)
    for seed in range(50):
        for size in (1e-1, 1e-3):
            changes = [size * _random(n, n, seed=2 * seed + k) for k, n in enumerate((3, 4))]
            turned = [torch.matrix_exp(change) for change in changes]
            moved = [turn @ matrix @ turn.T for turn, matrix in zip(turned, found, strict=True)]
            assert objective(moved) > least
    assert objective(kronecker_covariance(samples, steps=1)) > least


def test_shrinkage_makes_few_samples_enough() -> None:
    samples = _random(1, 40, 2)
    first, second = kronecker_covariance(samples, shrinkage=0.1)
    assert torch.linalg.eigvalsh(first)[0] > 0.2 * first.diagonal().mean()
    assert torch.linalg.eigvalsh(second)[0] > 0.0
    small, same = kronecker_covariance((1e-25 * samples).float(), shrinkage=0.1)
    torch.testing.assert_close(
        torch.kron(small, same) * 1e50, torch.kron(first, second), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("side", ["both", "inputs", "outputs"])
@pytest.mark.parametrize("max_bond", [1, 3, 5])
def test_sites_of_rows_and_columns_give_the_whitened_optimum(side: str, max_bond: int) -> None:
    linear = make_linear(9, 7)
    inputs = None if side == "outputs" else _covariance(9, 1)
    metric = LayerMetric(inputs, None if side == "inputs" else _covariance(7, 5))
    left, right, discarded, _ = whitened_svd(linear.weight.detach(), metric, max_bond=max_bond)
    layer = whitened_start(MPOLinear, linear, metric, out_sites=(7, 1), in_sites=(1, 9), max_bond=max_bond)
    assert layer.discarded == pytest.approx(discarded, rel=1e-9)
    torch.testing.assert_close(layer.to_dense(), left @ right, rtol=1e-8, atol=1e-8)
    assert layer.bias is not None and torch.equal(layer.bias, linear.bias)


@pytest.mark.parametrize("max_bond", [1, 4, 7])
def test_two_sites_are_optimal_where_the_covariances_are_products(max_bond: int) -> None:
    """The paired, whitened weight is a matrix then, and the theorem of Eckart and Young bounds all trains."""
    out_sites, in_sites = (3, 4), (4, 2)
    metric = _product_metric(out_sites, in_sites)
    weight = _random(12, 8, seed=9)
    paired = metric.whiten(weight).reshape(*out_sites, *in_sites).transpose(1, 2).reshape(12, 8)
    values = torch.linalg.svdvals(paired).square()
    least = float(values[max_bond:].sum() / values.sum())
    layer = whitened_start(
        MPOLinear, weight, metric, out_sites=out_sites, in_sites=in_sites, max_bond=max_bond
    )
    assert layer.ranks == (max_bond,)
    assert layer.discarded == pytest.approx(least, rel=1e-8)
    losses = fit_in_metric(layer, weight, metric)
    assert losses[-1] == pytest.approx(losses[0], rel=1e-8)
    plain = MPOLinear.from_dense(weight, out_sites=out_sites, in_sites=in_sites, max_bond=max_bond)
    assert metric.whiten(weight - plain.to_dense().detach()).square().sum() > 1.05 * losses[0]


@pytest.mark.parametrize("kind", [MPOLinear, TensorRingLinear])
@pytest.mark.parametrize("sites", [((3, 4), (4, 2)), ((2, 3, 2), (2, 2, 3))], ids=str)
def test_trains_and_rings_start_nearer_than_without_the_metric(
    kind: type[Train], sites: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    out_sites, in_sites = sites
    linear = make_linear(torch.Size(in_sites).numel(), 12, seed=3)
    weight = linear.weight.detach()
    metric = _product_metric(out_sites, in_sites)
    plain = kind.from_dense(linear, out_sites=out_sites, in_sites=in_sites, max_bond=2)
    layer = whitened_start(kind, linear, metric, out_sites=out_sites, in_sites=in_sites, max_bond=2)
    assert layer.ranks == plain.ranks
    before, after = (
        metric.whiten(weight - each.to_dense().detach()).square().sum() for each in (plain, layer)
    )
    assert before > 1.0
    assert after < 0.95 * before
    relative = float(after / metric.whiten(weight).square().sum())
    assert layer.discarded is not None
    assert abs(layer.discarded - relative) < 1e-9 * relative
    norms = [float(core.detach().norm()) for core in layer.cores]
    assert max(norms) < (1.0 + 1e-9) * min(norms)
    whole = whitened_start(kind, linear, metric, out_sites=out_sites, in_sites=in_sites)
    torch.testing.assert_close(whole.to_dense(), weight, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", [MPOLinear, TensorRingLinear])
def test_without_covariances_it_is_the_plain_start(kind: type[Train]) -> None:
    linear, metric = make_linear(24, 12), LayerMetric(None, None)
    plain = kind.from_dense(linear, num_sites=3, keep=0.6)
    layer = whitened_start(kind, linear, metric, num_sites=3, keep=0.6)
    torch.testing.assert_close(layer.to_dense(), plain.to_dense(), rtol=1e-9, atol=1e-9)
    assert layer.discarded == pytest.approx(plain.discarded, rel=1e-9)


def test_neighbouring_cores_share_each_index_of_their_bond_alike() -> None:
    layer = whitened_start(MPOLinear, make_linear(8, 12), _product_metric((3, 4), (4, 2)), max_bond=4)
    first, second = (core.detach().square() for core in layer.cores)
    torch.testing.assert_close(first.sum((0, 1, 2)), second.sum((1, 2, 3)))


def test_singular_covariances_and_a_zero_weight_do_no_harm() -> None:
    rows = _random(3, 8)
    metric = LayerMetric(rows.T @ rows, None, 0.0)
    layer = whitened_start(MPOLinear, make_linear(8, 12), metric, max_bond=3)
    assert all(core.isfinite().all() for core in layer.cores)
    zero = whitened_start(MPOLinear, torch.zeros(12, 8), metric, max_bond=3)
    assert zero.discarded == 0.0
    assert torch.equal(zero.to_dense(), torch.zeros(12, 8))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_the_dtype_is_that_of_the_source(dtype: torch.dtype) -> None:
    metric, linear = _product_metric((3, 4), (4, 2)), make_linear(8, 12, dtype=dtype)
    layer = whitened_start(MPOLinear, linear, metric)
    assert {parameter.dtype for parameter in layer.parameters()} == {dtype}
    error = (layer.to_dense().double() - linear.weight.double()).norm() / linear.weight.double().norm()
    assert error < 40 * torch.finfo(dtype).eps


def test_bad_arguments_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"`samples` must have shape \(num_samples, n_1, ...\), but has"):
        kronecker_covariance(torch.ones(3))
    with pytest.raises(ValueError, match="`samples` must have entries other than zero, but has none"):
        kronecker_covariance(torch.zeros(3, 2))
    with pytest.raises(TypeError, match=r"`samples` must be real, but has torch.complex64"):
        kronecker_covariance(torch.ones(3, 2, dtype=torch.complex64))
    with pytest.raises(ValueError, match="`steps` must be at least 1, but is 0"):
        kronecker_covariance(torch.ones(3, 2), steps=0)
    with pytest.raises(ValueError, match=r"`shrinkage` must be at least 0, but is -0.1"):
        kronecker_covariance(torch.ones(3, 2), shrinkage=-0.1)
    metric = LayerMetric(_covariance(8, 1), None)
    with pytest.raises(ValueError, match=r"`weight` must have shape \(out_features, 8\), .* \(8, 12\)"):
        whitened_start(MPOLinear, torch.ones(8, 12), metric)
    with pytest.raises(ValueError, match=r"`in_sites` must multiply to in_features = 8, but is \(3, 3\)"):
        whitened_start(MPOLinear, torch.ones(12, 8), metric, in_sites=(3, 3))
    with pytest.raises(TypeError, match=r"`source` must be a torch.nn.Linear or a tensor, but is a list"):
        whitened_start(MPOLinear, [1.0], metric)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"`weight` must be real, but has torch.complex64"):
        whitened_start(MPOLinear, torch.ones(12, 8, dtype=torch.complex64), metric)
