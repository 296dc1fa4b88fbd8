"""What a compressed model weighs, computes and takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import qtn
from qtn.calibration.batches import counted_rows, moved, run
from qtn.calibration.recording import output_of
from studies.engine.statistics import median


def layers_inside(model: nn.Module, names: Sequence[str]) -> dict[str, nn.Module]:
    """The layers of some names that the model still has."""
    modules = dict(model.named_modules())
    return {name: modules[name] for name in names if name in modules}


def num_parameters(layer: nn.Module) -> int:
    """Numbers that stand for the weight, stored indices and adapters among them, the bias not."""
    if isinstance(layer, qtn.LowRankAdapter):
        return num_parameters(layer.base) + layer.down.numel() + layer.up.numel()
    bias = getattr(layer, "bias", None)
    indices = sum(buffer.numel() for buffer in layer.buffers() if buffer.dtype == torch.int32)
    return qtn.num_stored_parameters(layer) + indices - (0 if bias is None else bias.numel())


def num_nonzero(layer: nn.Module) -> int:
    """Numbers of the weight that are not zero, the bias not among them."""
    bias = getattr(layer, "bias", None)
    return qtn.nonzero_parameters(layer) - (0 if bias is None else int(torch.count_nonzero(bias)))


def multiply_adds(layer: nn.Module) -> int:
    """Of one row."""
    if isinstance(layer, qtn.LowRankAdapter):
        return multiply_adds(layer.base) + layer.down.numel() + layer.up.numel()
    if isinstance(layer, qtn.AbstractTensorLayer):
        return layer.flops(1) // 2
    return layer.in_features * layer.out_features  # pyright: ignore


def weights_of(dense: nn.Module, model: nn.Module, names: Sequence[str]) -> dict[str, Any]:
    """Parameters, bytes and multiply-adds of the compressed part and of the whole model, beside the dense ones."""
    before, after = layers_inside(dense, names), layers_inside(model, names)
    dense_parameters = sum(map(num_parameters, before.values()))
    parameters = sum(map(num_parameters, after.values()))
    part_bytes = qtn.resident_bytes(nn.ModuleList(after.values()))
    return {
        "parameters": parameters,
        "dense_parameters": dense_parameters,
        "measured_kept": parameters / dense_parameters,
        "nonzero_parameters": sum(map(num_nonzero, after.values())),
        "model_parameters": qtn.num_stored_parameters(model),
        "dense_model_parameters": qtn.num_stored_parameters(dense),
        "part_bytes": part_bytes,
        "resident_bytes": qtn.resident_bytes(model),
        "dense_resident_bytes": qtn.resident_bytes(dense),
        "bits": 8 * part_bytes / dense_parameters,
        "operations": 2 * sum(map(multiply_adds, after.values())),
        "dense_operations": 2 * sum(map(multiply_adds, before.values())),
    }


@torch.no_grad()
def latencies(dense: nn.Module, model: nn.Module, inputs: Sequence[Any], repeats: int) -> dict[str, Any]:
    """Medians of seconds for each input, and of the ratio to the dense model, by repeats that take turns."""
    device = next(dense.parameters()).device
    found: dict[str, Any] = {}
    for name, given in zip(("one", "many"), inputs, strict=True):
        batch = moved(given, device)
        for each in (dense, model):
            run(each, batch)  # what happens only once
        pairs = np.array([[_seconds(each, batch) for each in (dense, model)] for _ in range(repeats)])
        ratio = median(pairs[:, 1] / pairs[:, 0])
        found |= {
            f"{name}_seconds": float(np.median(pairs[:, 1])),
            f"{name}_dense_seconds": float(np.median(pairs[:, 0])),
            f"{name}_ratio": ratio.value,
            f"{name}_ratio_low": ratio.low,
            f"{name}_ratio_high": ratio.high,
        }
    return found


def _seconds(model: nn.Module, batch: Any) -> float:
    device = next(model.parameters()).device
    start = time.perf_counter()
    run(model, batch)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


@torch.no_grad()
def divergences(
    dense: nn.Module, model: nn.Module, batches: Sequence[Any], kind: str
) -> list[float]:  # one for each batch
    """Mean over the rows of the distance between two models, in nats.

    For logits the Kullback-Leibler divergence of the distributions; for values that of normal distributions of unit
    variance about them, half the squared distance. Padding does not count.
    """
    device = next(dense.parameters()).device
    return [_divergence(dense, model, moved(batch, device), kind) for batch in batches]


def _divergence(dense: nn.Module, model: nn.Module, batch: Any, kind: str) -> float:
    theirs, ours = (output_of(run(each, batch)).double() for each in (dense, model))
    if kind == "values":
        rows = 0.5 * (theirs - ours).square().sum(-1)
    else:
        rows = _kullback_leibler(theirs.log_softmax(-1), ours.log_softmax(-1))
    mask = counted_rows(batch, rows.shape)
    return float((rows if mask is None else rows[mask]).mean())


def _kullback_leibler(theirs: Tensor, ours: Tensor) -> Tensor:
    return (theirs.exp() * (theirs - ours)).sum(-1)
