"""Models and tokenisers of transformers, from folders on this computer only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn


def load_model(kind: str, folder: str | Path, **options: Any) -> nn.Module:
    """A model in float32 and evaluation mode; `kind` is the name of an `Auto` class."""
    loader = getattr(_transformers(), kind)
    return loader.from_pretrained(folder, dtype=torch.float32, local_files_only=True, **options).eval()


def load_tokenizer(folder: str | Path, **options: Any) -> Any:
    """The tokeniser of a folder."""
    return _transformers().AutoTokenizer.from_pretrained(folder, local_files_only=True, **options)


def _transformers() -> Any:
    # Read when packages are imported: nothing is looked for on a network, and no bars mix with those of the study.
    for name in ("HF_HUB_OFFLINE", "TQDM_DISABLE"):
        os.environ.setdefault(name, "1")
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers
