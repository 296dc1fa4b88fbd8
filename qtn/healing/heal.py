"""Training of a compressed model towards the dense one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn

from qtn.calibration.batches import Batch, in_order, moved
from qtn.calibration.recording import evaluation
from qtn.healing.distillation import num_rows
from qtn.healing.gradients import batch_gradients
from qtn.healing.schedules import CosineSchedule, Schedule
from qtn.healing.teacher_cache import TeacherCache
from qtn.healing.trainable import Trainable, only_trained, trainable_parameters, undecayed_names
from qtn.healing.training_state import TrainingState
from qtn.storage.tensor_files import model_fingerprint

Progress = Callable[[int, int | None, float, int, float], None]


@dataclass(frozen=True, kw_only=True)
class HealingReport:
    """What a healing took and gave.

    Attributes:
        losses: For each step the mean loss per row, before its update.
        steps: Number of updates.
        tokens: Number of rows seen, padding not counted.
        seconds: Wall-clock time of all runs together.
        finished: False if the time limit came first.
        num_trained: Number of trained parameters.
    """

    losses: tuple[float, ...]
    steps: int
    tokens: int
    seconds: float
    finished: bool
    num_trained: int


@torch.inference_mode(False)
@torch.enable_grad()
def heal(
    student: nn.Module,
    teacher: nn.Module | TeacherCache,
    batches: Iterable[Batch],
    *,
    steps: int | None = None,
    tokens: int | None = None,
    learning_rate: float = 1e-3,
    relative: bool = False,
    schedule: Schedule | None = None,
    hidden_weight: float = 1.0,
    trainable: Trainable = None,
    weight_decay: float = 0.0,
    max_norm: float | None = 1.0,
    autocast: torch.dtype | None = None,
    seed: int = 0,
    checkpoint: Path | str | None = None,
    every: int = 50,
    seconds: float | None = None,
    progress: Progress | None = None,
) -> HealingReport:
    """Train a student, in place, to give what its teacher gives; see `distillation_loss` for the measure.

    Both models are run in evaluation mode, so that dropout draws nothing; modes, `requires_grad` and `grad` of
    all parameters are afterwards as they were, whatever happens. Batches are taken in a new random order in
    every pass over them. Each step is one forward and one backward pass of the student on one batch; a batch that
    does not fit in the accelerator's memory goes through in parts, with the same gradient.

    With a `checkpoint`, the state is saved every `every` steps, at the end, at the time limit and when anything
    else interrupts, and the same call goes on from there: on a CPU the result is bit for bit that of one
    run. The student may then be as it was at the start, or as the interruption left it.

    Args:
        student: Its device is where the training is; it must not share trained parameters with the teacher.
        teacher: A model, run once on each batch when it is first needed, or a cache of what it said.
        batches: Tensors, tuples of positional arguments or mappings of named ones; those of the cache, if one
            is given. They are kept while it runs.
        steps: Number of updates; this or `tokens`.
        tokens: Number of rows of the output to see, padding not counted; the last batch may go beyond.
        learning_rate: The largest of the schedule.
        relative: Whether the learning rate is in units of the root mean square of each parameter at the start, so
            that large and small factors move alike.
        schedule: Default: `CosineSchedule()`. Its point is that of the middle of each step. Its `repr` is what a
            checkpoint knows it by.
        hidden_weight: Weight of the hidden states that the cache holds.
        trainable: See `trainable_parameters`; by default factors and norms.
        weight_decay: Of AdamW, for dense matrices only; see `undecayed_names`.
        max_norm: Largest norm of the gradient; longer ones are scaled down. None: no limit.
        autocast: Such as torch.bfloat16, for the student's forward pass. Trained parameters of half precision
            are stepped in single precision either way.
        seed: Of the order of the batches.
        checkpoint: A file, for safetensors; None saves nothing.
        every: Steps between two savings.
        seconds: Wall-clock limit of this call: it ends after at least one step, and before the first that
            would, taking as long as the one before, go beyond.
        progress: Called after every step with the number of steps made, that of all (None under `tokens`),
            the loss, the tokens seen and the seconds taken. What it raises ends the healing.

    Returns:
        The report, for all runs together.

    Raises:
        ValueError: An argument is out of range, batches are not those of the cache, or the checkpoint has other
            arguments or another student.
        FloatingPointError: The loss or its gradient is not finite; the student then has the last parameters
            with a finite loss.
        torch.OutOfMemoryError: One example of a batch does not fit.

    Cost: a hash of student and teacher; steps passes; memory for four values per trained parameter.
    """
    budget, batches = _Budget(steps, tokens), in_order(batches)
    _check_numbers(learning_rate, hidden_weight, weight_decay, max_norm, seconds, every=every, seed=seed)
    schedule = CosineSchedule() if schedule is None else schedule
    cache = teacher if isinstance(teacher, TeacherCache) else TeacherCache(teacher, batches)
    if not cache.holds(batches):
        raise ValueError("Argument `batches` must hold the batches of the cache, but holds others.")
    trained = trainable_parameters(student, trainable)
    if cache.teaches(list(trained.values())):
        raise ValueError("Argument `student` must share no trained parameter with the teacher; give a copy.")
    path = None if checkpoint is None else Path(checkpoint)
    if path is not None and path.is_dir():
        raise ValueError(f"Argument `checkpoint` must be a file, but {path} is a folder.")
    state = TrainingState(
        trained, weight_decay=weight_decay, undecayed=undecayed_names(student), relative=relative
    )
    arguments: dict[str, Any] = {
        "teacher": cache.fingerprint,
        "frozen": model_fingerprint(student, without=trained),
        "steps": steps,
        "tokens": tokens,
        "learning_rate": learning_rate,
        "relative": relative,
        "schedule": repr(schedule),
        "hidden_weight": hidden_weight,
        "weight_decay": weight_decay,
        "max_norm": max_norm,
        "autocast": str(autocast),
        "seed": seed,
    }
    if path is not None and path.exists():
        state.load(path, arguments)
    before, start = state.seconds, perf_counter()

    def save() -> None:
        if path is not None:
            state.save(path, arguments)

    def step() -> None:
        index = _batch_index(seed, state.steps, len(batches))
        device = next(iter(trained.values())).device
        batch = moved(batches[index], device)
        targets = {name: tensor.to(device, non_blocking=True) for name, tensor in cache[index].items()}
        rows = num_rows(targets, batch)
        gradients, loss, state.part_examples = batch_gradients(
            student,
            batch,
            targets,
            trained,
            hidden_weight=hidden_weight,
            autocast=autocast,
            part_examples=state.part_examples,
        )
        rate = learning_rate * schedule.factor(budget.middle(state, rows))
        if not isfinite(loss) or not state.update(gradients, learning_rate=rate, max_norm=max_norm):
            state.restore_good()
            raise FloatingPointError(
                f"After {state.steps} steps the loss or its gradient is not finite (loss {loss}); the student has "
                "its last good parameters; lower `learning_rate` or check the data."
            )
        state.record(loss, rows, before + perf_counter() - start)

    with evaluation(student), only_trained(student, trained):
        try:
            while not budget.spent(state):
                began = perf_counter()
                step()
                if progress is not None:
                    progress(state.steps, steps, state.losses[-1], state.tokens, state.seconds)
                now = perf_counter()
                if seconds is not None and (now - start) + (now - began) > seconds:
                    break
                if state.steps % every == 0:
                    save()
        except FloatingPointError:
            raise
        except BaseException:
            if state.at_rest:
                with suppress(OSError):  # the first error says more
                    save()
            else:
                state.restore_good()
            raise
        save()
    return HealingReport(
        losses=tuple(state.losses),
        steps=state.steps,
        tokens=state.tokens,
        seconds=state.seconds,
        finished=budget.spent(state),
        num_trained=sum(each.numel() for each in trained.values()),
    )


class _Budget:
    """A number of steps or of tokens."""

    def __init__(self, steps: int | None, tokens: int | None) -> None:
        if (steps is None) == (tokens is None):
            raise ValueError(f"Either `steps` or `tokens` must be given, but they are {steps} and {tokens}.")
        self.counts_steps = steps is not None
        self.total = steps if steps is not None else tokens or 0
        if self.total < 1:
            name = "steps" if self.counts_steps else "tokens"
            raise ValueError(f"Argument `{name}` must be at least 1, but is {self.total}.")

    def spent(self, state: TrainingState) -> bool:
        return (state.steps if self.counts_steps else state.tokens) >= self.total

    def middle(self, state: TrainingState, rows: int) -> float:
        """The part of the budget that is used half-way through the coming step."""
        done = state.steps + 0.5 if self.counts_steps else state.tokens + 0.5 * rows
        return min(done / self.total, 1.0)


def _batch_index(seed: int, step: int, num_batches: int) -> int:
    """The batch of a step: a permutation for each pass, from its own stream, so that nothing need be stored."""
    number, place = divmod(step, num_batches)
    return int(np.random.default_rng([seed, number]).permutation(num_batches)[place])


def _check_numbers(
    learning_rate: float,
    hidden_weight: float,
    weight_decay: float,
    max_norm: float | None,
    seconds: float | None,
    *,
    every: int,
    seed: int,
) -> None:
    above_zero = {"learning_rate": learning_rate, "max_norm": max_norm, "seconds": seconds}
    for name, value in above_zero.items():
        if value is not None and not (isfinite(value) and value > 0.0):
            raise ValueError(f"Argument `{name}` must be above 0 and finite, but is {value}.")
    for name, value in {"hidden_weight": hidden_weight, "weight_decay": weight_decay}.items():
        if not (isfinite(value) and value >= 0.0):
            raise ValueError(f"Argument `{name}` must be at least 0 and finite, but is {value}.")
    for name, value, least in (("every", every, 1), ("seed", seed, 0)):
        if value < least:
            raise ValueError(f"Argument `{name}` must be at least {least}, but is {value}.")
