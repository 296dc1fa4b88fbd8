"""A smaller model from a trained one, under a budget."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import ceil, fsum, isfinite

import torch
from torch import Tensor, nn

from qtn.calibration.batches import Batch, moved, num_examples, part
from qtn.calibration.losses import sampled_loss
from qtn.calibration.matrices import MatrixLayer, as_matrix_layer, matrix_layers, matrix_of
from qtn.calibration.recording import evaluation
from qtn.calibration.statistics import LayerStatistics, collect
from qtn.compression.build import fit_layers, refit_layers
from qtn.compression.choosing import Candidate, Choice, choose
from qtn.compression.forms import DENSE, STRUCTURES
from qtn.compression.profile import Profile, profile
from qtn.compression.report import CompressionReport, LayerReport
from qtn.storage.quantization import quantize
from qtn.storage.sizes import num_stored_parameters
from qtn.transposed import is_transposed

UNITS = ("parameters", "bytes", "operations", "communicated_bytes")
Loss = Callable[[nn.Module, Batch], Tensor]
Progress = Callable[[str, int, int], None]


@torch.inference_mode(False)
@torch.enable_grad()
def compress(
    model: nn.Module,
    *,
    budget: float,
    calibration: Iterable[Batch],
    unit: str = "parameters",
    names: Sequence[str] | None = None,
    structures: Sequence[str] = ("pivoted",),
    operations_cap: float | None = 1.0,
    loss: Loss | None = None,
    statistics: Mapping[str, LayerStatistics] | None = None,
    refit: bool = True,
    refine_steps: int = 0,
    bits: int | None = None,
    damping: float = 1e-2,
    ridge: float = 1e-2,
    generator: torch.Generator | None = None,
    progress: Progress | None = None,
) -> tuple[nn.Module, CompressionReport]:
    """A copy of a model with layers replaced by smaller ones, chosen and fitted on calibration data.

    Four steps: the covariance of inputs and output gradients of every layer (`collect`); the predicted loss change of
    every layer in every form, low rank at many ranks among them (`profile`); one form for each layer under one
    budget, "dense" allowed (`choose`); and a fit of layer after layer to what the dense model gives, on what the
    compressed model feeds it (`refit_block`), block by block where the model is a stack of equal blocks.

    Args:
        model: Any module, on one device; left as it is, whatever happens.
        budget: What the chosen layers may cost, as a fraction of what they cost now, above 0 and at most 1.
            Embeddings, norms and biases are not in it.
        calibration: Batches: a tensor is called as `model(batch)`, a tuple as `model(*batch)`, a mapping
            as `model(**batch)`. A hundred rows for each feature is plenty, ten are few.
        unit: What the budget is of: "parameters", "bytes", "operations" (multiply-adds for one row) or
            "communicated_bytes" (of one step of data-parallel training, a ring of many ranks).
        names: Linear and convolutional layers as in `model.named_modules()`, or modules that stand for all inside. None
            takes all whose weight no other module shares; a head tied to an embedding thus stays.
        structures: Forms besides dense; see `qtn.compression.forms.STRUCTURES`. The default has, at equal numbers of
            parameters, the highest rank, and multiply-adds no more than parameters.
        operations_cap: For each layer, the most multiply-adds over those of the dense one. None sets no cap.
        loss: As of `collect`; None takes `sampled_loss`.
        statistics: Of all layers, as of `collect` on the same model and batches, where several budgets are tried: it
            is half of the work. None collects them.
        refit: Whether layers are fitted to what the compressed model feeds them; else to the dense one.
        refine_steps: Steps of training for each block after its refit, see `refine_block`; with `refit` only.
        bits: 8 or 4 stores each layer in integers in the refit, so that later layers make good what rounding did;
            the budget still counts parameters and bytes before that. None keeps floating point; `quantize` rounds
            afterwards. Convolutions stay as they are.
        damping: As of `LayerMetric`.
        ridge: As of `refit_block`.
        generator: For the labels; None draws from a fresh one of seed 0.
        progress: Called with a step's name, how many of its parts are done and how many there are.

    Returns:
        The compressed copy, in the modes of the model, and a report of what was done to which layer.

    Raises:
        ValueError: An argument is out of range, a batch or weight holds NaN, a layer is not reached by
            calibration, the model is on several devices, or the budget is out of reach (the message says the least).
        TypeError: A batch is of a kind that is not known.

    Cost: for 135 million parameters and 12,000 tokens some minutes on two cores. Memory: the model twice, 8 bytes
    times in_features^2 + out_features^2 for each layer, what a backward pass over one batch takes, and the inputs of
    the layers of one block (of the whole model, where it is no stack of blocks) over all calibration.
    """
    _check(budget, unit, structures, names)
    _check_numbers(damping, ridge, operations_cap)
    if isinstance(calibration, Tensor | Mapping):
        raise ValueError(
            "Argument `calibration` must be a sequence of batches, but is one batch; give [batch]."
        )
    layers = matrix_layers(model, names)
    if not layers or "" in layers:
        raise ValueError(
            f"Argument `model` must have linear or convolutional layers to compress, but {_lack(model, layers)}."
        )
    device = one_device(model)
    batches = [moved(batch, device) for batch in calibration]
    if not batches:
        raise ValueError("Argument `calibration` must hold at least one batch, but is empty.")
    if statistics is not None and (lacking := [name for name in layers if name not in statistics]):
        raise ValueError(
            f"Argument `statistics` must have every layer to be compressed, but lacks {lacking}."
        )
    _check_fit(refit, refine_steps, bits)
    _check_finite(layers)
    watch = _Watch(progress)
    draws = generator or torch.Generator(device).manual_seed(0)
    try:
        with evaluation(model):
            if statistics is None:
                statistics = _collected(model, batches, loss or sampled_loss(draws), list(layers), watch)
            watch.start("profile", 0, 1)
            profiled = profile(model, {name: statistics[name] for name in layers}, structures, damping)
            watch.start("choose", 0, 1)
            choice = _chosen(profiled, budget, unit, operations_cap)
            forms = {name: profiled.forms[name][choice.candidates[name].name] for name in layers}
            student = copy.deepcopy(model)
            if all(form.name == DENSE for form in forms.values()) and bits is None:
                pass  # nothing is lost that a refit could make good
            elif refit:
                refit_layers(
                    model,
                    student,
                    batches,
                    forms,
                    statistics,
                    damping,
                    ridge,
                    refine_steps,
                    bits,
                    watch.start,
                )
            else:
                fit_layers(student, forms, statistics, damping, watch.start)
            if bits is not None:  # layers that no refit has reached
                student = quantize(student, bits, names=list(layers))
    except torch.OutOfMemoryError as error:
        raise ValueError(
            f"Argument `model` and its calibration must fit in the memory of {device}, but do not; give fewer "
            "or shorter batches, or move the model to another device."
        ) from error
    for name, module in model.named_modules(remove_duplicate=False):
        student.get_submodule(name).train(module.training)
    for name in layers:
        if not all(bool(p.isfinite().all()) for p in student.get_submodule(name).parameters()):
            raise ValueError(
                f"Layer `{name}` must stay finite, but its fit did not; raise `damping` or `ridge`."
            )
    return student, _report(model, student, profiled, choice, budget, unit, watch)


def one_device(model: nn.Module) -> torch.device:
    """The device of all parameters and buffers.

    Raises:
        ValueError: There are several, or no parameters.
    """
    devices = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    if len(devices) != 1:
        raise ValueError(
            f"Argument `model` must be on one device, but is on {sorted(map(str, devices))}; move it with `.to()`."
        )
    return devices.pop()


def _check(budget: float, unit: str, structures: Sequence[str], names: object) -> None:
    if isinstance(budget, bool) or not isinstance(budget, int | float) or not 0.0 < budget <= 1.0:
        raise ValueError(
            f"Argument `budget` must be a fraction above 0 and at most 1 of what the layers cost, but is {budget}."
        )
    if isinstance(names, str) or (names is not None and not names):
        raise ValueError(f"Argument `names` must be a sequence of names, or None for all, but is {names!r}.")
    if unit not in UNITS:
        raise ValueError(f"Argument `unit` must be one of {UNITS}, but is {unit!r}.")
    unknown = [structure for structure in structures if structure not in STRUCTURES]
    if unknown or isinstance(structures, str):
        raise ValueError(
            f"Argument `structures` must be a sequence of some of {tuple(STRUCTURES)}, but is {structures!r}."
        )


def _check_numbers(damping: float, ridge: float, operations_cap: float | None) -> None:
    for name, value in {"damping": damping, "ridge": ridge, "operations_cap": operations_cap}.items():
        if value is not None and not (isfinite(value) and value >= 0.0):
            raise ValueError(f"Argument `{name}` must be at least 0 and finite, but is {value}.")


def _lack(model: nn.Module, layers: Mapping[str, MatrixLayer]) -> str:
    if layers:
        return "is one itself; wrap it in torch.nn.Sequential"
    if any(map(is_transposed, model.modules())):
        return "its own are Conv1D of transformers; give `qtn.with_linears(model)`"
    return "has no torch.nn.Linear and no plain Conv2d"


def _check_fit(refit: bool, refine_steps: int, bits: int | None) -> None:
    if refine_steps < 0:
        raise ValueError(f"Argument `refine_steps` must be at least 0, but is {refine_steps}.")
    if (bits is not None or refine_steps) and not refit:
        raise ValueError("Arguments `bits` and `refine_steps` must stand with `refit`, but it is False.")
    if bits is not None and (bits not in (4, 8) or refine_steps):
        raise ValueError(
            f"Argument `bits` must be 8 or 4 and stand without `refine_steps`, but is {bits!r} with {refine_steps}."
        )


def _check_finite(layers: Mapping[str, MatrixLayer]) -> None:
    for name, layer in layers.items():
        if num_bad := layer.weight.numel() - int(layer.weight.isfinite().sum()):
            raise ValueError(
                f"Layer `{name}` must have finite weights to be compressed, but holds {num_bad} values that are NaN "
                "or infinite."
            )


class _Watch:
    """Wall seconds of steps, and who wants to hear of them."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._since: tuple[str, float] | None = None
        self._seconds: dict[str, float] = {}

    def start(self, step: str, done: int, total: int) -> None:
        """Begin or go on with a step."""
        now = time.perf_counter()
        if self._since is not None:
            before, since = self._since
            self._seconds[before] = self._seconds.get(before, 0.0) + now - since
        self._since = (step, now)
        if self._progress is not None:
            self._progress(step, done, total)

    def counted(self, step: str, batches: Sequence[Batch]) -> Iterator[Batch]:
        """The batches, each told of before it is given out."""
        for done, batch in enumerate(batches):
            self.start(step, done, len(batches))
            yield batch

    def seconds(self) -> dict[str, float]:
        """By step; ends the last one."""
        if self._since is not None:
            before, since = self._since
            self._seconds[before] = self._seconds.get(before, 0.0) + time.perf_counter() - since
            self._since = None
        return self._seconds


def _collected(
    model: nn.Module, batches: list[Batch], loss: Loss, names: list[str], watch: _Watch
) -> dict[str, LayerStatistics]:
    """The statistics; where a batch does not fit in memory, all over again with batches of half the size."""
    try:
        return collect(model, watch.counted("collect", batches), loss, names)
    except torch.OutOfMemoryError:
        halves = [
            part(batch, start, stop)
            for batch in batches
            for start, stop in pairwise((0, (num_examples(batch) + 1) // 2, num_examples(batch)))
            if stop > start
        ]
        if len(halves) == len(batches):
            raise
    return _collected(model, halves, loss, names, watch)


def _chosen(profiled: Profile, budget: float, unit: str, operations_cap: float | None) -> Choice:
    candidates = profiled.candidates()
    whole = sum(each.costs[unit] for row in candidates.values() for each in row if each.name == DENSE)
    least = sum(
        min((each.costs[unit] for each in row if _is_within(each, row, operations_cap)), default=0.0)
        for row in candidates.values()
    )
    if budget * whole < least:
        raise ValueError(
            f"Argument `budget` must be at least {ceil(1e4 * least / whole) / 1e4:g}, the least that these layers and "
            f"structures can reach in {unit}, but is {budget}."
        )
    caps = None if operations_cap is None else {"operations": operations_cap}
    return choose(candidates, budget * whole, unit=unit, caps=caps)


def _is_within(candidate: Candidate, row: Sequence[Candidate], operations_cap: float | None) -> bool:
    """Whether a form of a layer keeps the cap; `row` has all its forms."""
    dense = next(each.costs["operations"] for each in row if each.name == DENSE)
    return operations_cap is None or candidate.costs["operations"] <= operations_cap * dense


def _report(
    model: nn.Module,
    student: nn.Module,
    profiled: Profile,
    choice: Choice,
    budget: float,
    unit: str,
    watch: _Watch,
) -> CompressionReport:
    dense = {name: forms[DENSE] for name, forms in profiled.forms.items()}
    candidates = profiled.candidates()
    reports = [
        LayerReport(
            name=name,
            shape=_shape(model, name),
            form=chosen.name,
            parameters_before=round(dense[name].costs["parameters"]),
            parameters=round(chosen.costs["parameters"]),
            predicted_loss=chosen.loss,
        )
        for name, chosen in choice.candidates.items()
    ]
    before = {
        unit: fsum(each.costs[unit] for row in candidates.values() for each in row if each.name == DENSE)
        for unit in UNITS
    }
    return CompressionReport(
        unit=unit,
        budget=budget,
        layers=tuple(reports),
        costs_before=before,
        costs=dict(choice.costs),
        model_parameters_before=num_stored_parameters(model),
        model_parameters=num_stored_parameters(student),
        predicted_loss=choice.loss,
        gap=choice.gap,
        num_rows=min(each.num_rows for each in profiled.statistics.values()),
        seconds=watch.seconds(),
    )


def _shape(model: nn.Module, name: str) -> tuple[int, int]:
    out_features, in_features = matrix_of(as_matrix_layer(model.get_submodule(name))).shape
    return out_features, in_features
