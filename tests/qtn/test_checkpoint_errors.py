"""Every way in which a checkpoint can be wrong, and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import qtn.storage.checkpoint
from qtn.storage.checkpoint import load, save
from qtn.storage.module_records import KINDS
from qtn.storage.tensor_files import fingerprint
from tests.qtn.tied_model import TiedModel, compressed, saved


def _rewrite(path: Path, change: Callable[[dict[str, Any]], None], *, hashed: bool) -> None:
    """The same tensors with another description, with or without a hash that fits it."""
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
    tensors = dict(sorted(load_file(path).items()))
    known = json.loads(metadata["structure"])
    change(known)
    metadata["structure"] = json.dumps(known)
    if hashed:
        metadata["sha256"] = fingerprint(tensors, metadata["version"], metadata["structure"])
    save_file(tensors, path, metadata)


def _set_kind(kind: str) -> Callable[[dict[str, Any]], None]:
    return lambda known: known["modules"][0].update(kind=kind)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    whole = path.read_bytes()
    skeleton = TiedModel(0)
    for part in (b"", whole[:4], whole[:200], whole[:-1], b"GGUF and something else"):
        path.write_bytes(part)
        with pytest.raises(
            ValueError, match=r"must be a whole safetensors file, but .* is truncated or of ano"
        ):
            load(skeleton, path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(
        ValueError, match=r"as `save` left it, but .* was changed since: its SHA-256 is another"
    ):
        load(skeleton, path)
    save_file({"a": torch.ones(2)}, path)
    with pytest.raises(
        ValueError, match=r"must be a file that `save` wrote, but .* is that of another program"
    ):
        load(skeleton, path)
    path.write_bytes(whole)
    _rewrite(path, lambda known: known.update(tied={}), hashed=False)
    with pytest.raises(ValueError, match=r"was changed since"):
        load(skeleton, path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"must be a file that `save` wrote, but .* is none"):
        load(skeleton, path)


def test_a_newer_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qtn.storage.checkpoint, "VERSION", 2)
    path = saved(tmp_path)
    monkeypatch.undo()
    with pytest.raises(
        ValueError, match=r"must be of format version 1 or older, but .* is of version 2; update"
    ):
        load(TiedModel(0), path)


def test_kinds_and_arguments_that_there_are_not_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    skeleton = TiedModel(0)
    for kind in ("Linear", "os.system", "AbstractTensorLayer"):
        _rewrite(path, _set_kind(kind), hashed=True)
        with pytest.raises(
            ValueError, match=rf"file of the kinds \['.*\], but .* has a '{kind}' at \['block.0'"
        ):
            load(skeleton, path)
    for change, reason in (
        ({"command": "x"}, "unexpected keyword argument 'command'"),
        ({"left": {"shape": [2, 2], "dtype": "load"}}, "'load' is no dtype"),
        ({"left": {"shape": [2, 2], "dtype": "float32"}}, "`left` and `right` must have shapes"),
        ({"left": {"record": "Popen", "arguments": {}}}, "'Popen'"),
    ):
        path.unlink()
        save(compressed(), path)
        _rewrite(path, lambda known, new=change: known["modules"][0]["arguments"].update(new), hashed=True)
        with pytest.raises(
            ValueError, match=rf"`model` must have the architecture .* no \w+ fits .*{reason}"
        ):
            load(skeleton, path)


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    wider = TiedModel(0)
    wider.extra = nn.Linear(2, 2)
    with pytest.raises(
        ValueError, match=r"the file alone has \[\] and the model alone has \['extra.bias', 'ext"
    ):
        load(wider, path)
    narrower = TiedModel(0)
    del narrower.counts
    with pytest.raises(ValueError, match=r"the file alone has \['counts'\] and the model alone has \[\]"):
        load(narrower, path)
    with pytest.raises(
        ValueError, match=r"no LowRankLinear fits at .*: in_features is 14 in the model and 12 in"
    ):
        load(TiedModel(0, width=14), path)
    save(TiedModel(0), tmp_path / "dense")
    with pytest.raises(ValueError, match=r"`back.bias` has shape \(14,\) in the model and \(12,\) in the"):
        load(TiedModel(0, width=14), tmp_path / "dense")
    with pytest.raises(ValueError, match=r"no LowRankLinear fits at .*has no attribute `block`"):
        load(nn.Sequential(nn.Linear(2, 2)), path)


def test_what_no_file_can_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Extra(nn.Linear):
        def get_extra_state(self) -> str:
            return "state"

    with pytest.raises(
        TypeError, match=r"plain dense tensors with values, but `_extra_state` is of type str"
    ):
        save(Extra(2, 2), tmp_path / "model")
    with pytest.raises(TypeError, match=r"`weight` is of type Parameter, sparse or on the meta device"):
        save(nn.Linear(2, 2, device="meta"), tmp_path / "model")
    monkeypatch.delitem(KINDS, "LowRankLinear")
    with pytest.raises(
        TypeError, match=r"The kind of layer `block.0` must be one of .*, but is LowRankLinear"
    ):
        save(compressed(), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
