"""The exact walk: values of the literature, closed forms, and circuits that are sampled."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from classical.angle_laws import AbstractAngleLaw, Fixed, Gaussian, OutsideTheWalk, RandomAxis, Uniform
from classical.measurement import GATE_MATRICES
from classical.pauli_walk import second_moments
from classical.paulis import PauliString
from classical.program import Program, ProgramBuilder
from classical.sampled_walk import sampled_moment
from classical.statevector import Statevector
from classical.walk_model import per_gate
from classical.walk_observables import ZeroProjector
from classical.walk_steps import Strings


def random_circuit(num_qubits: int, layers: int) -> Program:
    """RY(pi/4) on all, then layers of one rotation a qubit, whose axis a law draws, and an open CZ ladder."""
    builder = ProgramBuilder(num_qubits, num_qubits * layers)
    for qubit in range(num_qubits):
        builder.rotation("Y", (qubit,), {}, math.pi / 4)
    for layer in range(layers):
        for qubit in range(num_qubits):
            builder.rotation("X", (qubit,), {layer * num_qubits + qubit: 1.0})
        for pair in pairwise(range(num_qubits)):
            builder.unitary(GATE_MATRICES["cz"], pair)
    return builder.build()


def _mcclean(num_qubits: int, layers: int) -> torch.Tensor:
    """Variances of all derivatives, O = Z0 Z1."""
    program = random_circuit(num_qubits, layers)
    laws = [RandomAxis()] * program.num_params
    return second_moments(program, [("ZZ" + "I" * (num_qubits - 2), 1.0)], laws=laws).variances


@pytest.mark.parametrize(
    ("layers", "expected"),
    [(1, 5 / 48), (2, 9.5406e-2), (5, 6.8646e-2), (10, 4.7591e-2), (20, 2.8713e-2), (50, 2.1125e-2)],
)
def test_random_circuits_of_mcclean_at_finite_depth(layers: int, expected: float) -> None:
    assert float(_mcclean(4, layers)[0]) == pytest.approx(expected, rel=5e-5)


@pytest.mark.parametrize("num_qubits", [2, 3, 4, 5])
def test_deep_random_circuits_reach_the_closed_form(num_qubits: int) -> None:
    dim = 2**num_qubits
    assert float(_mcclean(num_qubits, 40 * num_qubits)[0]) == pytest.approx(
        dim / (3 * (dim**2 - 1)), rel=2e-6
    )


def layered(num_qubits: int, layers: int) -> Program:
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
    program = layered(num_qubits, layers)
    projector, local = HEA[layers, num_qubits]
    for terms, expected in (
        (_zeros(num_qubits), projector),
        (ZeroProjector(), projector),
        (_local(num_qubits), local),
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


# Layers of RX, RY and a CZ ladder, noise on every qubit behind each layer, O = Z0 Z1.
NOISE: dict[tuple[float, int], float] = {
    (1.0, 5): 3.916e-2,
    (1.0, 40): 3.137e-2,
    (0.999, 10): 3.026e-2,
    (0.999, 80): 1.951e-2,
    (0.99, 5): 3.140e-2,
    (0.99, 80): 2.720e-4,
}


@pytest.mark.parametrize(("factor", "layers"), list(NOISE))
def test_noise_behind_each_layer(factor: float, layers: int) -> None:
    program = layered(4, layers)
    size = len(program.gates) // layers
    noise = [dict.fromkeys(range(4), factor) if k % size == size - 1 else {} for k in range(size * layers)]
    found = second_moments(program, [("ZZII", 1.0)], noise=noise)
    assert float(found.derivatives[0]) == pytest.approx(NOISE[factor, layers], rel=5e-4)


def test_noise_behind_each_gate_is_the_closed_form() -> None:
    builder = ProgramBuilder(1, 4)
    for k in range(4):
        builder.rotation("Y", (0,), {k: 1.0})
    program = builder.build()
    for laws in ([Gaussian(0.3)] * 4, None):
        clean = second_moments(program, [("Z", 1.0)], laws=laws)
        noisy = second_moments(program, [("Z", 1.0)], laws=laws, noise=per_gate(program, 0.9, 1.0))
        assert noisy.loss == pytest.approx(0.9**8 * clean.loss)
        assert noisy.mean_loss == pytest.approx(0.9**4 * clean.mean_loss)
        torch.testing.assert_close(noisy.derivatives, 0.9**8 * clean.derivatives)


def test_dephasing_leaves_one_axis_alone() -> None:
    """Behind RX by a Gaussian angle on |0>: <Z> = cos t, <Y> = -sin t."""
    builder = ProgramBuilder(1, 1)
    builder.rotation("X", (0,), {0: 1.0})
    program, decay = builder.build(), math.exp(-2 * 0.3**2)
    noise = [{0: (0.5, 0.6, 0.9)}]
    for label, factor, square in (("Z", 0.9, (1 + decay) / 2), ("Y", 0.6, (1 - decay) / 2)):
        found = second_moments(program, [(label, 1.0)], laws=[Gaussian(0.3)], noise=noise)
        assert found.loss == pytest.approx(factor**2 * square)
        sampled = sampled_moment(
            program, [(label, 1.0)], rotation=None, walks=20_000, rng=np.random.default_rng(0),
            laws=[Gaussian(0.3)], noise=noise,
        )  # fmt: skip
        assert abs(sampled.value - found.loss) < 4.5 * sampled.std_error
    mean = second_moments(program, [("Z", 1.0)], laws=[Gaussian(0.3)], noise=noise).mean_loss
    assert mean == pytest.approx(0.9 * math.exp(-0.045))
    for factors in ((1.0, 1.0, 0.5), -0.5, 1.1, float("nan")):
        with pytest.raises(ValueError, match="Bloch factors of a channel"):
            second_moments(program, [("Z", 1.0)], noise=[{0: factors}])


def test_gaussian_angles_are_the_closed_form() -> None:
    builder = ProgramBuilder(1, 1)
    builder.rotation("X", (0,), {0: 2.0}, offset=math.pi / 2)
    found = second_moments(builder.build(), [("Z", 3.0)], laws=[Gaussian(0.2)])
    decay = math.exp(-2 * (2 * 0.2) ** 2)
    assert found.loss == pytest.approx(9 * (1 - decay) / 2)
    assert float(found.derivatives[0]) == pytest.approx(9 * 4 * (1 + decay) / 2)
    # loss = -3 sin(2 t): its mean is 0, and that of its derivative is not.
    slope = -6 * math.exp(-((2 * 0.2) ** 2) / 2)
    assert found.mean_loss == pytest.approx(0, abs=1e-15)
    assert float(found.mean_derivatives[0]) == pytest.approx(slope)
    assert float(found.variances[0]) == pytest.approx(9 * 4 * (1 + decay) / 2 - slope**2)


def test_fixed_angles_are_clifford_gates() -> None:
    builder = ProgramBuilder(2, 2)
    builder.rotation("X", (0,), {0: 1.0})
    builder.rotation("ZZ", (0, 1), {1: 2.0})
    program = builder.build()
    found = second_moments(program, [("YZ", 1.0)], laws=[Uniform(), Fixed(math.pi / 4)])
    assert found.loss == pytest.approx(0)
    # ZZ(pi/2) takes YZ to -XI: nothing of it is left of |00>.
    found = second_moments(program, [("XI", 1.0)], laws=[Fixed(math.pi / 2), Fixed(math.pi / 4)])
    assert found.loss == found.mean_loss**2 == pytest.approx(1)
    with pytest.raises(OutsideTheWalk, match=r"held at 0\.4"):
        second_moments(program, [("YZ", 1.0)], laws=[Uniform(), Fixed(0.2)])


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
@given(circuits(), st.sampled_from([Uniform(), Gaussian(0.4)]))
def test_moments_are_those_of_sampled_circuits(
    drawn: tuple[Program, list[tuple[str, float]]], law: AbstractAngleLaw
) -> None:
    program, [(label, coefficient)] = drawn
    count, rng = 4_000, np.random.default_rng(1)
    if isinstance(law, Gaussian):
        program = replace(program, offsets=math.pi / 2 * (program.offsets / 0.3).round())
        drawn_angles = rng.normal(0, law.deviation, (count, program.num_params))
    else:
        # Parameters of half a rotation have twice the period.
        program = replace(
            program, factors=tuple({k: 2 * f for k, f in own.items()} for own in program.factors)
        )
        drawn_angles = rng.uniform(0, 2 * math.pi, (count, program.num_params))
    found = second_moments(program, [(label, coefficient)], laws=[law] * program.num_params)
    angles = torch.from_numpy(drawn_angles).requires_grad_()
    values = coefficient * _sampled(program, label, angles)
    (slopes,) = torch.autograd.grad(values.sum(), angles)
    samples = [values.detach(), *slopes.T]
    moments = [found.loss, *found.derivatives.tolist()]
    means = [found.mean_loss, *found.mean_derivatives.tolist()]
    for sample, moment, mean in zip(samples, moments, means, strict=True):
        for each, expected in ((sample**2, moment), (sample, mean)):
            assert abs(float(each.mean()) - expected) < 5 * float(each.std()) / count**0.5 + 1e-9


@pytest.mark.parametrize("rotation", [0, 7, None])
def test_sampled_walks_agree(rotation: int | None) -> None:
    program = random_circuit(3, 4)
    laws: list[AbstractAngleLaw] = [RandomAxis(), *[Gaussian(0.5)] * (program.num_params - 1)]
    noise = per_gate(program, 0.97, 0.9)
    for terms in ([("ZZI", 1.0)], [("IXY", 0.7)]):
        exact = second_moments(program, terms, laws=laws, noise=noise)
        found = sampled_moment(
            program,
            terms,
            rotation=rotation,
            walks=40_000,
            rng=np.random.default_rng(3),
            laws=laws,
            noise=noise,
        )
        expected = exact.loss if rotation is None else float(exact.derivatives[rotation])
        assert abs(found.value - expected) < 4.5 * found.std_error
        assert found.std_error < 0.03 * expected


def test_sampled_walks_agree_on_the_projector() -> None:
    program = layered(4, 2)
    found = sampled_moment(program, ZeroProjector(), rotation=0, walks=100_000, rng=np.random.default_rng(0))
    exact = float(second_moments(program, ZeroProjector()).derivatives[0])
    assert abs(found.value - exact) < 4.5 * found.std_error
    assert found.std_error < 0.03 * exact


def test_what_breaks_the_walk_is_refused() -> None:
    builder = ProgramBuilder(2, 1)
    builder.rotation("X", (0,), {0: 1.0})
    builder.rotation("X", (1,), {0: 1.0})
    with pytest.raises(OutsideTheWalk, match="shared angles are not independent"):
        second_moments(builder.build(), [("ZI", 1.0)])
    builder = ProgramBuilder(1, 1)
    builder.rotation("X", (0,), {0: 1.0})
    builder.unitary(torch.diag(torch.tensor([1, np.exp(0.25j * np.pi)])), (0,))
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
