"""Losses whose gradients tell how much each output of a layer matters: labels are drawn from the model itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from qtn.calibration.batches import Batch, run, without_padding
from qtn.calibration.precision import at_least_single
from qtn.calibration.recording import output_of


def sampled_loss(generator: torch.Generator) -> Callable[[nn.Module, Batch], Tensor]:
    """A loss for `collect` whose mean outer product of gradients is the Fisher matrix of the model's predictions.

    For an output with `.logits` of several classes it is the cross entropy with one label for each row, drawn from
    the model's own distribution. For any other output, `.last_hidden_state` or a plain tensor, it is that of a
    normal distribution of unit variance around the output, with values drawn from it: all outputs then matter alike,
    so a classifier that returns a plain tensor of logits wants `sampled_classes` instead. Rows of padding, by the
    `attention_mask` of a batch, do not count.

    Returns:
        A function of the model and a batch: the sum over the rows, in nats.

    Source: J. Martens, New Insights and Perspectives on the Natural Gradient Method, JMLR 21, 146 (2020),
    arXiv:1412.1193, section 5.
    """

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        given = run(model, batch)
        rows = counted_output(given, batch)
        if has_classes(given):
            return _class_loss(rows, generator)
        noise = torch.randn(rows.shape, generator=generator, device=generator.device).to(rows)
        # -log N(y; output, 1) at y = output + noise: its gradient is minus the noise.
        return 0.5 * (rows - (rows.detach() + noise)).square().sum()

    return loss


def sampled_classes(generator: torch.Generator) -> Callable[[nn.Module, Batch], Tensor]:
    """As `sampled_loss`, with the output taken for logits whatever it is called."""
    return lambda model, batch: _class_loss(counted_output(run(model, batch), batch), generator)


def has_classes(given: Any) -> bool:
    """Whether a model returned `.logits` of several classes; of one they are a value, as a cross-encoder's score."""
    logits = getattr(given, "logits", None)
    return isinstance(logits, Tensor) and logits.shape[-1] > 1


def counted_output(given: Any, batch: Batch) -> Tensor:  # shape: (rows, features)
    """What a model returned for a batch, row by row and without padding; half precision in single.

    Raises:
        TypeError: As of `output_of`.
    """
    output = output_of(given)
    return at_least_single(without_padding(output.reshape(-1, output.shape[-1]), output, batch))


def _class_loss(logits: Tensor, generator: torch.Generator) -> Tensor:
    log_probabilities = logits.log_softmax(-1)
    # The largest of logit plus Gumbel noise is a draw from the softmax.
    noise = torch.empty(logits.shape, device=generator.device).exponential_(generator=generator).log_()
    labels = (log_probabilities.detach() - noise.to(logits)).argmax(-1)
    return -log_probabilities.gather(-1, labels[:, None]).sum()
