"""The targets of a teacher for a set of batches, made once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self, final

import torch
from torch import Tensor, nn

from qtn.calibration.batches import Batch, in_order, moved, tensors_of
from qtn.healing.distillation import OutputKind, Targets, teacher_targets
from qtn.storage.tensor_files import differences, fingerprint, model_fingerprint, read_tensors, write_tensors

_FORMAT = 1
_DTYPES = (torch.float16, torch.float32, torch.float64)


@final
class TeacherCache:
    """What a teacher says of each of a sequence of batches: computed when first asked for, then kept.

    `cache[i]` are the targets of batch i, see `teacher_targets`, on the CPU. They are kept in memory or, with a
    folder, in one safetensors file for each batch. A file is whole or absent, so an interrupted cache goes on
    where it stopped; one that another teacher, other batches or other options made is refused.

    Attributes:
        batches: The batches; a list, if what was given has no order.
        fingerprint: Hexadecimal digits that tell this cache from those of other teachers, batches and options.

    Args:
        teacher: Any module; see `teacher_targets` for this and the options. It must not change afterwards.
        batches: Tensors, tuples of positional arguments or mappings of named ones, on any device.
        top_k: Number of classes kept for each row.
        hidden: Modules whose outputs are kept, such as `("model.layers.4",)`.
        kind: "logits", "values" or None.
        dtype: Half, single or double precision of what is kept. Half takes half the room, and leaves the
            teacher itself with a small gradient.
        folder: Where to keep the targets. None: in memory.

    Raises:
        ValueError: There is no batch, an option is out of range, or the folder holds targets of another
            specification.
        TypeError: A batch is none.

    Cost: a hash of teacher and batches. For each batch one forward pass; per row, 4 top_k bytes of indices,
    (top_k + 1) values and the features of the hidden states.

    Source: the top-k and the mass of the rest as one class are the coarsest partition that still tells the k
    classes apart; its divergence is a lower bound of the full one (T. M. Cover, J. A. Thomas, Elements of
    Information Theory, 2nd edition, theorem 2.7.1, the log sum inequality).
    """

    def __init__(
        self,
        teacher: nn.Module,
        batches: Iterable[Batch],
        *,
        top_k: int = 64,
        hidden: Sequence[str] = (),
        kind: OutputKind | None = None,
        dtype: torch.dtype = torch.float32,
        folder: Path | str | None = None,
    ) -> None:
        batches = in_order(batches)
        if not len(batches):
            raise ValueError("Argument `batches` must hold at least one batch, but is empty.")
        if top_k < 1:
            raise ValueError(f"Argument `top_k` must be at least 1, but is {top_k}.")
        if kind not in ("logits", "values", None):
            raise ValueError(f'Argument `kind` must be "logits", "values" or None, but is {kind!r}.')
        if dtype not in _DTYPES:
            raise ValueError(f"Argument `dtype` must be one of {_DTYPES}, but is {dtype}.")
        unknown = set(hidden) - {name for name, _ in teacher.named_modules(remove_duplicate=False)}
        if unknown:
            raise ValueError(
                f"Argument `hidden` must name modules of the model, but names {sorted(unknown)}."
            )
        self.batches = batches
        self._teacher: nn.Module | None = teacher
        self._options: dict[str, Any] = {
            "top_k": top_k, "hidden": tuple(hidden), "kind": kind, "dtype": dtype
        }  # fmt: skip
        self._specification: dict[str, Any] = {
            "format": _FORMAT,
            "teacher": model_fingerprint(teacher),
            "batches": batches_fingerprint(batches),
            **{name: str(value) for name, value in self._options.items()},
        }
        self.fingerprint = fingerprint(
            {}, *(f"{name} {value}" for name, value in self._specification.items())
        )
        self._folder = None if folder is None else Path(folder)
        self._kept: dict[int, Targets] = {}
        for index in range(len(batches)):
            if self._folder is not None and self._path(index).exists():
                self._read(index)  # a folder of another specification is refused before anything is added
                break

    def __len__(self) -> int:
        return len(self.batches)

    @torch.inference_mode(False)
    def __getitem__(self, index: int) -> Targets:
        """The targets of one batch, on the CPU.

        Raises:
            IndexError: There is no such batch.
            ValueError: The teacher's output is not finite, or a file is damaged or of another specification.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"Argument `index` must be between 0 and {len(self) - 1}, but is {index}.")
        if index in self._kept:
            return self._kept[index]
        if self._folder is not None and self._path(index).exists():
            return self._read(index)
        if self._teacher is None:
            raise ValueError(
                f"{self._path(index)} is gone and the teacher is released; make the cache again."
            )
        batch = moved(self.batches[index], device_of(self._teacher))
        found = teacher_targets(self._teacher, batch, **self._options)
        targets = {name: tensor.cpu() for name, tensor in found.items()}
        if self._folder is None:
            self._kept[index] = targets
        else:
            write_tensors(self._path(index), targets, self._about(index))
        return targets

    def holds(self, batches: Sequence[Batch]) -> bool:
        """Whether these are its batches."""
        return batches is self.batches or batches_fingerprint(batches) == self._specification["batches"]

    def fill(self) -> Self:
        """Compute what is missing and let go of the teacher, so that its memory can be freed; the cache itself."""
        for index in range(len(self)):
            if self._folder is None or not self._path(index).exists():
                self[index]
        self._teacher = None
        return self

    def teaches(self, parameters: Sequence[Tensor]) -> bool:
        """Whether some of these are parameters of the teacher."""
        own = set() if self._teacher is None else {id(each) for each in self._teacher.parameters()}
        return any(id(each) in own for each in parameters)

    def _path(self, index: int) -> Path:
        return (self._folder or Path()) / f"targets_{index:06d}.safetensors"

    def _about(self, index: int) -> dict[str, Any]:
        return {**self._specification, "index": index}

    def _read(self, index: int) -> Targets:
        targets, about = read_tensors(self._path(index))
        different = differences(about, self._about(index))
        if different:
            raise ValueError(
                f"Argument `folder` must hold targets of the same specification, but {self._path(index)} has "
                f"another: {different}; choose another folder or delete this one."
            )
        return targets


def batches_fingerprint(batches: Sequence[Batch]) -> str:
    """A hash of all that the batches hold."""
    each = (fingerprint(tensors_of(batch), _others(batch)) for batch in batches)
    return fingerprint({}, *each)


def device_of(model: nn.Module) -> torch.device:
    """Where the first parameter of a model is; the CPU if it has none."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def _others(batch: Batch) -> str:
    """What a batch holds beside tensors, in words."""
    if isinstance(batch, Tensor):
        return "tensor"
    places = batch.items() if hasattr(batch, "items") else enumerate(batch)  # pyright: ignore
    return repr([(place, value) for place, value in places if not isinstance(value, Tensor)])
