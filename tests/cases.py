"""One entry for each gradient rule: what the contract tests run on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hybrid import SPSA, Adjoint, Backprop, FiniteDifference, Objective, ParameterShift
from hybrid.backends import AbstractBackend, Exact, Sampled
from hybrid.gradients import AbstractGradientEstimator, AbstractShotEstimator


@dataclass(frozen=True, kw_only=True)
class EstimatorCase:
    """A rule, and how far from the closed form it may be, in units of the observable's size.

    `tolerance` is None for a rule that is random even without shots.
    """

    name: str
    estimator: AbstractGradientEstimator
    tolerance: float | None
    circuits: Callable[[Objective], int]
    """Circuits of one gradient: science of the rule, counted by hand."""

    @property
    def takes_shots(self) -> bool:
        return isinstance(self.estimator, AbstractShotEstimator)


def _bases(objective: Objective) -> int:
    return len(objective.groups)


ESTIMATOR_CASES = [
    EstimatorCase(
        name="parameter-shift",
        estimator=ParameterShift(),
        tolerance=1e-10,
        circuits=lambda o: 2 * o.program.num_rotations * _bases(o),
    ),
    EstimatorCase(
        name="parameter-shift, s = 1",
        estimator=ParameterShift(shift=1.0),
        tolerance=1e-10,
        circuits=lambda o: 2 * o.program.num_rotations * _bases(o),
    ),
    EstimatorCase(
        # Truncation and roundoff are each about (unit roundoff)^(2/3) = 2e-11 at the default step.
        name="finite differences",
        estimator=FiniteDifference(),
        tolerance=1e-9,
        circuits=lambda o: 2 * o.num_params * _bases(o),
    ),
    EstimatorCase(
        name="SPSA",
        estimator=SPSA(directions=400, step=1e-4),
        tolerance=None,
        circuits=lambda o: 2 * 400 * _bases(o),
    ),
    EstimatorCase(name="adjoint", estimator=Adjoint(), tolerance=1e-10, circuits=lambda o: 1),
    EstimatorCase(name="backprop", estimator=Backprop(), tolerance=1e-10, circuits=lambda o: 1),
]

EXACT_CASES = [case for case in ESTIMATOR_CASES if case.tolerance is not None and case.tolerance <= 1e-10]
SHOT_CASES = [case for case in ESTIMATOR_CASES if case.takes_shots]
BACKENDS: list[AbstractBackend] = [Exact(), Sampled()]


def arguments_for(backend: AbstractBackend, seed: int = 0, total_shots: int = 8000) -> dict[str, object]:
    """What `gradient` and `value` need beside theta on this backend."""
    shots = {} if isinstance(backend, Exact) else {"total_shots": total_shots}
    return {"backend": backend, "rng": np.random.default_rng(seed), **shots}
