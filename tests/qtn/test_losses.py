"""Sampled losses against the Fisher matrices that are known in closed form."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from qtn import collect, sampled_classes, sampled_loss
from tests.qtn.cases import make_linear

NUM_ROWS = 40_000


class _Classifier(nn.Module):
    """A linear softmax model, wrapped as language models are."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.head = make_linear(3, 4, seed=2, dtype=dtype)

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> SimpleNamespace:
        return SimpleNamespace(logits=self.head(x))


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_labels_give_the_fisher_matrix_of_a_softmax_model() -> None:
    model = _Classifier()
    x = make_linear(3, 1, seed=1).weight.detach().expand(NUM_ROWS, 3)
    found = collect(model, [x], sampled_loss(_generator()))["head"].outputs
    p = model.head(x[:1])[0].softmax(-1).detach()
    exact = p.diag() - torch.outer(p, p)
    # A gradient is p less the unit vector of the label: fourth moments in closed form.
    values = p - torch.eye(4, dtype=torch.float64)
    products = values[:, :, None] * values[:, None, :]
    deviation = ((products - exact).square() * p[:, None, None]).sum(0).sqrt() / NUM_ROWS**0.5
    assert ((found - exact).abs() / deviation).max() < 4.5
    assert (0.1 * exact.diagonal() / deviation.diagonal()).min() > 6.0  # a bias of 10 percent would show
    assert ((found.sum(0)).abs() < 1e-6).all()  # equal logits more change nothing


def test_values_give_the_identity() -> None:
    model = nn.Sequential(make_linear(3, 4))
    x = make_linear(3, NUM_ROWS, seed=1).weight.detach()
    found = collect(model, [x], sampled_loss(_generator()))["0"].outputs
    eye = torch.eye(4, dtype=torch.float64)
    # The square of a unit normal number has variance 2, the product of two variance 1.
    assert ((found - eye).abs() / ((1.0 + eye).sqrt() / NUM_ROWS**0.5)).max() < 4.5


def test_a_plain_tensor_can_be_taken_for_logits() -> None:
    model, x = _Classifier(), make_linear(3, 50, seed=1).weight.detach()
    wrapped = sampled_loss(_generator(3))(model, x)
    plain = sampled_classes(_generator(3))(model.head, x)
    assert torch.equal(wrapped, plain)
    assert wrapped > 0 and not torch.equal(plain, sampled_classes(_generator(4))(model.head, x))


@pytest.mark.parametrize("kind", ["logits", "values"])
def test_padding_does_not_count(kind: str) -> None:
    model = _Classifier()
    if kind == "values":
        model.forward = lambda x, attention_mask=None: model.head(x)
    x = make_linear(3, 8, seed=1).weight.detach().reshape(2, 4, 3)
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 1]])
    gradients: list[Tensor] = []
    hook = model.head.register_forward_hook(
        lambda _, __, output: output.register_hook(gradients.append) and None
    )
    value = sampled_loss(_generator())(model, {"x": x, "attention_mask": mask})
    value.backward()
    hook.remove()
    (rows,) = gradients
    assert torch.equal(rows.abs().sum(-1) > 0, mask.bool())
    bare = sampled_loss(_generator())(model, x[mask.bool()])
    assert torch.equal(bare, value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_summed_in_single(dtype: torch.dtype) -> None:
    model, x = _Classifier(dtype), make_linear(3, 4000, seed=1, dtype=dtype).weight.detach()
    value = sampled_loss(_generator())(model, x)
    exact = sampled_loss(_generator())(model.double(), x.double())
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(exact.item(), rel=0.02)


def test_an_output_that_is_no_tensor_is_refused() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> str:
            return "no"

    with pytest.raises(TypeError, match="model must return a tensor or an object with `logits`"):
        sampled_loss(_generator())(Odd(), torch.ones(2))
