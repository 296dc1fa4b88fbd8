"""Rows that carry a thin matrix whole, and how the others follow from them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qtn.decompositions.pivots import pivot_rows


def _matrix(rows: int, rank: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, rank, generator=generator, dtype=dtype)


def _bound_grower(rank: int) -> Tensor:
    """Elimination without exchanges doubles the coefficients with every column of this one."""
    lower = torch.eye(rank, dtype=torch.float64) - torch.ones(rank, rank, dtype=torch.float64).tril(-1)
    return torch.cat([lower, -torch.ones(1, rank, dtype=torch.float64)])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    rank=st.integers(1, 12),
    more=st.integers(0, 30),
    seed=st.integers(0, 10**6),
    spread=st.sampled_from([0.0, 3.0]),
    is_complex=st.booleans(),
)
def test_pivots_carry_the_matrix(rank: int, more: int, seed: int, spread: float, is_complex: bool) -> None:
    rows = rank + more
    matrix = _matrix(rows, rank, seed, torch.complex128 if is_complex else torch.float64)
    matrix = matrix * torch.logspace(0, -spread, rows, dtype=torch.float64)[:, None]
    order, coefficients = pivot_rows(matrix)
    assert coefficients.shape == (more, rank)
    assert sorted(order.tolist()) == list(range(rows))
    assert order[rank:].tolist() == sorted(order[rank:].tolist())
    torch.testing.assert_close(coefficients @ matrix[order[:rank]], matrix[order[rank:]])
    assert more == 0 or coefficients.abs().max() <= 2.0 + 1e-9


def test_exchanges_bound_what_elimination_lets_grow() -> None:
    matrix = _bound_grower(12)
    factors, _ = torch.linalg.lu_factor(matrix)
    plain = torch.linalg.solve_triangular(
        factors[:12], factors[12:], upper=False, unitriangular=True, left=False
    )
    assert plain.abs().max() == 2.0**11
    order, coefficients = pivot_rows(matrix)
    assert coefficients.abs().max() <= 2.0
    torch.testing.assert_close(coefficients @ matrix[order[:12]], matrix[order[12:]])


def test_no_exchange_of_two_rows_doubles_the_volume() -> None:
    matrix = _matrix(14, 4, 3)
    order, _ = pivot_rows(matrix)
    volume = torch.linalg.det(matrix[order[:4]]).abs()
    for place in range(4):
        for other in order[4:]:
            changed = order[:4].clone()
            changed[place] = other
            assert torch.linalg.det(matrix[changed]).abs() <= (2.0 + 1e-9) * volume


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_half_precision_is_worked_on_in_single(dtype: torch.dtype) -> None:
    matrix = _matrix(9, 4).to(dtype)
    order, coefficients = pivot_rows(matrix)
    assert coefficients.dtype == torch.float32
    torch.testing.assert_close(coefficients @ matrix[order[:4]].float(), matrix[order[4:]].float())


def test_bad_matrices_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`matrix` must have at least as many rows .* has shape \(2, 3\)"):
        pivot_rows(torch.ones(2, 3))
    for dependent in (torch.ones(4, 2), torch.zeros(3, 1)):
        with pytest.raises(ValueError, match="`matrix` must have independent columns, but has dependent"):
            pivot_rows(dependent)
    with pytest.raises(ValueError, match="`matrix` must be finite, but holds 4 values"):
        pivot_rows(torch.full((4, 1), float("nan")))
    with pytest.raises(TypeError, match=r"`matrix` must have one of the dtypes .* torch.int64"):
        pivot_rows(torch.ones(4, 1, dtype=torch.int64))
