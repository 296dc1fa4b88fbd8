"""Optimisers as users meet them: budgets, ledgers, one job a step, repeatable, and downhill."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp
from torch import Tensor

from classical.cost import Cost
from hybrid import SPSA, CommutingGenerators, Objective, ParameterShift
from hybrid.allocation import Weighted
from hybrid.backends import AbstractBackend, Exact, Sampled, open_backend
from hybrid.backends.base import Measured, Request
from hybrid.circuits import AbstractCircuits
from hybrid.optimisers import GCANS, ICANS, OPTIMISERS, AbstractOptimiser, FixedShots, Rosalin, Step
from hybrid.shots import BudgetTooSmall
from hybrid.target import Target

CASES: list[AbstractOptimiser] = [
    FixedShots(learning_rate=0.05, step_shots=600),
    FixedShots(learning_rate=0.05, step_shots=600, update="Adam"),
    FixedShots(learning_rate=0.05, step_shots=600, rule=SPSA(directions=2)),
    ICANS(learning_rate=0.9),
    ICANS(learning_rate=0.9, rule=ParameterShift(allocation=Weighted())),
    GCANS(learning_rate=0.9),
    Rosalin(learning_rate=0.9),
]
each = pytest.mark.parametrize("optimiser", CASES, ids=lambda case: f"{case.name} {case.rule.name}")


class Counting(AbstractBackend):
    """Counts circuits and shots as they are asked for, and runs."""

    def __init__(self) -> None:
        self.inner = Sampled()
        self.circuits = self.shots = self.runs = 0

    def check(self, total_shots: int | Tensor | None, rng: np.random.Generator | None) -> None:
        self.inner.check(total_shots, rng)

    def run(
        self,
        target: Target,
        circuits: AbstractCircuits,
        *,
        shots: Tensor | None,
        rng: np.random.Generator | None,
    ) -> Measured:
        assert shots is not None
        self.circuits += circuits.num_rows * int((shots > 0).sum())
        self.shots += circuits.num_rows * int(shots.sum())
        return self.inner.run(target, circuits, shots=shots, rng=rng)

    def run_together(self, requests: Sequence[Request], *, rng: np.random.Generator | None) -> list[Measured]:
        self.runs += 1
        return super().run_together(requests, rng=rng)


def _ising() -> Objective:
    """Two qubits, eight angles, two measurement groups of uneven weight."""
    return Objective(efficient_su2(2, reps=1), SparsePauliOp(["ZZ", "IX", "XI"], np.array([1.0, 0.4, 0.4])))


def _run(optimiser: AbstractOptimiser, total_shots: int, seed: int = 0) -> tuple[list[Step], Counting]:
    backend, theta = Counting(), np.linspace(0.2, 1.5, 8)
    steps = optimiser.steps(
        _ising(), theta, backend=backend, total_shots=total_shots, rng=np.random.default_rng(seed)
    )
    return list(steps), backend


def test_every_optimiser_is_listed() -> None:
    assert {type(case) for case in CASES} == set(OPTIMISERS.values())
    assert len({case.name for case in CASES}) == 5


# --- the ledger ---------------------------------------------------------------------------------------


@each
def test_the_ledger_is_what_the_device_executed(optimiser: AbstractOptimiser) -> None:
    steps, device = _run(optimiser, 20_000)
    cost = sum((step.cost for step in steps), Cost())
    assert (cost.circuits, cost.shots) == (device.circuits, device.shots)
    assert device.runs == len(steps) > 2
    planned = [step.gradient.plan.cost for step in steps if step.gradient.plan is not None]
    assert cost.shots == sum(plan.shots for plan in planned)
    assert cost.circuits == sum(plan.circuits for plan in planned)


@each
@pytest.mark.parametrize("total_shots", [2_000, 2_037, 5_111, 9_999])
def test_the_budget_is_kept_and_the_last_step_cut_or_left_out(
    optimiser: AbstractOptimiser, total_shots: int
) -> None:
    steps, device = _run(optimiser, total_shots)
    assert device.shots <= total_shots
    # What is left would not do for one step at the least.
    least = 8 * (20 if isinstance(optimiser, Rosalin) else 40)
    if isinstance(optimiser, FixedShots):
        least = 2 * (8 if isinstance(optimiser.rule, SPSA) else 32)
    assert total_shots - device.shots < least
    assert [step.cut for step in steps[:-1]] == [False] * (len(steps) - 1)
    if isinstance(optimiser, FixedShots):
        assert steps[-1].cut == (int(steps[-1].cost.shots) < 600)
        assert [step.cost.shots for step in steps[:-1]] == [600] * (len(steps) - 1)


@pytest.mark.parametrize("kind", [ICANS, GCANS, Rosalin])
def test_an_adaptive_last_step_is_cut_to_what_is_left(kind: type[ICANS | GCANS | Rosalin]) -> None:
    runs = [_run(kind(learning_rate=0.9), total_shots) for total_shots in (4_000, 5_000, 6_000)]
    cut = [(steps, device) for steps, device in runs if steps[-1].cut]
    assert cut
    for steps, device in cut:
        assert device.shots in (4_000, 5_000, 6_000)
        assert steps[-1].shots.min() >= (20 if kind is Rosalin else 40)


def test_shots_of_components_are_those_of_their_circuits() -> None:
    for optimiser in CASES:
        for step in _run(optimiser, 6_000)[0]:
            total = int(step.shots.sum())
            if isinstance(optimiser, FixedShots) and isinstance(optimiser.rule, SPSA):
                assert total == 8 * step.cost.shots  # each shot serves all
            else:
                assert total == step.cost.shots


def test_a_step_is_one_job_on_a_device() -> None:
    steps = ICANS(learning_rate=0.1).steps(
        _ising(),
        np.linspace(0.2, 1.5, 8),
        backend=open_backend("aer"),
        total_shots=900,
        rng=np.random.default_rng(0),
    )
    costs = [step.cost for step in steps]
    assert [cost.jobs for cost in costs] == [1] * len(costs)
    assert sum(cost.shots for cost in costs) <= 900


# --- steps --------------------------------------------------------------------------------------------


@each
def test_the_same_rng_gives_the_same_steps(optimiser: AbstractOptimiser) -> None:
    one, same, other = (_run(optimiser, 5_000, seed)[0] for seed in (1, 1, 2))
    assert torch.equal(one[-1].next_theta, same[-1].next_theta)
    assert [step.shots.tolist() for step in one] == [step.shots.tolist() for step in same]
    assert not torch.equal(one[-1].next_theta, other[-1].next_theta)


@each
def test_steps_hang_together(optimiser: AbstractOptimiser) -> None:
    steps, _ = _run(optimiser, 8_000)
    assert steps[0].theta.tolist() == np.linspace(0.2, 1.5, 8).tolist()
    for before, after in pairwise(steps):
        assert torch.equal(before.next_theta, after.theta)
    assert all((step.gradient.std_errors > 0).all() for step in steps)
    if "Adam" not in optimiser.name:
        rate = 0.05 if isinstance(optimiser, FixedShots) else 0.9
        for step in steps:
            torch.testing.assert_close(step.next_theta, step.theta - rate * step.gradient.values)


def test_adam_is_that_of_torch() -> None:
    steps, _ = _run(FixedShots(learning_rate=0.07, step_shots=500, update="Adam"), 6_000)
    theta = steps[0].theta.clone().requires_grad_()
    adam = torch.optim.Adam([theta], lr=0.07)
    for step in steps:
        theta.grad = step.gradient.values.clone()
        adam.step()
        torch.testing.assert_close(theta.detach(), step.next_theta)


def test_a_rule_that_shares_circuits_gives_all_its_shots_to_each_component() -> None:
    circuit = QuantumCircuit(2)
    for qubit, angle in enumerate(ParameterVector("t", 2)):
        circuit.ry(angle, qubit)
    objective = Objective(circuit, SparsePauliOp("ZZ"))
    optimiser = FixedShots(learning_rate=0.1, step_shots=100, rule=CommutingGenerators())
    steps = list(
        optimiser.steps(
            objective, [0.3, 0.5], backend=Sampled(), total_shots=350, rng=np.random.default_rng(0)
        )
    )
    assert [step.shots.tolist() for step in steps] == [[100, 100]] * 3 + [[50, 50]]


def test_too_small_a_budget_is_refused_before_anything_is_run() -> None:
    for optimiser in CASES:
        device = Counting()
        with pytest.raises(BudgetTooSmall, match="`total_shots` must be at least"):
            optimiser.steps(
                _ising(), np.zeros(8), backend=device, total_shots=15, rng=np.random.default_rng(0)
            )
        assert device.runs == 0


# --- where they lead ----------------------------------------------------------------------------------


def _demo() -> Objective:
    """2 X1 + 4 Z1 - X0 X1 + 5 Y0 Y1 + 2 Z0 Z1 on two strongly entangling layers of two qubits.

    Source: PennyLane's demonstration of Rosalin. Qiskit's labels have qubit 0 last.
    """
    angles = iter(ParameterVector("t", 12))
    circuit = QuantumCircuit(2)
    for _ in range(2):
        for qubit in range(2):
            circuit.rz(next(angles), qubit)
            circuit.ry(next(angles), qubit)
            circuit.rz(next(angles), qubit)
        circuit.cx(0, 1)
        circuit.cx(1, 0)
    return Objective(
        circuit, SparsePauliOp(["XI", "ZI", "XX", "YY", "ZZ"], np.array([2.0, 4.0, -1.0, 5.0, 2.0]))
    )


@pytest.mark.parametrize(("kind", "gap"), [(Rosalin, 0.2), (ICANS, 0.4), (GCANS, 1.2)])
def test_the_demonstrations_hamiltonian_is_solved(kind: type[ICANS | GCANS | Rosalin], gap: float) -> None:
    """From angles 11 and 14 above the ground energy, in 150,000 shots."""
    objective = _demo()
    assert ICANS(learning_rate=0.05).smoothness(objective) == pytest.approx(14)
    ground, *_, top = np.linalg.eigvalsh(np.asarray(objective.observables[0].to_matrix()))
    for seed in range(2):
        rng = np.random.default_rng(seed)
        theta = rng.uniform(0, 2 * np.pi, 12)
        *_, last = kind(learning_rate=0.07).steps(
            objective, theta, backend=Sampled(), total_shots=150_000, rng=rng
        )
        first, end = (
            float(objective.value(angles, backend=Exact()).values) - ground
            for angles in (theta, last.next_theta)
        )
        assert end < gap < 10 < first < top - ground
