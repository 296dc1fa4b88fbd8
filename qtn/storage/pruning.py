"""Weights set to zero after training, by magnitude or by what their inputs make of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from qtn.calibration.statistics import LayerStatistics
from qtn.storage.linears import chosen_linears
from qtn.storage.quantization import factor_statistics

Scope = Literal["row", "layer", "global"]


def prune(
    model: nn.Module,
    sparsity: float,
    names: Sequence[str] | None = None,
    statistics: Mapping[str, LayerStatistics] | None = None,
    scope: Scope = "layer",
) -> nn.Module:
    """A copy of a model with the least important weights of its linear layers set to zero.

    The importance of a weight is its modulus |W_ij|, or with statistics |W_ij| sqrt(C_jj), the root of what the
    output loses in mean square when this weight alone goes (Wanda). Zeros are not structured: they save
    neither memory nor time in the dense storage they stay in, and nothing holds them at zero in later training.
    `nonzero_parameters` and `zero_fractions` count them.

    Args:
        model: Any module; left as it is.
        sparsity: Fraction of weights to set to zero, from 0 to 1; the number is rounded to the nearest.
        names: Linear layers, or modules that stand for all inside, factors of tensor layers included. None
            takes all but those whose weight is shared with another module.
        statistics: Of layers by name, as `collect` returns them; those of a low-rank layer carry over to its
            factors, see `factor_statistics`. Every layer to be pruned must be there.
        scope: Where weights compete: in each row of a weight, in each weight, or in all of them together.
            Wanda takes rows.

    Returns:
        The copy, whose parameters are as trainable as they were.

    Raises:
        ValueError: `sparsity`, `scope` or a name is bad, there is nothing to prune, a weight holds NaN, or
            statistics are missing or of another size.

    Cost: one deep copy, and a sort of the weights.

    Source: M. Sun, Z. Liu, A. Bair, J. Z. Kolter, A Simple and Effective Pruning Approach for Large Language
    Models, ICLR 2024, arXiv:2306.11695, equation 1.
    """
    if not 0.0 <= sparsity <= 1.0:
        raise ValueError(f"Argument `sparsity` must be from 0 to 1, but is {sparsity}.")
    if scope not in ("row", "layer", "global"):
        raise ValueError(f"Argument `scope` must be 'row', 'layer' or 'global', but is {scope!r}.")
    known = None if statistics is None else factor_statistics(model, statistics)
    pruned = copy.deepcopy(model)
    linears = chosen_linears(pruned, names)
    if not linears:
        raise ValueError("Argument `model` must hold a torch.nn.Linear layer to prune, but holds none.")
    scores = [_scores(name, linear, known) for name, linear in linears.items()]
    if scope == "global":
        masks = _least(torch.cat([score.flatten() for score in scores])[None], sparsity)[0].split(
            [score.numel() for score in scores]
        )
    else:
        masks = [_least(score if scope == "row" else score.reshape(1, -1), sparsity) for score in scores]
    with torch.no_grad():
        for linear, mask in zip(linears.values(), masks, strict=True):
            linear.weight.masked_fill_(mask.reshape(linear.weight.shape), 0.0)
    return pruned


def zero_fractions(model: nn.Module, names: Sequence[str] | None = None) -> dict[str, float]:
    """The fraction of zeros in the weight of each linear layer, by name; `names` is as in `prune`."""
    return {
        name: 1.0 - int(torch.count_nonzero(linear.weight)) / linear.weight.numel()
        for name, linear in chosen_linears(model, names).items()
    }


def _scores(name: str, linear: nn.Linear, statistics: Mapping[str, LayerStatistics] | None) -> Tensor:
    """The importance of each weight, in float64."""
    scores = linear.weight.detach().abs().double()
    if bool(scores.isnan().any()):
        raise ValueError(f"The weight of layer `{name}` must hold no NaN to be pruned.")
    if statistics is None:
        return scores
    if name not in statistics or statistics[name].inputs.shape != (linear.in_features, linear.in_features):
        raise ValueError(
            f"Argument `statistics` must hold those of layer `{name}` with {linear.in_features} inputs, "
            f"but holds { ({key: len(each.inputs) for key, each in statistics.items()}) }."
        )
    return scores * statistics[name].inputs.diagonal().clamp_min(0.0).sqrt()


def _least(scores: Tensor, sparsity: float) -> Tensor:  # shapes: (rows, columns) -> the same
    """Where the least entries of each row are; of equal ones the first go."""
    order = scores.argsort(dim=1, stable=True)[:, : round(sparsity * scores.shape[1])]
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, order, True)
