"""Gradient rules, one a file; `ESTIMATORS` lists them for tests, tables and studies."""

from collections.abc import Mapping

from hybrid.estimating import NeedsSimulator
from hybrid.gradients.adjoint import Adjoint
from hybrid.gradients.backprop import Backprop
from hybrid.gradients.base import (
    AbstractGradientEstimator,
    AbstractShotEstimator,
    AbstractSimulatorEstimator,
    Gradient,
)
from hybrid.gradients.commuting_generators import CommutingGenerators
from hybrid.gradients.coordinate_subset import CoordinateSubset
from hybrid.gradients.finite_difference import FiniteDifference
from hybrid.gradients.hadamard_test import HadamardTest
from hybrid.gradients.parameter_shift import ParameterShift
from hybrid.gradients.spsa import SPSA
from hybrid.plan import Plan

ESTIMATORS: Mapping[str, type[AbstractGradientEstimator]] = {
    "parameter-shift": ParameterShift,
    "finite differences": FiniteDifference,
    "SPSA": SPSA,
    "Hadamard test": HadamardTest,
    "commuting generators": CommutingGenerators,
    "coordinate subset": CoordinateSubset,
    "adjoint": Adjoint,
    "backprop": Backprop,
}

__all__ = [
    "ESTIMATORS",
    "SPSA",
    "AbstractGradientEstimator",
    "AbstractShotEstimator",
    "AbstractSimulatorEstimator",
    "Adjoint",
    "Backprop",
    "CommutingGenerators",
    "CoordinateSubset",
    "FiniteDifference",
    "Gradient",
    "HadamardTest",
    "NeedsSimulator",
    "ParameterShift",
    "Plan",
]
