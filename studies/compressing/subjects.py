"""The subjects by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from studies.compressing.digits import DigitsSubject
from studies.compressing.encoder import EncoderSubject
from studies.compressing.language import FOLDER_PREFIX, FolderSubject, LanguageSliceSubject, LanguageSubject
from studies.compressing.packages import install_command, missing
from studies.compressing.subject import AbstractSubject

DIGITS, ENCODER, LANGUAGE, SLICE = "digits", "minilm", "smollm2", "smollm2_slice"
KINDS: Mapping[str, Callable[[], AbstractSubject]] = {
    DIGITS: DigitsSubject,
    ENCODER: EncoderSubject,
    SLICE: LanguageSliceSubject,
    LANGUAGE: LanguageSubject,
}


@lru_cache(maxsize=2)
def subject_of(name: str) -> AbstractSubject:
    """The subject of a name, or of `path:FOLDER`. Nothing is loaded.

    Raises:
        ValueError: There is no such subject.
    """
    if name.startswith(FOLDER_PREFIX):
        return FolderSubject(name.removeprefix(FOLDER_PREFIX))
    if name not in KINDS:
        raise ValueError(
            f"Argument `subject` must be one of {list(KINDS)}, or `{FOLDER_PREFIX}FOLDER`, but is {name!r}."
        )
    return KINDS[name]()


def why_not(subject: AbstractSubject) -> str | None:
    """One sentence on the packages that a subject lacks here, with the command that installs them."""
    lacking = missing(subject.packages)
    if not lacking:
        return None
    return f"Subject {subject.name} needs {', '.join(lacking)}, not installed here: run `{install_command(lacking)}`."
