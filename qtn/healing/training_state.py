"""Parameters under training, and all that is needed to go on with it later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from qtn.storage.tensor_files import differences, fingerprint, read_tensors, write_tensors

_BETAS = (
    0.9,
    0.95,
)  # a shorter memory than the default's: trainings here have hundreds of steps, not millions


@final
class TrainingState:
    """AdamW over named parameters. Those of half precision are stepped in single precision and rounded after.

    Attributes:
        parameters: What is trained, by name.
        steps: Number of updates made.
        tokens: Number of rows seen.
        seconds: Time taken.
        losses: One value for each update.
        part_examples: Examples of a batch that went through memory at once; None if all did.
        at_rest: False while an update is under way.

    Source: I. Loshchilov, F. Hutter, Decoupled Weight Decay Regularization, ICLR 2019, arXiv:1711.05101.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        weight_decay: float,
        undecayed: Sequence[str],
        relative: bool = False,
    ) -> None:
        self.parameters = dict(parameters)
        self.steps = 0
        self.tokens = 0
        self.seconds = 0.0
        self.losses: list[float] = []
        self.part_examples: int | None = None
        self.at_rest = True
        self._masters = {
            name: nn.Parameter(parameter.detach().float()) if _is_half(parameter) else parameter
            for name, parameter in self.parameters.items()
        }
        self._start = fingerprint(self.parameters)
        self._good = {name: master.detach().clone() for name, master in self._masters.items()}
        free = set(undecayed)
        self._scales = {
            name: float(master.detach().square().mean().sqrt()) or 1.0 if relative and master.numel() else 1.0
            for name, master in self._masters.items()
        }
        groups = [
            {"params": [master], "weight_decay": 0.0 if name in free else weight_decay, "name": name}
            for name, master in self._masters.items()
        ]
        self._optimiser = torch.optim.AdamW(groups, betas=_BETAS)

    def update(
        self, gradients: Mapping[str, Tensor], *, learning_rate: float, max_norm: float | None
    ) -> bool:
        """One step, gradients first scaled down to a norm of `max_norm`; False if they are not finite."""
        kept = {name: master.grad for name, master in self._masters.items()}
        try:
            for name, master in self._masters.items():
                master.grad = gradients[name].to(master.dtype) if name in gradients else None
            norm = nn.utils.clip_grad_norm_(self._masters.values(), inf if max_norm is None else max_norm)
            if not isfinite(float(norm)):
                return False
            for group in self._optimiser.param_groups:
                group["lr"] = learning_rate * self._scales[group["name"]]
            # These parameters have just given a finite loss; what follows may not.
            self._copy(self._masters, self._good)
            self.at_rest = False
            self._optimiser.step()
            self._round()
        finally:
            for name, master in self._masters.items():
                master.grad = kept[name]
        return True

    def record(self, loss: float, num_rows: int, seconds: float) -> None:
        """Count the update just made; `seconds` is the time taken so far."""
        self.steps += 1
        self.tokens += num_rows
        self.seconds = seconds
        self.losses.append(loss)
        self.at_rest = True

    def restore_good(self) -> None:
        """Bring back the last parameters that gave a finite loss."""
        self._copy(self._good, self._masters)
        self._round()

    def save(self, path: Path, arguments: Mapping[str, Any]) -> None:
        """Write all to one safetensors file, at once; see `write_tensors`."""
        tensors: dict[str, Tensor] = {}
        for name, master in self._masters.items():
            tensors[f"parameter.{name}"] = master
            for key, value in self._optimiser.state[master].items():
                tensors[f"{key}.{name}"] = value
        tensors["losses"] = torch.tensor(self.losses, dtype=torch.float64)
        counts = {
            "steps": self.steps,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "part_examples": self.part_examples,
            "scales": self._scales,
        }
        about = {"arguments": {**arguments, **self._described()}, "start": self._start, "counts": counts}
        write_tensors(path, tensors, about)

    def load(self, path: Path, arguments: Mapping[str, Any]) -> None:
        """Go on from a saved state.

        Raises:
            ValueError: The file is damaged, was saved under other arguments, or began from other parameters
                and did not end with the present ones.
        """
        tensors, about = read_tensors(path)
        different = differences(about.get("arguments", {}), {**arguments, **self._described()})
        if different:
            raise ValueError(
                f"Argument `checkpoint` must name a state of the same arguments, but {path} has others: "
                f"{different}; repeat those, or choose another file."
            )
        saved = {name: tensors[f"parameter.{name}"] for name in self._masters}
        here = {name: tensor.to(self.parameters[name]) for name, tensor in saved.items()}
        if about["start"] != self._start and not all(
            torch.equal(here[name], parameter) for name, parameter in self.parameters.items()
        ):
            raise ValueError(
                f"Argument `student` must be as it was when {path} was begun or saved, but its trained "
                "parameters are others; make it as then, or choose another file."
            )
        self._start = about["start"]
        self._copy(saved, self._masters)
        self._copy(saved, self._good)
        self._round()
        for name, master in self._masters.items():
            suffix = f".{name}"
            self._optimiser.state[master] = {
                key: value if key == "step" else value.to(master)
                for key in ("step", "exp_avg", "exp_avg_sq")
                if (value := tensors.get(key + suffix)) is not None
            }
        self.losses = tensors["losses"].tolist()
        counts = about["counts"]
        self.steps, self.tokens = counts["steps"], counts["tokens"]
        self.seconds, self.part_examples = counts["seconds"], counts["part_examples"]
        self._scales = counts["scales"]

    def _described(self) -> dict[str, Any]:
        return {
            "trained": [f"{name} {each.dtype} {tuple(each.shape)}" for name, each in self.parameters.items()]
        }

    @staticmethod
    @torch.no_grad()
    def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        for name, tensor in target.items():
            tensor.copy_(source[name])

    @torch.no_grad()
    def _round(self) -> None:
        for name, parameter in self.parameters.items():
            if self._masters[name] is not parameter:
                parameter.copy_(self._masters[name])


def _is_half(parameter: Tensor) -> bool:
    return parameter.dtype in (torch.float16, torch.bfloat16)
