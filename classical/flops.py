"""Operations of a simulation by formula: the matrix products, counted from the schedule.

Real operations, a complex multiply-add at eight, as `Meter(flops=True)` counts them from what torch runs; the
two agree exactly, which tests hold. Element-wise work is not in either.
"""

from __future__ import annotations

from collections.abc import Sequence

from classical.measurement import MeasurementGroup
from classical.schedule import Schedule
from classical.statevector import Statevector
from classical.tangents import stretches

_COMPLEX = 8
_REAL = 2


def value_flops(simulator: Statevector, groups: Sequence[MeasurementGroup], rows: int = 1) -> int:
    """Operations of `Statevector.values`."""
    schedule = simulator.schedule(states=1)
    outcomes = 2**schedule.num_qubits
    total = _building(schedule, insertions=False) + _passing(schedule)
    for group in groups:
        total += _turning(simulator, group) + _REAL * outcomes * group.num_observables
    return rows * total


def tangent_flops(simulator: Statevector, groups: Sequence[MeasurementGroup], rows: int = 1) -> int:
    """Operations of a tangent pass and of the moments that make all shifted values of it.

    Without groups, of the pass alone.
    """
    at_once = simulator.rows_at_once(states=simulator.program.num_rotations + 1)
    pieces = [min(at_once, rows - first) for first in range(0, rows, at_once)]
    return sum(piece * _tangent_flops(simulator, groups, piece) for piece in pieces)


def _tangent_flops(simulator: Statevector, groups: Sequence[MeasurementGroup], rows: int) -> int:
    """The same for each of `rows` parameter rows that are carried together."""
    schedule = simulator.schedule(states=simulator.program.num_rotations + 1)
    everything = frozenset(range(simulator.program.num_rotations))
    outcomes = 2**schedule.num_qubits
    product = _COMPLEX * 2**schedule.width * outcomes
    total = _building(schedule, insertions=True)
    for stretch in stretches(simulator, schedule, rows, everything):
        states = 1
        for b in range(stretch.start, len(schedule.blocks)):
            new = len(stretch.entering.get(b, []))
            total += (states + new) * product
            states += new
        for group in groups:
            moments = _REAL * states + _COMPLEX * (states - 1)
            total += states * _turning(simulator, group) + moments * outcomes * group.num_observables
    return total


def adjoint_flops(simulator: Statevector, groups: Sequence[MeasurementGroup], rows: int = 1) -> int:
    """Operations of `Statevector.adjoint`."""
    observables = groups[0].num_observables
    schedule = simulator.schedule(states=observables + 2)
    outcomes, dim = 2**schedule.num_qubits, 2**schedule.width
    total = _building(schedule, insertions=True) + (2 + observables) * _passing(schedule)
    total += _COMPLEX * observables * outcomes  # <state| images
    for group in groups:
        total += (1 + observables) * _turning(simulator, group)
    for block in schedule.blocks:
        if block.rotations:
            total += _COMPLEX * observables * outcomes * dim
            total += _COMPLEX * observables * len(block.rotations) * dim**2
    return rows * total


def _building(schedule: Schedule, *, insertions: bool) -> int:
    """Products that make the block matrices of one row: prefixes, and with insertions suffixes and both sides."""
    steps = schedule.angle_index.shape[1]
    products = steps - 1
    if insertions:
        products = 3 * (steps - 1) + max(steps - 2, 0)
    return _COMPLEX * products * len(schedule.blocks) * 8**schedule.width


def _passing(schedule: Schedule) -> int:
    """One state through all blocks."""
    return _COMPLEX * len(schedule.blocks) * 2 ** (schedule.width + schedule.num_qubits)


def _turning(simulator: Statevector, group: MeasurementGroup) -> int:
    """One state into the group's basis."""
    if group.basis_change is None:
        return 0
    return _passing(simulator.schedule_of_fixed(group.basis_change))
