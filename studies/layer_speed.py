"""Tensor layers against the dense one: in factors, through the dense weight, and as the cost model chooses.

`python studies/layer_speed.py` prints a table of times of the forward pass without gradients, in single precision:
medians of interleaved rounds. OMP_NUM_THREADS sets the number of cores. All of it takes some ten minutes on one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import median

import torch
from torch import Tensor, nn

from qtn.layers import (
    AbstractTensorLayer,
    BlockLowRankLinear,
    LowRankLinear,
    MPOLinear,
    PivotedLinear,
    TensorRingLinear,
    TreeLinear,
    TuckerLinear,
)
from qtn.layers.machine import Machine
from qtn.layers.path import multiply_adds
from qtn.layers.planned import AbstractPlannedLayer

SHAPES = ((576, 576), (1536, 576), (1024, 1024))  # out_features, in_features
KEEPS = (0.05, 0.2, 0.5)
BATCHES = (1, 16, 256, 4096)
NARROW = 4  # the smaller side of near-degenerate sites
# Factors are left out where they take more multiply-adds than both of these: a number, and a multiple of the others'.
MOST_MULTIPLY_ADDS, MOST_TIMES_OTHER = 1e9, 3

Maker = Callable[[Tensor, float], AbstractTensorLayer]


def near_degenerate(weight: Tensor, keep: float) -> MPOLinear:
    """Two sites, almost rows and columns: between the low-rank pair and balanced ones."""
    rows, columns = (size // NARROW for size in weight.shape)
    return MPOLinear.from_dense(weight, out_sites=(rows, NARROW), in_sites=(NARROW, columns), keep=keep)


def balanced(num_sites: int, weight: Tensor, keep: float) -> MPOLinear:
    """Sites as equal as can be."""
    return MPOLinear.from_dense(weight, num_sites=num_sites, keep=keep)


KINDS: dict[str, Maker] = {
    "low rank": lambda weight, keep: LowRankLinear.from_dense(weight, keep=keep),
    "pivoted": lambda weight, keep: PivotedLinear.from_dense(weight, keep=keep),
    f"MPO 2, narrow {NARROW}": near_degenerate,
    "MPO 2": partial(balanced, 2),
    "MPO 3": partial(balanced, 3),
    "MPO 4": partial(balanced, 4),
    "ring 3": lambda weight, keep: TensorRingLinear.from_dense(weight, num_sites=3, keep=keep),
    "Tucker": lambda weight, keep: TuckerLinear.from_dense(weight, keep=keep),
    "tree": lambda weight, keep: TreeLinear.from_dense(weight, keep=keep),
    "blocks": lambda weight, keep: BlockLowRankLinear.from_dense(weight, keep=keep),
}


def paths(layer: AbstractTensorLayer, rows: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """The ways to apply a layer; factors are left out where they are far from being chosen and would take long."""
    if not isinstance(layer, AbstractPlannedLayer):
        return {"factorised": layer}
    found: dict[str, Callable[[Tensor], Tensor]] = {}
    own, other = (multiply_adds(path(rows)) for path in (layer._factorised, layer._reconstructed))
    if own <= max(MOST_MULTIPLY_ADDS, MOST_TIMES_OTHER * other):
        found["factorised"] = layer._contract
    found["reconstructed"] = lambda x: x @ layer.to_dense().T
    return found


def median_seconds(calls: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Medians of interleaved rounds; a short call is repeated in each until it takes a millisecond."""
    repeats = []
    for call in calls:
        call()
        start = time.perf_counter()
        call()
        repeats.append(1 + int(1e-3 / (time.perf_counter() - start)))
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for seconds, call, number in zip(times, calls, repeats, strict=True):
            start = time.perf_counter()
            for _ in range(number):
                call()
            seconds.append((time.perf_counter() - start) / number)
    return [median(each) for each in times]


def measured(quick: bool, rounds: int, machine: Machine | None) -> Iterator[tuple[str, float, float]]:
    """A row of the table, chosen over the better path, and chosen over dense."""
    generator = torch.Generator().manual_seed(0)
    for out_features, in_features in SHAPES[: 1 if quick else None]:
        weight = torch.randn(out_features, in_features, generator=generator)
        dense = nn.Linear(in_features, out_features, bias=False)
        dense.weight = nn.Parameter(weight)
        for (name, make), keep in ((kind, keep) for kind in KINDS.items() for keep in KEEPS):
            layer = make(weight, keep)
            if isinstance(layer, AbstractPlannedLayer):
                layer.plan(machine)
            for rows in BATCHES[: 3 if quick else None]:
                x = torch.randn(rows, in_features, generator=generator)
                ways = paths(layer, rows)
                calls = [partial(call, x) for call in (dense, *ways.values())]
                reference, *seconds = median_seconds(calls, rounds)
                times = dict(zip(ways, seconds, strict=True))
                is_planned = isinstance(layer, AbstractPlannedLayer)
                choice = "reconstructed" if is_planned and layer._is_dense(rows) else "factorised"
                if choice not in times:
                    raise RuntimeError(f"The cost model takes {name} at {keep} and {rows} rows in factors.")
                over_best, over_dense = times[choice] / min(seconds), times[choice] / reference
                cells = [
                    f"{times[way] / reference:.2f}" if way in times else "-"
                    for way in ("factorised", "reconstructed")
                ]
                yield (
                    f"| {out_features} x {in_features} | {name} | {keep:g} | {layer.ranks} | {rows} "
                    f"| {1e6 * reference:.0f} | {cells[0]} | {cells[1]} | {choice} | {over_best:.2f} |",
                    over_best,
                    over_dense,
                )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one shape, three batches")
    parser.add_argument("--rounds", type=int, default=9, help="interleaved rounds for each median")
    parser.add_argument(
        "--measured", action="store_true", help="measure the machine instead of the default one"
    )
    arguments = parser.parse_args()
    machine = Machine.measured("cpu", torch.float32) if arguments.measured else None
    print(f"{torch.get_num_threads()} threads, {machine or Machine.default('cpu', torch.float32)}\n")
    print(
        "| shape | kind | kept | ranks | rows | dense, us | factorised / dense | reconstructed / dense | chosen "
        "| chosen / better |\n" + "|---" * 10 + "|"
    )
    ratios = []
    with torch.no_grad():
        for row, over_best, over_dense in measured(arguments.quick, arguments.rounds, machine):
            print(row, flush=True)
            ratios.append((over_best, over_dense))
    over_best, over_dense = (sorted(each) for each in zip(*ratios, strict=True))
    print(
        f"\nChosen over the better of the two: at worst {over_best[-1]:.2f}, over 1.1 in "
        f"{sum(each > 1.1 for each in over_best)} of {len(over_best)}. Over dense: median {median(over_dense):.2f}, "
        f"from {over_dense[0]:.2f} to {over_dense[-1]:.2f}."
    )


if __name__ == "__main__":
    main()
