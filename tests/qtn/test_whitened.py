"""The best low-rank approximation in the metric of a layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from qtn import LayerMetric, LowRankLinear, truncated_svd, whitened_svd
from tests.qtn.cases import make_linear

NUM_OUT, NUM_IN = 7, 9


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _covariance(size: int, seed: int) -> Tensor:
    """With a spread of scales, so that the metric differs much from the Frobenius norm."""
    samples = _random(60, size, seed=seed) * torch.logspace(0, -1.5, size, dtype=torch.float64)
    mixed = samples @ _random(size, size, seed=seed + 1)
    return mixed.T @ mixed / len(mixed)


def _root(matrix: Tensor) -> Tensor:
    """The symmetric square root: other coordinates than those of a Cholesky factor."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values.sqrt()) @ vectors.T


METRICS = {
    "both": LayerMetric(_covariance(NUM_IN, 1), _covariance(NUM_OUT, 5), 1e-2),
    "inputs": LayerMetric(_covariance(NUM_IN, 1), None, 1e-2),
    "outputs": LayerMetric(None, _covariance(NUM_OUT, 5), 1e-2),
}
WEIGHT = _random(NUM_OUT, NUM_IN, seed=9)

every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)


def _distance(metric: LayerMetric, difference: Tensor) -> float:
    return metric.whiten(difference).square().sum().item()


@every_metric
@pytest.mark.parametrize("rank", [1, 3, 6])
def test_it_is_the_truncated_svd_in_coordinates_of_the_symmetric_root(metric: LayerMetric, rank: int) -> None:
    def root(matrix: Tensor | None, size: int) -> Tensor:
        eye = torch.eye(size, dtype=torch.float64)
        return eye if matrix is None else _root(matrix + 1e-2 * matrix.diagonal().mean() * eye)

    before, behind = root(metric.outputs, NUM_OUT), root(metric.inputs, NUM_IN)
    first, second, expected_discarded = truncated_svd(before @ WEIGHT @ behind, max_bond=rank)
    expected = torch.linalg.inv(before) @ first @ second @ torch.linalg.inv(behind)
    left, right, discarded, values = whitened_svd(WEIGHT, metric, max_bond=rank)
    torch.testing.assert_close(left @ right, expected, rtol=1e-9, atol=1e-9)
    assert discarded == pytest.approx(expected_discarded, rel=1e-10)
    torch.testing.assert_close(values, torch.linalg.svdvals(before @ WEIGHT @ behind))


@every_metric
def test_no_change_of_the_factors_comes_nearer(metric: LayerMetric) -> None:
    left, right, _, _ = whitened_svd(WEIGHT, metric, max_bond=3)
    best = _distance(metric, WEIGHT - left @ right)
    generator = torch.Generator().manual_seed(3)
    for step in (1.0, 1e-1, 1e-2, 1e-3):
        for _ in range(100):
            moved = [
                factor + step * torch.randn(factor.shape, generator=generator, dtype=torch.float64)
                for factor in (left, right)
            ]
            assert _distance(metric, WEIGHT - moved[0] @ moved[1]) > best
    plain = truncated_svd(WEIGHT, max_bond=3)
    assert _distance(metric, WEIGHT - plain[0] @ plain[1]) > 1.05 * best


@every_metric
def test_alternating_least_squares_finds_nothing_nearer(metric: LayerMetric) -> None:
    """The fit of one factor with the other held, in turns from a random start."""
    eye = torch.eye(NUM_IN, dtype=torch.float64)
    inputs = metric.inputs
    damped = eye if inputs is None else inputs + 1e-2 * inputs.diagonal().mean() * eye
    one_sided = LayerMetric(inputs, None, 1e-2)
    weight = metric.whiten(WEIGHT) if inputs is None else WEIGHT
    right = _random(3, NUM_IN, seed=4)
    left = weight @ right.T
    for _ in range(400):
        left = torch.linalg.solve(right @ damped @ right.T, right @ damped @ weight.T).T
        right = torch.linalg.lstsq(left, weight).solution
    found = _distance(one_sided, weight - left @ right)
    _, _, discarded, values = whitened_svd(weight, one_sided, max_bond=3)
    assert discarded * values.square().sum().item() == pytest.approx(found, rel=1e-8)


@every_metric
def test_values_predict_the_distance_of_every_rank(metric: LayerMetric) -> None:
    for rank in range(1, NUM_OUT + 1):
        left, right, discarded, values = whitened_svd(WEIGHT, metric, max_bond=rank)
        assert (left.shape, right.shape, values.shape) == ((NUM_OUT, rank), (rank, NUM_IN), (NUM_OUT,))
        tail = values[rank:].square().sum().item()
        assert _distance(metric, WEIGHT - left @ right) == pytest.approx(tail, rel=1e-9, abs=1e-20)
        assert discarded == pytest.approx(tail / _distance(metric, WEIGHT), rel=1e-12, abs=1e-25)
        assert metric.loss_change(WEIGHT - left @ right) <= 0.5 * tail + 1e-20


@every_metric
def test_factors_are_balanced(metric: LayerMetric) -> None:
    left, right, _, _ = whitened_svd(WEIGHT, metric, max_bond=4)
    gram = left.T @ left
    torch.testing.assert_close(gram, right @ right.T, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gram, torch.diag(gram.diagonal()), rtol=1e-10, atol=1e-10)


@every_metric
def test_full_rank_is_exact(metric: LayerMetric) -> None:
    for weight in (WEIGHT, WEIGHT[:, :1] @ WEIGHT[:1]):
        left, right, discarded, _ = whitened_svd(weight, metric)
        assert discarded == 0.0
        torch.testing.assert_close(left @ right, weight, rtol=1e-11, atol=1e-11)
    left, right, discarded, _ = whitened_svd(torch.zeros(NUM_OUT, NUM_IN), metric, max_bond=2, cutoff=0.5)
    assert discarded == 0.0
    assert torch.equal(left @ right, torch.zeros(NUM_OUT, NUM_IN))


def test_without_a_metric_it_is_the_truncated_svd() -> None:
    left, right, discarded, values = whitened_svd(WEIGHT, LayerMetric(None, None), max_bond=3)
    first, second, same = truncated_svd(WEIGHT, max_bond=3)
    torch.testing.assert_close(left @ right, first @ second, rtol=1e-12, atol=1e-12)
    assert discarded == pytest.approx(same, rel=1e-12)
    torch.testing.assert_close(values, torch.linalg.svdvals(WEIGHT))


@every_metric
def test_cutoff_takes_the_smallest_rank_that_stays_within_it(metric: LayerMetric) -> None:
    values = whitened_svd(WEIGHT, metric)[3]
    for rank in range(1, NUM_OUT):
        tail = (values[rank:].square().sum() / values.square().sum()).item()
        assert whitened_svd(WEIGHT, metric, cutoff=tail * 1.0001)[0].shape[1] == rank
        assert whitened_svd(WEIGHT, metric, cutoff=tail * 0.9999)[0].shape[1] == rank + 1
    assert whitened_svd(WEIGHT, metric, cutoff=0.999, max_bond=5)[0].shape[1] == 1
    assert whitened_svd(WEIGHT, metric, cutoff=1e-12, max_bond=5)[0].shape[1] == 5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_lower_precision_is_decomposed_in_single_and_cast_back(dtype: torch.dtype) -> None:
    weight = WEIGHT.to(dtype)
    left, right, discarded, values = whitened_svd(weight, METRICS["both"], max_bond=3)
    assert left.dtype == right.dtype == dtype
    assert values.dtype == torch.float64 and torch.equal(values, values.float().double())
    assert discarded == whitened_svd(weight.float(), METRICS["both"], max_bond=3)[2]
    first, second, exact, _ = whitened_svd(weight.double(), METRICS["both"], max_bond=3)
    assert discarded == pytest.approx(exact, rel=1e-5)
    error = (left.double() @ right.double() - first @ second).norm() / (first @ second).norm()
    assert error < 20 * torch.finfo(dtype).eps


@every_metric
def test_the_layer_is_made_of_these_factors(metric: LayerMetric) -> None:
    linear = make_linear(NUM_IN, NUM_OUT)
    left, right, discarded, _ = whitened_svd(linear.weight.detach(), metric, max_bond=2)
    layer = LowRankLinear.from_dense(linear, rank=2, metric=metric)
    assert torch.equal(layer.left.weight, left)
    assert torch.equal(layer.right.weight, right)
    assert layer.discarded == discarded
    assert layer.bias is not None and torch.equal(layer.bias, linear.bias)
    kept = LowRankLinear.from_dense(linear, keep=2 * (NUM_IN + NUM_OUT) / (NUM_IN * NUM_OUT), metric=metric)
    assert torch.equal(kept.to_dense(), layer.to_dense())
    assert LowRankLinear.from_dense(linear, cutoff=discarded * 1.0001, metric=metric).ranks == (2,)
    whole = LowRankLinear.from_dense(linear, metric=metric)
    torch.testing.assert_close(whole.to_dense(), linear.weight, rtol=1e-11, atol=1e-11)


def test_bad_arguments_are_refused_by_name() -> None:
    metric = METRICS["both"]
    with pytest.raises(ValueError, match=r"`weight` must have shape \(7, 9\), but has shape \(9, 7\)"):
        whitened_svd(WEIGHT.T, metric)
    with pytest.raises(ValueError, match=r"`weight` must have shape \(7, 9\), but has shape \(4, 6\)"):
        LowRankLinear.from_dense(make_linear(6, 4), metric=metric)
    with pytest.raises(ValueError, match="`weight` must be finite, but holds 63 values that are NaN"):
        whitened_svd(WEIGHT * float("nan"), metric)
    with pytest.raises(TypeError, match=r"`weight` must be real, but has torch.complex128"):
        whitened_svd(WEIGHT.to(torch.complex128), metric)
    with pytest.raises(TypeError, match=r"`weight` must have one of the dtypes .*, but has torch.int64"):
        whitened_svd(WEIGHT.long(), metric)
    with pytest.raises(ValueError, match="`max_bond` must be at least 1, but is 0"):
        whitened_svd(WEIGHT, metric, max_bond=0)
    with pytest.raises(ValueError, match=r"`cutoff` must be at least 0 and below 1, but is 1.0"):
        whitened_svd(WEIGHT, metric, cutoff=1.0)
