"""Entries in another order: the same as an index, with every kind of derivative."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from qtn.layers.permutation import permuted


@pytest.fixture
def places() -> Tensor:
    return torch.randperm(7, generator=torch.Generator().manual_seed(3)).int()


@pytest.fixture
def values() -> Tensor:
    return torch.randn(4, 3, 7, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def test_value_and_derivatives_are_those_of_an_index(values: Tensor, places: Tensor) -> None:
    torch.testing.assert_close(permuted(values, places), values[..., places], rtol=0, atol=0)
    variable = values[:2, :2].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: permuted(x, places), variable)
    assert torch.autograd.gradgradcheck(lambda x: permuted(x, places).square(), variable)


@pytest.mark.filterwarnings(
    "ignore:.*torch.jit.script:DeprecationWarning"
)  # torch's own, by forward derivatives
@pytest.mark.parametrize(
    "transform",
    [
        lambda function: torch.func.vmap(function, in_dims=1, out_dims=1),
        lambda function: lambda x: torch.func.jvp(function, (x,), (x.square(),)),
        lambda function: torch.func.vmap(torch.func.grad(lambda x: function(x)[..., 0].square().sum())),
        lambda function: torch.compile(function, fullgraph=True, backend="eager"),
    ],
    ids=["vmap", "forward derivative", "gradients of samples", "compiled"],
)
def test_transforms_go_through(
    transform: Callable[..., Callable[[Tensor], Tensor]], values: Tensor, places: Tensor
) -> None:
    ours = transform(lambda x: permuted(x, places))(values)
    torch.testing.assert_close(ours, transform(lambda x: x[..., places])(values), rtol=0, atol=0)


def test_the_gradient_adds_nothing_into_place(values: Tensor, places: Tensor) -> None:
    variable = values.requires_grad_()
    with torch.profiler.profile() as profile:
        permuted(variable, places).square().sum().backward()
    names = {event.key for event in profile.key_averages()}
    assert "aten::index_select" in names and not {"aten::index_add_", "aten::index_put_"} & names
