"""What the project wants of its speed, as ratios of measured rows."""

from __future__ import annotations

from studies.peers import ensemble, hybrid_step, ring_case
from studies.peers.comparison import Target
from studies.peers.route import OURS

_LIGHTNING, _AER = "PennyLane lightning.qubit", "Qiskit Aer"


def _ring() -> list[Target]:
    """Wanted ratios for 8, 12 and 16 qubits, and what shots may cost."""
    targets = []
    for size, shift, aer in zip(ring_case.SIZES, (60, 40, 8), (8, 30, 12), strict=True):
        own = ((size.name, OURS, ring_case.SHIFT),)
        for toolkit, bound in ((_LIGHTNING, shift), (_AER, aer)):
            targets.append(
                Target(
                    workload=ring_case.WORKLOAD,
                    claim=f"{size.qubits} qubits: {toolkit}'s parameter-shift takes {bound} times ours or more",
                    above=((size.name, toolkit, ring_case.SHIFT),),
                    below=own,
                    bound=bound,
                )
            )
        targets.append(
            Target(
                workload=ring_case.WORKLOAD,
                claim=f"{size.qubits} qubits: {_LIGHTNING}'s adjoint takes as long as ours or longer",
                above=((size.name, _LIGHTNING, ring_case.ADJOINT),),
                below=((size.name, OURS, ring_case.ADJOINT),),
                bound=1,
            )
        )
        if size.sampled:
            targets.append(
                Target(
                    workload=ring_case.WORKLOAD,
                    claim=f"{size.qubits} qubits: ours with 1000 shots a circuit takes 3 times exact or less",
                    above=((size.name, OURS, ring_case.SHOTS),),
                    below=own,
                    bound=3,
                    at_least=False,
                )
            )
    return targets


def _step() -> list[Target]:
    """Wanted of the hybrid step beside PennyLane, beside our own backprop, and with the batch."""
    small, large = hybrid_step.CASES[0], hybrid_step.CASES[-1]
    devices = (hybrid_step.LIGHTNING, hybrid_step.DEFAULT)
    targets = [
        Target(
            workload=hybrid_step.WORKLOAD,
            claim=f"{small.name}: PennyLane's parameter-shift, on its faster device, takes 100 times ours or more",
            above=tuple((small.name, device, hybrid_step.SHIFT) for device in devices),
            below=((small.name, OURS, hybrid_step.SHIFT),),
            bound=100,
        )
    ]
    targets += [
        Target(
            workload=hybrid_step.WORKLOAD,
            claim=f"{case.name}: our parameter-shift takes 3 times our backprop or less",
            above=((case.name, OURS, hybrid_step.SHIFT),),
            below=((case.name, OURS, hybrid_step.BACKPROP),),
            bound=3,
            at_least=False,
        )
        for case in hybrid_step.CASES
    ]
    targets.append(
        Target(
            workload=hybrid_step.WORKLOAD,
            claim=f"our parameter-shift: a sample at {small.name} takes 10 times one at {large.name} or more",
            above=((small.name, OURS, hybrid_step.SHIFT),),
            below=((large.name, OURS, hybrid_step.SHIFT),),
            bound=10,
            per_unit=True,
        )
    )
    return targets


def _ensemble() -> list[Target]:
    """Wanted of an ensemble beside the better of PennyLane's two methods."""
    return [
        Target(
            workload=ensemble.WORKLOAD,
            claim=f"{case.name}: {_LIGHTNING}, at its faster method, takes 20 times ours or more",
            above=tuple((case.name, _LIGHTNING, method) for method in (ensemble.SHIFT, ensemble.ADJOINT)),
            below=((case.name, OURS, ensemble.SHIFT),),
            bound=20,
        )
        for case in ensemble.CASES
    ]


TARGETS: tuple[Target, ...] = (*_ring(), *_step(), *_ensemble())
