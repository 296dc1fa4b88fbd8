"""Compressed models through one file."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import qtn.storage.checkpoint
from qtn import AbstractTensorLayer
from qtn.layers.base import own_parameter
from qtn.layers.children import embedding_child
from qtn.storage.checkpoint import load, save
from qtn.storage.module_records import KINDS, RECORDS
from qtn.storage.quantization import quantize
from tests.qtn.cases import LAYERS, LayerCase, make_linear
from tests.qtn.tied_model import TOKENS, TiedModel, compressed, saved

every_layer = pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)


def _assert_equal(one: nn.Module, other: nn.Module) -> None:
    left, right = one.state_dict(), other.state_dict()
    assert left.keys() == right.keys()
    assert all(
        torch.equal(left[name], right[name]) and left[name].dtype == right[name].dtype for name in left
    )
    kinds = [[(name, type(module)) for name, module in each.named_modules()] for each in (one, other)]
    assert kinds[0] == kinds[1]
    assert repr(one) == repr(other)


@every_layer
@pytest.mark.parametrize("bits", [None, 4, 8], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_every_kind_of_layer_comes_back(
    case: LayerCase, bits: int | None, bias: bool, tmp_path: Path
) -> None:
    layer: nn.Module = case.compressed(case.linear(bias=bias))
    if bits is not None:
        layer = quantize(layer, bits, 7)
    x = torch.linspace(-1, 1, 3 * case.in_features, dtype=torch.float64).reshape(3, -1)
    for model, skeleton in (
        (layer, case.linear(seed=5, bias=bias)),
        (nn.Sequential(layer), nn.Sequential(case.linear(seed=5, bias=bias))),
    ):
        save(model, tmp_path / "layer", overwrite=True)
        loaded = load(skeleton, tmp_path / "layer")
        _assert_equal(loaded, model)
        torch.testing.assert_close(loaded(x), model(x), rtol=1e-12, atol=1e-12)  # paths are planned anew
        if isinstance(model, AbstractTensorLayer):
            assert isinstance(loaded, AbstractTensorLayer) and loaded.discarded == model.discarded


@every_layer
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.complex128], ids=str)
def test_every_dtype_comes_back(case: LayerCase, dtype: torch.dtype, tmp_path: Path) -> None:
    linear = (
        case.linear(dtype=dtype)
        if not dtype.is_complex
        else nn.Linear(case.in_features, case.out_features, dtype=dtype)
    )
    layer = case.lossless(linear)
    save(layer, tmp_path / "layer")
    _assert_equal(load(case.linear(dtype=torch.float32), tmp_path / "layer"), layer)


def test_every_kind_is_known() -> None:
    assert {case.kind for case in LAYERS} <= set(KINDS.values())
    assert all(name == kind.__name__ for name, kind in KINDS.items())


@pytest.mark.parametrize("bits", [None, 4], ids=str)
def test_what_is_tied_is_stored_once_and_tied_again(bits: int | None, tmp_path: Path) -> None:
    model = compressed() if bits is None else quantize(compressed(), bits)
    path = tmp_path / "model"
    save(model, path)
    assert {"table.weight", "head.weight"} & load_file(path).keys() == {"table.weight"}
    skeleton = TiedModel(7)
    before = copy.deepcopy(skeleton.state_dict())
    loaded = load(skeleton, path)
    _assert_equal(loaded, model)
    assert loaded.get_submodule("head").weight is loaded.get_submodule("table").weight
    assert loaded.get_submodule("again") is loaded.get_submodule("block")
    assert loaded.get_submodule("twin") is loaded.get_submodule("back")
    assert torch.equal(loaded(TOKENS), model(TOKENS))
    assert all(torch.equal(value, before[name]) for name, value in skeleton.state_dict().items())
    assert type(skeleton.back) is nn.Linear


def test_the_file_decides_what_is_tied(tmp_path: Path) -> None:
    model = TiedModel(0)
    model.head = make_linear(12, 9, seed=4, bias=False)
    save(model, tmp_path / "untied")
    loaded = load(TiedModel(1), tmp_path / "untied")
    _assert_equal(loaded, model)
    save(TiedModel(0), tmp_path / "tied")
    loaded = load(model, tmp_path / "tied")
    assert loaded.get_submodule("head").weight is loaded.get_submodule("table").weight


def test_a_dense_model_comes_back_with_its_modes(tmp_path: Path) -> None:
    skeleton = TiedModel(1).eval()
    skeleton.table.requires_grad_(False)
    save(compressed(), tmp_path / "model")
    loaded = load(skeleton, tmp_path / "model")
    assert not any(module.training for module in loaded.modules())
    assert {n for n, p in loaded.named_parameters() if not p.requires_grad} == {"table.weight"}
    save(TiedModel(0), tmp_path / "dense")
    _assert_equal(load(skeleton, tmp_path / "dense"), TiedModel(0))


def test_a_model_on_the_meta_device_is_filled(tmp_path: Path) -> None:
    path = saved(tmp_path)
    _assert_equal(load(TiedModel(3).to("meta"), path), compressed())
    skeleton = TiedModel(3)
    skeleton.register_buffer("scratch", torch.ones(2), persistent=False)
    _assert_equal(load(skeleton, path), compressed())
    with pytest.raises(
        ValueError, match=r"buffers that no file stores, but \['scratch'\] are on the meta device"
    ):
        load(skeleton.to("meta"), path)


def test_the_loaded_model_does_not_need_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path)
    loaded = load(TiedModel(1), path)
    path.write_bytes(b"\0" * path.stat().st_size)
    path.unlink()
    _assert_equal(loaded, compressed())


def test_a_file_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = saved(tmp_path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"`path` must be free, but .* exists; pass overwrite=True"):
        save(compressed(1), path)
    assert path.read_bytes() == before
    save(compressed(1), path, overwrite=True)
    _assert_equal(load(TiedModel(0), path), compressed(1))
    with pytest.raises(FileNotFoundError, match=r"`path` must lie in a folder, but .* is none"):
        save(compressed(), tmp_path / "missing" / "model")


@pytest.mark.parametrize("step", ["save_file", "fsync", "replace"])
def test_a_failure_while_writing_leaves_the_old_file_whole(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path)
    before = path.read_bytes()

    def fail(*arguments: Any) -> None:
        if step == "save_file":
            Path(arguments[1]).write_bytes(before[:100])
        raise KeyboardInterrupt

    target = {"save_file": qtn.storage.checkpoint, "fsync": os, "replace": Path}[step]
    monkeypatch.setattr(target, step, fail)
    with pytest.raises(KeyboardInterrupt):
        save(compressed(1), path, overwrite=True)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@dataclass(frozen=True)
class Steps:
    sizes: tuple[int, int]


class Stepped(nn.Module):
    def __init__(self, tables: list[Tensor], head: Tensor, steps: Steps, is_last: bool = False) -> None:
        super().__init__()
        self.tables = nn.ParameterList([own_parameter(table) for table in tables])
        self.head = embedding_child(head)
        self.steps, self.is_last = steps, is_last


def test_a_new_kind_needs_only_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "Stepped", Stepped)
    monkeypatch.setitem(RECORDS, "Steps", Steps)
    model = nn.Sequential(Stepped([torch.ones(2), torch.ones(3, 1)], torch.ones(4, 2), Steps((3, 4)), True))
    save(model, tmp_path / "model")
    loaded = load(nn.Sequential(nn.Identity()), tmp_path / "model")
    _assert_equal(loaded, model)
    (layer,) = loaded.children()
    assert isinstance(layer, Stepped) and layer.steps == Steps((3, 4)) and layer.is_last
    del model[0].steps
    with pytest.raises(
        TypeError, match=r"A Stepped must keep the arguments of its constructor .* lacks \['steps'\]"
    ):
        save(model, tmp_path / "other")
