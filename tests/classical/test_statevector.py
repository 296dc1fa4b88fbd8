"""The fused simulation against a plain one that applies gate by gate."""

from __future__ import annotations

import math
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from classical import statevector
from classical.adjoint import adjoint
from classical.measurement import MeasurementGroup
from classical.meter import Meter
from classical.program import PauliRotation, Program, ProgramBuilder, pauli_matrix
from classical.statevector import MemoryTooSmall, Statevector
from classical.tangents import tangent_chunks

_LETTERS = "XYZ"


def _random_unitary(rng: np.random.Generator, num_qubits: int) -> Tensor:
    dim = 2**num_qubits
    return torch.from_numpy(np.linalg.qr(rng.normal(size=(dim, dim)) + 1j * rng.normal(size=(dim, dim)))[0])


def random_program(
    seed: int, *, num_qubits: int, num_gates: int = 30, num_params: int = 4, diagonal: bool = False
) -> Program:
    """Rotations of any width by sums of parameters, and fixed unitaries on one to three qubits."""
    rng = np.random.default_rng(seed)
    builder = ProgramBuilder(num_qubits, num_params)
    for place in range(num_gates):
        qubits = tuple(rng.permutation(num_qubits).tolist())
        if rng.random() < 0.6:
            width = int(rng.integers(1, num_qubits + 1))
            letters = "".join(rng.choice(["Z"] if diagonal and place % 3 else list(_LETTERS), width))
            weights = {
                int(p): float(w)
                for p, w in zip(rng.permutation(num_params)[:2], rng.normal(size=2), strict=True)
            }
            builder.rotation(letters, qubits[:width], weights, float(rng.normal()))
        else:
            width = int(rng.integers(1, min(num_qubits, 3) + 1))
            matrix = _random_unitary(rng, width)
            if diagonal and place % 3:
                matrix = torch.diag(matrix.diagonal() / matrix.diagonal().abs())
            builder.unitary(matrix, qubits[:width])
    return builder.build()


def _apply(matrix: np.ndarray, qubits: tuple[int, ...], state: np.ndarray) -> np.ndarray:
    """A gate on some axes of a state of shape (2,) * n, by tensordot: the plain way."""
    width = len(qubits)
    gate = matrix.reshape((2,) * (2 * width))
    moved = np.tensordot(gate, state, axes=(range(width, 2 * width), qubits))
    return np.moveaxis(moved, range(width), qubits)


def plain_state(program: Program, angles: np.ndarray, insert_after: int | None = None) -> np.ndarray:
    """Final state (D,), with the Pauli string of rotation `insert_after` inserted behind it."""
    state = np.zeros((2,) * program.num_qubits, dtype=complex)
    state[(0,) * program.num_qubits] = 1
    rotation = 0
    for gate in program.gates:
        if not isinstance(gate, PauliRotation):
            state = _apply(gate.matrix.numpy(), gate.qubits, state)
            continue
        pauli = pauli_matrix(gate.letters).numpy()
        half = angles[rotation] / 2
        turned = _apply(pauli, gate.qubits, state)
        state = math.cos(half) * state - 1j * math.sin(half) * turned
        if insert_after == rotation:
            state = _apply(pauli, gate.qubits, state)
        rotation += 1
    return state.reshape(-1)


def random_angles(program: Program, rows: int, seed: int = 1) -> Tensor:
    theta = torch.from_numpy(np.random.default_rng(seed).normal(size=(rows, program.num_params)))
    return program.angles(theta)


def groups_for(num_qubits: int, seed: int = 2) -> list[MeasurementGroup]:
    """Two bases, two observables."""
    rng = np.random.default_rng(seed)
    bases = ["".join(rng.choice(list(_LETTERS), num_qubits)), "Z" * num_qubits]
    return [
        MeasurementGroup(
            basis=basis,
            supports=(tuple(range(num_qubits)), (0,), (num_qubits - 1,)),
            coefficients=torch.from_numpy(rng.normal(size=(3, 2))),
        )
        for basis in bases
    ]


def dense(group: MeasurementGroup, observable: int) -> np.ndarray:
    total = np.zeros((2**group.num_qubits,) * 2, dtype=complex)
    for support, coefficient in zip(group.supports, group.coefficients[:, observable], strict=True):
        letters = "".join(group.basis[q] if q in support else "I" for q in range(group.num_qubits))
        total += float(coefficient) * pauli_matrix(letters).numpy()
    return total


def plain_values(program: Program, angles: np.ndarray, groups: list[MeasurementGroup]) -> np.ndarray:
    state = plain_state(program, angles)
    return np.array([sum((state.conj() @ dense(g, m) @ state).real for g in groups) for m in range(2)])


sizes = pytest.mark.parametrize("num_qubits", [1, 2, 3, 5, 7])
# From eight qubits on, strings are inserted into matrices, below into states.
pass_sizes = pytest.mark.parametrize("num_qubits", [1, 2, 3, 5, 7, 8])
kinds = pytest.mark.parametrize("diagonal", [False, True], ids=["general", "diagonal gates commute"])


@kinds
@sizes
def test_states_are_those_of_the_plain_simulation(num_qubits: int, diagonal: bool) -> None:
    for seed in range(3):
        program = random_program(seed, num_qubits=num_qubits, diagonal=diagonal)
        angles = random_angles(program, rows=3)
        states = Statevector(program).states(angles).numpy()
        expected = np.stack([plain_state(program, row) for row in angles.numpy()])
        np.testing.assert_allclose(states, expected, atol=1e-12)


@kinds
@pass_sizes
def test_tangents_are_states_with_a_pauli_inserted(num_qubits: int, diagonal: bool) -> None:
    program = random_program(4, num_qubits=num_qubits, num_gates=18, diagonal=diagonal)
    angles = random_angles(program, rows=2)
    seen: list[tuple[int, int]] = []
    for chunk in tangent_chunks(Statevector(program), angles):
        for b, row in enumerate(range(chunk.rows.start, chunk.rows.stop)):
            state = plain_state(program, angles[row].numpy())
            np.testing.assert_allclose(chunk.both[b, 0].numpy(), state, atol=1e-12)
            for j, rotation in enumerate(chunk.rotations):
                expected = plain_state(program, angles[row].numpy(), insert_after=rotation)
                np.testing.assert_allclose(chunk.both[b, 1 + j].numpy(), expected, atol=1e-12)
                seen.append((row, rotation))
    assert sorted(seen) == [(row, k) for row in range(2) for k in range(program.num_rotations)]


@kinds
@pass_sizes
def test_only_the_wanted_tangents_are_carried(num_qubits: int, diagonal: bool) -> None:
    program = random_program(14, num_qubits=num_qubits, num_gates=25, diagonal=diagonal)
    simulator, angles = Statevector(program), random_angles(program, rows=3)

    def tangents(rotations: list[int] | None) -> dict[int, Tensor]:
        found: dict[int, list[Tensor]] = {}
        for chunk in tangent_chunks(simulator, angles, rotations):
            for j, rotation in enumerate(chunk.rotations):
                found.setdefault(rotation, []).append(chunk.both[:, [0, 1 + j]].clone())
        return {rotation: torch.cat(parts) for rotation, parts in found.items()}

    everything = tangents(None)
    assert sorted(everything) == list(range(program.num_rotations))
    last = program.num_rotations - 1
    for wanted in ([], [0], [last], [last, 0, last // 2], list(range(0, last, 2))):
        found = tangents(wanted)
        assert sorted(found) == sorted(wanted)
        for rotation, states in found.items():
            np.testing.assert_allclose(states.numpy(), everything[rotation].numpy(), atol=1e-13)


@pytest.mark.parametrize("rotations", [[0, 0], [-1], [0, 9]])
def test_rotations_that_are_not_there_are_refused(rotations: list[int]) -> None:
    builder = ProgramBuilder(1, 9)
    for param in range(9):
        builder.rotation("XZ"[param % 2], (0,), {param: 1.0})
    program = builder.build()
    with pytest.raises(ValueError, match="`rotations` must hold different numbers from 0 to 8, but is"):
        list(tangent_chunks(Statevector(program), torch.zeros(1, 9).double(), rotations))


def test_an_ensemble_of_circuits_is_one_program() -> None:
    # McClean et al. 2018: each site turns about one axis; the other two of its rotations have the angle zero.
    num_qubits, layers, rows = 5, 6, 8
    builder = ProgramBuilder(num_qubits, 3 * num_qubits * layers)
    for layer in range(layers):
        for qubit in range(num_qubits):
            for j, letter in enumerate(_LETTERS):
                builder.rotation(letter, (qubit,), {3 * (num_qubits * layer + qubit) + j: 1.0})
        for qubit in range(num_qubits - 1):
            builder.unitary(torch.diag(torch.tensor([1, 1, 1, -1])), (qubit, qubit + 1))
    program = builder.build()
    rng = np.random.default_rng(3)
    axes = rng.integers(3, size=(rows, num_qubits * layers, 1))
    angles = np.zeros((rows, num_qubits * layers, 3))
    np.put_along_axis(angles, axes, rng.uniform(0, 2 * math.pi, axes.shape), axis=2)
    zz = MeasurementGroup(basis="Z" * num_qubits, supports=((0, 1),), coefficients=torch.ones(1, 1).double())
    simulator, table = Statevector(program), torch.from_numpy(angles.reshape(rows, -1))
    found = torch.zeros(rows, 3, dtype=torch.float64)
    for chunk in tangent_chunks(simulator, table, [0, 1, 2]):
        bras = (chunk.both[:, :1] * zz.eigenvalues[:, 0]).conj()
        found[chunk.rows, list(chunk.rotations)] = (chunk.both[:, 1:] @ bras.mT)[..., 0].imag
    _, slopes = adjoint(simulator, table, [zz])
    np.testing.assert_allclose(found.numpy(), slopes[:, 0, :3].numpy(), atol=1e-12)
    for row in range(rows):
        # The same circuit as the rotation that was drawn alone on each site.
        plain = ProgramBuilder(num_qubits, 1)
        for site in range(num_qubits * layers):
            axis = int(axes[row, site, 0])
            plain.rotation(_LETTERS[axis], (site % num_qubits,), {0: float(angles[row, site, axis])})
            if site % num_qubits == num_qubits - 1:
                for qubit in range(num_qubits - 1):
                    plain.unitary(torch.diag(torch.tensor([1, 1, 1, -1])), (qubit, qubit + 1))
        alone = plain.build()
        leaf = alone.angles(torch.ones(1, 1).double()).requires_grad_()
        Statevector(alone).values(leaf, [zz]).sum().backward()
        assert leaf.grad is not None
        drawn = int(axes[row, 0, 0])
        assert float(found[row, drawn]) == pytest.approx(float(leaf.grad[0, 0]), abs=1e-12)


@sizes
def test_values_can_be_differentiated_twice(num_qubits: int) -> None:
    program = random_program(15, num_qubits=num_qubits, num_gates=12, diagonal=True)
    simulator, groups = Statevector(program), groups_for(num_qubits)
    angles = random_angles(program, rows=1).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda leaf: simulator.values(leaf, groups), angles, atol=1e-6)


@pytest.mark.parametrize("num_qubits", [3, 6])
def test_what_is_kept_from_inference_can_be_differentiated(num_qubits: int) -> None:
    program = random_program(17, num_qubits=num_qubits, num_gates=12)
    simulator, (group, _) = Statevector(program), groups_for(num_qubits)
    leaf = random_angles(program, rows=2).requires_grad_()
    with torch.inference_mode():
        expected = simulator.turn(simulator.states(leaf)[:, None], group).numpy()
    states = simulator.turn(simulator.states(leaf)[:, None], group)
    np.testing.assert_allclose(states.detach().numpy(), expected, atol=1e-13)
    states.real.sum().backward()
    assert leaf.grad is not None


@sizes
def test_shifted_states_follow_from_the_tangents(num_qubits: int) -> None:
    program = random_program(5, num_qubits=num_qubits, num_gates=12)
    angles = random_angles(program, rows=1)
    shift = 0.7
    for chunk in tangent_chunks(Statevector(program), angles):
        for j, rotation in enumerate(chunk.rotations):
            moved = angles[0].numpy().copy()
            moved[rotation] += shift
            state = math.cos(shift / 2) * chunk.both[0, 0] - 1j * math.sin(shift / 2) * chunk.both[0, 1 + j]
            np.testing.assert_allclose(state.numpy(), plain_state(program, moved), atol=1e-12)


@sizes
def test_values_are_expectations_of_the_dense_operator(num_qubits: int) -> None:
    program = random_program(6, num_qubits=num_qubits)
    angles = random_angles(program, rows=3)
    groups = groups_for(num_qubits)
    values = Statevector(program).values(angles, groups).numpy()
    expected = np.stack([plain_values(program, row, groups) for row in angles.numpy()])
    np.testing.assert_allclose(values, expected, atol=1e-12)


@kinds
@sizes
def test_adjoint_autograd_and_differences_agree(num_qubits: int, diagonal: bool) -> None:
    program = random_program(7, num_qubits=num_qubits, num_gates=15, diagonal=diagonal)
    simulator, groups = Statevector(program), groups_for(num_qubits)
    angles = random_angles(program, rows=2)
    values, slopes = adjoint(simulator, angles, groups)
    leaf = angles.clone().requires_grad_()
    by_autograd = simulator.values(leaf, groups)
    np.testing.assert_allclose(values.numpy(), by_autograd.detach().numpy(), atol=1e-12)
    for m in range(2):
        (gradient,) = torch.autograd.grad(by_autograd[:, m].sum(), leaf, retain_graph=True)
        np.testing.assert_allclose(slopes[:, m].numpy(), gradient.numpy(), atol=1e-11)
    # The shift rule on the plain simulation.
    for k in range(0, program.num_rotations, 3):
        up, down = angles[0].numpy().copy(), angles[0].numpy().copy()
        up[k] += math.pi / 2
        down[k] -= math.pi / 2
        difference = (plain_values(program, up, groups) - plain_values(program, down, groups)) / 2
        np.testing.assert_allclose(slopes[0, :, k].numpy(), difference, atol=1e-11)


def test_probabilities_sum_to_one_in_every_basis() -> None:
    program = random_program(8, num_qubits=4)
    simulator = Statevector(program)
    states = simulator.states(random_angles(program, rows=3))[:, None]
    for group in groups_for(4):
        probabilities = simulator.probabilities(states, group)
        assert probabilities.shape == (3, 1, 16)
        np.testing.assert_allclose(probabilities.sum(-1).numpy(), 1, atol=1e-12)


def test_throw_away_groups_do_not_share_their_basis_change() -> None:
    builder = ProgramBuilder(1, 1)
    builder.rotation("Y", (0,), {0: 1.0})
    simulator = Statevector(builder.build())
    angle = torch.tensor([[0.3]], dtype=torch.float64)
    for _ in range(30):
        for basis, expected in (("X", math.sin(0.3)), ("Y", 0.0), ("Z", math.cos(0.3))):
            group = MeasurementGroup(basis=basis, supports=((0,),), coefficients=torch.ones(1, 1).double())
            assert float(simulator.values(angle, [group])) == pytest.approx(expected, abs=1e-12)
            del group


@pytest.mark.parametrize("num_qubits", [5, 8])
@pytest.mark.parametrize("method", ["values", "adjoint", "tangents", "states"])
def test_chunks_do_not_change_results(method: str, num_qubits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    program = random_program(9, num_qubits=num_qubits)
    angles, groups = random_angles(program, rows=7), groups_for(num_qubits)

    def results(simulator: Statevector) -> dict[object, Tensor]:
        if method == "values":
            return {0: simulator.values(angles, groups)}
        if method == "adjoint":
            return dict(enumerate(adjoint(simulator, angles, groups)))
        if method == "states":
            return {0: simulator.states(angles)}
        return {
            (row, rotation): chunk.both[b, 1 + j].clone()
            for chunk in tangent_chunks(simulator, angles)
            for b, row in enumerate(range(chunk.rows.start, chunk.rows.stop))
            for j, rotation in enumerate(chunk.rotations)
        }

    whole = results(Statevector(program))
    small = results(Statevector(program, max_bytes=12 * 16 * 2**num_qubits))
    monkeypatch.setattr(statevector, "_SLAB_BYTES", 1)
    apart = results(Statevector(program))
    monkeypatch.setattr(statevector, "_CACHE_BYTES", 1)
    tight = results(Statevector(program))
    assert whole.keys() == small.keys() == apart.keys() == tight.keys()
    for key, expected in whole.items():
        for other in (small, apart, tight):
            np.testing.assert_allclose(other[key].numpy(), expected.numpy(), atol=1e-13)


def _peak_of_a_pass(num_qubits: int, num_gates: int, rows: int, max_bytes: int) -> int | None:
    statevector._CACHE_BYTES = 2**40  # in a process of its own
    program = random_program(16, num_qubits=num_qubits, num_gates=num_gates)
    simulator, angles = Statevector(program, max_bytes=max_bytes), random_angles(program, rows=rows)
    groups = groups_for(num_qubits)
    simulator.values(angles[:1], groups)
    with Meter(memory=True) as meter:
        for chunk in tangent_chunks(simulator, angles):
            for group in groups:
                simulator.probabilities(chunk.both, group)
        simulator.values(angles, groups)
    return meter.cost.peak_bytes


@pytest.mark.parametrize(
    ("num_qubits", "num_gates", "rows"),
    [(16, 40, 1), (10, 40, 100), (4, 200, 1000), (8, 300, 40)],
    ids=["large states", "many rows", "few qubits", "many gates"],
)
def test_a_pass_stays_within_its_memory(num_qubits: int, num_gates: int, rows: int) -> None:
    """In a fresh process: how much freed memory the heap keeps depends on all that ran before."""
    max_bytes = 2**27
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        peak_bytes = fresh.submit(_peak_of_a_pass, num_qubits, num_gates, rows, max_bytes).result()
    if peak_bytes is None:
        pytest.skip("the kernel does not tell peak memory here")
    # Schedules, small tensors and freed memory that is kept come on top.
    assert peak_bytes < max_bytes + 2**26


def test_small_memory_makes_more_chunks() -> None:
    program = random_program(10, num_qubits=5)
    angles = random_angles(program, rows=6)
    count = [
        sum(1 for _ in tangent_chunks(Statevector(program, max_bytes=max_bytes), angles))
        for max_bytes in (None, 60 * 16 * 2**5, 12 * 16 * 2**5)
    ]
    assert count[0] < count[1] < count[2]


def test_pieces_cover_a_table_once() -> None:
    program = random_program(11, num_qubits=5)
    for max_bytes in (None, 90 * 16 * 2**5, 12 * 16 * 2**5):
        simulator = Statevector(program, max_bytes=max_bytes)
        for circuits, rows in [(1, 1), (7, 3), (2, 50), (0, 4), (4, 0)]:
            covered = np.zeros((circuits, rows), dtype=int)
            for index, row in simulator.pieces(circuits, rows):
                covered[index, row] += 1
            assert (covered == 1).all()


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_single_precision_is_about_seven_digits(dtype: torch.dtype) -> None:
    program = random_program(12, num_qubits=5)
    angles, groups = random_angles(program, rows=2), groups_for(5)
    tolerance = 2e-5 if dtype == torch.complex64 else 1e-12
    simulator, reference = Statevector(program, dtype=dtype), Statevector(program)
    assert simulator.states(angles).dtype == dtype
    value, slope = adjoint(simulator, angles, groups)
    expected_value, expected_slope = adjoint(reference, angles, groups)
    np.testing.assert_allclose(value.numpy(), expected_value.numpy(), atol=tolerance)
    np.testing.assert_allclose(slope.numpy(), expected_slope.numpy(), atol=tolerance)
    for chunk in tangent_chunks(simulator, angles):
        assert chunk.both.dtype == dtype


def test_a_program_without_gates_is_the_zero_state() -> None:
    program = ProgramBuilder(3, 0).build()
    none = torch.zeros(2, 0, dtype=torch.float64)
    simulator = Statevector(program)
    assert simulator.states(none)[:, 0].tolist() == [1, 1]
    assert list(tangent_chunks(simulator, none)) == []
    values, slopes = adjoint(simulator, none, groups_for(3))
    assert slopes.shape == (2, 2, 0)
    np.testing.assert_allclose(values.numpy(), simulator.values(none, groups_for(3)).numpy(), atol=1e-14)


@pytest.mark.parametrize(("num_qubits", "fits"), [(10, 2), (30, 2)])
def test_too_little_memory_is_refused_with_what_would_fit(num_qubits: int, fits: int) -> None:
    program = ProgramBuilder(num_qubits, 0).build()
    state = 16 * 2**num_qubits
    with pytest.raises(MemoryTooSmall, match=rf"{num_qubits} qubits .* 12 states of {state:,} bytes, but "
                       rf"`max_bytes` is 1,000: at most {fits} qubits fit"):  # fmt: skip
        Statevector(program, max_bytes=1000)


@pytest.mark.parametrize("device", ["gpu", "", "meta", 1.5, None])
def test_an_unknown_device_is_refused(device: Any) -> None:
    with pytest.raises(ValueError, match="`device` must be 'cpu' or 'cuda', but is "):
        Statevector(random_program(13, num_qubits=2), device=device)


def test_the_least_memory_is_twelve_states() -> None:
    program = random_program(13, num_qubits=4)
    Statevector(program, max_bytes=12 * 16 * 2**4)
    with pytest.raises(MemoryTooSmall):
        Statevector(program, max_bytes=12 * 16 * 2**4 - 1)
    Statevector(program, max_bytes=12 * 8 * 2**4, dtype=torch.complex64)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(0, 25), st.booleans())
def test_drawn_programs_are_those_of_the_plain_simulation(
    seed: int, num_qubits: int, num_gates: int, diagonal: bool
) -> None:
    program = random_program(seed, num_qubits=num_qubits, num_gates=num_gates, diagonal=diagonal)
    angles = random_angles(program, rows=2, seed=seed)
    states = Statevector(program).states(angles).numpy()
    expected = np.stack([plain_state(program, row) for row in angles.numpy()])
    np.testing.assert_allclose(states, expected, atol=1e-11)


def test_angles_are_affine_in_theta() -> None:
    builder = ProgramBuilder(2, 3)
    builder.rotation("X", (0,), {0: 2.0, 2: -1.0}, 0.5)
    builder.rotation("ZZ", (0, 1), {1: 1.0})
    builder.rotation("Y", (1,), {}, 0.4)
    builder.rotation("Y", (1,), {1: 0.0}, 0.4)
    program = builder.build()
    assert program.num_rotations == 2  # without weights it is a fixed gate
    assert len(program.gates) == 4
    theta = torch.tensor([[[1.0, 2.0, 3.0]]], dtype=torch.float64)
    assert program.angles(theta).tolist() == [[[-0.5, 2.0]]]
    assert program.max_frequencies().tolist() == [2.0, 1.0, 1.0]


@pytest.mark.parametrize("basis", ["X", "Y", "Z"])
def test_each_basis_is_turned_to_z(basis: str) -> None:
    # RY(0.3) RZ(0.5) on |+>-like states: <P> by the dense matrix.
    builder = ProgramBuilder(1, 2)
    builder.rotation("Y", (0,), {0: 1.0})
    builder.rotation("Z", (0,), {1: 1.0})
    program = builder.build()
    angles = torch.tensor([[0.3, 0.5]], dtype=torch.float64)
    state = plain_state(program, angles[0].numpy())
    expected = (state.conj() @ pauli_matrix(basis).numpy() @ state).real
    group = MeasurementGroup(basis=basis, supports=((0,),), coefficients=torch.ones(1, 1).double())
    assert float(Statevector(program).values(angles, [group])) == pytest.approx(expected, abs=1e-13)
