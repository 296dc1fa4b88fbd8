"""The formulas count what torch's counter counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from classical.adjoint import adjoint
from classical.flops import adjoint_flops, tangent_flops, value_flops
from classical.meter import Meter
from classical.statevector import Statevector
from classical.tangents import tangent_chunks
from hybrid import Objective
from hybrid.backends import Exact
from hybrid.circuits import ShiftedCircuits
from studies.circuits import HAMILTONIANS, hardware_efficient
from tests.classical.test_statevector import groups_for, random_angles, random_program

SIZES = [(1, 1, "cx chain"), (3, 1, "cz ring"), (5, 3, "cx chain"), (9, 4, "cz ring"), (11, 6, "cz ring")]


def counted(work: Callable[[], object]) -> float | None:
    work()  # schedules and tables are made once, and are not in the formula
    with Meter(flops=True) as meter:
        work()
    return meter.cost.flops


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize(("qubits", "layers", "entangler"), SIZES)
def test_formulas_equal_the_counter(qubits: int, layers: int, entangler: str, rows: int) -> None:
    objective = Objective(
        hardware_efficient(qubits, layers, entangler), HAMILTONIANS["transverse Ising"](qubits)
    )
    simulator = Statevector(objective.program)
    angles = torch.linspace(0, 3, rows * objective.program.num_rotations, dtype=torch.float64).reshape(
        rows, -1
    )

    def tangents() -> None:
        for _ in tangent_chunks(simulator, angles):
            pass

    groups = objective.groups
    assert counted(lambda: simulator.values(angles, groups)) == value_flops(simulator, groups, rows)
    assert counted(lambda: adjoint(simulator, angles, groups)) == adjoint_flops(simulator, groups, rows)
    assert counted(tangents) == tangent_flops(simulator, (), rows)


@pytest.mark.parametrize(("num_qubits", "rows"), [(2, 300), (5, 1), (5, 300), (6, 3), (9, 1), (9, 20)])
def test_formulas_hold_for_all_kinds_of_gates(num_qubits: int, rows: int) -> None:
    program = random_program(2, num_qubits=num_qubits, num_gates=25, diagonal=rows == 3)
    simulator, groups = Statevector(program), groups_for(num_qubits)
    angles = random_angles(program, rows=rows)
    wanted = list(range(0, program.num_rotations, 5))

    def tangents(rotations: list[int] | None) -> None:
        for _ in tangent_chunks(simulator, angles, rotations):
            pass

    assert counted(lambda: simulator.values(angles, groups)) == value_flops(simulator, groups, rows)
    assert counted(lambda: adjoint(simulator, angles, groups)) == adjoint_flops(simulator, groups, rows)
    assert counted(lambda: tangents(None)) == tangent_flops(simulator, (), rows)
    assert counted(lambda: tangents(wanted)) == tangent_flops(simulator, (), rows, wanted)
    assert tangent_flops(simulator, (), rows, []) == 0


def test_a_late_tangent_costs_little() -> None:
    program = Objective(hardware_efficient(12, 8, "cz ring"), HAMILTONIANS["neighbour ZZ"](12)).program
    simulator = Statevector(program)
    everything = tangent_flops(simulator, ())
    first, last = (tangent_flops(simulator, (), rotations=[k]) for k in (0, program.num_rotations - 1))
    # Two states from the first block on, or one until the last: 30 and 17 states through one block each, of 1551.
    assert last < first < everything / 30


def test_shifted_values_are_counted_with_their_moments() -> None:
    objective = Objective(hardware_efficient(5, 2, "cz ring"), HAMILTONIANS["transverse Ising"](5))
    program = objective.program
    circuits = ShiftedCircuits(
        angles=torch.zeros(1, program.num_rotations, dtype=torch.float64),
        rotations=torch.arange(program.num_rotations),
        shifts=torch.ones(program.num_rotations, dtype=torch.float64),
    )
    backend = Exact()
    run = counted(lambda: backend.run(objective.target, circuits, shots=None, rng=None))
    assert run == tangent_flops(backend.simulator(objective.target), objective.groups)
