"""Costs add as they should, and the meter measures what happens inside it."""

from __future__ import annotations

import dataclasses
import itertools
import time

import numpy as np
import pytest
import torch

from classical import meter as meter_module
from classical.cost import Cost
from classical.meter import Meter

COSTS = [
    Cost(),
    Cost(circuits=3, shots=100, jobs=1, sources={"circuits": "measured", "shots": "computed"}),
    Cost(circuits=1, dollars=2.5, peak_bytes=10, sources={"circuits": "computed", "dollars": "estimated"}),
    Cost(wall_seconds=1.5, flops=None, peak_bytes=7, sources={"wall_seconds": "measured"}),
    Cost(peak_bytes=None, qpu_seconds=4.0, energy_joules=None, cpu_seconds=0.25),
]


def test_costs_add_by_figure() -> None:
    total = COSTS[1] + COSTS[2]
    assert (total.circuits, total.shots, total.jobs, total.dollars) == (4, 100, 1, 2.5)


@pytest.mark.parametrize("cost", COSTS)
def test_nothing_is_neutral(cost: Cost) -> None:
    assert cost + Cost() == cost
    assert Cost() + cost == cost


@pytest.mark.parametrize(("a", "b", "c"), list(itertools.combinations(COSTS, 3)))
def test_addition_commutes_and_associates(a: Cost, b: Cost, c: Cost) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)


def test_peaks_add_by_maximum() -> None:
    assert (COSTS[2] + COSTS[3]).peak_bytes == 10


def test_what_is_not_measured_stays_unknown() -> None:
    total = sum(COSTS, Cost())
    assert (total.flops, total.peak_bytes, total.energy_joules) == (None, None, None)
    assert total.qpu_seconds == 4.0


def test_a_sum_takes_the_weaker_source() -> None:
    words = ["measured", "computed", "estimated"]
    for (i, first), (j, second) in itertools.product(enumerate(words), repeat=2):
        total = Cost(shots=1, sources={"shots": first}) + Cost(shots=1, sources={"shots": second})
        assert total.sources == {"shots": words[max(i, j)]}
    assert (COSTS[1] + COSTS[2]).sources == {
        "circuits": "computed",
        "shots": "computed",
        "dollars": "estimated",
    }


def test_unknown_sources_and_figures_are_refused() -> None:
    with pytest.raises(ValueError, match=r"names \['tea'\], which are not figures"):
        Cost(sources={"tea": "measured"})
    with pytest.raises(ValueError, match=r"must be one of .* but is \['guessed'\]"):
        Cost(sources={"shots": "guessed"})  # pyright: ignore[reportArgumentType]


def test_adding_something_else_is_an_error() -> None:
    with pytest.raises(TypeError):
        Cost() + 1  # pyright: ignore[reportOperatorIssue]


def test_a_cost_is_frozen_and_becomes_plain_values() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        COSTS[1].shots = 5  # pyright: ignore[reportAttributeAccessIssue]
    row = COSTS[1].to_dict()
    assert row["shots"] == 100
    assert row["sources"] == {"circuits": "measured", "shots": "computed"}
    assert set(row) == {field.name for field in dataclasses.fields(Cost)}


@pytest.mark.parametrize(
    ("dtype", "factor"), [(torch.float32, 2), (torch.float64, 2), (torch.complex64, 8), (torch.complex128, 8)]
)
def test_flops_of_a_matrix_product_are_those_of_the_formula(dtype: torch.dtype, factor: int) -> None:
    a, b = torch.ones(3, 5, dtype=dtype), torch.ones(5, 7, dtype=dtype)
    with Meter(flops=True) as single:
        a @ b
    assert single.cost.flops == factor * 3 * 5 * 7
    with Meter(flops=True) as batched:
        torch.bmm(a.expand(4, 3, 5), b.expand(4, 5, 7))
    assert batched.cost.flops == 4 * factor * 3 * 5 * 7
    with Meter(flops=True) as added:
        torch.addmm(torch.ones(3, 7, dtype=dtype), a, b)
        torch.baddbmm(torch.ones(2, 3, 7, dtype=dtype), a.expand(2, 3, 5), b.expand(2, 5, 7))
    assert added.cost.flops == 3 * factor * 3 * 5 * 7
    with Meter(flops=True) as written:
        torch.matmul(a, b, out=torch.empty(3, 7, dtype=dtype))
    assert written.cost.flops == factor * 3 * 5 * 7


def test_flops_of_a_contraction_and_its_backward_pass_are_counted() -> None:
    a = torch.ones(2, 3, 4, dtype=torch.float64, requires_grad=True)
    b = torch.ones(2, 4, 5, dtype=torch.float64, requires_grad=True)
    with Meter(flops=True) as meter:
        torch.einsum("bij,bjk->bik", a, b).sum().backward()
    assert meter.cost.flops == 3 * 2 * (2 * 3 * 4 * 5)


def test_flops_of_a_linear_layer_are_counted() -> None:
    layer = torch.nn.Linear(6, 4, dtype=torch.float64, device="meta").to_empty(device="cpu")
    with Meter(flops=True) as meter, torch.no_grad():
        layer(torch.ones(3, 6, dtype=torch.float64))
    assert meter.cost.flops == 2 * 3 * 6 * 4


def test_time_is_measured_inside() -> None:
    with Meter() as meter:
        time.sleep(0.05)
    assert meter.cost.wall_seconds is not None
    assert meter.cost.wall_seconds >= 0.05
    assert meter.cost.cpu_seconds is not None
    assert 0 <= meter.cost.cpu_seconds < meter.cost.wall_seconds
    assert meter.cost.sources["wall_seconds"] == "measured"


def _block(mebibytes: int) -> np.ndarray:
    return np.ones(mebibytes * 2**17)


def test_peak_memory_starts_anew_with_every_measurement() -> None:
    with Meter(memory=True) as large:
        _block(64)
    with Meter(memory=True) as small:
        _block(4)
    if large.cost.peak_bytes is None:
        pytest.skip("the kernel's mark cannot be reset here")
    assert small.cost.peak_bytes is not None
    assert 60 * 2**20 < large.cost.peak_bytes < 90 * 2**20
    assert small.cost.peak_bytes < 20 * 2**20
    assert large.cost.sources["peak_bytes"] == "measured"


def test_memory_that_is_held_before_does_not_count() -> None:
    held = _block(64)
    with Meter(memory=True) as meter:
        _block(4)
    if meter.cost.peak_bytes is None:
        pytest.skip("the kernel's mark cannot be reset here")
    assert meter.cost.peak_bytes < 20 * 2**20
    assert held.any()


def test_memory_that_cannot_be_measured_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(meter_module, "_CLEAR_REFS", tmp_path / "missing" / "clear_refs")
    with Meter(memory=True) as meter:
        _block(1)
    assert meter.cost.peak_bytes is None
    assert "peak_bytes" not in meter.cost.sources
    assert (meter.cost + Cost(peak_bytes=5)).peak_bytes is None


def test_a_measurement_ends_when_the_body_fails() -> None:
    meter = Meter(flops=True)
    with pytest.raises(RuntimeError, match="inside"), meter:
        torch.ones(2, 2) @ torch.ones(2, 2)
        raise RuntimeError("inside")
    assert meter.cost.flops == 16
    with Meter(flops=True) as after:
        pass
    assert after.cost.flops == 0
