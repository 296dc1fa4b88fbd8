"""Where the results of a study lie."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studies.engine.errors import BadRequest, StoreRefused, StoreWriteFailed

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


@dataclass(frozen=True, kw_only=True)
class Folder:
    """The folder `results/<study>/` with its `rows/`, `figures/`, `study.json` and `report.html`."""

    path: Path

    @staticmethod
    def of(root: Path, study: str) -> Folder:
        """The folder of a study under the results root; refuses whatever would lead out of the root."""
        check_name(study)
        path = root / study
        if path.is_symlink():
            raise StoreRefused(f"The results folder {path} must be a plain folder, but is a symbolic link.")
        if not path.resolve().is_relative_to(root.resolve()):
            raise StoreRefused(f"The results folder {path} must lie inside {root}, but leads out of it.")
        if path.exists() and not path.is_dir():
            raise StoreRefused(f"The results folder {path} must be a folder, but is a file.")
        folder = Folder(path=path)
        for part in (folder.rows, folder.figures):
            if part.is_symlink():
                raise StoreRefused(
                    f"The results folder {part} must be a plain folder, but is a symbolic link."
                )
        return folder

    @property
    def rows(self) -> Path:
        return self.path / "rows"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def settings(self) -> Path:
        return self.path / "study.json"

    def shards(self) -> list[Path]:
        """All shards of rows, by name. Symbolic links are left out: nothing here ever makes one."""
        if not self.rows.is_dir():
            return []
        return sorted(path for path in self.rows.glob("*.jsonl") if path.is_file() and not path.is_symlink())

    def read_settings(self) -> dict[str, Any]:
        """What `study.json` says: name, version, preset, params, schema, created."""
        try:
            content = json.loads(self.settings.read_bytes())
        except FileNotFoundError:
            raise BadRequest(f"There are no results in {self.path}. Run the study first.") from None
        except ValueError as error:
            raise BadRequest(f"The file {self.settings} must be JSON, but is not: {error}.") from error
        if not isinstance(content, dict) or not isinstance(content.get("preset"), str):
            raise BadRequest(f"The file {self.settings} must name a `preset`, but does not.")
        return content

    def write_settings(self, content: Mapping[str, object]) -> None:
        write_whole(self.settings, json.dumps(content, indent=2).encode("ascii") + b"\n")


def check_name(name: str) -> None:
    """Raises ValueError unless the name may be the name of a folder on every system."""
    if not _NAME.fullmatch(name) or _DEVICES.fullmatch(name) or name.endswith("."):
        raise ValueError(
            "Argument `name` must be 1 to 64 letters, digits, dots, dashes or underscores, begin with a "
            f"letter or digit and be no device name, but is {name!r}."
        )


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that readers see the old content or the new, never half of it.

    Raises:
        StoreWriteFailed: when the disk is full or the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreWriteFailed(f"Could not write {path}: {error.strerror}, {free_space(path)}.") from error


def free_space(path: Path) -> str:
    """How much room is left on the disk of a path, in words."""
    for place in (path, *path.parents):
        if place.exists():
            disk = os.statvfs(place)
            return f"{disk.f_bavail * disk.f_frsize} bytes free"
    return "free space unknown"
