"""One entry for each gradient rule: what the contract tests run on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from hybrid import (
    SPSA,
    Adjoint,
    Backprop,
    CommutingGenerators,
    CoordinateSubset,
    FiniteDifference,
    HadamardTest,
    Objective,
    ParameterShift,
)
from hybrid.allocation import TwoStage
from hybrid.backends import AbstractBackend, Exact, Sampled
from hybrid.gradients import AbstractGradientEstimator, AbstractShotEstimator, Gradient
from hybrid.gradients.shared_circuits import CannotShare
from tests.systems import System, several, several_commuting


@dataclass(frozen=True, kw_only=True)
class EstimatorCase:
    """A rule, and how far from the closed form it may be, in units of the observable's size.

    `tolerance` is None for a rule that is random even without shots.
    """

    name: str
    estimator: AbstractGradientEstimator
    tolerance: float | None
    circuits: Callable[[System], int]
    """Circuits of one gradient: science of the rule, counted by hand."""
    several: System = field(default_factory=several)
    """A system of several observables in several bases that the rule can take."""

    @property
    def takes_shots(self) -> bool:
        return isinstance(self.estimator, AbstractShotEstimator)

    def takes(self, system: System) -> bool:
        """Whether the rule applies to the system; where it does not, it refuses."""
        return not isinstance(self.estimator, CommutingGenerators) or system.shared is not None

    def gradient_or_refusal(
        self, objective: Objective, theta: np.ndarray, wrt: list[int] | None = None
    ) -> Gradient | None:
        """The exact gradient; None where the rule refuses the circuit, as the one for commuting generators may."""
        try:
            return self.estimator.gradient(objective, theta, wrt=wrt, **arguments_for(Exact()))
        except CannotShare as refusal:
            assert isinstance(self.estimator, CommutingGenerators)
            assert "is not Clifford" in str(refusal) or "No two of the circuit's" in str(refusal)
            assert "ParameterShift" in str(refusal)
            assert "HadamardTest" in str(refusal)
            return None


SUBSET = 2

ESTIMATOR_CASES = [
    EstimatorCase(
        name="parameter-shift",
        estimator=ParameterShift(),
        tolerance=1e-10,
        circuits=lambda system: system.shift_circuits * system.bases,
    ),
    EstimatorCase(
        name="parameter-shift, s = 1, by occurrence",
        estimator=ParameterShift(shift=1.0, rule="occurrences"),
        tolerance=1e-10,
        circuits=lambda system: 2 * system.rotations * system.bases,
    ),
    EstimatorCase(
        name="parameter-shift, two-stage",
        estimator=ParameterShift(allocation=TwoStage()),
        tolerance=1e-10,
        circuits=lambda system: system.shift_circuits * system.bases,
    ),
    EstimatorCase(
        # Truncation and roundoff are each about (unit roundoff)^(2/3) = 2e-11 at the default step.
        name="finite differences",
        estimator=FiniteDifference(),
        tolerance=1e-9,
        circuits=lambda system: 2 * system.num_params * system.bases,
    ),
    EstimatorCase(
        name="SPSA",
        estimator=SPSA(directions=400, step=1e-4),
        tolerance=None,
        circuits=lambda system: 2 * 400 * system.bases,
    ),
    EstimatorCase(
        name="Hadamard test",
        estimator=HadamardTest(),
        tolerance=1e-10,
        circuits=lambda system: system.rotations * system.bases,
    ),
    EstimatorCase(
        name="commuting generators",
        estimator=CommutingGenerators(),
        tolerance=1e-10,
        circuits=lambda system: system.shared or 0,
        several=several_commuting(),
    ),
    EstimatorCase(
        name="coordinate subset",
        estimator=CoordinateSubset(count=SUBSET),
        tolerance=None,
        circuits=lambda system: 2 * min(SUBSET, system.rotations) * system.bases,
    ),
    EstimatorCase(
        name="coordinate subset, all",
        estimator=CoordinateSubset(count=10_000),
        tolerance=1e-10,
        circuits=lambda system: 2 * system.rotations * system.bases,
    ),
    EstimatorCase(name="adjoint", estimator=Adjoint(), tolerance=1e-10, circuits=lambda _: 1),
    EstimatorCase(name="backprop", estimator=Backprop(), tolerance=1e-10, circuits=lambda _: 1),
]

EXACT_CASES = [case for case in ESTIMATOR_CASES if case.tolerance is not None and case.tolerance <= 1e-10]
SHOT_CASES = [case for case in ESTIMATOR_CASES if case.takes_shots]
BACKENDS: list[AbstractBackend] = [Exact(), Sampled()]


def arguments_for(backend: AbstractBackend, seed: int = 0, total_shots: int = 8000) -> dict[str, object]:
    """What `gradient` and `value` need beside theta on this backend."""
    shots = {} if isinstance(backend, Exact) else {"total_shots": total_shots}
    return {"backend": backend, "rng": np.random.default_rng(seed), **shots}
