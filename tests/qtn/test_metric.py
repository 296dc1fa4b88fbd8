"""The metric of a layer against losses whose second order is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from qtn import LayerMetric

CONSTRUCTED = [(None, None), (6, None), (None, 4), (6, 4)]


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _covariance(size: int | None, *, seed: int = 0, rows: int = 50) -> Tensor | None:
    if size is None:
        return None
    samples = _random(rows, size, seed=seed)
    return samples.T @ samples / rows


def _dense(matrix: Tensor | None, size: int, damping: float) -> Tensor:
    """The damped matrix by definition, or the identity."""
    if matrix is None:
        return torch.eye(size, dtype=torch.float64)
    return matrix + damping * matrix.diagonal().mean() * torch.eye(size, dtype=torch.float64)


@pytest.mark.parametrize(("num_in", "num_out"), CONSTRUCTED)
@pytest.mark.parametrize("damping", [0.0, 1e-2, 0.5])
def test_the_whitened_norm_is_the_damped_form(
    num_in: int | None, num_out: int | None, damping: float
) -> None:
    inputs, outputs = _covariance(num_in), _covariance(num_out, seed=1)
    weight = _random(4, 6, seed=2)
    metric = LayerMetric(inputs, outputs, damping)
    expected = torch.trace(weight.T @ _dense(outputs, 4, damping) @ weight @ _dense(inputs, 6, damping))
    torch.testing.assert_close(metric.whiten(weight).square().sum(), expected, rtol=1e-12, atol=0.0)


@pytest.mark.parametrize(("num_in", "num_out"), CONSTRUCTED)
def test_unwhitening_undoes_whitening(num_in: int | None, num_out: int | None) -> None:
    metric = LayerMetric(_covariance(num_in), _covariance(num_out, seed=1))
    weight = _random(4, 6, seed=2)
    torch.testing.assert_close(metric.unwhiten(metric.whiten(weight)), weight, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(metric.whiten(metric.unwhiten(weight)), weight, rtol=1e-12, atol=1e-12)
    left, right = _random(4, 2, seed=3), _random(2, 6, seed=4)
    factors = metric.unwhiten_outputs(left) @ metric.unwhiten_inputs(right)
    torch.testing.assert_close(factors, metric.unwhiten(left @ right), rtol=1e-12, atol=1e-12)


def test_a_singular_covariance_without_damping_is_still_undone() -> None:
    """Three rows span three of six directions: Cholesky fails."""
    inputs = _covariance(6, rows=3)
    assert inputs is not None
    metric = LayerMetric(inputs, None, damping=0.0)
    weight = _random(4, 6, seed=2)
    torch.testing.assert_close(metric.unwhiten(metric.whiten(weight)), weight, rtol=1e-6, atol=1e-6)
    expected = torch.trace(weight @ inputs @ weight.T)
    torch.testing.assert_close(metric.whiten(weight).square().sum(), expected, rtol=1e-12, atol=0.0)
    assert metric.loss_change(weight) == pytest.approx(0.5 * expected.item(), rel=1e-12)


def test_loss_change_is_the_second_order_of_a_quadratic_loss() -> None:
    rows, targets = _random(50, 6), _random(50, 4, seed=1)
    curvature = _covariance(4, seed=2)
    assert curvature is not None

    def loss(weight: Tensor) -> Tensor:
        misses = rows @ weight.T - targets
        return 0.5 * (misses @ curvature * misses).sum() / len(rows)

    weight, difference = _random(4, 6, seed=3), _random(4, 6, seed=4)
    slope = torch.func.grad(loss)
    curved = torch.func.grad(lambda at: torch.sum(slope(at) * difference))(weight)
    metric = LayerMetric(rows.T @ rows / len(rows), curvature)
    expected = 0.5 * torch.sum(curved * difference).item()
    assert metric.loss_change(difference) == pytest.approx(expected, rel=1e-12)
    change = loss(weight - difference) - loss(weight) + torch.sum(slope(weight) * difference)
    assert metric.loss_change(difference) == pytest.approx(change.item(), rel=1e-10)


def test_loss_change_is_the_divergence_of_a_softmax_at_small_changes() -> None:
    """For one input the Fisher matrix is x x^T times diag(p) - p p^T, and predicts the KL divergence."""
    weight, x = _random(4, 6), _random(6, seed=1)
    log_p = (weight @ x).log_softmax(0)
    p = log_p.exp()
    metric = LayerMetric(torch.outer(x, x), torch.diag(p) - torch.outer(p, p))
    errors = []
    for step in (1e-2, 1e-3):
        difference = step * _random(4, 6, seed=2)
        divergence = (p * (log_p - ((weight - difference) @ x).log_softmax(0))).sum().item()
        errors.append(abs(metric.loss_change(difference) / divergence - 1.0))
    assert errors[0] < 0.05
    assert errors[1] < 0.2 * errors[0]


def test_damping_bounds_the_loss_change_from_above() -> None:
    inputs, outputs = _covariance(6), _covariance(4, seed=1)
    difference = _random(4, 6, seed=2)
    values = []
    for damping in (0.0, 1e-2, 0.3):
        metric = LayerMetric(inputs, outputs, damping)
        values.append(0.5 * metric.whiten(difference).square().sum().item())
        assert metric.loss_change(difference) == pytest.approx(values[0], rel=1e-12)
    assert values[0] < 0.999 * values[1] < 0.99 * values[2]


def test_the_given_matrices_are_copied() -> None:
    inputs = _covariance(6)
    assert inputs is not None
    metric = LayerMetric(inputs, None)
    difference = _random(4, 6, seed=2)
    before = metric.loss_change(difference)
    inputs.zero_()
    assert metric.loss_change(difference) == before


def test_bad_matrices_are_refused_by_name() -> None:
    good = torch.eye(3)
    for name in ("inputs", "outputs"):

        def make(matrix: Tensor, name: str = name) -> LayerMetric:
            return LayerMetric(**{"inputs": None, "outputs": None, name: matrix})

        with pytest.raises(ValueError, match=rf"`{name}` must be a square matrix, but has shape \(3, 4\)"):
            make(torch.ones(3, 4))
        with pytest.raises(ValueError, match=rf"`{name}` must be a square matrix, but has shape \(3,\)"):
            make(torch.ones(3))
        for bad in (float("nan"), float("inf")):
            with pytest.raises(ValueError, match=f"`{name}` must be finite, but holds 1 values that are NaN"):
                make(good.index_put((torch.tensor(0), torch.tensor(1)), torch.tensor(bad)))
        with pytest.raises(ValueError, match=f"`{name}` must be symmetric, .* transpose by up to 0.5"):
            make(good + torch.tensor([[0.0, 0.5, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
        with pytest.raises(
            ValueError, match=f"`{name}` must be positive semidefinite, but has an eigenvalue"
        ):
            make(torch.diag(torch.tensor([1.0, 1.0, -1e-3])))
        with pytest.raises(ValueError, match=f"`{name}` must have a positive trace, but has 0; None stands"):
            make(torch.zeros(3, 3))
        with pytest.raises(TypeError, match=f"`{name}` must be real, but has torch.complex64"):
            make(good.to(torch.complex64))
        with pytest.raises(TypeError, match=f"`{name}` must have one of the dtypes .*, but has torch.int64"):
            make(good.long())
    for damping in (-1e-3, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"`damping` must be at least 0 and finite, but is {damping}"):
            LayerMetric(good, good, damping)


def test_rounding_of_single_precision_is_not_held_against_a_matrix() -> None:
    samples = _random(3, 40).float()
    LayerMetric(samples.T @ samples, None)
    LayerMetric(torch.diag(torch.tensor([1.0, 1.0, -1e-7])), None)


def test_weights_of_other_sizes_are_refused() -> None:
    both, one = LayerMetric(torch.eye(6), torch.eye(4)), LayerMetric(torch.eye(6), None)
    for method, name in [("whiten", "weight"), ("unwhiten", "matrix"), ("loss_change", "difference")]:
        with pytest.raises(ValueError, match=rf"`{name}` must have shape \(4, 6\), but has shape \(6, 4\)"):
            getattr(both, method)(torch.ones(6, 4))
        with pytest.raises(ValueError, match=rf"`{name}` must have shape \(out_features, 6\), .* \(6, 4\)"):
            getattr(one, method)(torch.ones(6, 4))
        with pytest.raises(ValueError, match=rf"`{name}` must have shape \(4, 6\), but has shape \(6,\)"):
            getattr(both, method)(torch.ones(6))
        with pytest.raises(ValueError, match=f"`{name}` must be finite, but holds 24 values that are NaN"):
            getattr(both, method)(torch.full((4, 6), float("nan")))
        with pytest.raises(TypeError, match=f"`{name}` must be real, but has torch.complex64"):
            getattr(both, method)(torch.ones(4, 6, dtype=torch.complex64))
