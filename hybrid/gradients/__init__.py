"""Gradient rules, one a file; `ESTIMATORS` lists them for tests, tables and studies."""

from collections.abc import Mapping

from hybrid.gradients.adjoint import Adjoint
from hybrid.gradients.backprop import Backprop
from hybrid.gradients.base import (
    AbstractGradientEstimator,
    AbstractShotEstimator,
    AbstractSimulatorEstimator,
    Gradient,
    NeedsSimulator,
    Plan,
)
from hybrid.gradients.finite_difference import FiniteDifference
from hybrid.gradients.parameter_shift import ParameterShift
from hybrid.gradients.spsa import SPSA

ESTIMATORS: Mapping[str, type[AbstractGradientEstimator]] = {
    "parameter-shift": ParameterShift,
    "finite differences": FiniteDifference,
    "SPSA": SPSA,
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
    "FiniteDifference",
    "Gradient",
    "NeedsSimulator",
    "ParameterShift",
    "Plan",
]
