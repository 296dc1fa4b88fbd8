"""Which weights become zero."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from qtn import LayerMetric, LayerStatistics, LowRankLinear
from qtn.storage.pruning import prune, zero_fractions
from qtn.storage.sizes import nonzero_parameters, resident_bytes
from tests.qtn.cases import make_linear


def _linear(rows: list[list[float]]) -> nn.Linear:
    linear = make_linear(len(rows[0]), len(rows), bias=False)
    linear.weight.data = torch.tensor(rows, dtype=torch.float64)
    return linear


def _weight(model: nn.Module, name: str = "") -> Tensor:
    linear = model.get_submodule(name)
    assert isinstance(linear, nn.Linear)
    return linear.weight.detach()


def _statistics(diagonal: list[float], outputs: int) -> LayerStatistics:
    inputs = torch.tensor(diagonal, dtype=torch.float64).diag()
    return LayerStatistics(inputs=inputs, outputs=torch.eye(outputs, dtype=torch.float64), num_rows=10)


def test_the_smallest_go_where_they_compete() -> None:
    model = nn.ModuleDict({"a": _linear([[4, -1, 3, 2], [8, 7, -6, 5]]), "b": _linear([[0.5, -9, 0.1, 10]])})
    a = {
        "row": [[4, 0, 3, 0], [8, 7, 0, 0]],
        "layer": [[0, 0, 0, 0], [8, 7, -6, 5]],
        "global": [[0, 0, 0, 0], [8, 7, -6, 5]],
    }
    b = {"row": [[0, -9, 0, 10]], "layer": [[0, -9, 0, 10]], "global": [[0, -9, 0, 10]]}
    for scope in ("row", "layer", "global"):
        pruned = prune(model, 0.5, scope=scope)
        assert _weight(pruned, "a").tolist() == a[scope]
        assert _weight(pruned, "b").tolist() == b[scope]
    pruned = prune(model, 0.25, scope="global")
    assert zero_fractions(pruned) == {"a": 0.125, "b": 0.5}
    assert nonzero_parameters(pruned) == 9
    assert resident_bytes(pruned) == resident_bytes(model)


@settings(deadline=None, derandomize=True)
@given(
    sparsity=st.floats(0.0, 1.0),
    shape=st.tuples(st.integers(1, 7), st.integers(1, 11)),
    is_flat=st.booleans(),
    scope=st.sampled_from(["row", "layer", "global"]),
)
def test_the_number_of_zeros_is_exact_also_among_equals(
    sparsity: float, shape: tuple[int, int], is_flat: bool, scope: str
) -> None:
    linear = make_linear(*shape)
    if is_flat:
        linear.weight.data.fill_(1.0)
    weight = _weight(prune(linear, sparsity, scope=scope))  # pyright: ignore[reportArgumentType]
    zeros = weight.numel() - int(torch.count_nonzero(weight))
    columns, rows = shape
    assert zeros == (rows * round(sparsity * columns) if scope == "row" else round(sparsity * rows * columns))
    kept = weight != 0
    assert torch.equal(weight[kept], linear.weight[kept])
    if zeros and scope != "row" and kept.any():
        assert linear.weight[~kept].abs().max() <= weight[kept].abs().min()


def test_inputs_that_are_large_protect_their_weights() -> None:
    model = _linear([[3, 2, 1]])
    pruned = prune(model, 1 / 3, statistics={"": _statistics([0.01, 1, 9], 1)})
    assert _weight(pruned).tolist() == [[0, 2, 1]]
    by_variance = _statistics([1, 2, 4], 1)  # roots, not variances: 3, 2.8 and 2 against 3, 4 and 4
    assert _weight(prune(model, 1 / 3, statistics={"": by_variance})).tolist() == [[3, 2, 0]]
    assert _weight(prune(model, 1 / 3)).tolist() == [[3, 2, 0]]


def test_the_first_weight_to_go_costs_least_of_all_single_ones() -> None:
    mixing = torch.randn(6, 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    statistics = LayerStatistics(
        inputs=mixing.T @ mixing, outputs=torch.eye(4, dtype=torch.float64), num_rows=6
    )
    linear = make_linear(5, 4)
    metric = LayerMetric(statistics.inputs, None)
    losses = {}
    for index in range(20):
        removed = torch.zeros(20, dtype=torch.float64)
        removed[index] = linear.weight.detach().flatten()[index]
        losses[index] = metric.loss_change(removed.reshape(4, 5))
    gone = _weight(prune(linear, 0.05, statistics={"": statistics})).flatten() == 0
    assert gone.nonzero().flatten().tolist() == [min(losses, key=losses.__getitem__)]


def test_factors_are_pruned_by_the_statistics_of_their_layer() -> None:
    left, right = torch.ones(1, 2, dtype=torch.float64), torch.tensor([[3.0, 1.0], [2.0, 2.0]]).double()
    model = nn.Sequential(LowRankLinear(left, right))
    pruned = prune(model, 0.5, statistics={"0": _statistics([1, 25], 1)})
    assert _weight(pruned, "0.right").tolist() == [[0, 1], [0, 2]]  # scores 3, 5 and 2, 10
    assert _weight(pruned, "0.left").tolist() == [[0, 1]]  # R C R^T has the diagonal 34, 104
    assert zero_fractions(pruned) == {"0.right": 0.5, "0.left": 0.5}


def test_the_model_and_what_is_not_named_are_left() -> None:
    model = nn.Sequential(make_linear(6, 5), make_linear(5, 4))
    model[1].requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    pruned = prune(model, 0.6, names=["1"])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert zero_fractions(pruned) == {"0": 0.0, "1": 0.6}
    assert zero_fractions(pruned, ["1"]) == {"1": 0.6}
    assert [p.requires_grad for p in pruned.parameters()] == [True, True, False, False]
    assert torch.equal(pruned.state_dict()["1.bias"], before["1.bias"])


def test_a_tied_head_is_left_unless_named() -> None:
    table, head = nn.Embedding(11, 4), nn.Linear(4, 11, bias=False)
    head.weight = table.weight
    model = nn.ModuleDict({"table": table, "head": head, "other": nn.Linear(4, 4)})
    assert zero_fractions(prune(model, 0.5)) == {"other": 0.5}
    assert nonzero_parameters(prune(model, 0.5, names=["head"])) == nonzero_parameters(model) - 22


def test_bad_arguments_are_refused_by_name() -> None:
    linear = make_linear(3, 2)
    for sparsity in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"`sparsity` must be from 0 to 1, but is"):
            prune(linear, sparsity)
    with pytest.raises(ValueError, match=r"`scope` must be 'row', 'layer' or 'global', but is 'all'"):
        prune(linear, 0.5, scope="all")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"`names` must name modules of the model"):
        prune(linear, 0.5, names=["x"])
    with pytest.raises(
        ValueError, match=r"`model` must hold a torch.nn.Linear layer to prune, but holds none"
    ):
        prune(nn.ReLU(), 0.5)
    with pytest.raises(
        ValueError, match=r"`statistics` must hold those of layer `` with 3 inputs, but holds \{\}"
    ):
        prune(linear, 0.5, statistics={})
    with pytest.raises(ValueError, match=r"with 3 inputs, but holds \{'': 2\}"):
        prune(linear, 0.5, statistics={"": _statistics([1, 1], 2)})
    linear.weight.data[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"weight of layer `` must hold no NaN"):
        prune(linear, 0.5)
