"""Healing that goes on from where it was: slots of a few minutes on a machine that is lent."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

import qtn
from studies.compressing.healing import trained_names
from studies.compressing.methods import compressed, source_of

START, STATE, RESULT = "start.safetensors", "healing.safetensors", "result.json"


@dataclass(frozen=True, kw_only=True)
class Healing:
    """What is healed, how long, and how."""

    subject: str
    method: str
    kept: float
    tokens: int
    learning_rate: float
    """In units of the root mean square of each parameter."""
    device: str = "cpu"
    half: bool = False
    """bfloat16 in the forward pass of the student."""


def work(healing: Healing, folder: Path, slot_seconds: float | None) -> bool:
    """Go on with a healing in a folder, for so long; whether it is finished.

    The compressed model, the state of training and at the end the qualities lie in the folder, which holds one
    healing. A slot ends with everything saved; one that is killed costs what it did since the last saving.

    Raises:
        ValueError: The folder holds another healing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "healing.json"
    wanted = asdict(healing)
    if note.exists() and json.loads(note.read_text()) != wanted:
        raise ValueError(
            f"Argument `folder` must hold this healing, but {folder} holds {json.loads(note.read_text())}."
        )
    note.write_text(json.dumps(wanted))
    source = source_of(healing.subject, healing.device)
    start = folder / START
    if start.exists():
        student = qtn.load(source.model, start)
    else:
        student = compressed(source, healing.method, healing.kept).model
        qtn.save(student, start)
    before = None if (folder / RESULT).exists() else source.subject.measure(student)
    report = qtn.heal(
        student,
        source.model,
        source.subject.healing(),
        tokens=healing.tokens,
        learning_rate=healing.learning_rate,
        relative=True,
        trainable=trained_names(student, source.subject.names),
        autocast=torch.bfloat16 if healing.half else None,
        checkpoint=folder / STATE,
        seconds=slot_seconds,
        progress=_say,
    )
    if report.finished and before is not None:
        result = {
            "before": {name: asdict(each) for name, each in before.items()},
            "after": {name: asdict(each) for name, each in source.subject.measure(student).items()},
            "steps": report.steps,
            "tokens": report.tokens,
            "seconds": report.seconds,
            "num_trained": report.num_trained,
        }
        qtn.save(student, folder / "healed.safetensors", overwrite=True)
        (folder / RESULT).write_text(json.dumps(result, indent=2))
    return report.finished


def _say(step: int, steps: int | None, loss: float, tokens: int, seconds: float) -> None:
    if step % 10 == 0:
        print(f"step {step}, {tokens:,} tokens, {seconds:.0f} s: {loss:.4f} nats a token", flush=True)
