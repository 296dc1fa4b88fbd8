"""The tensor-train embedding: digits, sites, and what does not fit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qtn.layers.mpo_embedding import MPOEmbedding, padded_sites
from tests.qtn.test_embeddings import random_tensor


@given(num=st.integers(1, 60), dim=st.integers(1, 30), num_sites=st.integers(2, 4))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_any_table_has_a_lossless_train(num: int, dim: int, num_sites: int) -> None:
    table = random_tensor(num, dim)
    layer = MPOEmbedding.from_dense(table, num_sites=num_sites)
    assert (layer.num_embeddings, layer.embedding_dim) == (num, dim)
    torch.testing.assert_close(layer(torch.arange(num)), table, rtol=1e-11, atol=1e-11)


def test_a_train_is_the_product_of_its_digits() -> None:
    """Token 5 of 3 x 2 is (2, 1): the row is the Kronecker product of two rows at bond one."""
    first, second = random_tensor(3, 1, 2, 1), random_tensor(2, 1, 4, 1, seed=1)
    layer = MPOEmbedding([first, second])
    torch.testing.assert_close(
        layer(torch.tensor(5)), torch.kron(first[2].flatten(), second[1].flatten()), rtol=1e-14, atol=0.0
    )
    assert (layer.ranks, layer.num_params, layer.kept) == ((1,), 14, 14 / 48)
    assert MPOEmbedding([first, second], 5).to_dense().shape == (5, 8)


@given(num_rows=st.integers(1, 3000), num_sites=st.integers(2, 4))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_padded_sites_are_even_and_few_rows_more(num_rows: int, num_sites: int) -> None:
    sites = padded_sites(num_rows, num_sites)
    padded = int(torch.tensor(sites).prod())
    root = num_rows ** (1 / num_sites)
    assert len(sites) == num_sites and padded >= num_rows
    assert sites[0] <= 1.25 * root + 1
    assert padded <= (root + 1) ** num_sites


def test_a_budget_is_counted_against_the_rows_that_are_there() -> None:
    """97 rows on four sites are padded to 108."""
    layer = MPOEmbedding.from_dense(random_tensor(97, 48), num_sites=4, keep=0.4)
    assert layer.row_sites == (4, 3, 3, 3)
    assert abs(layer.kept - 0.4) <= 0.02 * 0.4


def test_bad_arguments_are_refused_by_name() -> None:
    with pytest.raises(
        ValueError, match="`num_rows` and `num_sites` must be at least 1 and 2, but are 23 and 1"
    ):
        MPOEmbedding.from_dense(random_tensor(23, 12), num_sites=1)
    with pytest.raises(ValueError, match="`cores` must hold at least two tensors of shape"):
        MPOEmbedding([torch.zeros(2, 1, 2, 1)])
    with pytest.raises(
        ValueError, match="`cores` must have equal bonds between neighbours and 1 at both ends"
    ):
        MPOEmbedding([torch.zeros(2, 1, 2, 2), torch.zeros(2, 3, 2, 1)])
    with pytest.raises(ValueError, match=r"`num_embeddings` must be from 1 to 4, .* but is 5"):
        MPOEmbedding([torch.zeros(2, 1, 2, 1)] * 2, 5)
