"""What the study compresses: a trained model with the data that judge it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from studies.engine.statistics import Estimate

Loss = Callable[[nn.Module, Any], Tensor]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """How one quality is called and read."""

    name: str
    lower_is_better: bool


class AbstractSubject(ABC):
    """A trained model, the layers of it that are compressed, and batches that do not overlap where they must not."""

    name: str
    title: str
    """For panels and sentences."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Beside those of the extra `study`."""
    judgement: ClassVar[Judgement]
    """The quality that figures show."""
    accuracy: ClassVar[str | None] = None
    """The quality that is a share of right answers."""
    kind: Literal["logits", "values"]
    """What the model gives, for healing and for the distance to the dense model."""
    blocks: str | None = None
    """The list of blocks of which whole ones can be dropped."""

    @abstractmethod
    def load(self) -> nn.Module:
        """The trained model in evaluation mode, in float32 on the CPU; the same each time."""

    @property
    @abstractmethod
    def names(self) -> Sequence[str]:
        """The linear layers that are compressed."""

    @abstractmethod
    def calibration(self) -> list[Any]:
        """Batches for statistics."""

    @abstractmethod
    def healing(self) -> list[Any]:
        """Batches to train on."""

    @abstractmethod
    def held_out(self) -> list[Any]:
        """Batches to choose learning rates by, and for the distance to the dense model."""

    @abstractmethod
    def measure(self, model: nn.Module) -> Mapping[str, Estimate]:
        """The qualities of a model by name, on data that nothing else has seen."""

    @abstractmethod
    def rows(self) -> tuple[Any, Any]:
        """Two inputs to time: the smallest, and a large one."""

    def loss(self, generator: torch.Generator) -> Loss | None:
        """What the statistics are of; None takes the loss that fits the output of the model."""
        return None
