"""The exact walk: values of the literature, closed forms, and circuits that are sampled."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from classical.angle_laws import Gaussian, OutsideTheWalk
from classical.measurement import GATE_MATRICES
from classical.pauli_walk import closing_weights, observable_weights, second_moments, steps_of, walk
from classical.paulis import PauliString
from classical.program import Program, ProgramBuilder
from classical.statevector import Statevector
from classical.walk_steps import Strings, depolarising, random_axis

Z0 = torch.tensor([0.0, 0.0, 1.0])


def _cz(num_qubits: int) -> Program:
    builder = ProgramBuilder(num_qubits, 0)
    for pair in pairwise(range(num_qubits)):
        builder.unitary(GATE_MATRICES["cz"], pair)
    return builder.build()


def _mcclean(num_qubits: int, layers: int) -> float:
    """Variance of the derivative by the first angle on the first qubit, O = Z0 Z1."""
    ladder, strings = steps_of(_cz(num_qubits), [])
    rotations = [random_axis(q, num_qubits) for q in range(num_qubits)]
    steps = [*rotations, *ladder] * layers
    half = torch.tensor([0.5**0.5, 0.0, 0.5**0.5])  # RY(pi/4)|0>
    weights = observable_weights([("ZZ" + "I" * (num_qubits - 2), 1.0)], strings)
    return float(walk(steps, weights, closing_weights(half, num_qubits)).derivatives[0])


@pytest.mark.parametrize(
    ("layers", "expected"),
    [(1, 5 / 48), (2, 9.5406e-2), (5, 6.8646e-2), (10, 4.7591e-2), (20, 2.8713e-2), (50, 2.1125e-2)],
)
def test_random_circuits_of_mcclean_at_finite_depth(layers: int, expected: float) -> None:
    assert _mcclean(4, layers) == pytest.approx(expected, rel=5e-5)


@pytest.mark.parametrize("num_qubits", [2, 3, 4, 5])
def test_deep_random_circuits_reach_the_closed_form(num_qubits: int) -> None:
    dim = 2**num_qubits
    assert _mcclean(num_qubits, 40 * num_qubits) == pytest.approx(dim / (3 * (dim**2 - 1)), rel=2e-6)


def _layered(num_qubits: int, layers: int) -> Program:
    """RX, RY on all and an open CZ ladder."""
    builder = ProgramBuilder(num_qubits, 2 * num_qubits * layers)
    at = 0
    for _ in range(layers):
        for letter in "XY":
            for qubit in range(num_qubits):
                builder.rotation(letter, (qubit,), {at: 1.0})
                at += 1
        for pair in pairwise(range(num_qubits)):
            builder.unitary(GATE_MATRICES["cz"], pair)
    return builder.build()


def _zeros(num_qubits: int) -> list[tuple[str, float]]:
    """The projector on |0...0> without its identity: 2^-n times every string of Z."""
    words = ["".join("Z" if k >> q & 1 else "I" for q in range(num_qubits)) for k in range(1, 2**num_qubits)]
    return [(word, 2.0**-num_qubits) for word in words]


def _local(num_qubits: int) -> list[tuple[str, float]]:
    words = ["I" * q + "Z" + "I" * (num_qubits - 1 - q) for q in range(num_qubits)]
    return [(word, 0.5 / num_qubits) for word in words]


# Layers of RX, RY and a CZ ladder, derivative of the first RX: global and local cost.
HEA: dict[tuple[int, int], tuple[float, float]] = {
    (1, 2): (1.953e-2, 1.5625e-2),
    (1, 4): (1.907e-3, 3.906e-3),
    (2, 2): (2.197e-2, 1.172e-2),
    (2, 4): (1.837e-3, 2.197e-3),
    (4, 2): (2.531e-2, 1.685e-2),
    (8, 4): (1.843e-3, 1.981e-3),
    (64, 2): (2.500e-2, 1.6667e-2),
    (64, 4): (1.838e-3, 1.961e-3),
}


@pytest.mark.parametrize(("layers", "num_qubits"), list(HEA))
def test_global_and_local_costs_of_a_layered_circuit(layers: int, num_qubits: int) -> None:
    program = _layered(num_qubits, layers)
    for terms, expected in zip(
        (_zeros(num_qubits), _local(num_qubits)), HEA[layers, num_qubits], strict=True
    ):
        found = float(second_moments(program, terms).derivatives[0])
        assert found == pytest.approx(expected, rel=5e-4)


@pytest.mark.parametrize("num_qubits", [1, 2, 5])
def test_product_circuits_are_the_closed_forms(num_qubits: int) -> None:
    builder = ProgramBuilder(num_qubits, num_qubits)
    for qubit in range(num_qubits):
        builder.rotation("Y", (qubit,), {qubit: 1.0})
    program = builder.build()
    everywhere = second_moments(program, _zeros(num_qubits)).derivatives
    assert everywhere.numpy() == pytest.approx([(3 / 8) ** (num_qubits - 1) / 8] * num_qubits)
    assert second_moments(program, _local(num_qubits)).derivatives.numpy() == pytest.approx(
        [1 / (8 * num_qubits**2)] * num_qubits
    )


def test_local_noise_shortens_what_it_meets() -> None:
    steps, strings = steps_of(_layered(2, 1), [Gaussian(0.3)] * 4)
    weights = observable_weights([("ZI", 1.0)], strings)
    closing = closing_weights(Z0, 2)
    without, noisy = walk(steps, weights, closing), walk([*steps, depolarising(0, 2, 0.8)], weights, closing)
    assert noisy.loss == pytest.approx(0.64 * without.loss)
    torch.testing.assert_close(noisy.derivatives, 0.64 * without.derivatives)


def test_gaussian_angles_are_the_closed_form() -> None:
    builder = ProgramBuilder(1, 1)
    builder.rotation("X", (0,), {0: 2.0}, offset=math.pi / 2)
    found = second_moments(builder.build(), [("Z", 3.0)], laws=[Gaussian(0.2)])
    decay = math.exp(-2 * (2 * 0.2) ** 2)
    assert found.loss == pytest.approx(9 * (1 - decay) / 2)
    assert float(found.derivatives[0]) == pytest.approx(9 * 4 * (1 + decay) / 2)


@st.composite
def circuits(draw: st.DrawFn) -> tuple[Program, list[tuple[str, float]]]:
    """Clifford gates and rotations about any strings, each by an angle of its own, and an observable of one term."""
    n = draw(st.integers(1, 4))
    count = draw(st.integers(1, 10))
    builder = ProgramBuilder(n, count)
    for k in range(count):
        for _ in range(draw(st.integers(0, 2))):
            name: str = draw(st.sampled_from(["h", "s", "sdg"] + ["cx", "cz", "swap"] * (n > 1)))
            width = 1 if name in ("h", "s", "sdg") else 2
            builder.unitary(GATE_MATRICES[name], tuple(draw(st.permutations(range(n)))[:width]))
        width = draw(st.integers(1, n))
        letters = draw(st.text("XYZ", min_size=width, max_size=width))
        qubits = tuple(sorted(draw(st.permutations(range(n)))[:width]))
        builder.rotation(letters, qubits, {k: draw(st.sampled_from([1.0, -1.0, 0.5, 2.0]))}, offset=0.3 * k)
    label = draw(st.text("IXYZ", min_size=n, max_size=n).filter(lambda word: set(word) != {"I"}))
    return builder.build(), [(label, draw(st.floats(0.5, 2.0)))]


def _sampled(program: Program, label: str, angles: torch.Tensor) -> torch.Tensor:
    simulator = Statevector(program)
    states = simulator.states(program.angles(angles))
    n = program.num_qubits
    string = PauliString.of(label)
    numbers = np.arange(2**n)
    flip = sum((string.x >> q & 1) << (n - 1 - q) for q in range(n))
    sign = sum((string.z >> q & 1) << (n - 1 - q) for q in range(n))
    parity = np.array([bin(k & sign).count("1") for k in numbers]) % 2
    phase = (1j) ** bin(string.x & string.z).count("1") * (1.0 - 2.0 * parity)
    moved = torch.from_numpy(phase) * states
    return (states[:, numbers ^ flip].conj() * moved).sum(1).real


@settings(max_examples=25, deadline=None)
@given(circuits())
def test_second_moments_are_those_of_sampled_circuits(drawn: tuple[Program, list[tuple[str, float]]]) -> None:
    program, [(label, coefficient)] = drawn
    found = second_moments(program, [(label, coefficient)])
    count = 4_000
    # Parameters of half a rotation have twice the period.
    period = 4 * math.pi
    angles = torch.from_numpy(np.random.default_rng(1).uniform(0, period, (count, program.num_params)))
    angles.requires_grad_()
    values = coefficient * _sampled(program, label, angles)
    (slopes,) = torch.autograd.grad(values.sum(), angles)
    for sample, expected in [
        (values.detach(), found.loss),
        *zip(slopes.T, found.derivatives.tolist(), strict=True),
    ]:
        squares = sample**2
        error = float(squares.std()) / count**0.5
        assert abs(float(squares.mean()) - expected) < 5 * error + 1e-9


def test_what_breaks_the_walk_is_refused() -> None:
    builder = ProgramBuilder(2, 1)
    builder.rotation("X", (0,), {0: 1.0})
    builder.rotation("X", (1,), {0: 1.0})
    with pytest.raises(OutsideTheWalk, match="shared angles are not independent"):
        second_moments(builder.build(), [("ZI", 1.0)])
    builder = ProgramBuilder(1, 1)
    builder.unitary(torch.diag(torch.tensor([1, np.exp(0.25j * np.pi)])), (0,))
    builder.rotation("X", (0,), {0: 1.0})
    with pytest.raises(OutsideTheWalk, match="not Clifford"):
        second_moments(builder.build(), [("Z", 1.0)])
    builder = ProgramBuilder(1, 1)
    builder.rotation("X", (0,), {0: 1.0})
    with pytest.raises(OutsideTheWalk, match="The product of the terms"):
        second_moments(builder.build(), [("Z", 1.0), ("Y", 1.0), ("X", 1.0)])
    with pytest.raises(OutsideTheWalk, match="Gaussian around"):
        builder = ProgramBuilder(1, 1)
        builder.rotation("X", (0,), {0: 1.0}, offset=0.4)
        second_moments(builder.build(), [("Z", 1.0)], laws=[Gaussian(0.1)])
    with pytest.raises(ValueError, match="at most for 12 qubits"):
        Strings(13)
