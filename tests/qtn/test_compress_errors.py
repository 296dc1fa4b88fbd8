"""Bad input to compression: one clear sentence, and a model left bit for bit as it was."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qtn import compress
from tests.qtn.cases import make_linear
from tests.qtn.compression_cases import Tied, bert, mlp, rows, token_batches


def _digest(model: nn.Module) -> str:
    """Of all parameters and buffers, modes and hooks."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(b"meta" if value.is_meta else value.contiguous().view(torch.uint8).numpy().tobytes())
    for name, module in model.named_modules():
        hooks = len(module._forward_hooks) + len(module._forward_pre_hooks)
        digest.update(f"{name} {type(module).__name__} {module.training} {hooks}".encode())
    for name, parameter in model.named_parameters():
        digest.update(f"{name} {parameter.requires_grad} {parameter.grad is None}".encode())
    return digest.hexdigest()


def _refused(model: nn.Module, match: str, *, kind: type[Exception] = ValueError, **options: Any) -> str:
    before = _digest(model)
    with pytest.raises(kind, match=match) as caught:
        compress(model, **({"budget": 0.6, "calibration": [rows(40, 10)]} | options))
    assert _digest(model) == before
    message = str(caught.value)
    assert len(message) < 500 and "\n" not in message
    return message


def _changed(change: Callable[[nn.Sequential], Any]) -> nn.Sequential:
    model = mlp()
    with torch.no_grad():
        change(model)
    return model


def test_numbers_that_are_not_finite_are_refused() -> None:
    nan = float("nan")
    for layer in (0, 2):
        model = _changed(lambda model, layer=layer: model[layer].weight[0].fill_(nan))  # pyright: ignore
        _refused(model, f"Layer `{layer}` must have finite weights")
    _refused(mlp(), "The input of layer `0` must be finite", calibration=[rows(40, 10), rows(40, 10) * nan])


def test_layers_that_are_not_reached_are_named() -> None:
    model = mlp()
    model[1].unused = make_linear(3, 3)  # inside a module that does not call it
    message = _refused(model, r"must reach every layer, but no rows reached \['1.unused'\]")
    assert "leave these out of `names`" in message
    _refused(bert(), r"no gradient reached \['pooler.dense'\]", calibration=token_batches(1))


@pytest.mark.parametrize("budget", [0.0, -1.0, 2.0, float("nan"), float("inf")])
def test_budgets_that_are_no_fractions_are_refused(budget: float) -> None:
    _refused(mlp(), f"`budget` must be a fraction above 0 and at most 1 .* but is {budget}", budget=budget)


@pytest.mark.parametrize("unit", ["parameters", "operations"])
@pytest.mark.parametrize("structures", [("pivoted",), ("mpo", "low_rank")], ids=str)
def test_a_budget_out_of_reach_says_what_is_in_reach(unit: str, structures: tuple[str, ...]) -> None:
    options = {"unit": unit, "structures": structures}
    message = _refused(
        mlp(), f"`budget` must be at least .* can reach in {unit}, but is 0.001", budget=1e-3, **options
    )
    found = re.search(r"at least ([\d.e-]+),", message)
    assert found is not None
    _, report = compress(mlp(), budget=float(found[1]), calibration=[rows(40, 10)], refit=False, **options)
    assert report.kept <= float(found[1]) <= 1.01 * report.kept


@pytest.mark.parametrize("calibration", [[], (), iter(())], ids=["list", "tuple", "iterator"])
def test_no_calibration_is_refused(calibration: Iterable[Tensor]) -> None:
    _refused(mlp(), "`calibration` must hold at least one batch, but is empty", calibration=calibration)


def test_batches_of_other_kinds_are_refused() -> None:
    _refused(
        mlp(), "must hold tensors, tuples or mappings .* holds a str", calibration=["no"], kind=TypeError
    )
    _refused(mlp(), r"no rows reached \['0', '2', '4'\]", calibration=[torch.zeros(0, 10).double()])


def test_unknown_words_are_refused() -> None:
    _refused(mlp(), r"`unit` must be one of \('parameters', .* but is 'gold'", unit="gold")
    for structures in (("pivoted", "no"), "pivoted"):
        _refused(mlp(), "`structures` must be a sequence of some of .*'pivoted'", structures=structures)
    for name in ("9", "1"):
        _refused(
            mlp(), f"`names` must name linear or convolutional layers .* but names '{name}'", names=[name]
        )


def test_tied_weights_are_refused_by_name() -> None:
    tokens = [torch.zeros(4, 3, dtype=torch.long)]
    for names in (["head"], ["inner", "head"]):
        _refused(
            Tied(),
            r"`names` must leave out \['head'\], whose weights other modules share",
            names=names,
            calibration=tokens,
        )
    model = mlp()
    model[1].again = model[2]
    _refused(model, r"must leave out \['1.again'\], whose weights other modules share", names=["2"])


def test_models_without_layers_are_refused() -> None:
    for model in (nn.Sequential(nn.Tanh()), nn.Sequential(nn.LayerNorm(10))):
        _refused(
            model, "`model` must have linear or convolutional layers to compress, but has no torch.nn.Linear"
        )
    _refused(make_linear(10, 4), "but is one itself; wrap it in torch.nn.Sequential")


def test_several_devices_are_refused() -> None:
    model = mlp()
    model[2].to("meta")
    _refused(model, r"`model` must be on one device, but is on \['cpu', 'meta'\]; move it with `.to\(\)`")


def test_memory_that_runs_out_for_good_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> Any:
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr("qtn.compression.compress.collect", never)
    _refused(
        mlp(),
        "`model` and its calibration must fit in the memory of cpu, but do not; give fewer or shorter batches",
    )


def test_an_error_of_the_progress_callback_comes_through() -> None:
    steps: list[str] = []

    def record(step: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        steps.append(step)

    compress(mlp(), budget=0.6, calibration=[rows(40, 10)], progress=record)
    assert {"collect", "profile", "choose", "refit"} <= set(steps)
    for last in dict.fromkeys(steps):

        def stop(step: str, done: int, total: int, last: str = last) -> None:
            if step == last:
                raise KeyboardInterrupt(step) if last == "collect" else RuntimeError(step)

        kind = KeyboardInterrupt if last == "collect" else RuntimeError
        before = _digest(model := mlp())
        with pytest.raises(kind, match=last):
            compress(model, budget=0.6, calibration=[rows(40, 10)], progress=stop)
        assert _digest(model) == before


def test_an_error_of_the_model_comes_through_and_leaves_it() -> None:
    _refused(mlp(), "shapes cannot be multiplied", calibration=[rows(40, 9)], kind=RuntimeError)


def test_arguments_of_other_kinds_are_refused() -> None:
    for budget in ("0.5", None, True):
        _refused(mlp(), "`budget` must be a fraction", budget=budget)
    for names in ("0", []):
        _refused(mlp(), "`names` must be a sequence of names", names=names)
    for ridge in (float("nan"), -1.0):
        _refused(mlp(), "`ridge` must be at least 0", ridge=ridge)
