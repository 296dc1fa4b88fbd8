"""Subject: a small convolutional network for handwritten digits, trained on the spot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qtn
from classical.digits import Digits, load_digits
from studies.compressing.intervals import wilson
from studies.compressing.subject import AbstractSubject, Judgement, Loss
from studies.engine.statistics import Estimate

_NUM_TRAIN, _NUM_TEST, _NUM_HELD_OUT = 4000, 1000, 400
_EPOCHS, _BATCH, _RATE = 6, 64, 2e-3


class DigitsNetwork(nn.Sequential):
    """Two convolutions, three wide linear layers, of which the study compresses the weights, and the head."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(784, 256),
            nn.ReLU(),
            nn.Linear(256, 256),
            nn.ReLU(),
            nn.Linear(256, 256),
            nn.ReLU(),
            nn.Linear(256, 10),
        )


class DigitsSubject(AbstractSubject):
    """4,000 digits to train on, 1,000 to judge by; 400 of the 4,000 are kept from training for choices."""

    name = "digits"
    title = "convolutional network, MNIST digits"
    judgement: ClassVar[Judgement] = Judgement(name="accuracy", lower_is_better=False)
    accuracy: ClassVar[str | None] = "accuracy"
    kind = "logits"

    @property
    def names(self) -> Sequence[str]:
        return ("5", "7", "9")

    def load(self) -> nn.Module:
        return _trained()

    def loss(self, generator: torch.Generator) -> Loss | None:
        return qtn.sampled_classes(generator)

    def calibration(self) -> list[Tensor]:
        return list(_training()[0][:2000].split(250))

    def healing(self) -> list[Tensor]:
        return list(_training()[0].split(_BATCH))

    def held_out(self) -> list[Tensor]:
        return [_images(_digits().train_images[-_NUM_HELD_OUT:])]

    def rows(self) -> tuple[Tensor, Tensor]:
        images = _images(_digits().test_images)
        return images[:1], images[:512]

    @torch.no_grad()
    def measure(self, model: nn.Module) -> Mapping[str, Estimate]:
        device = next(model.parameters()).device
        found = model(_images(_digits().test_images).to(device)).argmax(-1).cpu()
        return {"accuracy": wilson(int((found == _digits().test_labels).sum()), _NUM_TEST)}


@lru_cache(maxsize=1)
def _digits() -> Digits:
    return load_digits(num_train=_NUM_TRAIN, num_test=_NUM_TEST, rng=np.random.default_rng(0))


def _images(images: Tensor) -> Tensor:
    return images[:, None].float()


def _training() -> tuple[Tensor, Tensor]:
    return _images(_digits().train_images[:-_NUM_HELD_OUT]), _digits().train_labels[:-_NUM_HELD_OUT]


@lru_cache(maxsize=1)
def _trained() -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        network = DigitsNetwork()
    network.to_empty(device="cpu")
    for parameter in network.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_uniform_(parameter, nonlinearity="relu", generator=generator)
        else:
            nn.init.zeros_(parameter)
    images, labels = _training()
    steps = _EPOCHS * -(-len(images) // _BATCH)
    optimiser = torch.optim.Adam(network.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(_EPOCHS):
        for chosen in torch.randperm(len(images), generator=generator).split(_BATCH):
            optimiser.zero_grad()
            F.cross_entropy(network(images[chosen]), labels[chosen]).backward()
            optimiser.step()
            schedule.step()
    return network.eval().requires_grad_(True)
