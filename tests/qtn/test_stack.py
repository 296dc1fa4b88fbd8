"""Models as stacks of blocks: which they are, what the blocks are called with and what comes out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qtn.calibration.batches import run
from qtn.compression.stack import Call, first_calls, is_chain, stack_name, traced
from tests.qtn.cases import make_linear
from tests.qtn.compression_cases import Block, bert, convolutional, llama, mlp, rows, token_batches


def _blocks(in_place: bool = False) -> nn.Sequential:
    return nn.Sequential(*(Block(seed=10 * k, in_place=in_place) for k in range(3)))


class _Experts(nn.Module):
    """Modules of one type side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(Block(seed=10 * k) for k in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return sum((expert(x) for expert in self.experts), torch.zeros(()))


class _Shifted(nn.Module):
    """A stack whose blocks are given different other arguments."""

    def __init__(self) -> None:
        super().__init__()

        class Scaled(Block):
            def forward(self, x: Tensor, scale: Tensor | float = 1.0) -> Tensor:
                return super().forward(x) * scale

        self.layers = nn.ModuleList(Scaled(seed=10 * k) for k in range(2))
        self.scales = (torch.ones(()), torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        for layer, scale in zip(self.layers, self.scales, strict=True):
            x = layer(x, scale=scale)
        return x


def test_the_stack_of_a_model_is_found() -> None:
    assert stack_name(_blocks()) == ""
    assert stack_name(nn.Sequential(make_linear(4, 8), nn.Sequential(*_blocks()), nn.Tanh())) == "1"
    for model in (mlp(), convolutional(), Block(), nn.Sequential(make_linear(3, 3), make_linear(3, 3))):
        assert stack_name(model) is None
    big_head = nn.Sequential(_blocks(), make_linear(8, 200))
    assert stack_name(big_head) is None
    embedding = nn.Embedding(200, 8, dtype=torch.float64)
    big_head[1].weight = embedding.weight  # pyright: ignore
    assert stack_name(nn.ModuleList([embedding, big_head])) == "1.0"


def test_the_stack_of_transformers_is_found() -> None:
    assert stack_name(llama()) == "model.layers"
    assert stack_name(bert()) == "encoder.layer"


def test_only_blocks_one_after_the_other_are_a_chain() -> None:
    x = rows(4, 8)
    assert is_chain(_blocks(), "", x) and is_chain(_blocks(in_place=True), "", x)
    assert not is_chain(_Experts(), "experts", x)
    shifted = _Shifted()
    assert is_chain(shifted, "layers", x)
    shifted.scales = (torch.ones(()), torch.zeros(()))
    assert not is_chain(shifted, "layers", x)
    twice = nn.Sequential(_blocks(), nn.Identity())
    twice.forward = lambda input: twice[0](twice[0](input))
    assert not is_chain(twice, "0", x)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in twice.modules())


@pytest.mark.parametrize("make", [llama, bert], ids=["llama", "bert"])
def test_transformers_are_chains_and_their_blocks_run_alone(make: Any) -> None:
    """Again and again with the same result: a cache of keys among the arguments must not fill."""
    model, batches = make(), token_batches(2)
    stack = stack_name(model)
    assert stack is not None and is_chain(model, stack, batches[0])
    blocks = model.get_submodule(stack)
    calls = first_calls(model, blocks[0], batches)
    states = [traced(blocks[0], call, []).at("") for call in calls]
    for call, state in zip(calls, states, strict=True):
        assert torch.equal(traced(blocks[0], call, []).at(""), state)
    outputs: list[Tensor] = []
    handle = blocks[-1].register_forward_hook(
        lambda _, __, output: outputs.append(output[0] if isinstance(output, tuple) else output)
    )
    with torch.no_grad():
        for batch in batches:
            run(model, batch)
    handle.remove()
    for call, state, output in zip(calls, states, outputs, strict=True):
        for block in list(blocks)[1:]:
            state = traced(block, call.with_first(state), []).at("")
        torch.testing.assert_close(state, output)


def test_a_block_that_a_batch_does_not_reach_is_refused() -> None:
    model = nn.Sequential(Block(), Block())
    with pytest.raises(ValueError, match="must reach every block, but batch 0 does not"):
        first_calls(model, Block(), [rows(2, 8)])
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("in_place", [False, True])
def test_a_trace_has_what_modules_were_given(in_place: bool) -> None:
    block, x = Block(in_place=in_place), rows(4, 8)
    before = x.clone()
    for _ in range(2):
        trace = traced(block, Call.of(x), ["up", "activation", "down", "last"])
        assert list(trace.inputs) == ["up", "activation", "down", "last"]
        assert torch.equal(x, before) and torch.equal(trace.at("up"), before)
        torch.testing.assert_close(trace.at("activation"), block.up(before))
        torch.testing.assert_close(trace.at("down"), block.up(before).tanh())
        stream = before + block.down(block.up(before).tanh())
        torch.testing.assert_close(trace.at("last"), stream)
        torch.testing.assert_close(trace.at(""), stream + block.last(stream))
    stopped = traced(block, Call.of(x), ["up", "down"], stop="down")
    assert stopped.result is None and list(stopped.inputs) == ["up", "down"]
    assert not any(module._forward_pre_hooks for module in block.modules())


def test_modules_called_twice_are_left_out_of_a_trace() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = make_linear(3, 3), make_linear(3, 3, seed=1)

        def forward(self, x: Tensor) -> tuple[Tensor, str]:
            return self.one(self.two(input=self.one(x))), "more"

    trace = traced(Twice(), Call.of({"x": torch.ones(2, 3, dtype=torch.float64)}), ["one", "two"])
    assert list(trace.inputs) == ["two"] and trace.at("").shape == (2, 3)


def test_shared_inputs_are_one_tensor_in_a_trace() -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.three = (make_linear(3, 3, seed=k) for k in range(3))

        def forward(self, x: Tensor) -> Tensor:
            both = self.one(x) + self.two(x)
            x += 1.0
            return both + self.three(x)

    trace = traced(Beside(), Call.of(torch.ones(2, 3, dtype=torch.float64)), ["one", "two", "three"])
    assert trace.at("one") is trace.at("two") is not trace.at("three")
    assert torch.equal(trace.at("three"), trace.at("one") + 1.0)
