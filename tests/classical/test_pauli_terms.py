"""What is refused before anything is calculated, by everything that takes terms and Bloch vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from classical.angle_laws import Fixed, Uniform
from classical.lie_algebra import gradient_variance, lie_closure, loss_variance
from classical.lie_names import families
from classical.lie_sums import sum_closure
from classical.pauli_walk import second_moments
from classical.sampled_walk import sampled_moment
from classical.simple_ideals import decompose
from classical.walk_network import derivative_moment
from tests.classical.test_pauli_walk import layered

PROGRAM = layered(2, 1)
STRINGS = lie_closure(["XX", "ZI", "IZ"])
SUMS = sum_closure([[("XX", 1.0)], [("ZI", 1.0), ("IZ", 1.0)]])
RNG = np.random.default_rng(0)
TAKERS: dict[str, Callable[..., Any]] = {
    "dense": lambda terms, **more: second_moments(PROGRAM, terms, **more),
    "network": lambda terms, **more: derivative_moment(PROGRAM, terms, 0, **more),
    "sampled": lambda terms, **more: sampled_moment(PROGRAM, terms, rotation=0, walks=10, rng=RNG, **more),
    "strings": lambda terms, **more: loss_variance(STRINGS, terms, **more),
    "sums": lambda terms, **more: decompose(SUMS, RNG).loss_variance(terms, **more),
}


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize(
    ("terms", "match"),
    [
        ([], "holds none"),
        ([("II", 1.0)], "holds none"),
        ([("ZI", float("nan"))], "must have finite coefficients, but has nan for ZI"),
        ([("ZI", float("inf"))], "must have finite coefficients"),
        ([("ZI", 1e200)], "must have finite coefficients"),
        ([("ZI", 1j)], "a real coefficient, but holds"),
        (["ZI", "XX", "XII"], "must hold pairs"),
        ([("ZA", 1.0)], "the letters I, X, Y, Z, but has 'ZA'"),
        ([("Z", 1.0)], "labels of 2 letters I, X, Y or Z, but has 'Z'"),
        ([("ZII", 1.0)], "labels of 2 letters"),
    ],
)
def test_terms_that_are_none(taker: str, terms: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        TAKERS[taker](terms)


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize(
    ("bloch", "match"),
    [
        ((1.0, 1.0, 1.0), "length up to 1, but the longest has 1.73"),
        ((float("nan"), 0.0, 0.0), "length up to 1, but the longest has nan"),
        ((0.0, 1.0), r"has shape \(2,\)"),
        ("up", "must hold numbers, but is 'up'"),
    ],
)
def test_bloch_vectors_that_are_none(taker: str, bloch: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        TAKERS[taker]([("ZI", 1.0), ("IZ", 1.0)][: 1 if taker != "sums" else 2], bloch=bloch)


def test_lists_arrays_and_whole_numbers_are_bloch_vectors() -> None:
    expected = second_moments(PROGRAM, [("ZI", 1.0)], bloch=torch.tensor([0.6, 0.0, 0.8])).loss
    for bloch in ([0.6, 0.0, 0.8], np.array([[0.6, 0.0, 0.8]] * 2)):
        assert second_moments(PROGRAM, [("ZI", 1.0)], bloch=bloch).loss == pytest.approx(expected)  # pyright: ignore
    assert second_moments(PROGRAM, [("ZI", 1.0)], bloch=torch.tensor([0, 0, 1])).loss > 0


def test_generators_that_are_none() -> None:
    for generators, match in (
        (["XX", "Z"], "labels of 2 letters"),
        (["XA"], "letters I, X, Y, Z"),
        (["XX", "II"], "no identity"),
        ([], "holds none"),
    ):
        with pytest.raises(ValueError, match=match):
            lie_closure(generators)
    with pytest.raises(ValueError, match="finite coefficients"):
        sum_closure([[("XX", float("nan"))], [("ZI", 1.0)]])
    with pytest.raises(ValueError, match="must hold pairs"):
        sum_closure(["XX", "ZI"])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="`rotation` must have labels of 2 letters"):
        gradient_variance(STRINGS, "X", [("ZI", 1.0)])


def test_algebras_of_the_other_kind_and_laws_that_are_none() -> None:
    for call in (lambda: loss_variance(SUMS, [("ZI", 1.0)]), lambda: families(SUMS)):  # pyright: ignore[reportArgumentType]
        with pytest.raises(TypeError, match="must be a PauliAlgebra, as of `lie_closure`"):
            call()
    with pytest.raises(TypeError, match="must be a SumAlgebra, as of `sum_closure`"):
        decompose(STRINGS, RNG)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="Generator, but is None"):
        decompose(SUMS, None)  # pyright: ignore[reportArgumentType]
    for laws in (Uniform(), [0.1, 0.2, 0.3, 0.4]):
        with pytest.raises(ValueError, match="must be a list of laws such as"):
            second_moments(PROGRAM, [("ZI", 1.0)], laws=laws)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="finite angle, but is nan"):
        Fixed(float("nan"))
    with pytest.raises(ValueError, match="Generator, but is 3"):
        sampled_moment(PROGRAM, [("ZI", 1.0)], rotation=0, walks=10, rng=3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"whole number of at least 2, but is 10\.0"):
        sampled_moment(PROGRAM, [("ZI", 1.0)], rotation=0, walks=10.0, rng=RNG)  # pyright: ignore[reportArgumentType]
