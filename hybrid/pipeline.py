"""The hybrid step: encoder, circuit and head trained together, with a ledger of what each phase costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from classical.cost import Cost
from classical.meter import Meter
from hybrid.layer import LossGradientErrors, QuantumLayer

ENCODER_FORWARD = "encoder forward"
CIRCUITS = "circuits"
CIRCUIT_BACKWARD = "backward of the circuit"
ENCODER_BACKWARD = "backward of the encoder"
OPTIMISER = "optimiser"
PHASES = (ENCODER_FORWARD, CIRCUITS, CIRCUIT_BACKWARD, ENCODER_BACKWARD, OPTIMISER)


class Ledger:
    """Costs by phase of a training run, and how sure the last step's loss gradient was."""

    def __init__(self) -> None:
        self.by_phase: dict[str, Cost] = {phase: Cost() for phase in PHASES}
        self.gradient_errors: LossGradientErrors | None = None
        """Standard errors of the circuit's part of the last loss gradient; None where it was exact by backprop."""

    @contextmanager
    def phase(self, name: str, layer: nn.Module | None = None) -> Iterator[None]:
        """Meters the body and charges it to `name`, with the circuits and shots that `layer` ran in it."""
        with Meter() as meter:
            yield
        self.by_phase[name] += meter.cost
        if isinstance(layer, QuantumLayer):
            self.by_phase[name] += layer.take_cost()

    def total(self) -> Cost:
        return sum(self.by_phase.values(), Cost())


class HybridModel(nn.Module):
    """Encoder, a layer in the middle (a circuit, or what stands in for it), and a head."""

    def __init__(self, encoder: nn.Module, middle: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.middle = middle
        self.head = head

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.middle(self.encoder(inputs)))


def train_step(
    model: HybridModel,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss: Callable[[Tensor, Tensor], Tensor],
    optimiser: torch.optim.Optimizer,
    ledger: Ledger,
) -> float:
    """Takes one optimiser step and returns the loss before it; the ledger has its costs and the gradient's errors.

    The graph is cut before and behind the middle layer, so that its backward pass is timed alone; the gradients
    are those of one backward call. The head is a few operations and counts with the circuits.
    """
    optimiser.zero_grad(set_to_none=True)
    with ledger.phase(ENCODER_FORWARD):
        features = model.encoder(inputs)
    cut = features.detach().requires_grad_(features.requires_grad)
    with ledger.phase(CIRCUITS, model.middle):
        value = loss(model.head(model.middle(cut)), targets)
    with ledger.phase(CIRCUIT_BACKWARD, model.middle):
        value.backward()
    if isinstance(model.middle, QuantumLayer):
        ledger.gradient_errors = model.middle.loss_gradient_errors()
    with ledger.phase(ENCODER_BACKWARD):
        if features.requires_grad:
            features.backward(cut.grad)
    with ledger.phase(OPTIMISER):
        optimiser.step()
    return float(value.detach())
