"""Decompositions against closed forms."""

from __future__ import annotations

from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qtn import leading_svd, truncated_svd, tt_svd

DTYPES = [torch.float64, torch.complex128]


def _random(shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _with_spectrum(values: Tensor, rows: int, columns: int) -> Tensor:
    left = torch.linalg.qr(_random((rows, len(values)), 1)).Q
    right = torch.linalg.qr(_random((columns, len(values)), 2)).Q
    return left @ torch.diag(values) @ right.T


def _contract(cores: list[Tensor]) -> Tensor:
    train = cores[0]
    for core in cores[1:]:
        train = torch.tensordot(train, core, dims=1)
    return train[0, ..., 0]


def _relative_weight(difference: Tensor, whole: Tensor) -> float:
    return (difference.abs().square().sum() / whole.abs().square().sum()).item()


def _least_weight(tensor: Tensor, k: int, bond: int) -> float:
    """What the best approximation of unfolding k alone discards."""
    weights = torch.linalg.svdvals(tensor.reshape(prod(tensor.shape[:k]), -1)).square()
    return (weights[bond:].sum() / weights.sum()).item()


@pytest.mark.parametrize("bond", [1, 2, 4, 5, 9])
def test_discarded_is_the_tail_of_the_spectrum(bond: int) -> None:
    values = torch.tensor([8.0, 4.0, 2.0, 1.0, 0.5], dtype=torch.float64)
    matrix = _with_spectrum(values, 9, 7)
    left, right, discarded = truncated_svd(matrix, max_bond=bond)
    tail = values[bond:].square().sum() / values.square().sum()
    assert discarded == pytest.approx(tail.item(), rel=1e-12, abs=1e-28)
    assert _relative_weight(matrix - left @ right, matrix) == pytest.approx(discarded, rel=1e-10, abs=1e-28)


def test_cutoff_takes_the_smallest_rank_that_stays_within_it() -> None:
    values = torch.tensor([8.0, 4.0, 2.0, 1.0, 0.5], dtype=torch.float64)
    matrix = _with_spectrum(values, 9, 7)
    total = values.square().sum().item()
    for rank in range(1, 5):
        tail = values[rank:].square().sum().item() / total
        assert truncated_svd(matrix, cutoff=tail * 1.0001)[0].shape[1] == rank
        assert truncated_svd(matrix, cutoff=tail * 0.9999)[0].shape[1] == rank + 1
    assert truncated_svd(matrix, cutoff=0.0)[0].shape[1] == 7
    assert truncated_svd(matrix, cutoff=0.999)[0].shape[1] == 1


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_factors_are_balanced_and_triples_orthonormal(dtype: torch.dtype) -> None:
    matrix = _random((6, 8), dtype=dtype)
    left, right, _ = truncated_svd(matrix, max_bond=4)
    torch.testing.assert_close(left.mH @ left, right @ right.mH)
    vectors, values, covectors, _ = leading_svd(matrix, max_bond=4)
    torch.testing.assert_close(vectors.mH @ vectors, torch.eye(4, dtype=dtype))
    torch.testing.assert_close(covectors @ covectors.mH, torch.eye(4, dtype=dtype))
    torch.testing.assert_close(values, torch.linalg.svdvals(matrix)[:4])


def test_zero_matrix_discards_nothing() -> None:
    left, right, discarded = truncated_svd(torch.zeros(3, 4), max_bond=2, cutoff=0.5)
    assert discarded == 0.0
    assert torch.equal(left @ right, torch.zeros(3, 4))
    cores, discarded = tt_svd(torch.zeros(2, 3, 4), max_bond=2, balanced=True)
    assert discarded == 0.0
    assert torch.equal(_contract(cores), torch.zeros(2, 3, 4))


shapes = st.lists(st.sampled_from([1, 2, 3, 4, 5, 7, 11]), min_size=1, max_size=4).map(tuple)


@given(shape=shapes, dtype=st.sampled_from(DTYPES), balanced=st.booleans())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_tensor_train_of_full_bonds_is_exact(
    shape: tuple[int, ...], dtype: torch.dtype, balanced: bool
) -> None:
    tensor = _random(shape, dtype=dtype)
    cores, discarded = tt_svd(tensor, balanced=balanced)
    assert discarded == 0.0
    torch.testing.assert_close(_contract(cores), tensor, rtol=1e-11, atol=1e-11)
    bonds = [core.shape[2] for core in cores[:-1]]
    assert bonds == [min(prod(shape[:k]), prod(shape[k:])) for k in range(1, len(shape))]


@given(shape=shapes, max_bond=st.integers(1, 6), balanced=st.booleans(), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_tensor_train_error_is_discarded_and_within_the_bounds(
    shape: tuple[int, ...], max_bond: int, balanced: bool, seed: int
) -> None:
    tensor = _random(shape, seed)
    cores, discarded = tt_svd(tensor, max_bond=max_bond, balanced=balanced)
    error = _relative_weight(tensor - _contract(cores), tensor)
    assert error == pytest.approx(discarded, rel=1e-9, abs=1e-20)
    bonds = [core.shape[2] for core in cores[:-1]]
    least = [_least_weight(tensor, k, bond) for k, bond in enumerate(bonds, start=1)]
    assert discarded <= sum(least) * (1 + 1e-9) + 1e-20
    assert discarded >= max(least, default=0.0) * (1 - 1e-9)
    for before, core, bond in zip([1, *bonds], cores, bonds, strict=False):
        assert bond <= min(max_bond, before * core.shape[1])


@given(shape=shapes, cutoff=st.sampled_from([1e-3, 0.05, 0.3, 0.9, 0.9999]))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_tensor_train_discards_no_more_than_cutoff(shape: tuple[int, ...], cutoff: float) -> None:
    tensor = _random(shape)
    cores, discarded = tt_svd(tensor, cutoff=cutoff)
    assert discarded <= cutoff
    assert _relative_weight(tensor - _contract(cores), tensor) <= cutoff * (1 + 1e-9)


def test_cutoff_after_a_hard_limit_still_holds_for_its_own_step() -> None:
    cores, discarded = tt_svd(_random((5, 5, 5)), max_bond=[1, 5], cutoff=0.9)
    assert [core.shape[2] for core in cores] == [1, 1, 1]
    assert discarded == pytest.approx(
        _relative_weight(_random((5, 5, 5)) - _contract(cores), _random((5, 5, 5)))
    )


def test_left_cores_are_orthonormal_and_the_last_holds_the_norm() -> None:
    tensor = _random((4, 5, 3, 2))
    cores, _ = tt_svd(tensor)
    for core in cores[:-1]:
        matrix = core.reshape(-1, core.shape[2])
        torch.testing.assert_close(matrix.T @ matrix, torch.eye(core.shape[2], dtype=tensor.dtype))
    torch.testing.assert_close(cores[-1].norm(), tensor.norm())


def test_balancing_changes_the_cores_but_not_the_tensor() -> None:
    tensor = 1e4 * _random((4, 6, 6, 4))
    plain, discarded = tt_svd(tensor, max_bond=[3, 5, 4])
    balanced, same = tt_svd(tensor, max_bond=[3, 5, 4], balanced=True)
    assert discarded == same
    torch.testing.assert_close(_contract(plain), _contract(balanced), rtol=1e-11, atol=1e-8)
    norms = [core.norm().item() for core in balanced]
    assert max(norms) / min(norms) < 1e3 < max(core.norm().item() for core in plain) / 2


def test_two_sites_give_the_truncated_svd() -> None:
    matrix = _random((6, 9))
    (first, second), discarded = tt_svd(matrix, max_bond=3, balanced=True)
    left, right, same = truncated_svd(matrix, max_bond=3)
    torch.testing.assert_close(first[0], left)
    torch.testing.assert_close(second[..., 0], right)
    assert discarded == same


def test_a_product_tensor_needs_bonds_of_one() -> None:
    vectors = [_random((n,), n) for n in (3, 5, 7)]
    tensor = torch.einsum("i,j,k->ijk", *vectors)
    cores, discarded = tt_svd(tensor, cutoff=1e-20)
    assert [core.shape for core in cores] == [(1, 3, 1), (1, 5, 1), (1, 7, 1)]
    assert discarded < 1e-25
    torch.testing.assert_close(_contract(cores), tensor)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_decomposed_in_single(dtype: torch.dtype) -> None:
    matrix = _random((6, 8)).to(dtype)
    left, right, discarded = truncated_svd(matrix, max_bond=3)
    assert left.dtype == right.dtype == dtype
    assert discarded == truncated_svd(matrix.float(), max_bond=3)[2]
    cores, discarded = tt_svd(matrix.reshape(6, 4, 2), max_bond=3)
    assert {core.dtype for core in cores} == {dtype}
    assert discarded == tt_svd(matrix.float().reshape(6, 4, 2), max_bond=3)[1]


def test_gradient_flows_through_the_factors() -> None:
    matrix = _random((4, 5)).requires_grad_()
    left, right, _ = truncated_svd(matrix)
    (gradient,) = torch.autograd.grad(((left @ right) ** 2).sum(), matrix)
    torch.testing.assert_close(gradient, 2 * matrix.detach())


def test_bad_input_is_refused_by_name() -> None:
    matrix = torch.ones(3, 4)
    with pytest.raises(ValueError, match=r"`matrix` must have shape \(rows, columns\), but has shape \(3,\)"):
        truncated_svd(torch.ones(3))
    with pytest.raises(ValueError, match=r"`matrix` must have elements, but has shape \(0, 4\)"):
        truncated_svd(torch.ones(0, 4))
    with pytest.raises(TypeError, match=r"`tensor` must have one of the dtypes .*, but has torch.int64"):
        tt_svd(torch.ones(3, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="`tensor` must be finite, but holds 1 values that are NaN or inf"):
        tt_svd(torch.tensor([[1.0, float("inf")], [0.0, 1.0]], dtype=torch.float16))
    with pytest.raises(ValueError, match="`tensor` must have at least one axis, but has none"):
        tt_svd(torch.tensor(1.0))
    with pytest.raises(ValueError, match="`max_bond` must be at least 1, but is 0"):
        truncated_svd(matrix, max_bond=0)
    with pytest.raises(ValueError, match="`max_bond` must be at least 1, but is -2"):
        tt_svd(matrix, max_bond=[-2])
    with pytest.raises(ValueError, match="`max_bond` must have one entry for each of the 1 bonds, but has 2"):
        tt_svd(matrix, max_bond=[2, 2])
    for cutoff in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match=f"`cutoff` must be at least 0 and below 1, but is {cutoff}"):
            tt_svd(matrix, cutoff=cutoff)
