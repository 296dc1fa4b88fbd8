"""Layers of the chosen forms put into a copy of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from qtn.calibration.batches import Batch
from qtn.calibration.matrices import as_matrix_layer
from qtn.calibration.statistics import LayerStatistics
from qtn.compression.forms import Form
from qtn.compression.refine import refine_block
from qtn.compression.refit import refit_block
from qtn.compression.stack import Call, called, first_calls, is_chain, stack_name

Tell = Callable[[str, int, int], None]


def fit_layers(
    student: nn.Module,
    forms: Mapping[str, Form],
    statistics: Mapping[str, LayerStatistics],
    damping: float,
    tell: Tell,
) -> None:
    """Put in layers of the chosen forms, each fitted to the dense weight on the inputs of the dense model."""
    for done, (name, form) in enumerate(forms.items()):
        tell("fit", done, len(forms))
        old = as_matrix_layer(student.get_submodule(name))
        student.set_submodule(name, form.fit(old, statistics[name].metric(damping)).train(old.training))


def refit_layers(
    model: nn.Module,
    student: nn.Module,
    batches: Sequence[Batch],
    forms: Mapping[str, Form],
    statistics: Mapping[str, LayerStatistics],
    damping: float,
    ridge: float,
    refine_steps: int,
    bits: int | None,
    tell: Tell,
) -> None:
    """Put in layers of the chosen forms block by block, as `refit_block` does.

    Those outside the stack of blocks come first, as in `fit_layers`, and those that cannot be
    refitted.
    """
    stack = stack_name(model)
    blocks = [""]
    if stack is not None and is_chain(model, stack, batches[0]):
        names = [name for name, _ in model.get_submodule(stack).named_children()]
        blocks = [f"{stack}.{name}".removeprefix(".") for name in names]
    inside = {block: _inside(forms, block) for block in blocks}
    within = {name for names in inside.values() for name in names.values()}
    fit_layers(student, {n: f for n, f in forms.items() if n not in within}, statistics, damping, tell)
    if not within:
        return
    dense_calls = student_calls = _calls(model, blocks[0], batches)
    if within != set(forms):
        student_calls = _calls(student, blocks[0], batches)
    for done, block in enumerate(blocks):
        tell("refit", done, len(blocks))
        names = inside[block]
        before = {name: student.get_submodule(name) for name in names.values()}
        results = refit_block(
            model.get_submodule(block),
            student.get_submodule(block),
            dense_calls,
            student_calls,
            {short: forms[name] for short, name in names.items()},
            {short: statistics[name].outputs for short, name in names.items()},
            batches=batches,
            damping=damping,
            ridge=ridge,
            bits=bits,
        )
        left = [name for name, layer in before.items() if student.get_submodule(name) is layer]
        fit_layers(student, {name: forms[name] for name in left}, statistics, damping, tell)
        targets = [result for result in results if result is not None]
        if refine_steps and len(targets) == len(student_calls):
            refine_block(
                student.get_submodule(block),
                student_calls,
                targets,
                steps=refine_steps,
                generator=torch.Generator().manual_seed(done),
            )
        if block != blocks[-1]:
            with torch.no_grad():
                made = [called(student.get_submodule(block), call) for call in student_calls]
            dense_calls = [call.with_first(x) for call, x in zip(dense_calls, results, strict=True)]
            student_calls = [call.with_first(x) for call, x in zip(student_calls, made, strict=True)]


def _calls(model: nn.Module, block: str, batches: Sequence[Batch]) -> list[Call]:
    if block == "":
        return [Call.of(batch) for batch in batches]
    return first_calls(model, model.get_submodule(block), batches)


def _inside(forms: Mapping[str, Form], block: str) -> dict[str, str]:
    """Layers inside a block: their names there, and in the model."""
    prefix = f"{block}." if block else ""
    return {name.removeprefix(prefix): name for name in forms if name.startswith(prefix)}
