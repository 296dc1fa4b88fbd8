"""Heal a compressed model for many tokens, in slots of a few minutes: run the same command until it says finished."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from studies.compressing.methods import TITLES
from studies.compressing.slots import RESULT, Healing, work
from studies.compressing.subjects import subject_of, why_not


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the healing lies; empty or absent at first")
    parser.add_argument("--subject", default="smollm2", help="such as smollm2, minilm, digits or path:FOLDER")
    parser.add_argument("--method", default="ours", choices=list(TITLES))
    parser.add_argument("--kept", type=float, default=0.6, help="parameters after over before")
    parser.add_argument("--tokens", type=int, default=2_000_000)
    parser.add_argument("--learning-rate", type=float, default=1e-4, help="relative to each parameter")
    parser.add_argument("--slot-seconds", type=float, default=480.0, help="of training in one run")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--half", action="store_true", help="bfloat16 in the student's forward pass")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Work one slot; 0 when the healing is finished, 3 when it goes on, 2 when it cannot."""
    given = parsed(arguments)
    try:
        if lacking := why_not(subject_of(given.subject)):
            raise ValueError(lacking)
        healing = Healing(
            subject=given.subject,
            method=given.method,
            kept=given.kept,
            tokens=given.tokens,
            learning_rate=given.learning_rate,
            device=given.device,
            half=given.half,
        )
        finished = work(healing, given.folder, given.slot_seconds)
    except (ValueError, FloatingPointError) as error:
        print(error, file=sys.stderr)
        return 2
    if finished:
        print((given.folder / RESULT).read_text())
        return 0
    print("The slot is over and all is saved: run the same command to go on.")
    return 3


if __name__ == "__main__":
    sys.exit(main())
