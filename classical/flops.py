"""Operations of a simulation by formula: the matrix products, counted from the schedule.

Real operations, a complex multiply-add at eight, as `Meter(flops=True)` counts them from what torch runs; the
two agree exactly, which tests hold. Element-wise work is not in either.
"""

from __future__ import annotations

from collections.abc import Sequence

from classical.insertion import Insertion
from classical.layers import Layers
from classical.measurement import AbstractMeasurementGroup
from classical.schedule import Schedule
from classical.statevector import Statevector, even_pieces
from classical.tangents import checked_rotations, row_pieces, stretches

_COMPLEX = 8
_REAL = 2


def value_flops(simulator: Statevector, groups: Sequence[AbstractMeasurementGroup], rows: int = 1) -> int:
    """Operations of `Statevector.values`."""
    return sum(
        piece * _value_flops(simulator, groups, piece)
        for piece in even_pieces(rows, simulator.rows_at_once(states=1))
    )


def _value_flops(simulator: Statevector, groups: Sequence[AbstractMeasurementGroup], rows: int) -> int:
    """The same for each of `rows` parameter rows that are simulated together."""
    schedule = simulator.schedule(states=1, rows=rows)
    outcomes = 2**schedule.num_qubits
    if schedule.blocks and schedule.width == schedule.num_qubits:
        (layers,) = schedule.slabs(1)
        total = _COMPLEX * (len(layers.mixing) * outcomes**3 + (layers.depth - 1) * outcomes**2)
    else:
        total = _building(schedule, simulator.slab_size(schedule, rows)) + _passing(schedule)
    for group in groups:
        total += _turning(simulator, group) + _REAL * outcomes * group.num_observables
    return total


def tangent_flops(
    simulator: Statevector,
    groups: Sequence[AbstractMeasurementGroup],
    rows: int = 1,
    rotations: Sequence[int] | None = None,
) -> int:
    """Operations of a tangent pass and of the moments that make all shifted values of it.

    Without groups, of the pass alone.
    """
    wanted = checked_rotations(rotations, simulator.program.num_rotations)
    pieces = row_pieces(simulator, rows, len(wanted)) if wanted else []
    return sum(piece * _tangent_flops(simulator, groups, piece, wanted) for piece in pieces)


def _tangent_flops(
    simulator: Statevector, groups: Sequence[AbstractMeasurementGroup], rows: int, wanted: tuple[int, ...]
) -> int:
    """The same for each of `rows` parameter rows that are carried together."""
    schedule = simulator.wide_schedule()
    insertion = simulator.insertion(schedule, wanted, rows=rows)
    outcomes = 2**schedule.num_qubits
    product = _COMPLEX * 2**schedule.width * outcomes
    total = _inserting(insertion, into_states=insertion.into_states)
    for stretch in stretches(simulator, insertion, rows):
        states = 1
        for b in range(stretch.start, len(schedule.blocks)):
            new = sum(slots.stop - slots.start for _, _, slots in stretch.entering.get(b, ()))
            total += (states + (0 if insertion.into_states else new)) * product
            states += new
        for group in groups:
            moments = _REAL * states + _COMPLEX * (states - 1)
            total += states * _turning(simulator, group) + moments * outcomes * group.num_observables
    return total


def adjoint_flops(simulator: Statevector, groups: Sequence[AbstractMeasurementGroup], rows: int = 1) -> int:
    """Operations of `adjoint`."""
    pieces = even_pieces(rows, simulator.rows_at_once(states=groups[0].num_observables + 1))
    return sum(piece * _adjoint_flops(simulator, groups, piece) for piece in pieces)


def _adjoint_flops(simulator: Statevector, groups: Sequence[AbstractMeasurementGroup], rows: int) -> int:
    """The same for each of `rows` parameter rows that are simulated together."""
    observables = groups[0].num_observables
    schedule = simulator.schedule(states=observables + 2, rows=rows)
    outcomes, dim = 2**schedule.num_qubits, 2**schedule.width
    everything = tuple(range(simulator.program.num_rotations))
    total = _inserting(simulator.insertion(schedule, everything, rows=rows), into_states=False)
    total += (2 + observables) * _passing(schedule)
    total += _COMPLEX * observables * outcomes  # <state| images
    for group in groups:
        total += (1 + observables) * _turning(simulator, group)
    for block in schedule.blocks:
        if block.rotations:
            total += _COMPLEX * observables * outcomes * dim
            total += _COMPLEX * observables * len(block.rotations) * dim**2
    return total


def _building(schedule: Schedule, size: int) -> int:
    """Products that make the matrices of all blocks of one row from those of their layers."""
    return sum(_layers(layers, 8**schedule.width) for layers in schedule.slabs(size))


def _layers(layers: Layers, product: int) -> int:
    return _COMPLEX * (len(layers.mixing) + layers.depth - 1) * layers.num_blocks * product


def _inserting(insertion: Insertion, *, into_states: bool) -> int:
    """Products that make the matrices of all blocks of one row and its tables of strings."""
    schedule = insertion.schedule
    dim = 2**schedule.width
    m = 2**schedule.num_qubits // dim if into_states else dim
    total = _passing(schedule) if into_states else 0
    for slab in insertion.slabs:
        total += _layers(slab.layers, dim**3)
        total += _COMPLEX * slab.last * slab.layers.num_blocks * m * dim**2
        letters = slab.layers.letters.shape[1]
        if slab.turned:
            total += len(slab.cells) * m * letters * (_COMPLEX * dim + _REAL * slab.turned * 2)
        total += _COMPLEX * len(slab.cells) * (slab.turned + slab.signed) * m * dim**2
    return total


def _passing(schedule: Schedule) -> int:
    """One state through all blocks."""
    return _COMPLEX * len(schedule.blocks) * 2 ** (schedule.width + schedule.num_qubits)


def _turning(simulator: Statevector, group: AbstractMeasurementGroup) -> int:
    """One state into the group's basis."""
    if group.basis_change is None:
        return 0
    return _passing(simulator.schedule_of_fixed(group.basis_change))
