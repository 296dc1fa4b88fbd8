"""Derivatives of a few rotations, drawn anew: unbiased, with the whole error in the error bars."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp

from hybrid import Adjoint, CoordinateSubset, Objective, ParameterShift
from hybrid.backends import Exact, Sampled
from tests.hybrid.samples import Z_LIMIT, Array

THETA = np.array([0.4, -0.9, 1.3, 0.7, 2.1, -0.3])


def _own_parameters() -> Objective:
    """Six rotations, each with a parameter of its own."""
    theta = ParameterVector("t", 6)
    circuit = QuantumCircuit(3)
    for layer in range(2):
        for qubit in range(3):
            circuit.ry(theta[3 * layer + qubit], qubit)
        circuit.cx(0, 1)
        circuit.cx(1, 2)
    return Objective(circuit, SparsePauliOp(["ZZI", "IIX", "IYY"], [1.0, 0.5, -0.4]))


def _shared_parameters() -> Objective:
    """Seven rotations of three parameters, one of which is scaled, one in a controlled rotation; two observables."""
    theta = ParameterVector("t", 3)
    circuit = QuantumCircuit(2)
    circuit.ry(theta[0], 0)
    circuit.rx(2 * theta[1], 1)
    circuit.crx(theta[2], 0, 1)
    circuit.rzz(-theta[0], 0, 1)
    circuit.ry(theta[1] + theta[0], 0)
    circuit.rx(theta[2], 1)
    return Objective(circuit, [SparsePauliOp(["ZZ", "XI"], [1.0, 0.5]), SparsePauliOp("IZ")])


OBJECTIVES = {"own": _own_parameters, "shared": _shared_parameters}
both = pytest.mark.parametrize("kind", list(OBJECTIVES))


class _Drawn(np.random.Generator):
    """A generator whose next draw of rotations is known."""

    def __init__(self, places: tuple[int, ...], seed: int) -> None:
        super().__init__(np.random.Philox(seed))
        self._places = places

    def choice(self, a: Array, size: int, replace: bool = True) -> Array:  # type: ignore[override]
        assert not replace
        assert len(self._places) == size
        return np.asarray(a)[list(self._places)]


def _all_draws(
    objective: Objective, theta: Array, count: int, rows: int, total_shots: int | None
) -> tuple[Array, Array]:
    """Values and reported variances, shape (draws, rows, ...), of every draw there is: all are as likely."""
    rule = CoordinateSubset(count=count)
    backend = Exact() if total_shots is None else Sampled()
    gradients = [
        rule.gradient(
            objective,
            np.tile(theta, (rows, 1)),
            backend=backend,
            total_shots=total_shots,
            rng=_Drawn(draw, i),
        )
        for i, draw in enumerate(combinations(range(objective.program.num_rotations), count))
    ]
    values = torch.stack([gradient.values for gradient in gradients])
    errors = torch.stack([gradient.std_errors for gradient in gradients])
    return values.numpy(), errors.numpy() ** 2


@both
@pytest.mark.parametrize("count", [2, 3, 5])
def test_over_all_draws_it_is_unbiased_and_reports_the_whole_squared_error(kind: str, count: int) -> None:
    objective = OBJECTIVES[kind]()
    theta = THETA[: objective.num_params]
    exact = Adjoint().gradient(objective, theta, backend=Exact()).values.numpy()
    values, variances = _all_draws(objective, theta, count, 1, None)
    np.testing.assert_allclose(values[:, 0].mean(0), exact, atol=1e-12)
    # Summed over components, observable by observable: one that was not drawn knows nothing of itself.
    squares = ((values[:, 0] - exact) ** 2).mean(0)
    assert squares.sum() > 0.1
    np.testing.assert_allclose(variances[:, 0].mean(0).sum(-1), squares.sum(-1), rtol=1e-10)
    if kind == "own":
        # K / count times the slope with probability count / K.
        np.testing.assert_allclose(squares, (6 / count - 1) * exact**2, atol=1e-12)


@both
@pytest.mark.parametrize("count", [2, 4])
def test_shots_add_their_own_noise(kind: str, count: int) -> None:
    objective = OBJECTIVES[kind]()
    theta = THETA[: objective.num_params]
    exact = Adjoint().gradient(objective, theta, backend=Exact()).values.numpy()
    rows = 300
    values, variances = _all_draws(objective, theta, count, rows, 20 * count * len(objective.groups))
    plain, _ = _all_draws(objective, theta, count, 1, None)
    # Of each draw by itself: the mean over rows is the value without shots.
    noisy = values.std(1) > 1e-9
    z = (values.mean(1) - plain[:, 0])[noisy] / (values.std(1) / np.sqrt(rows))[noisy]
    assert (np.abs(z) < Z_LIMIT).all()
    # Over all draws: observed and reported squares, whose difference is noise of the rows alone.
    difference = (((values - exact) ** 2).sum(-1) - variances.sum(-1)).mean(0)
    error = difference.std(0, ddof=1) / np.sqrt(rows)
    assert (np.abs(difference.mean(0)) < Z_LIMIT * error).all()
    squares = ((values - exact) ** 2).sum(-1).mean((0, 1))
    assert (Z_LIMIT * error < 0.1 * squares).all()
    # The draw's part alone would be seen to be too little.
    assert (squares - ((plain[:, 0] - exact) ** 2).sum(-1).mean(0) > 0.2 * squares).all()


def test_draws_are_even() -> None:
    objective = _own_parameters()
    rule, rng = CoordinateSubset(count=2), np.random.default_rng(0)
    seen = np.zeros(6)
    repeats = 600
    for _ in range(repeats):
        (part,) = rule.plan(objective, THETA, rng=rng).parts
        rotations = part.circuits.rotations.tolist()  # pyright: ignore
        assert rotations[0::2] == rotations[1::2] == sorted(set(rotations))
        seen[rotations[0::2]] += 1
    spread = np.sqrt(repeats * (1 / 3) * (2 / 3))
    assert (np.abs(seen - repeats / 3) < Z_LIMIT * spread).all()
    assert seen.sum() == 2 * repeats


@both
def test_all_rotations_are_parameter_shift(kind: str) -> None:
    objective = OBJECTIVES[kind]()
    theta = THETA[: objective.num_params]
    count = objective.program.num_rotations
    by_occurrence = ParameterShift(rule="occurrences")
    for backend, total_shots in ((Exact(), None), (Sampled(), 500)):
        # The draw takes numbers from the generator: shots from one that stands where it leaves off.
        rng = np.random.default_rng(3)
        rng.choice(np.arange(count), size=count, replace=False)
        first, second = (
            rule.gradient(objective, theta, backend=backend, total_shots=total_shots, rng=source)
            for rule, source in (
                (CoordinateSubset(count=count + 3), np.random.default_rng(3)),
                (by_occurrence, rng),
            )
        )
        torch.testing.assert_close(first.values, second.values, atol=1e-12, rtol=0)
        torch.testing.assert_close(first.std_errors, second.std_errors, atol=1e-12, rtol=0)
        assert first.cost == second.cost


@both
@pytest.mark.parametrize("count", [2, 3, 5])
def test_it_takes_two_circuits_a_drawn_rotation(kind: str, count: int) -> None:
    objective = OBJECTIVES[kind]()
    bases = len(objective.groups)
    gradient = CoordinateSubset(count=count).gradient(
        objective, THETA[: objective.num_params], backend=Exact(), rng=np.random.default_rng(0)
    )
    assert gradient.cost.circuits == 2 * count * bases
    assert CoordinateSubset(count=count).price(objective, rows=4).circuits == 4 * 2 * count * bases


@pytest.mark.parametrize("count", [0, 1, -2, 2.0, True])
def test_a_count_without_spread_is_refused(count: object) -> None:
    with pytest.raises(ValueError, match="`count` must be a whole number of at least 2, but is"):
        CoordinateSubset(count=count)  # pyright: ignore
