"""The Tucker-2 convolution against the bounds of its unfoldings."""

from __future__ import annotations

from math import prod

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from qtn.layers.tucker_convolution import Tucker2Conv2d
from tests.qtn.test_convolutions import make_conv, random_tensor


@given(
    shape=st.tuples(*[st.integers(1, 7)] * 2, *[st.integers(1, 3)] * 2),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_tucker_lies_between_the_bounds_of_its_unfoldings(
    shape: tuple[int, int, int, int], shares: tuple[float, float], seed: int
) -> None:
    """At least the larger of the two tails, at most the error of the sequential one, itself at most their sum."""
    weight = random_tensor(*shape, seed=seed)
    unfolded = weight.transpose(0, 1).flatten(1), weight.flatten(1)
    ranks = [1 + int(share * (min(each.shape) - 1)) for share, each in zip(shares, unfolded, strict=True)]
    bases = [torch.linalg.svd(each, full_matrices=False) for each in unfolded]
    tails = [float(basis.S[rank:].square().sum()) for basis, rank in zip(bases, ranks, strict=True)]
    left = bases[1].U[:, : ranks[1]]
    projected = (left.T @ weight.flatten(1)).reshape(-1, *shape[1:]).transpose(0, 1).flatten(1)
    sequential = tails[1] + float(torch.linalg.svdvals(projected)[ranks[0] :].square().sum())

    source = make_conv(shape[0], shape[1], shape[2:], bias=False)
    source.weight = nn.Parameter(weight)
    layer = Tucker2Conv2d.from_dense(source, ranks=ranks)
    error = float((weight - layer.to_dense().detach()).square().sum())
    slack = 1e-12 * float(weight.square().sum())
    assert max(tails) - slack <= error <= sequential + slack <= sum(tails) + 2 * slack
    assert all(got <= asked for got, asked in zip(layer.ranks, ranks, strict=True))


def test_alternating_sweeps_improve_on_the_sequential_fit() -> None:
    weight = random_tensor(8, 9, 3, 3, seed=4)
    left = torch.linalg.svd(weight.flatten(1), full_matrices=False).U[:, :3]
    projected = (left.T @ weight.flatten(1)).reshape(-1, *weight.shape[1:]).transpose(0, 1).flatten(1)
    captured = float(torch.linalg.svdvals(projected)[:3].square().sum() / weight.square().sum())
    source = make_conv(8, 9, (3, 3))
    source.weight = nn.Parameter(weight)
    layer = Tucker2Conv2d.from_dense(source, ranks=(3, 3))
    assert layer.discarded is not None and layer.discarded < 1.0 - captured - 1e-3


def test_tucker_finds_the_ranks_that_are_there() -> None:
    """A weight of few input and many output channels: the budget goes where the singular values are."""
    core, left, right = (
        random_tensor(20, 2, 3, 3),
        random_tensor(32, 20, seed=1),
        random_tensor(2, 24, seed=2),
    )
    truth = Tucker2Conv2d(left, core, right)
    assert truth.ranks == (2, 20)
    assert truth.num_params == 32 * 20 + 20 * 2 * 9 + 2 * 24
    source = make_conv(32, 24, (3, 3), bias=False)
    source.weight = nn.Parameter(truth.to_dense().detach())
    found = Tucker2Conv2d.from_dense(source, keep=1.01 * truth.num_params / prod(source.weight.shape))
    assert found.discarded is not None and found.discarded < 1e-25
    torch.testing.assert_close(found.to_dense(), source.weight, rtol=1e-10, atol=1e-10)
