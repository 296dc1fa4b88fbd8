"""What one layer in another form does to the output of the whole model, measured beside what was predicted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import atanh, sqrt, tanh
from typing import Any

import torch
from torch import Tensor, nn

from qtn.calibration.batches import Batch, run
from qtn.calibration.losses import counted_output, has_classes
from qtn.calibration.matrices import as_matrix_layer
from qtn.calibration.recording import evaluation
from qtn.compression.profile import Profile

_NORMAL_QUANTILE = 1.959964  # two-sided, 95 percent
_RANK_FACTOR = 1.06  # variance of z for ranks, over that for numbers


@torch.no_grad()
def probe(
    model: nn.Module,
    profiled: Profile,
    batches: Sequence[Batch],
    forms: Mapping[str, str],
    damping: float = 1e-2,
) -> dict[str, float]:
    """The divergence of the model's output when one layer alone takes a form, for each layer in turn.

    It is measured between two models in full, where `profiled.loss(layer, form)` is the prediction of second order
    for the same change; both are in nats, per row of the output and per row of the layer with fewest rows.

    Args:
        model: The dense model; left as it is.
        profiled: Its forms and statistics.
        batches: As of `compress`, on the device of the model.
        forms: For each layer to probe by name, the name of a form in `profiled.forms`.
        damping: Of the metric of the fits; that of the profile.

    Returns:
        For each layer the mean over rows of the Kullback-Leibler divergence from the dense distribution to the other,
        for outputs with `.logits`; else of half the squared change of the values, which is that divergence between
        normal distributions of unit variance. Rows of padding do not count.

    Raises:
        ValueError: A layer or form is not in the profile, or there is no row.
        TypeError: As of `output_of`.

    Cost: for each batch a forward pass, and one more for each layer; the fitted layers are all held.
    """
    unknown = [(layer, form) for layer, form in forms.items() if form not in profiled.forms.get(layer, {})]
    if unknown:
        raise ValueError(f"Argument `forms` must name layers and forms of the profile, but names {unknown}.")
    layers = {name: as_matrix_layer(model.get_submodule(name)) for name in forms}
    fitted = {
        name: profiled.forms[name][form].fit(layers[name], profiled.statistics[name].metric(damping)).eval()
        for name, form in forms.items()
    }
    totals = dict.fromkeys(forms, 0.0)
    num_rows = 0
    with evaluation(model):
        for batch in batches:
            given = run(model, batch)
            has_logits = has_classes(given)
            dense = counted_output(given, batch)
            num_rows += len(dense)
            for name, layer in layers.items():
                with _in_place_of(layer, fitted[name]):
                    changed = counted_output(run(model, batch), batch)
                totals[name] += float(_divergence(dense.double(), changed.double(), has_logits))
    if num_rows == 0:
        raise ValueError("Argument `batches` must give the model at least one row, but gives none.")
    return {name: total / num_rows for name, total in totals.items()}


def rank_correlation(predicted: Sequence[float], measured: Sequence[float]) -> tuple[float, float, float]:
    """Spearman's correlation of two sequences, and the bounds of its approximate interval of 95 percent.

    Equal numbers share the mean of their ranks. The interval is that of Fisher's z = artanh(correlation), of
    variance 1.06 / (n - 3); it shrinks to a point where the correlation is 1 or -1.

    Raises:
        ValueError: The lengths differ or are below 4, a number is NaN, or all of one sequence are equal.

    Source: E. C. Fieller, H. O. Hartley, E. S. Pearson, Tests for rank correlation coefficients, Biometrika 44, 470
    (1957), doi:10.1093/biomet/44.3-4.470.
    """
    first, second = (torch.tensor(list(each), dtype=torch.float64) for each in (predicted, measured))
    if len(first) != len(second) or len(first) < 4:
        raise ValueError(
            "Arguments `predicted` and `measured` must have one length of at least 4, "
            f"but have {len(first)} and {len(second)} numbers."
        )
    if bool((first.isnan() | second.isnan()).any()):
        raise ValueError("Arguments `predicted` and `measured` must be numbers, but hold NaN.")
    ranks = [_ranks(each) - (len(each) - 1) / 2 for each in (first, second)]
    squares = [float(each @ each) for each in ranks]
    if min(squares) == 0.0:
        raise ValueError(
            "Arguments `predicted` and `measured` must each differ somewhere, but one is constant."
        )
    correlation = max(-1.0, min(1.0, float(ranks[0] @ ranks[1]) / sqrt(squares[0] * squares[1])))
    if 1.0 - abs(correlation) < 1e-12:
        return correlation, correlation, correlation
    reach = _NORMAL_QUANTILE * sqrt(_RANK_FACTOR / (len(first) - 3))
    return correlation, tanh(atanh(correlation) - reach), tanh(atanh(correlation) + reach)


def _ranks(numbers: Tensor) -> Tensor:
    """Ranks from 0, equal numbers with the mean of theirs."""
    below = (numbers[:, None] > numbers).sum(1)
    equal = (numbers[:, None] == numbers).sum(1)
    return below.double() + 0.5 * (equal.double() - 1.0)


def _divergence(dense: Tensor, changed: Tensor, has_logits: bool) -> Tensor:
    """Sum over the rows, in nats."""
    if not has_logits:
        return 0.5 * (changed - dense).square().sum()
    log_p, log_q = dense.log_softmax(-1), changed.log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum()


@contextmanager
def _in_place_of(layer: nn.Module, other: nn.Module) -> Iterator[None]:
    """Inside, a layer gives what another gives on the same input."""

    def hook(_: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], __: Any) -> Any:
        return other(arguments[0] if arguments else keywords["input"])

    handle = layer.register_forward_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
