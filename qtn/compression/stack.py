"""A model as a stack of equal blocks, and what flows from one to the next."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from qtn.calibration.batches import Batch, run
from qtn.calibration.matrices import is_matrix_layer
from qtn.calibration.recording import output_of


@dataclass(frozen=True, kw_only=True)
class Call:
    """What a block is called with."""

    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]

    @classmethod
    def of(cls, batch: Batch) -> Call:
        """How a model is called with a batch."""
        if isinstance(batch, Tensor):
            return cls(arguments=(batch,), keywords={})
        if isinstance(batch, Mapping):
            return cls(arguments=(), keywords=batch)
        return cls(arguments=tuple(batch), keywords={})

    def with_first(self, value: Tensor | None) -> Call:
        """The same call with another first argument."""
        return Call(arguments=(value, *self.arguments[1:]), keywords=self.keywords)


def stack_name(model: nn.Module) -> str | None:
    """The name of the list of blocks in which the linear layers are: modules of one type, called one after the other.

    None if no `torch.nn.ModuleList` or `torch.nn.Sequential` of two or more modules of one type holds more than half
    of the parameters of linear layers; a head that has its weight from an embedding does not count.
    """
    weights = {id(linear.weight): linear.weight.numel() for linear in _linears(model)}
    for module in model.modules():
        if not isinstance(module, nn.Linear):
            for parameter in module.parameters(recurse=False):
                weights.pop(id(parameter), None)

    def size(module: nn.Module) -> int:
        return sum(weights.get(id(linear.weight), 0) for linear in _linears(module))

    found = {
        name: size(module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList | nn.Sequential)
        and len(module) > 1
        and len({type(child) for child in module}) == 1
        and not is_matrix_layer(module[0])
    }
    best = max(found, key=lambda name: found[name], default=None)
    return best if best is not None and 2 * found[best] > size(model) else None


@torch.no_grad()
def is_chain(model: nn.Module, stack: str, batch: Batch) -> bool:
    """Whether the model calls the blocks of a stack once each and in order, every one on what the last one gave.

    All other arguments must be those of the first block too: then a block can be run without the model around it.

    Cost: a forward pass of the model.
    """
    blocks = list(cast("nn.Sequential", model.get_submodule(stack)))
    calls: list[tuple[int, list[Any]]] = []
    given: list[Tensor | None] = []
    results: list[Tensor | None] = []

    def before(number: int, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        first = arguments[0] if arguments else None
        given.append(first.clone() if isinstance(first, Tensor) else None)
        calls.append((number, tree_leaves((arguments[1:], keywords))))

    def behind(output: Any) -> None:
        first = output[0] if isinstance(output, tuple | list) else output
        results.append(first.clone() if isinstance(first, Tensor) else None)

    handles = [block.register_forward_hook(lambda _, __, output: behind(output)) for block in blocks]
    try:
        with _before(
            {str(k): block for k, block in enumerate(blocks)}, lambda k, *rest: before(int(k), *rest)
        ):
            run(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return (
        [number for number, _ in calls] == list(range(len(blocks)))
        and all(
            a is not None and b is not None and torch.equal(a, b)
            for a, b in zip(given[1:], results, strict=False)
        )
        and all(_alike(calls[0][1], others) for _, others in calls[1:])
    )


def _alike(first: list[Any], second: list[Any]) -> bool:
    """Whether tensors and plain values are equal, and other arguments of one kind, such as a cache."""

    def alike(a: Any, b: Any) -> bool:
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return torch.equal(a, b)
        return a == b if isinstance(a, bool | int | float | str) else type(a) is type(b)

    return len(first) == len(second) and all(alike(a, b) for a, b in zip(first, second, strict=True))


def _linears(module: nn.Module) -> Iterator[nn.Linear]:
    return (each for each in module.modules() if type(each) is nn.Linear)


class _Reached(Exception):
    """What was waited for has been called."""


@contextmanager
def _before(
    modules: Mapping[str, nn.Module], function: Callable[[str, tuple[Any, ...], dict[str, Any]], None]
) -> Iterator[None]:
    """Call a function with the name and the arguments of each of some modules before it runs."""
    handles = [
        module.register_forward_pre_hook(
            lambda _, arguments, keywords, name=name: function(name, arguments, keywords), with_kwargs=True
        )
        for name, module in modules.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def first_calls(model: nn.Module, block: nn.Module, batches: Sequence[Batch]) -> list[Call]:
    """How the model calls a block for each batch; the model is run no further.

    Raises:
        ValueError: A batch does not reach the block.
    """
    calls: list[Call] = []

    def take(_: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        calls.append(Call(arguments=arguments, keywords=keywords))
        raise _Reached

    with _before({"": block}, take):
        for number, batch in enumerate(batches):
            try:
                run(model, batch)
            except _Reached:
                continue
            raise ValueError(f"Argument `calibration` must reach every block, but batch {number} does not.")
    return calls


def called(block: nn.Module, call: Call) -> Tensor:
    """What a block gives: the first tensor of its output.

    Raises:
        TypeError: As of `output_of`.
    """
    return _first_tensor(_output(block, call))


def _output(block: nn.Module, call: Call) -> Any:
    """The call can be made again: the block is given copies, for it may add to a stream or a cache in place."""
    arguments, keywords = copy.deepcopy((call.arguments, dict(call.keywords)))
    return block(*arguments, **keywords)


def _first_tensor(output: Any) -> Tensor:
    return output_of(output[0] if isinstance(output, tuple | list) else output)


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What modules of a block were given, and what came out of the block."""

    inputs: Mapping[str, Tensor]
    """First arguments by the name of the module, in the order of the calls."""
    result: Tensor | None
    """First tensor of the output; None if the block was stopped, or gives none that is known."""

    def at(self, place: str) -> Tensor:
        """The input of a module, or for "" the result of the block."""
        found = self.result if place == "" else self.inputs[place]
        assert found is not None, "the block was stopped before"
        return found


@torch.no_grad()
def traced(block: nn.Module, call: Call, names: Sequence[str], stop: str | None = None) -> Trace:
    """One call of a block, recorded: the first arguments of named modules that are tensors.

    Modules that are called more than once are left out. With `stop` the block is run until that module is called.
    What is recorded is a copy, one and the same for modules that are given one tensor, for it may be added to in
    place.
    """
    inputs: dict[str, Tensor] = {}
    last: list[tuple[Tensor, int, Tensor]] = []  # one input, its version and its copy
    repeated: set[str] = set()
    modules = dict(block.named_modules())

    def record(name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        given = arguments[0] if arguments else next(iter(keywords.values()), None)
        if name in inputs:
            repeated.add(name)
        if isinstance(given, Tensor):
            if not (last and last[0][0] is given and last[0][1] == given._version):
                last[:] = [(given, given._version, given.clone())]
            inputs[name] = last[0][2]
        if name == stop:
            raise _Reached

    def once() -> dict[str, Tensor]:
        return {name: given for name, given in inputs.items() if name not in repeated}

    with _before({name: modules[name] for name in names}, record):
        try:
            output = _output(block, call)
        except _Reached:
            return Trace(inputs=once(), result=None)
    try:
        result = _first_tensor(output)
    except TypeError:  # of a model whose own loss reads it
        result = None
    return Trace(inputs=once(), result=result)
