"""What a model gives on its way: its output, and those of the modules in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


def output_of(model_output: Any) -> Tensor:
    """The tensor of a model's output to distil: `.logits`, else `.last_hidden_state`, else the output itself.

    Raises:
        TypeError: It is none of these.
    """
    for found in (
        getattr(model_output, "logits", None),
        getattr(model_output, "last_hidden_state", None),
        model_output,
    ):
        if isinstance(found, Tensor):
            return found
    raise TypeError(
        "The model must return a tensor or an object with `logits` or `last_hidden_state`, "
        f"but returned a {type(model_output).__name__}; wrap it in a module that does."
    )


@contextmanager
def recorded(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """The outputs of named modules, filled in by every forward pass inside; of a tuple, the first entry.

    Raises:
        ValueError: A name is unknown; or, at the end, a module was not reached.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    unknown = [name for name in names if name not in modules]
    if unknown:
        raise ValueError(f"Argument `hidden` must name modules of the model, but names {unknown}.")
    states: dict[str, Tensor] = {}

    def record(name: str, output: Any) -> None:
        states[name] = output_of(output[0] if isinstance(output, (tuple, list)) else output)

    handles = [
        modules[name].register_forward_hook(lambda _, __, output, name=name: record(name, output))
        for name in names
    ]
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()
    missed = [name for name in names if name not in states]
    if missed:
        raise ValueError(f"Argument `hidden` must name modules that the model calls, but names {missed}.")


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, so that dropout draws nothing; every module's mode is afterwards as it was."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training
